//! There is no service manager here.

use std::process::ExitCode;

use crate::Behaviour;

/// Fails, as every way of failing does here.
pub fn run(_behaviour: Behaviour) -> ExitCode {
    ExitCode::FAILURE
}

/// Fails: files are not held by opening them here.
pub fn hold(_file: &str, _seconds: u64) -> ExitCode {
    ExitCode::FAILURE
}
