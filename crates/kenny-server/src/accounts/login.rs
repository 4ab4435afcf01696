//! Logging in: a name, a password, and a code where the account asks for one.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kenny_proto::Secret;

use super::password::{Busy, Checked};
use super::throttle::Try;
use super::{Account, Accounts, password, readable, totp};
use crate::app::App;
use crate::auth::TokenHash;
use crate::store::account_rows::{self, Credentials};
use crate::store::{Right, StoreError};

/// Why nobody was logged in.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// No such account, or not its password. Which of the two is not said.
    #[error(
        "the account or the password is not right; an owner can give the account a new password (`kenny account reset`)"
    )]
    Wrong,
    /// The password is right, and a code is needed.
    #[error(
        "the account asks for a second factor: send the six digits that the authenticator shows now, or a recovery code, \
         as `code`"
    )]
    CodeNeeded,
    /// The password is right and the code is not.
    #[error(
        "the code is not right, or was used before: wait for the next one, and look whether the clocks of server and \
         authenticator agree"
    )]
    WrongCode,
    /// A change that asks for the password came without.
    #[error("this asks for the account's password besides: send it along")]
    PasswordNeeded,
    /// Too many failures.
    #[error(
        "too many logins failed; try again in {} s. Tokens and sessions go on to work meanwhile", seconds(*.0)
    )]
    Throttled(Duration),
    /// The password is right and the account is switched off.
    #[error("the account is disabled; an owner can enable it again")]
    Disabled,
    /// Too many at a time.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whole seconds, rounded up.
pub fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// By this, a recovery code is used up: nobody is known before.
struct Proving;

impl Right for Proving {}

/// What time it is.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// For codes.
    pub wall: Timestamp,
    /// For waits: nobody sets it.
    pub steady: Instant,
}

impl Now {
    /// By this machine's clocks.
    pub fn read() -> Self {
        Self { wall: Timestamp::now(), steady: Instant::now() }
    }
}

/// Who says so.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// The account's name as it was given.
    pub name: &'a str,
    /// The password.
    pub password: &'a str,
    /// Six digits of the authenticator, or a recovery code.
    pub code: Option<&'a str>,
    /// Where the claim came from.
    pub from: Option<IpAddr>,
}

/// Finds out whether this is somebody. Takes as long, and does the same, whether there is such an account or not. A code
/// is good once. `from` is the peer's address.
pub async fn log_in(
    app: &App,
    name: &str,
    password: &str,
    totp: Option<&str>,
    from: Option<IpAddr>,
) -> Result<Arc<Account>, LoginError> {
    let claim = Claim { name, password, code: totp, from };
    log_in_at(&app.accounts, claim, Now::read()).await
}

/// [`log_in`] at a time.
pub async fn log_in_at(
    accounts: &Arc<Accounts>,
    claim: Claim<'_>,
    now: Now,
) -> Result<Arc<Account>, LoginError> {
    let attempt = accounts
        .throttle()
        .begin(claim.name, claim.from, now.steady)
        .map_err(LoginError::Throttled)?;
    match prove(accounts, claim, now.wall).await {
        Ok(account) => {
            accounts.throttle().succeeded(&attempt, now.steady);
            Ok(account)
        }
        Err(error) => {
            settle(accounts, &attempt, &error, claim.name, claim.from);
            Err(error)
        }
    }
}

/// What was no guess does not count as one; what was is said in the log.
fn settle(
    accounts: &Accounts,
    attempt: &Try,
    error: &LoginError,
    name: &str,
    from: Option<IpAddr>,
) {
    if is_guess(error) {
        // Whoever guesses may send a megabyte as the name.
        let name: String = name.chars().take(64).collect();
        tracing::warn!(account = name, from = from.map(tracing::field::display), "{error}");
    } else {
        accounts.throttle().took_back(attempt);
    }
}

