//! The agent's start as a service: what an interruption left open is taken up, handed to the updater, or closed.

use std::time::Duration;

use kenny_core::update::{Effect, Journal, Settled, prove_alone, settle, stage};
use kenny_proto::Sha256Digest;

use super::super::host::Pc;
use super::super::lock::Lock;
use super::slot::{Key, Slot, Taken, unexpected_end};
use super::{Driver, in_words, running_version};
use crate::config::Config;
use crate::run::Mode;

/// Between two looks at an update that is the updater's, or cannot be handed to it yet.
const LATER: Duration = Duration::from_mins(1);

/// What is left to do after one look.
enum Next {
    Nothing,
    Later,
    Resume { slot: Slot, lock: Lock, journal: Box<Journal>, effect: Effect },
    ProveAlone(Box<Journal>),
}

impl Driver {
    /// Settles what an interruption left, in the background: the connection does not wait for it. Called once, at the
    /// agent's start.
    pub fn settle(&self) {
        if self.shared.mode == Mode::Service {
            tokio::spawn(self.clone().settle_all(true));
        }
    }

    /// The updater has the rest in its hands. Should it be gone in a minute and this agent not (somebody removed its
    /// service), the update is settled as at a start.
    pub(super) fn look_after_the_updater(&self) {
        let this = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(LATER).await;
            this.settle_all(false).await;
        });
    }

    async fn settle_all(self, mut first: bool) {
        let Ok(running_sha256) = self.running_sha256().await else {
            tracing::error!(
                "an update that is open cannot be settled: the executable is unreadable"
            );
            self.shared.settled.send_replace(true);
            return;
        };
        let mut host = self.host();
        loop {
            let this = self.clone();
            let look = move || {
                let next = this.look(&mut host, running_sha256, first);
                (host, next)
            };
            let looked = tokio::task::spawn_blocking(look).await;
            self.shared.settled.send_replace(true);
            let Ok((back, next)) = looked else {
                tracing::error!("settling an update that was open ended unexpectedly");
                return;
            };
            (host, first) = (back, false);
            match next {
                Next::Nothing => return,
                Next::Later => tokio::time::sleep(LATER).await,
                Next::Resume { slot, lock, journal, effect } => {
                    self.resume(host, slot, lock, *journal, effect).await;
                    return;
                }
                Next::ProveAlone(journal) => {
                    let proven = move || prove_alone(&mut host, &journal);
                    if tokio::task::spawn_blocking(proven).await.is_err() {
                        tracing::error!("proving the new version ended unexpectedly");
                    }
                    return;
                }
            }
        }
    }

    /// Blocks for as long as the service manager takes.
    fn look(&self, host: &mut Pc, running_sha256: Sha256Digest, first: bool) -> Next {
        let lock = match self.staging_lock(Duration::ZERO) {
            Ok(lock) => lock,
            Err(error) => {
                tracing::warn!("an update that is open is settled later: {}", error.message);
                return Next::Later;
            }
        };
        match settle(host, running_sha256, first) {
            Settled::Nothing => {
                self.shared.trust.committed(&running_version());
                self.migrate_config();
                Next::Nothing
            }
            Settled::Closed(journal) => {
                tracing::warn!(update.id = %journal.update_id, "an update was interrupted and is closed: {}", journal.step);
                Next::Nothing
            }
            Settled::WithUpdater => {
                if first {
                    tracing::info!("an update is open and its updater is at it");
                }
                Next::Later
            }
            Settled::Later(why) => {
                tracing::error!("an update is open and cannot be settled just now: {why}");
                Next::Later
            }
            Settled::ProveAlone(journal) => Next::ProveAlone(journal),
            Settled::Resume(journal, effect) => match self.take_slot(&Key::of(&journal)) {
                Ok(Taken::Mine(slot)) => Next::Resume { slot, lock, journal, effect },
                // Nobody begins an update while one is open.
                Ok(Taken::Running(_)) | Err(_) => Next::Later,
            },
        }
    }

    /// Brings an older config file to this version's schema. Only while no update is open: a version that may still be
    /// rolled back leaves the file as the old one knows it.
    fn migrate_config(&self) {
        let file = &self.shared.layout.config_file;
        match Config::migrate_file(file) {
            Ok(true) => {
                tracing::info!(file = %file.display(), "the config has this version's schema now");
            }
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(error = crate::words(&error), "the config keeps its older schema");
            }
        }
    }

    async fn resume(&self, mut host: Pc, slot: Slot, lock: Lock, journal: Journal, effect: Effect) {
        tracing::info!(update.id = %journal.update_id, "the update to {} goes on", journal.version);
        let work = move || {
            let staged = stage(&mut host, journal, effect);
            drop(lock);
            staged
        };
        let answer = match tokio::task::spawn_blocking(work).await {
            Ok(Ok(journal)) => Ok(self.staged(journal)),
            Ok(Err(failure)) => Err(in_words(&failure)),
            Err(_) => Err(unexpected_end()),
        };
        // Where nobody asked, the answer is dropped, and with that the updater gets the word.
        slot.answer(&answer);
    }
}
