//! Tells the server where an open update stands, each time that the journal changes.

use std::time::Duration;

use jiff::Timestamp;
use kenny_core::update::Journal;
use kenny_proto::AgentFrame;
use kenny_proto::frames::UpdateStatus;

use super::JournalFile;
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
