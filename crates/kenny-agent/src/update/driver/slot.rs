//! One update at a time in this process: who begins it, who joins, and who still waits for its answer.

use std::sync::Arc;

use kenny_core::update::Journal;
use kenny_proto::Sha256Digest;
use kenny_proto::frames::{ErrorCode, ToolError};
use kenny_proto::tools::UpdateStaged;
use semver::Version;
use tokio::sync::watch;

use super::super::updater;
use super::{Driver, lock};
use crate::layout::Layout;

/// What a request comes to; what is staged goes on once nobody holds its [`AfterReply`] any more.
pub(super) type Answer = Result<(UpdateStaged, Option<AfterReply>), ToolError>;

/// An update that is being prepared.
pub(super) struct Running {
    key: Key,
    answer: watch::Receiver<Option<Answer>>,
}

/// What makes two requests the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Key {
    Update(Version, Sha256Digest),
    Rollback,
}

impl Key {
    pub(super) fn of(journal: &Journal) -> Self {
        if journal.is_rollback() {
            Self::Rollback
        } else {
            Self::Update(journal.version.clone(), journal.sha256)
        }
    }

    pub(super) fn in_words(&self) -> String {
        match self {
            Self::Update(version, _) => format!("an update to {version}"),
            Self::Rollback => "a rollback".to_owned(),
        }
    }
}

/// The only update that is being prepared: nobody else begins one before this is dropped.
pub(super) struct Slot {
    driver: Driver,
    answer: watch::Sender<Option<Answer>>,
}

impl Slot {
    pub(super) fn answer(self, answer: &Answer) {
        let Self { driver, answer: sender } = &self;
        lock(&driver.shared.running).take();
        sender.send_replace(Some(answer.clone()));
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        lock(&self.driver.shared.running).take();
    }
}

/// Gives the updater the word once every answer has left, or cannot leave any more.
#[derive(Debug, Clone)]
pub struct AfterReply {
    _word: Arc<Word>,
}

#[derive(Debug)]
struct Word {
    layout: Layout,
}

impl AfterReply {
    /// For the update that is staged in this installation.
    pub fn new(layout: Layout) -> Self {
        Self { _word: Arc::new(Word { layout }) }
    }

    /// The answer was flushed to the socket.
    pub fn reply_was_flushed(self) {
        drop(self);
    }
}

impl Drop for Word {
    fn drop(&mut self) {
        if let Err(error) = updater::release(&self.layout) {
            // The updater goes on by itself after its own timeout.
            tracing::warn!(error = format!("{error:#}"), "the updater could not be told to go on");
        }
    }
}

pub(super) enum Taken {
    Mine(Slot),
    Running(watch::Receiver<Option<Answer>>),
}

pub(super) async fn joined(mut answer: watch::Receiver<Option<Answer>>) -> Answer {
    let answer = answer.wait_for(Option::is_some).await.ok().and_then(|answer| answer.clone());
    answer.unwrap_or_else(|| Err(unexpected_end()))
}

pub(super) fn unexpected_end() -> ToolError {
    ToolError::new(ErrorCode::Internal, "the update ended unexpectedly")
}

impl Driver {
    /// The slot, or the answer to come of the same request; an error where another one has it.
    pub(super) fn take_slot(&self, key: &Key) -> Result<Taken, ToolError> {
        let mut running = lock(&self.shared.running);
        match running.as_ref() {
            Some(running) if running.key == *key => Ok(Taken::Running(running.answer.clone())),
            Some(running) => {
                let words = format!("{} is running; one at a time", running.key.in_words());
                Err(ToolError::new(ErrorCode::ExecFailed, words))
            }
            None => {
                let (sender, answer) = watch::channel(None);
                *running = Some(Running { key: key.clone(), answer });
                Ok(Taken::Mine(Slot { driver: self.clone(), answer: sender }))
            }
        }
    }
}
