//! A Windows machine made of Wine: one prefix, with its own registry, service manager and drive C:.
//!
//! Everything that a machine starts carries its prefix in the environment; that is how its processes are found again
//! and why nobody else's are ever ended.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::service::Service;
use super::{Process, Spec, template};
use crate::process::{self, Output};

/// Long enough for a loaded two-core machine, short enough to notice a hang.
const COMMAND_LIMIT: Duration = Duration::from_mins(1);

/// How long a machine may take to end.
const END_LIMIT: Duration = Duration::from_secs(20);

/// One Wine prefix. Dropping it ends everything in it and removes it.
#[derive(Debug)]
pub struct Machine {
    prefix: PathBuf,
    ended: bool,
}

impl Machine {
    /// A Wine machine boots within two seconds.
    pub const CAN_REBOOT: bool = true;
    /// Wine's powershell is a stub that says nothing and ends with 0.
    pub const RUNS_POWERSHELL: bool = false;
    /// Wine makes access lists up from the bits of Unix files.
    pub const KEEPS_ACCESS_LISTS: bool = false;

    /// Makes a fresh machine and boots it.
    pub async fn create(spec: &Spec) -> Result<Self> {
        let wine = spec.work.join("wine");
        let template = {
            let wine = wine.clone();
            tokio::task::spawn_blocking(move || template::ensure(&wine)).await??
        };
        let prefix = wine.join("machines").join(&spec.name);
        if prefix.exists() {
            remove_prefix(&prefix)?;
        }
        clone_template(&template, &prefix)?;
        let machine = Self { prefix, ended: false };
        machine.boot().await?;
        Ok(machine)
    }

    /// Ends and removes a machine that an earlier run left behind, if it did.
    pub fn sweep(spec: &Spec) -> Result<()> {
        let prefix = spec.work.join("wine/machines").join(&spec.name);
        if prefix.exists() { remove_prefix(&prefix) } else { Ok(()) }
    }

    /// The name that the agent's service gets here.
    pub fn service_name(&self) -> &'static str {
        "kenny-agent"
    }

    /// Where the agent is installed, as a path of the host.
    pub fn install_dir(&self) -> PathBuf {
        self.prefix.join("drive_c/Program Files/Kenny")
    }

    /// Where the agent keeps its state, as a path of the host.
    pub fn state_dir(&self) -> PathBuf {
        self.prefix.join("drive_c/ProgramData/Kenny")
    }

    /// Puts a file on the machine, outside of where the agent is installed.
    pub fn put(&self, file: &Path) -> Result<PathBuf> {
        let folder = self.prefix.join("drive_c/incoming");
        fs_err::create_dir_all(&folder)?;
        let to = folder.join(file.file_name().context("a file has a name")?);
        fs_err::copy(file, &to)?;
        Ok(to)
    }

    /// A path of the host as the machine's own programs write it.
    pub fn path_inside(&self, path: &Path) -> Result<String> {
        let inside = path.strip_prefix(self.prefix.join("drive_c")).context("it is on drive C:")?;
        let inside = inside.to_str().context("paths of the rig are UTF-8")?;
        Ok(format!("C:\\{}", inside.replace('/', "\\")))
    }

    /// Runs a program of the host's file system on the machine, to its end.
    pub async fn run(&self, program: &Path, arguments: &[&str]) -> Result<Output> {
        let program = program.to_str().context("paths of the rig are UTF-8")?;
        self.wine(&[&[program], arguments].concat()).await
    }

    /// A service, or nothing if there is none of that name.
    pub async fn service(&self, name: &str) -> Result<Option<Service>> {
        let output = self.wine(&["sc", "query", name]).await?;
        // Wine's sc says nothing and ends with 1.
        if output.code == 1 {
            Ok(None)
        } else {
            Service::parse(&output.success()?.stdout).map(Some)
        }
    }

    /// Starts a service.
    pub async fn start_service(&self, name: &str) -> Result<Output> {
        self.wine(&["sc", "start", name]).await
    }

    /// Asks a service to stop.
    pub async fn stop_service(&self, name: &str) -> Result<Output> {
        self.wine(&["sc", "stop", name]).await
    }

    /// Its running processes whose command line contains `needle`.
    pub fn processes(&self, needle: &str) -> Vec<Process> {
        processes_of(&self.prefix)
            .into_iter()
            .filter(|process| process.command.contains(needle))
            .collect()
    }

    /// Finds running processes by a part of their command line, from any thread; their numbers.
    pub fn lister(&self) -> impl Fn(&str) -> Vec<u32> + Send + use<> {
        let prefix = self.prefix.clone();
        move |needle| {
            let found = processes_of(&prefix).into_iter();
            found
                .filter(|process| process.command.contains(needle))
                .map(|process| process.pid)
                .collect()
        }
    }

    /// Ends one of its processes at once, as a crash would.
    pub fn kill(&self, pid: u32) -> Result<()> {
        ensure!(
            processes_of(&self.prefix).iter().any(|process| process.pid == pid),
            "process {pid} is none of this machine's"
        );
        process::end(pid)
    }

    /// Switches the machine off, all at once, and on again.
    pub async fn reboot(&self) -> Result<()> {
        let left = tokio::task::block_in_place(|| end_prefix(&self.prefix));
        ensure!(left.is_empty(), "these processes survived the reboot: {left:?}");
        self.boot().await
    }

    /// Ends the machine and removes it. An error names what would not end.
    pub fn shut_down(mut self) -> Result<()> {
        self.ended = true;
        let left = tokio::task::block_in_place(|| end_prefix(&self.prefix));
        fs_err::remove_dir_all(&self.prefix)?;
        if left.is_empty() { Ok(()) } else { bail!("these processes had to be killed: {left:?}") }
    }

    async fn boot(&self) -> Result<()> {
        // Without a server that stays, services die silently soon after the last user process.
        let mut server = wine_command(&self.prefix, "wineserver").arg("-p").spawn()?;
        let Some(status) = wait(&mut server, COMMAND_LIMIT)? else {
            bail!("`wineserver -p` hangs")
        };
        ensure!(status.success(), "`wineserver -p` failed ({status})");
        // The first process boots the machine: its services start with it.
        self.wine(&["cmd", "/c", "exit", "0"]).await?.success()?;
        Ok(())
    }

    async fn wine(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = wine_command(&self.prefix, "wine");
        command.args(arguments);
        process::run(command.into(), &self.prefix.join("output"), COMMAND_LIMIT).await
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if !self.ended {
            end_prefix(&self.prefix);
            // The next run sweeps what this cannot.
            let _ = fs_err::remove_dir_all(&self.prefix);
        }
    }
}

