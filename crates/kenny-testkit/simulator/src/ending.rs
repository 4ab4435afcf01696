//! How an update ends.

use kenny_core::update::Step;

/// How an update ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The new version stayed.
    Committed,
    /// The old version came back.
    RolledBack,
    /// Nothing was touched.
    Failed,
}

impl Ending {
    /// The ending that a step is; none where it goes on.
    pub const fn of(step: Step) -> Option<Self> {
        match step {
            Step::Committed => Some(Self::Committed),
            Step::RolledBack => Some(Self::RolledBack),
            Step::Failed => Some(Self::Failed),
            Step::Accepted
            | Step::Downloading
            | Step::Verifying
            | Step::Preflight
            | Step::Staging
            | Step::Staged
            | Step::Stopping
            | Step::Replacing
            | Step::Starting
            | Step::Watching
            | Step::Restoring
            | Step::Reviving => None,
        }
    }
}
