//! Passwords: hashed with Argon2id, off the async threads, a few at a time.

use std::collections::HashSet;
use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version};
use kenny_proto::AccountName;
use tokio::sync::Semaphore;

/// Memory of one hash in KiB. OWASP's Password Storage Cheat Sheet asks for 46 MiB with one pass, or the like.
const MEMORY_KIB: u32 = 46 * 1024;
/// Passes: twice what that sheet asks for with this much memory.
const PASSES: u32 = 2;
/// Threads of one hash.
const LANES: u32 = 1;
/// So many hashes at a time: the memory and the processors are for the agents, too.
const AT_A_TIME: usize = 2;
/// So many may wait for their turn, about five seconds' worth.
const WAITING: usize = 64;

/// Too many passwords are being checked already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server is checking many other passwords; try again in a few seconds")]
pub struct Busy;

/// Fewest characters of a new password: what NIST SP 800-63B asks for is 8 with a second factor and 15 without.
const FEWEST_CHARACTERS: usize = 12;
/// Most bytes of a password: more is work without use.
pub const MOST_BYTES: usize = 1024;
/// Fewest different characters.
const FEWEST_DIFFERENT: usize = 5;

/// Why a password is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WeakPassword {
    /// Too short.
    #[error(
        "a password has at least {FEWEST_CHARACTERS} characters; a few words that do not belong together are good ones"
    )]
    Short,
    /// Too long.
    #[error("a password has at most {MOST_BYTES} bytes")]
    Long,
    /// The same few characters over and over.
    #[error("a password has at least {FEWEST_DIFFERENT} different characters")]
    Monotonous,
    /// Anybody's first guess.
    #[error("a password does not contain the account's name")]
    Name,
}

/// Refuses new passwords that are guessed first.
pub fn check_new(password: &str, account: &AccountName) -> Result<(), WeakPassword> {
    if password.len() > MOST_BYTES {
        return Err(WeakPassword::Long);
    }
    if password.chars().count() < FEWEST_CHARACTERS {
        return Err(WeakPassword::Short);
    }
    if password.chars().collect::<HashSet<_>>().len() < FEWEST_DIFFERENT {
        return Err(WeakPassword::Monotonous);
    }
    // Short names are part of many words.
    if account.as_str().len() >= 4 && password.to_lowercase().contains(account.as_str()) {
        return Err(WeakPassword::Name);
    }
    Ok(())
}

/// What checking a password came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// It is the password of that hash.
    pub right: bool,
    /// A new hash of it, where it is right and the old one is weaker than what is made now.
    pub better_hash: Option<String>,
}

/// Hashes and checks passwords.
#[derive(Debug)]
pub struct Passwords {
    waiting: Arc<Semaphore>,
    working: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            waiting: Arc::new(Semaphore::new(WAITING)),
            working: Arc::new(Semaphore::new(AT_A_TIME)),
        }
    }
}

impl Passwords {
    /// Compares a password with a hash (a PHC string). Without one it takes as long and is never right.
    pub async fn check(&self, password: String, hash: Option<String>) -> Result<Checked, Busy> {
        self.work(move || {
            let there = hash.is_some();
            let hash = hash.unwrap_or_else(nobodys_hash);
            let right = there & matches(&password, &hash);
            let better_hash = (right && !is_current(&hash)).then(|| make_hash(&password));
            Checked { right, better_hash }
        })
        .await
    }

    /// A hash of a new password, as a PHC string.
    pub async fn hash(&self, password: String) -> Result<String, Busy> {
        self.work(move || make_hash(&password)).await
    }

    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let place = Arc::clone(&self.waiting).try_acquire_owned().map_err(|_| Busy)?;
        let turn = Arc::clone(&self.working).acquire_owned().await.map_err(|_| Busy)?;
        // The work goes on when nobody waits for it any more, and so it holds its turn itself.
        let done = tokio::task::spawn_blocking(move || {
            let _held = (place, turn);
            work()
        });
        Ok(done.await.expect("hashing does not panic"))
    }
}

fn hasher() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("constants within bounds");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// A new hash with a new salt.
pub fn make_hash(password: &str) -> String {
    let hash = hasher().hash_password(password.as_bytes());
    hash.expect("the operating system gives random bytes and memory").to_string()
}

fn matches(password: &str, hash: &str) -> bool {
    PasswordHash::new(hash)
        .is_ok_and(|hash| hasher().verify_password(password.as_bytes(), &hash).is_ok())
}

/// True when a new hash would not be stronger.
fn is_current(hash: &str) -> bool {
    hash.starts_with(&prefix())
}

fn prefix() -> String {
    format!("$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}$")
}

/// What is compared with where there is no password: as much work, and no password is known to fit.
fn nobodys_hash() -> String {
    format!("{}bm9ib2R5IGlzIGhlcmUu$bm9ib2R5IGtub3dzIGEgcGFzc3dvcmQgZm9yIHRoaXM", prefix())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_fits_its_own_hash_only_and_nobodys_fits_none() {
        let passwords = Passwords::default();
        let hash = passwords.hash("correct horse battery".to_owned()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=47104,t=2,p=1$"), "{hash}");
        let checked = async |password: &str, hash: Option<String>| {
            passwords.check(password.to_owned(), hash).await.unwrap()
        };
        let right = Checked { right: true, better_hash: None };
        let wrong = Checked { right: false, better_hash: None };
        assert_eq!(checked("correct horse battery", Some(hash.clone())).await, right);
        assert_eq!(checked("correct horse batter", Some(hash)).await, wrong);
        assert_eq!(checked("correct horse battery", None).await, wrong);
        assert_eq!(checked("x", Some("no hash at all".to_owned())).await, wrong);
    }

    #[test]
    fn where_there_is_no_password_the_same_work_is_done() {
        let hash = nobodys_hash();
        let parsed = PasswordHash::new(&hash).expect("it is a hash, so that it is computed");
        assert_eq!(Params::try_from(&parsed).unwrap().m_cost(), MEMORY_KIB);
        assert_eq!(parsed.hash.unwrap().len(), 32);
        assert!(is_current(&hash));
    }

    #[tokio::test]
    async fn a_hash_of_weaker_parameters_is_replaced_when_its_password_is_known() {
        let weak = Argon2::new(
            Algorithm::Argon2id,
            Version::V0x13,
            Params::new(19 * 1024, 2, 1, None).unwrap(),
        );
        let old = weak.hash_password(b"an old password").unwrap().to_string();
        let passwords = Passwords::default();
        let checked =
            passwords.check("an old password".to_owned(), Some(old.clone())).await.unwrap();
        let better = checked.better_hash.unwrap();
        assert!(checked.right && is_current(&better) && matches("an old password", &better));
        let checked = passwords.check("another".to_owned(), Some(old)).await.unwrap();
        assert_eq!(checked, Checked { right: false, better_hash: None });
    }

    #[test]
    fn passwords_that_are_guessed_first_are_refused() {
        let name: AccountName = "anna".parse().unwrap();
        for (password, expected) in [
            ("horse battery", Ok(())),
            ("äöüßéèêëàâçñ", Ok(())),
            ("short", Err(WeakPassword::Short)),
            ("aaaaaaaaaaaaaaaa", Err(WeakPassword::Monotonous)),
            ("Anna-is-my-name", Err(WeakPassword::Name)),
        ] {
            assert_eq!(check_new(password, &name), expected, "{password}");
        }
        assert_eq!(check_new(&"x".repeat(1025), &name), Err(WeakPassword::Long));
    }
}