/// A program of Wine's in `prefix`.
pub fn wine_command(prefix: &Path, program: &str) -> Command {
    let mut command = Command::new(program);
    process::own_group(&mut command);
    process::forget_kenny(&mut command);
    command
        .env("WINEPREFIX", prefix)
        .env("WINEDEBUG", "-all")
        // No .NET, no HTML engine, no desktop menus: each asks questions or costs seconds at the first boot.
        .env("WINEDLLOVERRIDES", "mscoree=;mshtml=;winemenubuilder.exe=")
        // Wine links the user's folders from the home folder.
        .env("HOME", prefix)
        .env_remove("DISPLAY")
        .env_remove("WAYLAND_DISPLAY")
        .current_dir(prefix)
        .stdin(Stdio::null());
    command
}

/// Waits for a child; ends it and returns nothing when `limit` has passed.
pub fn wait(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if began.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Hard links cost 40 ms where copies would cost seconds. The registry's files are written in place: they are copied.
fn clone_template(template: &Path, prefix: &Path) -> Result<()> {
    if let Some(folder) = prefix.parent() {
        fs_err::create_dir_all(folder)?;
    }
    let status = Command::new("cp").arg("-al").args([template, prefix]).status()?;
    ensure!(status.success(), "cannot clone the Wine template ({status})");
    for entry in fs_err::read_dir(template)? {
        let path = entry?.path();
        let name = path.file_name().context("an entry has a name")?;
        let to = prefix.join(name);
        if path.extension().is_some_and(|extension| extension == "reg") {
            fs_err::remove_file(&to)?;
            fs_err::copy(&path, &to)?;
        } else if name == SOCKET_FOLDER_FILE {
            fs_err::remove_file(&to)?;
        }
    }
    Ok(())
}

fn remove_prefix(prefix: &Path) -> Result<()> {
    end_prefix(prefix);
    fs_err::remove_dir_all(prefix)?;
    Ok(())
}

/// Debian's Wine keeps its server's sockets in a folder of the temporary folder, which this file of a prefix names.
const SOCKET_FOLDER_FILE: &str = "wineserver";

/// Ends everything in a prefix and returns what did not end by itself and had to be killed.
pub fn end_prefix(prefix: &Path) -> Vec<Process> {
    let began = Instant::now();
    let server_ended = ["-k", "-w"].iter().all(|argument| {
        wine_command(prefix, "wineserver")
            .arg(argument)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()
            .and_then(|mut child| wait(&mut child, END_LIMIT).ok().flatten())
            .is_some()
    });
    let mut left = processes_of(prefix);
    while server_ended && !left.is_empty() && began.elapsed() < END_LIMIT {
        thread::sleep(Duration::from_millis(5));
        left = processes_of(prefix);
    }
    for process in &left {
        // It may have ended meanwhile.
        let _ = process::end(process.pid);
    }
    remove_sockets(prefix);
    left
}

fn remove_sockets(prefix: &Path) {
    let Ok(name) = fs_err::read_to_string(prefix.join(SOCKET_FOLDER_FILE)) else { return };
    let is_ours = name.strip_prefix("wine-").is_some_and(|rest| {
        !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
    });
    if is_ours {
        // A folder that stays is empty and in nobody's way.
        let _ = fs_err::remove_dir_all(std::env::temp_dir().join(name));
    }
}

/// The living processes that carry this prefix in their environment.
fn processes_of(prefix: &Path) -> Vec<Process> {
    let mark = [b"WINEPREFIX=", prefix.as_os_str().as_bytes(), b"\0"].concat();
    let Ok(entries) = fs_err::read_dir("/proc") else { return Vec::new() };
    let mut processes = Vec::new();
    for entry in entries.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // A process that ends while it is looked at, or that belongs to somebody else, is none of ours. One that is
        // dead already has no environment.
        let Ok(environment) = fs_err::read(entry.path().join("environ")) else { continue };
        if !environment.windows(mark.len()).any(|window| window == mark) {
            continue;
        }
        let Ok(command) = fs_err::read(entry.path().join("cmdline")) else { continue };
        let command = String::from_utf8_lossy(&command).replace('\0', " ").trim().to_owned();
        processes.push(Process { pid, command });
    }
    processes
}
