//! Logins against a database of their own, at times that the tests choose.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, Version};
use jiff::{SignedDuration, Timestamp};
use kenny_proto::Role;

use super::super::{AccountId, Accounts, Directory, make_hash, plain};
use super::{Claim, LoginError, Now, Proving, log_in_at};
use crate::auth::TokenHash;
use crate::store::{DataDir, Store, account_rows};
use crate::testing::TempDir;

const PASSWORD: &str = "correct horse battery";
const SECRET: &[u8] = b"12345678901234567890";

struct Rig {
    accounts: Arc<Accounts>,
    anna: AccountId,
    start: Now,
    _folder: TempDir,
}

impl Rig {
    async fn new() -> Self {
        let folder = TempDir::new();
        let store = Store::open(&DataDir::open(folder.path()).unwrap(), Arc::default()).unwrap();
        let accounts = Accounts::new(store, Directory::default());
        let hash = make_hash(PASSWORD);
        let anna = accounts
            .change(&Proving, move |connection| {
                let name = "anna".parse().unwrap();
                let now = Timestamp::now();
                let anna = account_rows::insert_account(connection, &name, Role::Operator, now)?;
                account_rows::set_password(connection, anna, &hash)?;
                let nobody = "nobody".parse().unwrap();
                account_rows::insert_account(connection, &nobody, Role::Viewer, now)?;
                Ok(Ok::<_, ()>(anna))
            })
            .await
            .unwrap()
            .unwrap();
        // The first code of RFC 6238's table that is of our time.
        let wall = Timestamp::from_second(2_000_000_000).unwrap();
        let start = Now { wall, steady: Instant::now() };
        Self { accounts, anna, start, _folder: folder }
    }

    async fn change(
        &self,
        work: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<()> + Send + 'static,
    ) {
        self.accounts
            .change(&Proving, move |connection| work(connection).map(Ok::<_, ()>))
            .await
            .unwrap()
            .unwrap();
    }

    async fn with_totp() -> Self {
        let rig = Self::new().await;
        let anna = rig.anna;
        rig.change(move |connection| {
            account_rows::begin_totp(connection, anna, SECRET)?;
            account_rows::confirm_totp(connection, anna, 1)?;
            let codes = ["abcd-efgh-jkmn-pqrs", "0000-1111-2222-3333"];
            let hashes = codes.map(|code| TokenHash::of(&plain(code)));
            account_rows::set_recovery_codes(connection, anna, &hashes)
        })
        .await;
        rig
    }

    async fn log_in(
        &self,
        name: &str,
        password: &str,
        code: Option<&str>,
        from: [u8; 4],
        after_s: u32,
    ) -> Result<AccountId, LoginError> {
        let claim = Claim { name, password, code, from: Some(IpAddr::from(from)) };
        let now = Now {
            wall: self.start.wall.checked_add(SignedDuration::from_secs(after_s.into())).unwrap(),
            steady: self.start.steady + Duration::from_secs(after_s.into()),
        };
        log_in_at(&self.accounts, claim, now).await.map(|account| account.id)
    }

    /// With a code, from anywhere.
    async fn code(&self, code: &str, after_s: u32) -> Result<AccountId, LoginError> {
        self.log_in("anna", PASSWORD, Some(code), [192, 0, 2, 1], after_s).await
    }
}

fn code_at(unix_s: u64) -> String {
    let totp = totp_rs::Builder::new().with_secret(SECRET.to_vec()).build().unwrap();
    totp.generate(unix_s).to_string()
}

#[tokio::test]
async fn nothing_tells_an_unknown_account_from_a_wrong_password() {
    let rig = Rig::new().await;
    let anna = rig.log_in("anna", PASSWORD, None, [192, 0, 2, 1], 0).await;
    assert_eq!(anna.unwrap(), rig.anna);
    let long = "x".repeat(100_000);
    let mut said = Vec::new();
    for name in ["anna", "bert", "nobody", "not even a name", &long] {
        let mut of_name = Vec::new();
        for number in 0..7 {
            let tried = rig.log_in(name, "correct horse batter", None, [10, 0, number, 1], 0).await;
            of_name.push(tried.unwrap_err().to_string());
        }
        said.push(of_name);
    }
    assert!(said.iter().all(|one| *one == said[0]), "{said:?}");
    assert!(said[0][5].starts_with("the account or the password is not right;"), "{}", said[0][5]);
    assert!(said[0][6].contains("try again in 1 s"), "{}", said[0][6]);
    let too_long = rig.log_in("anna", &long, None, [192, 0, 2, 1], 0).await;
    assert!(matches!(too_long, Err(LoginError::Wrong)));
}

#[tokio::test]
async fn failures_make_the_next_login_wait_and_nobody_wait_for_ever() {
    let rig = Rig::new().await;
    let wrong = async |number, after_s| {
        rig.log_in("anna", "wrong", None, [10, 0, 0, number], after_s).await.unwrap_err()
    };
    for number in 0..6 {
        assert!(matches!(wrong(number, 0).await, LoginError::Wrong), "{number}");
    }
    let right = async |from, after_s| rig.log_in("anna", PASSWORD, None, from, after_s).await;
    let early = right([192, 0, 2, 1], 0).await.unwrap_err();
    assert!(matches!(early, LoginError::Throttled(wait) if wait.as_secs() == 1), "{early}");
    right([192, 0, 2, 1], 1).await.unwrap();
    // From now on strangers only throttle strangers.
    for number in 10..12 {
        assert!(matches!(wrong(number, 10 * u32::from(number)).await, LoginError::Wrong));
    }
    assert!(matches!(wrong(20, 110).await, LoginError::Throttled(_)));
    right([192, 0, 2, 1], 110).await.unwrap();
    // And strangers get in when the wait is over.
    right([198, 51, 100, 1], 110 + 300).await.unwrap();
}

