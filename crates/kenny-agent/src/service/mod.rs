//! The agent as a service: install, uninstall, run, status.

#[cfg(windows)]
mod host;
#[cfg(windows)]
mod install;
#[cfg(windows)]
pub mod installed_apps;
#[cfg(windows)]
mod process;
#[cfg(windows)]
pub mod scm;
#[cfg(windows)]
mod status;
#[cfg(windows)]
mod uninstall;
#[cfg(not(windows))]
mod unsupported;

/// What the agent is for, as Windows shows it.
#[cfg(windows)]
const DESCRIPTION: &str = "Lets the person who looks after this PC help from afar.";

#[cfg(windows)]
pub use host::{ServiceContext, run_as_service, run_service};
#[cfg(windows)]
pub use install::install;
#[cfg(windows)]
pub use status::status;
#[cfg(windows)]
pub use uninstall::uninstall;
#[cfg(not(windows))]
pub use unsupported::{install, run_service, status, uninstall};
