//! Accounts and tokens as they are in memory: a picture of the database, replaced as a whole.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;
use kenny_proto::{Role, Sha256Digest};
use rusqlite::Connection;

use super::{Account, AccountId, TokenId};
use crate::auth::TokenHash;
use crate::store::account_rows;

/// An API token, without what proves it.
#[derive(Debug)]
pub struct TokenEntry {
    /// Names it.
    pub id: TokenId,
    /// Whose it is.
    pub account: AccountId,
    /// What it is for.
    pub name: String,
    /// The most that it may do.
    pub role: Role,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// Seconds since 1970; 0 for never.
    last_used_s: AtomicI64,
    /// What of it the database has, or is about to.
    pub(super) saved_s: AtomicI64,
}

impl TokenEntry {
    /// A token as the database has it.
    pub fn new(
        id: TokenId,
        account: AccountId,
        name: String,
        role: Role,
        times: (Timestamp, Option<Timestamp>, Option<Timestamp>),
    ) -> Self {
        let (created_at, expires_at, last_used_at) = times;
        let second = last_used_at.map_or(0, Timestamp::as_second);
        let (last_used_s, saved_s) = (AtomicI64::new(second), AtomicI64::new(second));
        Self { id, account, name, role, created_at, expires_at, last_used_s, saved_s }
    }

    /// When it was last used.
    pub fn last_used_at(&self) -> Option<Timestamp> {
        let second = self.last_used_s.load(Ordering::Relaxed);
        (second != 0).then(|| Timestamp::from_second(second).ok()).flatten()
    }

    pub(super) fn used(&self, now: Timestamp) {
        self.last_used_s.fetch_max(now.as_second(), Ordering::Relaxed);
    }
}

/// Every account and token.
#[derive(Debug, Default)]
pub struct Directory {
    accounts: HashMap<AccountId, Arc<Account>>,
    tokens: HashMap<Sha256Digest, Arc<TokenEntry>>,
}

impl Directory {
    /// Reads the database.
    pub fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let mut directory = Self::default();
        for account in account_rows::accounts(connection)? {
            directory.accounts.insert(account.id, Arc::new(account));
        }
        for (hash, token) in account_rows::tokens(connection)? {
            directory.tokens.insert(hash.0, Arc::new(token));
        }
        Ok(directory)
    }

    /// The account of this id.
    pub fn account(&self, id: AccountId) -> Option<Arc<Account>> {
        self.accounts.get(&id).cloned()
    }

    /// Every account, by name.
    pub fn accounts(&self) -> Vec<Arc<Account>> {
        let mut accounts: Vec<_> = self.accounts.values().cloned().collect();
        accounts.sort_by(|one, other| one.name.cmp(&other.name));
        accounts
    }

    /// The account of this name.
    pub fn find(&self, name: &str) -> Option<Arc<Account>> {
        self.accounts.values().find(|account| account.name.as_str() == name).cloned()
    }

    /// The tokens of an account, oldest first.
    pub fn tokens_of(&self, id: AccountId) -> Vec<Arc<TokenEntry>> {
        let mut tokens: Vec<_> =
            self.tokens.values().filter(|token| token.account == id).cloned().collect();
        tokens.sort_by_key(|token| token.id.0);
        tokens
    }

    /// Every token.
    pub fn tokens(&self) -> impl Iterator<Item = &Arc<TokenEntry>> {
        self.tokens.values()
    }

    /// The token of this hash.
    pub fn token(&self, hash: TokenHash) -> Option<Arc<TokenEntry>> {
        self.tokens.get(&hash.0).cloned()
    }

    /// Keeps what `older` knows of when tokens were used: it is written to the database now and then only.
    pub(super) fn take_over_uses(&self, older: &Self) {
        for (hash, token) in &self.tokens {
            if let Some(older) = older.tokens.get(hash) {
                let second = older.last_used_s.load(Ordering::Relaxed);
                token.last_used_s.fetch_max(second, Ordering::Relaxed);
            }
        }
    }
}
