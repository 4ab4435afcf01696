//! There is no updater without the Windows service manager.

use std::process::ExitCode;

use kenny_proto::Sha256Digest;

use crate::layout::Layout;

/// Says so.
pub fn run_updater(_service_name: &str) -> ExitCode {
    tracing::error!("the updater works with the Windows service manager only");
    ExitCode::from(2)
}

/// Says so.
pub fn start(_layout: &Layout, _running: Sha256Digest) -> anyhow::Result<()> {
    anyhow::bail!("the updater works with the Windows service manager only")
}

/// Nothing runs that could be released.
#[expect(clippy::unnecessary_wraps, reason = "asking Windows can fail")]
pub fn release(_layout: &Layout) -> anyhow::Result<()> {
    Ok(())
}

/// Nothing was started that could be removed.
pub fn remove(_layout: &Layout) {}

/// Nothing runs that could be brought back.
#[expect(clippy::unnecessary_wraps, reason = "asking Windows can fail")]
pub fn ensure_running(_layout: &Layout) -> anyhow::Result<()> {
    Ok(())
}
