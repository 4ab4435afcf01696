//! Logins between password and code: what was typed is kept for a short time, in memory alone, so that it need not be
//! typed again and stands in no page.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kenny_proto::{Secret, Sha256Digest};

use crate::auth::TokenHash;

/// How long somebody may look for the code.
const PATIENCE: Duration = Duration::from_mins(3);
/// As many at a time: each is somebody who knew a password.
const MAX: usize = 256;

/// A name and a password that are right.
#[derive(Debug, Clone)]
pub struct Proven {
    /// The account's name.
    pub name: String,
    /// Its password.
    pub password: Secret,
}

/// Everybody who owes a code.
#[derive(Default)]
pub struct PendingLogins(Mutex<HashMap<Sha256Digest, (Instant, Proven)>>);

impl PendingLogins {
    /// Keeps what a visitor proved.
    pub fn keep(&self, visitor: TokenHash, proven: Proven, now: Instant) {
        let mut pending = self.lock();
        pending.retain(|_, (since, _)| now.duration_since(*since) < PATIENCE);
        if pending.len() >= MAX {
            let oldest = pending.iter().min_by_key(|(_, (since, _))| *since).map(|(key, _)| *key);
            oldest.and_then(|oldest| pending.remove(&oldest));
        }
        pending.insert(visitor.0, (now, proven));
    }

    /// What a visitor proved, unless it was too long ago.
    pub fn get(&self, visitor: TokenHash, now: Instant) -> Option<Proven> {
        let mut pending = self.lock();
        pending.retain(|_, (since, _)| now.duration_since(*since) < PATIENCE);
        pending.get(&visitor.0).map(|(_, proven)| proven.clone())
    }

    /// Forgets it.
    pub fn forget(&self, visitor: TokenHash) {
        self.lock().remove(&visitor.0);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Sha256Digest, (Instant, Proven)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proven(name: &str) -> Proven {
        Proven { name: name.to_owned(), password: Secret("x".to_owned()) }
    }

    #[test]
    fn what_was_typed_is_forgotten_soon() {
        let (pending, start) = (PendingLogins::default(), Instant::now());
        let visitor = TokenHash::of("a");
        pending.keep(visitor, proven("anna"), start);
        assert_eq!(pending.get(visitor, start + PATIENCE / 2).unwrap().name, "anna");
        assert!(pending.get(TokenHash::of("b"), start).is_none());
        assert!(pending.get(visitor, start + PATIENCE).is_none());
        assert!(pending.lock().is_empty());
    }

    #[test]
    fn there_are_never_many() {
        let (pending, start) = (PendingLogins::default(), Instant::now());
        for number in 0..=u32::try_from(MAX).unwrap() {
            let now = start + Duration::from_millis(u64::from(number));
            pending.keep(TokenHash::of(&number.to_string()), proven("anna"), now);
        }
        assert_eq!(pending.lock().len(), MAX);
        assert!(pending.get(TokenHash::of("0"), start).is_none(), "the oldest made room");
        assert!(pending.get(TokenHash::of("1"), start).is_some());
    }
}
