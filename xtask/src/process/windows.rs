//! Handing over to another program on Windows.

use std::process::Command;

use anyhow::Result;

/// Runs the other program to its end: a process cannot become another one here.
pub fn hand_over(mut command: Command) -> Result<()> {
    super::run(&mut command)
}
