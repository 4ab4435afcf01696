//! Who may act on this server: accounts, their passwords and second factors, and their API tokens.
//!
//! Accounts and tokens are in memory as the database has them, so that a request needs no query and a revoked token
//! is refused from the moment its revocation was answered. Secrets never are: credentials are read when somebody
//! logs in, and of tokens and recovery codes there is nothing but hashes anywhere.

mod directory;
mod login;
mod password;
mod readable;
mod throttle;
mod totp;
mod uses;

pub use directory::{Directory, TokenEntry};
pub use login::{LoginError, confirm, log_in, seconds};
pub use password::{Busy, WeakPassword, check_new, make_hash};
pub use readable::{new_password, new_recovery_code, plain};
pub use totp::{enrolment, new_secret, step_of};

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use jiff::Timestamp;
use kenny_proto::{AccountName, Role};
use rusqlite::Connection;
use tokio::sync::watch;

use crate::auth::TokenHash;
use crate::store::{Right, Store, StoreError};
use password::Passwords;
use throttle::Throttle;

/// The account that the first start makes.
pub const FIRST_ACCOUNT: &str = "owner";

/// Names an account for good; its name may be given to another one after it was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AccountId(pub i64);

/// Names an API token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenId(pub i64);

/// Somebody who may act, as the database has it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Names it for good.
    pub id: AccountId,
    /// Its name.
    pub name: AccountName,
    /// What it may do.
    pub role: Role,
    /// Nobody acts through it until it is enabled again.
    pub disabled: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// One can log in with its password.
    pub has_password: bool,
    /// Logging in needs a code besides.
    pub has_totp: bool,
    /// Recovery codes that were not used yet.
    pub recovery_codes_left: u32,
    /// Grows with whatever ends the account's sessions: one that began at another number is over.
    pub generation: i64,
}

impl Account {
    /// What was proved in this generation still holds: the account is enabled, and nothing happened that ends its sessions.
    pub const fn stands_since(&self, generation: i64) -> bool {
        !self.disabled && self.generation == generation
    }
}

/// Why a token is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenError {
    /// There is no such token, or not any more.
    Unknown,
    /// Its time is over.
    Expired(Timestamp),
}

/// Every account and token, and the way to change them.
#[derive(Debug)]
pub struct Accounts {
    directory: RwLock<Directory>,
    /// Memory follows the database in the order of its changes.
    order: tokio::sync::Mutex<()>,
    throttle: Mutex<Throttle>,
    passwords: Passwords,
    store: Store,
    /// Told whenever accounts or tokens changed.
    changes: watch::Sender<()>,
}

impl Accounts {
    /// As the database has them.
    pub fn new(store: Store, directory: Directory) -> Arc<Self> {
        Arc::new(Self {
            directory: RwLock::new(directory),
            order: tokio::sync::Mutex::default(),
            throttle: Mutex::default(),
            passwords: Passwords::default(),
            store,
            changes: watch::Sender::new(()),
        })
    }

    /// The account of this id.
    pub fn get(&self, id: AccountId) -> Option<Arc<Account>> {
        self.read(|directory| directory.account(id))
    }

    /// Every account, by name.
    pub fn all(&self) -> Vec<Arc<Account>> {
        self.read(Directory::accounts)
    }

    /// The account of this name.
    pub fn find(&self, name: &str) -> Option<Arc<Account>> {
        self.read(|directory| directory.find(name))
    }

    /// The token of this id.
    pub fn token_of_id(&self, id: TokenId) -> Option<Arc<TokenEntry>> {
        self.read(|directory| directory.tokens().find(|token| token.id == id).cloned())
    }

    /// The tokens of an account, oldest first.
    pub fn tokens_of(&self, id: AccountId) -> Vec<Arc<TokenEntry>> {
        self.read(|directory| directory.tokens_of(id))
    }

    /// The token that this text proves, and its account. Notes that it was used.
    pub fn token(
        &self,
        text: &str,
        now: Timestamp,
    ) -> Result<(Arc<Account>, Arc<TokenEntry>), TokenError> {
        let hash = TokenHash::of(text);
        let found = self.read(|directory| {
            let token = directory.token(hash)?;
            let account = directory.account(token.account)?;
            Some((account, token))
        });
        // The tokens of a disabled account are gone; this holds should one ever be left.
        let Some((account, token)) = found.filter(|(account, _)| !account.disabled) else {
            return Err(TokenError::Unknown);
        };
        if let Some(end) = token.expires_at.filter(|end| *end <= now) {
            return Err(TokenError::Expired(end));
        }
        token.used(now);
        Ok((account, token))
    }

    /// A hash of a new password.
    pub async fn hash(&self, password: String) -> Result<String, Busy> {
        self.passwords.hash(password).await
    }

    /// Tells of every change from now on.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Changes the database, and memory with it. It happens to its end even when nobody waits for it any more. What
    /// `work` refuses (the inner error) it must not have begun.
    pub async fn change<T, E, F>(
        self: &Arc<Self>,
        _right: &impl Right,
        work: F,
    ) -> Result<Result<T, E>, StoreError>
    where
        T: Send + 'static,
        E: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<Result<T, E>> + Send + 'static,
    {
        let accounts = Arc::clone(self);
        let changing = tokio::spawn(async move {
            let _order = accounts.order.lock().await;
            let changed = accounts
                .store
                .run(move |connection| Ok((work(connection)?, Directory::load(connection)?)))
                .await;
            match changed {
                Ok((result, directory)) => {
                    accounts.replace(directory);
                    Ok(result)
                }
                Err(error) => {
                    if matches!(error, StoreError::Stalled) {
                        accounts.catch_up();
                    }
                    Err(error)
                }
            }
        });
        changing.await.unwrap_or(Err(StoreError::Closed))
    }

    /// After a change whose outcome is unknown: reads everything, behind that change.
    fn catch_up(self: &Arc<Self>) {
        let accounts = Arc::clone(self);
        tokio::spawn(async move {
            let _order = accounts.order.lock().await;
            loop {
                match accounts.store.run(Directory::load).await {
                    Ok(directory) => return accounts.replace(directory),
                    Err(StoreError::Closed) => return,
                    Err(error) => {
                        tracing::warn!(%error, "accounts in memory may be older than the database's");
                        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                    }
                }
            }
        });
    }

    fn replace(&self, directory: Directory) {
        let mut current = self.directory.write().unwrap_or_else(PoisonError::into_inner);
        directory.take_over_uses(&current);
        *current = directory;
        drop(current);
        self.changes.send_replace(());
    }

    fn read<T>(&self, look: impl FnOnce(&Directory) -> T) -> T {
        look(&self.directory.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Has so many logins fail, each as soon as it may. The wait after the last.
    #[cfg(test)]
    pub fn fail(&self, name: &str, from: std::net::IpAddr, failures: u32) -> std::time::Duration {
        let mut now = std::time::Instant::now();
        let mut throttle = self.throttle();
        for _ in 0..failures {
            if let Err(wait) = throttle.begin(name, Some(from), now) {
                now += wait;
                throttle.begin(name, Some(from), now).expect("the wait is over");
            }
        }
        throttle.begin(name, Some(from), now).err().unwrap_or_default()
    }

    fn throttle(&self) -> MutexGuard<'_, Throttle> {
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
