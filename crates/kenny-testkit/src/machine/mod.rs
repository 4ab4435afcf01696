//! A Windows machine that a test may install into, break and reboot.
//!
//! On Linux it is a Wine prefix of its own, on Windows this very machine with a service name of its own. Both
//! have the same operations; what only one of them can do, [`Machine::CAN_REBOOT`], [`Machine::RUNS_POWERSHELL`] and
//! [`Machine::KEEPS_ACCESS_LISTS`] say.

mod service;

#[cfg_attr(windows, path = "native.rs")]
#[cfg_attr(not(windows), path = "wine.rs")]
mod os;

#[cfg(not(windows))]
mod template;

use std::path::PathBuf;

pub use os::Machine;
pub use service::{Service, ServiceState};

/// Where a machine is made and what it is called.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Names the machine in files and services; letters, digits and dashes.
    pub name: String,
    /// The folder that machines lie in.
    pub work: PathBuf,
}

/// A process of a machine, as its host sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// The host's number for it.
    pub pid: u32,
    /// Its command line.
    pub command: String,
}
