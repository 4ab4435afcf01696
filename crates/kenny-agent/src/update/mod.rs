//! Carries out what `kenny_core::update` decides: the driver (in the agent) up to the staged candidate, the
//! updater (a process of its own) from there on.

pub mod download;
mod driver;
#[cfg_attr(
    not(windows),
    expect(dead_code, reason = "the updater, on Windows only, copies and swaps")
)]
mod files;
pub mod gate;
mod journal;
mod reporter;
#[cfg(windows)]
mod updater;
#[cfg(not(windows))]
#[path = "updater_unsupported.rs"]
mod updater;

use kenny_proto::UpdateReport;

use crate::layout::Layout;

pub use driver::{AfterReply, Driver};
pub use files::{copy as copy_file, sha256_of_file};
pub use journal::{JournalError, JournalFile};
pub use updater::run_updater;

/// The user control code that tells the updater that the reply has left and it may go on.
pub const RELEASE_CONTROL: u8 = 128;

/// What the last update came to, for `register` and `status`. A journal that cannot be read is logged, and
/// is no report.
pub fn last_report(layout: &Layout) -> Option<UpdateReport> {
    match JournalFile::new(&layout.journal_file).read() {
        Ok(journal) => journal.map(|journal| journal.report()),
        Err(error) => {
            tracing::warn!(error = %error, "the update journal cannot be read");
            None
        }
    }
}

/// The updater's service name for an agent's service name.
pub fn updater_service(service_name: &str) -> String {
    format!("{service_name}-updater")
}
