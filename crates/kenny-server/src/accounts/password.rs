//! Passwords: hashed with Argon2id, off the async threads, a few at a time.

use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version};
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
