//! Handing over to another program on Unix.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Result, anyhow};

/// Becomes the other program, so that Ctrl-C and signals reach it alone. Returns only when it cannot be started.
pub fn hand_over(mut command: Command) -> Result<()> {
    let text = super::display(&command);
    let error = command.exec();
    Err(anyhow!(error).context(format!("cannot start `{text}`")))
}
