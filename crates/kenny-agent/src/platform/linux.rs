//! Linux: the foreground agent.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kenny_proto::{Arch, Os};
use tokio::process::{Child, Command};

use super::{Memory, Shell, Volume};

/// This operating system.
pub const OS: Os = Os::Linux;

/// Nothing to harden: the loader does not look into the working directory.
pub fn harden_process() {}

/// The machine's architecture.
pub const fn native_arch() -> Arch {
    if cfg!(target_arch = "aarch64") { Arch::Aarch64 } else { Arch::X86_64 }
}

/// The PC's name.
pub fn hostname() -> String {
    nix::unistd::gethostname()
        .map_or_else(|_| "unknown".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// The operating system's name and version, for people.
pub fn os_version() -> String {
    let release = fs_err::read_to_string("/etc/os-release").unwrap_or_default();
    release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .map_or_else(|| "Linux".to_owned(), |name| name.trim_matches('"').to_owned())
}

/// Time since the PC started, time asleep included.
pub fn uptime() -> io::Result<Duration> {
    let text = fs_err::read_to_string("/proc/uptime")?;
    let seconds = text.split(' ').next().and_then(|seconds| seconds.parse().ok());
    seconds
        .map(Duration::from_secs_f64)
        .ok_or_else(|| io::Error::other("/proc/uptime is malformed"))
}

/// How full memory is.
pub fn memory() -> io::Result<Memory> {
    let text = fs_err::read_to_string("/proc/meminfo")?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split_whitespace().next())
            .and_then(|kib| kib.parse::<u64>().ok())
            .map(|kib| kib * 1024)
            .ok_or_else(|| io::Error::other("/proc/meminfo is malformed"))
    };
    Ok(Memory { total_bytes: field("MemTotal:")?, available_bytes: field("MemAvailable:")? })
}

/// Resident memory of this process.
pub fn own_memory_bytes() -> io::Result<u64> {
    let text = fs_err::read_to_string("/proc/self/statm")?;
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    // 4 KiB pages on both architectures that the agent is built for.
    pages.map(|pages| pages * 4096).ok_or_else(|| io::Error::other("/proc/self/statm is malformed"))
}

/// The volumes that hold files of this PC.
pub fn volumes() -> io::Result<Vec<Volume>> {
    let mounts = fs_err::read_to_string("/proc/self/mounts")?;
    let mut volumes: Vec<(String, Volume)> = Vec::new();
    for line in mounts.lines() {
        let mut fields = line.split(' ');
        let (Some(device), Some(mount)) = (fields.next(), fields.next()) else { continue };
        if !device.starts_with("/dev/") || volumes.iter().any(|(known, _)| known == device) {
            continue;
        }
        let Ok(stat) = nix::sys::statvfs::statvfs(mount) else { continue };
        let unit = stat.fragment_size();
        let volume = Volume {
            name: mount.to_owned(),
            total_bytes: stat.blocks() * unit,
            free_bytes: stat.blocks_available() * unit,
        };
        volumes.push((device.to_owned(), volume));
    }
    Ok(volumes.into_iter().map(|(_, volume)| volume).collect())
}

/// Room on the volume of a folder, or of its nearest ancestor that exists.
pub fn free_bytes(folder: &Path) -> io::Result<u64> {
    let existing = folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    let stat = nix::sys::statvfs::statvfs(existing)?;
    Ok(stat.blocks_available() * stat.fragment_size())
}

/// Where programs are installed.
pub fn program_files() -> io::Result<PathBuf> {
    Ok(PathBuf::from("/opt"))
}

/// Where programs keep their state: the user's state folder, as the agent runs in the foreground.
pub fn program_data() -> io::Result<PathBuf> {
    if let Some(state) = std::env::var_os("XDG_STATE_HOME") {
        return Ok(PathBuf::from(state));
    }
    let home = std::env::var_os("HOME")
        .ok_or_else(|| io::Error::other("neither XDG_STATE_HOME nor HOME is set"))?;
    Ok(PathBuf::from(home).join(".local/state"))
}

/// Renames a file over another, which it replaces.
pub fn replace_file(from: &Path, to: &Path) -> io::Result<()> {
    fs_err::rename(from, to)?;
    if let Some(folder) = to.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// Renames a file over another, which it replaces; here nothing is ever waited for.
pub fn replace_file_once(from: &Path, to: &Path) -> io::Result<()> {
    replace_file(from, to)
}

/// True where somebody else has the file open in a way that keeps it from being written.
pub fn is_in_use(error: &io::Error) -> bool {
    let busy = [nix::errno::Errno::ETXTBSY, nix::errno::Errno::EBUSY];
    error.raw_os_error().is_some_and(|code| busy.map(|errno| errno as i32).contains(&code))
}

/// True where the disk had no room.
pub fn is_disk_full(error: &io::Error) -> bool {
    let full = [nix::errno::Errno::ENOSPC, nix::errno::Errno::EDQUOT];
    error.raw_os_error().is_some_and(|code| full.map(|errno| errno as i32).contains(&code))
}

/// Time that this PC was awake, since a moment that lies before the first call; no clock that somebody can set.
pub fn observed() -> Duration {
    static BEGAN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    BEGAN.get_or_init(Instant::now).elapsed()
}

/// Opens a file for reading. Linux has no share modes; staging happens on Windows only.
pub fn open_without_writers(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// Fails: Authenticode is of Windows.
pub fn check_signature(_path: &Path) -> io::Result<()> {
    let words = "Authenticode signatures can be checked on Windows only";
    Err(io::Error::new(io::ErrorKind::Unsupported, words))
}

/// The program that runs scripts.
pub fn shell(script: &str) -> Shell {
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(script);
    Shell { command, input: None }
}

/// Console output that is not UTF-8 as text: there is no other code page.
pub fn decode_console(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A program that is about to run gets no window: here none does.
pub fn without_window(_command: &mut Command) {}

/// A process and everything it starts, in a process group of its own.
#[derive(Debug)]
pub struct ProcessTree {
    group: Option<nix::unistd::Pid>,
}

impl ProcessTree {
    /// Starts the command as the root of a tree.
    pub fn spawn(command: &mut Command) -> io::Result<(Child, Self)> {
        let child = command.process_group(0).spawn()?;
        let group =
            child.id().and_then(|id| i32::try_from(id).ok()).map(nix::unistd::Pid::from_raw);
        Ok((child, Self { group }))
    }

    /// Ends the whole tree at once.
    pub fn kill(&self) {
        if let Some(group) = self.group {
            // The group is gone already: nothing to end.
            let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
        }
    }
}

impl Drop for ProcessTree {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether this process may change what belongs to the whole PC. Here the agent's files are the user's own.
pub fn is_administrator() -> io::Result<bool> {
    Ok(true)
}

/// There is no event log; the log on standard error has it.
pub fn report_event(_text: &str) {}

/// Waits for Ctrl-C or a request to end.
pub async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        drop(tokio::signal::ctrl_c().await);
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
