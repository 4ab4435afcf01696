//! There is no rollback without the Windows service manager.

use std::process::ExitCode;

/// Says so.
pub fn roll_back(_service_name: &str) -> ExitCode {
    tracing::error!(
        "kenny-agent goes back to its previous version on Windows only, where it is installed as a service"
    );
    ExitCode::from(2)
}
