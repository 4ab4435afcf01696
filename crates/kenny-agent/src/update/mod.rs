//! Carries out what `kenny_core::update` decides: the driver (in the agent) up to the staged candidate, the
//! updater (a process of its own) from there on. Both work on the same [`host`].

pub mod download;
mod driver;
mod files;
pub mod gate;
mod host;
mod journal;
mod life;
mod lock;
mod log_tail;
mod places;
mod preflight;
mod probe;
mod reporter;
mod starts;
pub mod words;

#[cfg_attr(windows, path = "rollback_windows.rs")]
#[cfg_attr(not(windows), path = "rollback_elsewhere.rs")]
mod rollback;
#[cfg_attr(windows, path = "services_windows.rs")]
#[cfg_attr(not(windows), path = "services_elsewhere.rs")]
mod services;
#[cfg_attr(windows, path = "updater_windows.rs")]
#[cfg_attr(not(windows), path = "updater_elsewhere.rs")]
mod updater;

use kenny_core::update::Journal;
use kenny_proto::UpdateReport;

use crate::layout::Layout;

pub use driver::{AfterReply, Driver};
pub use files::{copy as copy_file, sha256_of_file};
pub use journal::JournalFile;
pub use preflight::Said;
pub use rollback::roll_back;
pub use updater::run_updater;

/// The user control code that tells the updater that the reply has left and it may go on.
pub const RELEASE_CONTROL: u8 = 128;

/// What the last update came to, for `register`. A journal that cannot be read is logged, and is no report.
pub fn last_report(layout: &Layout) -> Option<UpdateReport> {
    match JournalFile::new(&layout.journal_file).read() {
        Ok(journal) => journal.map(|journal| report(layout, &journal)),
        Err(problem) => {
            tracing::warn!("the journal of the last update cannot be used: {problem}");
            None
        }
    }
}

/// What the server is told of an update; with the updater's own words where it did not work out.
fn report(layout: &Layout, journal: &Journal) -> UpdateReport {
    let failed = !journal.is_open() && journal.failure.is_some();
    let began = journal.history.first().filter(|_| failed).map(|first| first.at);
    journal.report(began.map_or_else(Vec::new, |began| log_tail::since(&layout.log_dir, began)))
}

/// The updater's service name for an agent's service name.
pub fn updater_service(service_name: &str) -> String {
    format!("{service_name}-updater")
}
