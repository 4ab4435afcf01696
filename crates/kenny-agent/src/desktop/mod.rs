//! The person in front of the PC: whether there is one, a message to read, and Windows' question for an administrator.

#[cfg_attr(windows, path = "windows.rs")]
#[cfg_attr(not(windows), path = "elsewhere.rs")]
mod system;

pub use system::{hide_console, run_as_administrator, show, started_by_double_click};

/// How a message looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// It went well, or is only said.
    Plain,
    /// Something went wrong.
    Trouble,
    /// OK or Cancel.
    Question,
}

/// How a program that was to run as administrator ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Elevated {
    /// It ran, and ended with this code.
    Ended(u8),
    /// Windows' question was answered with no.
    Declined,
}
