//! Other processes, on Unix.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use anyhow::{Result, ensure};

/// Keeps Ctrl-C of this console away from the command: whoever started it ends it in order.
pub fn own_group(command: &mut Command) {
    command.process_group(0);
}

/// Asks a child to end, with SIGTERM.
pub fn ask_to_end(child: &mut Child) -> Result<()> {
    signal("-TERM", child.id())
}

/// Ends a process at once.
pub fn end(pid: u32) -> Result<()> {
    signal("-KILL", pid)
}

/// Lets a process do nothing until it is thawed: to others it is there and does not answer.
pub fn freeze(pid: u32) -> Result<()> {
    signal("-STOP", pid)
}

/// Lets a frozen process go on.
pub fn thaw(pid: u32) -> Result<()> {
    signal("-CONT", pid)
}

/// The command line of a living process.
pub fn command_line(pid: u32) -> Option<String> {
    let line = fs_err::read(format!("/proc/{pid}/cmdline")).ok()?;
    Some(String::from_utf8_lossy(&line).replace('\0', " ").trim().to_owned())
}

fn signal(signal: &str, pid: u32) -> Result<()> {
    let status =
        Command::new("kill").args([signal, &pid.to_string()]).stderr(Stdio::null()).status()?;
    ensure!(status.success(), "cannot send {signal} to process {pid}");
    Ok(())
}
