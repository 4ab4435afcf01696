//! Carries out what `kenny_core::update` decides: the driver (in the agent) up to the staged candidate, the
//! updater (a process of its own) from there on. Both work on the same [`host`].

pub mod download;
mod driver;
pub(crate) mod files;
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

use kenny_core::image;
use kenny_core::update::{File, Journal, JournalProblem};
use kenny_proto::UpdateReport;
use serde::Serialize;

use crate::layout::Layout;

pub use driver::{AfterReply, Driver};
pub use files::{Verified, copy as copy_file, sha256_of, sha256_of_file, verify, write_program};
pub use journal::JournalFile;
pub use preflight::Said;
pub use rollback::roll_back;
pub use updater::run_updater;

/// The user control code that tells the updater that the reply has left and it may go on.
pub const RELEASE_CONTROL: u8 = 128;

/// The journal of the last update.
pub fn journal(layout: &Layout) -> Result<Option<Journal>, JournalProblem> {
    JournalFile::new(&layout.journal_file).read()
}

/// What the last update came to, for `register`. A journal that cannot be read is logged, and is no report.
pub fn last_report(layout: &Layout) -> Option<UpdateReport> {
    match journal(layout) {
        Ok(journal) => journal.map(|journal| report(layout, &journal)),
        Err(problem) => {
            tracing::warn!("the journal of the last update cannot be used: {problem}");
            None
        }
    }
}

/// What is told of an update; with the updater's own words where it did not work out.
pub fn report(layout: &Layout, journal: &Journal) -> UpdateReport {
    let failed = !journal.is_open() && journal.failure.is_some();
    let began = journal.history.first().filter(|_| failed).map(|first| first.at);
    journal.report(began.map_or_else(Vec::new, |began| log_tail::since(&layout.log_dir, began)))
}

/// The version that this PC kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// What it says it is.
    pub version: String,
    /// Its bytes.
    pub sha256: String,
}

/// The version that the last update replaced; none where nothing is kept that can be read.
pub fn kept(layout: &Layout) -> Option<Kept> {
    let path = places::Places::new(layout.clone()).path(File::Previous)?;
    let bytes = fs_err::read(path).ok()?;
    let facts = image::read_facts(&bytes).ok()?;
    let sha256 = sha256_of(&bytes).to_string();
    Some(Kept { version: facts.version.to_string(), sha256 })
}

/// Forgets the version that the last update replaced: nothing goes back to it any more.
pub fn forget_previous(layout: &Layout) {
    let places = places::Places::new(layout.clone());
    for path in [File::Previous, File::ConfigKept].into_iter().filter_map(|file| places.path(file))
    {
        match fs_err::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(error = %error, "the version before stays, and going back to it would bring back an identity that is over");
            }
            Ok(()) | Err(_) => {}
        }
    }
}

/// The updater's service name for an agent's service name.
pub fn updater_service(service_name: &str) -> String {
    format!("{service_name}-updater")
}
