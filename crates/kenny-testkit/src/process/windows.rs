//! Other processes, on Windows.

use std::os::windows::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use anyhow::{Result, ensure};

/// `CREATE_NEW_PROCESS_GROUP` of the Win32 API.
const NEW_PROCESS_GROUP: u32 = 0x0000_0200;

/// Keeps Ctrl-C of this console away from the command: whoever started it ends it in order.
pub fn own_group(command: &mut Command) {
    command.creation_flags(NEW_PROCESS_GROUP);
}

/// Ends a child: there is no gentle way from outside for a process without a window or console of its own.
pub fn ask_to_end(child: &mut Child) -> Result<()> {
    Ok(child.kill()?)
}

/// Ends a process at once.
pub fn end(pid: u32) -> Result<()> {
    let status = Command::new("taskkill")
        .args(["/F", "/PID", &pid.to_string()])
        .stdout(Stdio::null())
        .status()?;
    ensure!(status.success(), "cannot end process {pid}");
    Ok(())
}

/// The command line of a living process.
pub fn command_line(pid: u32) -> Option<String> {
    let script = format!("(Get-CimInstance Win32_Process -Filter 'ProcessId={pid}').CommandLine");
    let output =
        Command::new("powershell").args(["-NoProfile", "-Command", &script]).output().ok()?;
    let line = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (!line.is_empty()).then_some(line)
}

/// Not to be had here without a debugger.
pub fn freeze(_pid: u32) -> Result<()> {
    anyhow::bail!("processes cannot be frozen here")
}

/// See [`freeze`].
pub fn thaw(_pid: u32) -> Result<()> {
    anyhow::bail!("processes cannot be frozen here")
}
