//! There is no service manager here.

use std::process::ExitCode;

use crate::Behaviour;

/// Fails, as every way of failing does here.
pub fn run(_behaviour: Behaviour) -> ExitCode {
    ExitCode::FAILURE
}
