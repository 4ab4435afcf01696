//! There is no Windows service manager here; every call says so.

use std::process::ExitCode;

use crate::cli::{InstallArgs, ServiceArgs, StatusArgs, UninstallArgs};

const WORDS: &str =
    "installs itself on Windows only; here, run `kenny-agent run` in the foreground";

fn refuse() -> ExitCode {
    tracing::error!("kenny-agent {WORDS}");
    ExitCode::from(2)
}

/// Says that this is not Windows.
pub fn install(_: &InstallArgs) -> ExitCode {
    refuse()
}

/// Says that this is not Windows.
pub fn uninstall(_: &UninstallArgs) -> ExitCode {
    refuse()
}

/// Says that this is not Windows.
pub fn run_service(_: &ServiceArgs) -> ExitCode {
    refuse()
}

/// Says that there is no service here.
pub fn status(args: &StatusArgs) -> ExitCode {
    if args.json {
        crate::cli::print(r#"{"installed":false}"#);
    } else {
        crate::cli::print("not installed: services are a matter of Windows");
    }
    ExitCode::from(3)
}
