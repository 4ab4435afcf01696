//! There is no updater without the Windows service manager.

use std::process::ExitCode;

use crate::layout::Layout;

/// Says so.
pub fn run_updater(_service_name: &str) -> ExitCode {
    crate::logging::to_stderr("info");
    tracing::error!("the updater works with the Windows service manager only");
    ExitCode::from(2)
}

/// Nothing runs that could be released.
#[expect(clippy::unnecessary_wraps, reason = "asking Windows can fail")]
pub fn release(_layout: &Layout) -> anyhow::Result<()> {
    Ok(())
}
