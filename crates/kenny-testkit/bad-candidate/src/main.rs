//! An executable that says it is a kenny-agent, and fails as a service in the way that its version's pre-release
//! part names: `exits`, `hangs` (in START_PENDING) or `never-connects` (runs, and reaches no server).
//!
//! Whatever is no service start it answers with its version and success: it passes every look at it beforehand.
#![expect(clippy::print_stdout, reason = "answers `version` as an agent does")]

#[cfg_attr(windows, path = "windows.rs")]
#[cfg_attr(not(windows), path = "elsewhere.rs")]
mod service;

use std::env;
use std::process::ExitCode;

/// The version that it was built as.
const VERSION: &str = env!("KENNY_AGENT_VERSION");

/// How it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Ends at once, before it speaks to the service manager.
    Exits,
    /// Says that it starts, and never that it runs.
    Hangs,
    /// Says that it runs, and connects to nothing.
    NeverConnects,
}

fn main() -> ExitCode {
    if env::args().nth(1).as_deref() != Some("run-service") {
        println!("kenny-agent {VERSION}");
        return ExitCode::SUCCESS;
    }
    let pre_release = VERSION.split_once('-').map(|(_, pre_release)| pre_release);
    match pre_release {
        Some("hangs") => service::run(Behaviour::Hangs),
        Some("never-connects") => service::run(Behaviour::NeverConnects),
        Some(_) | None => service::run(Behaviour::Exits),
    }
}
