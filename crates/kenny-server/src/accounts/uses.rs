//! When tokens were last used: noted in memory with each request, written to the database now and then.

use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;

use super::{Accounts, TokenId};
use crate::store::{StoreError, account_rows};

/// How much of it a crash may lose.
const EVERY: Duration = Duration::from_mins(1);

impl Accounts {
    /// Writes it for as long as the server runs.
    pub async fn write_uses(&self) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = self.save_uses().await {
                tracing::warn!(%error, "when tokens were last used could not be kept");
            }
        }
    }

    /// Writes what is new.
    pub async fn save_uses(&self) -> Result<(), StoreError> {
        let uses: Vec<(TokenId, Timestamp)> = self.read(|directory| {
            directory
                .tokens()
                .filter_map(|token| {
                    let used = token.last_used_at()?;
                    let saved = token.saved_s.swap(used.as_second(), Ordering::Relaxed);
                    (saved != used.as_second()).then_some((token.id, used))
                })
                .collect()
        });
        if uses.is_empty() {
            return Ok(());
        }
        self.store.run(move |connection| account_rows::save_uses(connection, &uses)).await
    }
}
