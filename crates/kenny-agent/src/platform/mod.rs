//! What differs between operating systems: one module each, with the same signatures.

#[cfg(not(windows))]
mod linux;
#[cfg(windows)]
mod windows;

#[cfg_attr(windows, path = "time_zone_windows.rs")]
mod time_zone;

pub use time_zone::utc_offset_s;

#[cfg(not(windows))]
pub use linux::*;
#[cfg(windows)]
pub use windows::*;

/// How full a volume is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Drive or mount point.
    pub name: String,
    /// Its size.
    pub total_bytes: u64,
    /// What is left.
    pub free_bytes: u64,
}

/// How full memory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// All of it.
    pub total_bytes: u64,
    /// What programs can still get.
    pub available_bytes: u64,
}

/// A shell that is about to run a script.
#[derive(Debug)]
pub struct Shell {
    /// How it is started.
    pub command: tokio::process::Command,
    /// What it reads from its standard input; nothing when absent.
    pub input: Option<Vec<u8>>,
}