#[tokio::test]
async fn guesses_at_the_same_time_are_not_more_guesses() {
    let rig = Arc::new(Rig::new().await);
    let tries: Vec<_> = (0..40)
        .map(|number| {
            let rig = Arc::clone(&rig);
            tokio::spawn(
                async move { rig.log_in("anna", "wrong", None, [10, 0, 0, number], 0).await },
            )
        })
        .collect();
    let mut looked_at = 0;
    for one in tries {
        let error = one.await.unwrap().unwrap_err();
        looked_at += u32::from(matches!(error, LoginError::Wrong));
        assert!(matches!(error, LoginError::Wrong | LoginError::Throttled(_)), "{error}");
    }
    assert_eq!(looked_at, 6);
}

#[tokio::test]
async fn many_log_in_at_the_same_time() {
    let rig = Arc::new(Rig::new().await);
    rig.log_in("anna", PASSWORD, None, [192, 0, 2, 1], 0).await.unwrap();
    let logins: Vec<_> = (0..10)
        .map(|_| {
            let rig = Arc::clone(&rig);
            tokio::spawn(async move { rig.log_in("anna", PASSWORD, None, [192, 0, 2, 1], 0).await })
        })
        .collect();
    for one in logins {
        assert_eq!(one.await.unwrap().unwrap(), rig.anna);
    }
}

#[tokio::test]
async fn a_code_is_needed_and_good_once() {
    let rig = Rig::with_totp().await;
    for _ in 0..4 {
        // Being asked for the code is no failure.
        let asked = rig.log_in("anna", PASSWORD, None, [192, 0, 2, 1], 0).await;
        assert!(matches!(asked, Err(LoginError::CodeNeeded)));
        let asked = rig.log_in("anna", PASSWORD, Some(" "), [192, 0, 2, 1], 0).await;
        assert!(matches!(asked, Err(LoginError::CodeNeeded)));
    }
    let wrong = rig.log_in("anna", "wrong", Some("279037"), [192, 0, 2, 1], 0).await;
    assert!(matches!(wrong, Err(LoginError::Wrong)), "the password comes first");
    // RFC 6238's code at 2000000000; with the space that authenticators show.
    rig.code("279 037", 0).await.unwrap();
    assert!(matches!(rig.code("279037", 1).await, Err(LoginError::WrongCode)), "used");
    assert!(matches!(rig.code("000000", 1).await, Err(LoginError::WrongCode)));
    rig.code(&code_at(2_000_000_030), 30).await.unwrap();
    let before = code_at(1_999_999_970);
    assert!(matches!(rig.code(&before, 1).await, Err(LoginError::WrongCode)), "before a used one");
}

#[tokio::test]
async fn a_code_that_is_sent_twice_at_once_lets_one_in() {
    let rig = Rig::with_totp().await;
    let (one, other) = tokio::join!(rig.code("279037", 0), rig.code("279037", 0));
    assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
    let code = "ABCD efgh jkmn pqrs";
    let (one, other) = tokio::join!(rig.code(code, 0), rig.code(code, 0));
    assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
    assert_eq!(rig.accounts.get(rig.anna).unwrap().recovery_codes_left, 1);
    rig.code("oooo-iiii-2222-3333", 0).await.unwrap();
    assert!(matches!(rig.code(code, 0).await, Err(LoginError::WrongCode)));
}

#[tokio::test]
async fn guessing_codes_is_throttled() {
    let rig = Rig::with_totp().await;
    let mut looked_at = 0;
    for number in 0..100 {
        let code = format!("{number:06}");
        match rig.log_in("anna", PASSWORD, Some(&code), [10, 0, 0, number], 0).await {
            Err(LoginError::WrongCode) => looked_at += 1,
            other => assert!(matches!(other, Err(LoginError::Throttled(_))), "{other:?}"),
        }
    }
    assert_eq!(looked_at, 6);
}

#[tokio::test]
async fn that_an_account_is_disabled_is_said_to_who_knows_its_password() {
    let rig = Rig::new().await;
    let anna = rig.anna;
    rig.change(move |connection| account_rows::set_disabled(connection, anna, true)).await;
    let from = [192, 0, 2, 1];
    let tried = rig.log_in("anna", "wrong", None, from, 0).await;
    assert!(matches!(tried, Err(LoginError::Wrong)));
    let tried = rig.log_in("anna", PASSWORD, None, from, 0).await;
    assert!(matches!(tried, Err(LoginError::Disabled)));
    rig.change(move |connection| account_rows::set_disabled(connection, anna, false)).await;
    rig.log_in("anna", PASSWORD, None, from, 0).await.unwrap();
}

#[tokio::test]
async fn a_login_brings_an_old_hash_up_to_date() {
    let rig = Rig::new().await;
    let anna = rig.anna;
    let weak = Argon2::new(
        Algorithm::Argon2id,
        Version::V0x13,
        Params::new(19 * 1024, 2, 1, None).unwrap(),
    );
    let hash = weak.hash_password(PASSWORD.as_bytes()).unwrap().to_string();
    rig.change(move |connection| account_rows::set_password(connection, anna, &hash)).await;
    for _ in 0..2 {
        rig.log_in("anna", PASSWORD, None, [192, 0, 2, 1], 0).await.unwrap();
        let kept = rig
            .accounts
            .store
            .run(|connection| account_rows::credentials(connection, "anna"))
            .await
            .unwrap();
        let hash = kept.unwrap().password_hash.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=47104,t=2,p=1$"), "{hash}");
    }
}
