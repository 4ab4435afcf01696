//! Tells the server where an update stands.

use std::time::Duration;

use jiff::Timestamp;
use kenny_core::update::Journal;
use kenny_proto::frames::UpdateStatus;
use kenny_proto::update::Failure;
use kenny_proto::{AgentFrame, Phase, UpdateId};
use semver::Version;

use super::JournalFile;
use super::host::Listener;
use crate::tunnel::Outbox;

/// How often the journal is looked at while an update is open: the updater writes it, another process.
const LOOK: Duration = Duration::from_millis(200);

/// One status frame.
pub fn status(journal: &Journal, percent: Option<u8>, detail: Option<String>) -> AgentFrame {
    let failure = journal.failure.clone().filter(|_| !journal.is_open());
    AgentFrame::UpdateStatus(UpdateStatus {
        update_id: journal.update_id,
        version: journal.version.clone(),
        phase: journal.phase(),
        percent,
        detail: detail.or_else(|| failure.as_ref().map(|failure| failure.detail.clone())),
        failure,
        at: journal.history.last().map_or_else(Timestamp::now, |last| last.at),
    })
}

/// The status of an update that was refused before there was a journal of it.
pub fn refused(update_id: UpdateId, version: Version, failure: Failure) -> AgentFrame {
    AgentFrame::UpdateStatus(UpdateStatus {
        update_id,
        version,
        phase: Phase::Failed,
        percent: None,
        detail: Some(failure.detail.clone()),
        failure: Some(failure),
        at: Timestamp::now(),
    })
}

/// The agent's own part of an update goes to the server as it happens.
pub struct ToServer(pub Outbox);

impl Listener for ToServer {
    fn changed(&mut self, journal: &Journal) {
        match &journal.failure {
            Some(failure) if !journal.is_open() => tracing::error!(
                update.id = %journal.update_id,
                kind = %failure.kind,
                "the update to {} ended, {}: {}",
                journal.version,
                journal.step,
                failure.detail
            ),
            Some(_) | None => tracing::info!(
                update.id = %journal.update_id,
                version = %journal.version,
                "{}",
                journal.step
            ),
        }
        self.0.push(status(journal, None, None));
    }

    fn progress(&mut self, journal: &Journal, bytes: u64, total: Option<u64>) {
        let percent = total
            .filter(|total| *total > 0)
            .and_then(|total| u8::try_from(bytes.saturating_mul(100) / total).ok());
        self.0.push(status(journal, percent, Some(format!("{bytes} bytes"))));
    }
}

/// Reports every change of the journal until the update has an outcome.
pub async fn follow(file: JournalFile, outbox: Outbox) {
    let mut last = None;
    loop {
        match file.read() {
            Ok(Some(journal)) => {
                if last != Some(journal.step) {
                    last = Some(journal.step);
                    outbox.push(status(&journal, None, None));
                }
                if !journal.is_open() {
                    return;
                }
            }
            Ok(None) => return,
            // Between the updater's write and rename, or held by a scanner: look again.
            Err(error) => tracing::debug!(error = %error, "the journal cannot be read just now"),
        }
        tokio::time::sleep(LOOK).await;
    }
}