/// Finds out whether an account's password is known to whoever acts through it already; counts as a login does. An
/// account without a password asks for none.
pub async fn confirm(
    app: &App,
    account: &Account,
    password: Option<&Secret>,
    from: Option<IpAddr>,
) -> Result<(), LoginError> {
    if !account.has_password {
        return Ok(());
    }
    let Some(password) = password else { return Err(LoginError::PasswordNeeded) };
    let accounts = &app.accounts;
    let now = Instant::now();
    let name = account.name.as_str();
    let attempt = accounts.throttle().begin(name, from, now).map_err(LoginError::Throttled)?;
    match right_password(accounts, name, password.expose()).await {
        Ok(_) => accounts.throttle().succeeded(&attempt, now),
        Err(error) => {
            settle(accounts, &attempt, &error, name, from);
            return Err(error);
        }
    }
    Ok(())
}

const fn is_guess(error: &LoginError) -> bool {
    match error {
        LoginError::Wrong | LoginError::WrongCode | LoginError::Disabled => true,
        LoginError::CodeNeeded
        | LoginError::PasswordNeeded
        | LoginError::Throttled(_)
        | LoginError::Busy(_)
        | LoginError::Store(_) => false,
    }
}

async fn prove(
    accounts: &Arc<Accounts>,
    claim: Claim<'_>,
    wall: Timestamp,
) -> Result<Arc<Account>, LoginError> {
    let (found, checked) = right_password(accounts, claim.name, claim.password).await?;
    if found.disabled {
        return Err(LoginError::Disabled);
    }
    check_code(accounts, &found, claim.code, wall).await?;
    if let Some((old, new)) = found.password_hash.clone().zip(checked.better_hash) {
        let id = found.id;
        accounts
            .store
            .run(move |connection| account_rows::upgrade_password(connection, id, &old, &new))
            .await?;
    }
    // What changed while the password was checked counts.
    accounts
        .get(found.id)
        .filter(|account| !account.disabled && account.generation == found.generation)
        .ok_or(LoginError::Wrong)
}

async fn right_password(
    accounts: &Arc<Accounts>,
    name: &str,
    password: &str,
) -> Result<(Credentials, Checked), LoginError> {
    if password.len() > password::MOST_BYTES {
        return Err(LoginError::Wrong);
    }
    let name = name.to_owned();
    let found =
        accounts.store.run(move |connection| account_rows::credentials(connection, &name)).await?;
    let hash = found.as_ref().and_then(|found| found.password_hash.clone());
    let checked = accounts.passwords.check(password.to_owned(), hash).await?;
    found.filter(|_| checked.right).map(|found| (found, checked)).ok_or(LoginError::Wrong)
}

async fn check_code(
    accounts: &Arc<Accounts>,
    found: &Credentials,
    code: Option<&str>,
    wall: Timestamp,
) -> Result<(), LoginError> {
    let Some(secret) = &found.totp_secret else { return Ok(()) };
    let Some(code) = code.map(str::trim).filter(|code| !code.is_empty()) else {
        return Err(LoginError::CodeNeeded);
    };
    let id = found.id;
    let digits: String = code.chars().filter(|character| *character != ' ').collect();
    let fresh = if totp::looks_like_code(&digits) {
        let unix_s = u64::try_from(wall.as_second()).unwrap_or_default();
        let step = totp::step_of(secret, &digits, unix_s).ok_or(LoginError::WrongCode)?;
        accounts
            .store
            .run(move |connection| account_rows::use_totp_step(connection, id, step))
            .await?
    } else {
        let hash = TokenHash::of(&readable::plain(code));
        accounts
            .change(&Proving, move |connection| {
                account_rows::use_recovery_code(connection, id, hash).map(Ok::<_, LoginError>)
            })
            .await??
    };
    if fresh { Ok(()) } else { Err(LoginError::WrongCode) }
}

#[cfg(test)]
#[path = "login_tests.rs"]
mod tests;
