//! This very Windows machine, with a service name per machine so that several stand side by side.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::process::Command;

use super::service::{Service, field};
use super::{Process, Spec};
use crate::process::{self, Output};

/// Installing waits up to 30 s for a connection.
const COMMAND_LIMIT: Duration = Duration::from_secs(90);

/// What `sc` ends with when there is no such service.
const NO_SUCH_SERVICE: i32 = 1060;

/// A service name and the folders that belong to it. Dropping it removes them.
#[derive(Debug)]
pub struct Machine {
    service_name: String,
    work: PathBuf,
    ended: bool,
}

impl Machine {
    /// The machine that runs the tests cannot be rebooted by them.
    pub const CAN_REBOOT: bool = false;
    /// It has the real powershell.
    pub const RUNS_POWERSHELL: bool = true;
    /// Access lists are what NTFS has them for.
    pub const KEEPS_ACCESS_LISTS: bool = true;

    /// Takes the name into use, after removing what an earlier run left of it.
    #[expect(clippy::unused_async, reason = "has the same form as where it must wait")]
    pub async fn create(spec: &Spec) -> Result<Self> {
        Self::sweep(spec)?;
        let work = spec.work.join("native").join(&spec.name);
        fs_err::create_dir_all(&work)?;
        Ok(Self { service_name: service_name(spec), work, ended: false })
    }

    /// Removes what an earlier run left behind, if it did.
    pub fn sweep(spec: &Spec) -> Result<()> {
        let machine = Self {
            service_name: service_name(spec),
            work: spec.work.join("native").join(&spec.name),
            ended: true,
        };
        machine.remove_all();
        Ok(())
    }

    /// The name that the agent's service gets here.
    pub fn service_name(&self) -> &str {
        &self.service_name
    }

    /// Where the agent is installed.
    pub fn install_dir(&self) -> PathBuf {
        known_folder("ProgramFiles").join(format!("Kenny-{}", self.service_name))
    }

    /// Where the agent keeps its state.
    pub fn state_dir(&self) -> PathBuf {
        known_folder("ProgramData").join(format!("Kenny-{}", self.service_name))
    }

    /// Puts a file on the machine, outside of where the agent is installed.
    pub fn put(&self, file: &Path) -> Result<PathBuf> {
        let to = self.work.join(file.file_name().context("a file has a name")?);
        fs_err::copy(file, &to)?;
        Ok(to)
    }

    /// A path of the host as the machine's own programs write it.
    pub fn path_inside(&self, path: &Path) -> Result<String> {
        Ok(path.to_str().context("paths of the rig are UTF-8")?.to_owned())
    }

    /// Runs a program on the machine, to its end.
    pub async fn run(&self, program: &Path, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(program);
        process::forget_kenny(command.as_std_mut());
        command.args(arguments).current_dir(&self.work);
        process::run(command, &self.work.join("output"), COMMAND_LIMIT).await
    }

    /// A service, or nothing if there is none of that name.
    pub async fn service(&self, name: &str) -> Result<Option<Service>> {
        let output = self.sc(&["query", name]).await?;
        if output.code == NO_SUCH_SERVICE {
            return Ok(None);
        }
        Service::parse(&output.success()?.stdout).map(Some)
    }

    /// Starts a service.
    pub async fn start_service(&self, name: &str) -> Result<Output> {
        self.sc(&["start", name]).await
    }

    /// Asks a service to stop.
    pub async fn stop_service(&self, name: &str) -> Result<Output> {
        self.sc(&["stop", name]).await
    }

    /// Running processes of its service and updater whose command line contains `needle`.
    pub fn processes(&self, needle: &str) -> Vec<Process> {
        processes_of(&self.service_name, needle)
    }

    /// Finds running processes by a part of their command line, from any thread; their numbers.
    pub fn lister(&self) -> impl Fn(&str) -> Vec<u32> + Send + use<> {
        let name = self.service_name.clone();
        move |needle| processes_of(&name, needle).into_iter().map(|process| process.pid).collect()
    }

    /// Ends one of its processes at once, as a crash would.
    pub fn kill(&self, pid: u32) -> Result<()> {
        ensure!(
            self.processes("").iter().any(|process| process.pid == pid),
            "process {pid} is none of this machine's"
        );
        process::end(pid)
    }

    /// Not available here: see [`Self::CAN_REBOOT`].
    #[expect(clippy::unused_async, reason = "has the same form as where it must wait")]
    pub async fn reboot(&self) -> Result<()> {
        bail!("the machine that runs the tests cannot be rebooted by them")
    }

    /// Removes everything that the machine had. An error names what would not end.
    pub fn shut_down(mut self) -> Result<()> {
        self.ended = true;
        self.remove_all();
        let left = self.processes("");
        if left.is_empty() { Ok(()) } else { bail!("these processes did not end: {left:?}") }
    }

    async fn sc(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new("sc.exe");
        command.args(arguments);
        process::run(command, &self.work.join("output"), COMMAND_LIMIT).await
    }

    /// Best effort: what is not there cannot be removed.
    fn remove_all(&self) {
        let sc = |arguments: &[&str]| std::process::Command::new("sc.exe").args(arguments).output();
        for name in [format!("{}-updater", self.service_name), self.service_name.clone()] {
            let pid = sc(&["queryex", &name])
                .ok()
                .and_then(|output| field(&String::from_utf8_lossy(&output.stdout), "PID").ok());
            let _ = sc(&["delete", &name]);
            if let Some(pid) = pid.filter(|pid| *pid != 0) {
                let _ = std::process::Command::new("taskkill")
                    .args(["/F", "/T", "/PID", &pid.to_string()])
                    .output();
            }
        }
        for folder in [self.install_dir(), self.state_dir(), self.work.clone()] {
            let _ = fs_err::remove_dir_all(folder);
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if !self.ended {
            self.remove_all();
        }
    }
}

fn service_name(spec: &Spec) -> String {
    format!("kenny-{}", spec.name)
}

fn known_folder(variable: &str) -> PathBuf {
    std::env::var_os(variable).map(PathBuf::from).expect("Windows sets its folders' variables")
}

fn processes_of(service_name: &str, needle: &str) -> Vec<Process> {
    let script = format!(
        "Get-CimInstance Win32_Process | Where-Object {{ $_.CommandLine -like '*Kenny-{}*' }} | \
             ForEach-Object {{ \"$($_.ProcessId)`t$($_.CommandLine)\" }}",
        service_name
    );
    let Ok(output) = std::process::Command::new("powershell")
        .args(["-NoProfile", "-NonInteractive", "-Command", &script])
        .output()
    else {
        return Vec::new();
    };
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| {
            let (pid, command) = line.trim().split_once('\t')?;
            Some(Process { pid: pid.parse().ok()?, command: command.to_owned() })
        })
        .filter(|process| !process.command.contains("Get-CimInstance"))
        .filter(|process| process.command.contains(needle))
        .collect()
}
