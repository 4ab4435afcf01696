//! Running other programs: what is run is said, a failure names it, and its output can be watched.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, io, thread};

use anyhow::{Context, Result, bail};

use crate::workspace;

#[cfg_attr(unix, path = "process/unix.rs")]
#[cfg_attr(windows, path = "process/windows.rs")]
mod os;

pub use os::hand_over;

/// The cargo that runs this command, in the checkout.
pub fn cargo() -> Command {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(workspace::root());
    forget_cargo_run(&mut command);
    command
}

/// Takes away what `cargo run` put into the environment for xtask itself, so that a cargo below sees what the shell
/// would have given it.
pub fn forget_cargo_run(command: &mut Command) {
    for (name, _) in env::vars_os() {
        let of_the_package = name.to_str().is_some_and(|name| {
            name.starts_with("CARGO_PKG_")
                || ["CARGO", "CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "LD_LIBRARY_PATH"]
                    .contains(&name)
        });
        if of_the_package {
            command.env_remove(name);
        }
    }
}

/// Runs to the end with this console's output.
pub fn run(command: &mut Command) -> Result<()> {
    let text = display(command);
    let status = command.status().with_context(|| format!("cannot start `{text}`"))?;
    if !status.success() {
        bail!("`{text}` failed ({status})");
    }
    Ok(())
}

/// Runs to the end, or until the time is over; then it is ended, and the answer is none. True where it succeeded.
pub fn run_within(command: &mut Command, limit: Option<Duration>) -> Result<Option<bool>> {
    let text = display(command);
    let mut child = command.spawn().with_context(|| format!("cannot start `{text}`"))?;
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status.success()));
        }
        if limit.is_some_and(|limit| began.elapsed() >= limit) {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Runs to the end, shows the output as it comes and returns those lines that `keep` picks.
pub fn run_and_keep(command: &mut Command, keep: fn(&str) -> bool) -> Result<(bool, Vec<String>)> {
    let text = display(command);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{text}`"))?;
    let stdout = child.stdout.take().expect("stdout was piped");
    let stderr = child.stderr.take().expect("stderr was piped");
    let errors = thread::spawn(move || pass_on(stderr, io::stderr(), keep));
    let mut kept = pass_on(stdout, io::stdout(), keep);
    kept.extend(errors.join().expect("the thread only copies lines"));
    let status = child.wait().with_context(|| format!("lost sight of `{text}`"))?;
    Ok((status.success(), kept))
}

fn pass_on(from: impl Read, mut to: impl Write, keep: fn(&str) -> bool) -> Vec<String> {
    let mut kept = Vec::new();
    for line in BufReader::new(from).split(b'\n') {
        let Ok(line) = line else { break };
        let line = String::from_utf8_lossy(&line);
        // A console that went away does not end the run.
        let _ = writeln!(to, "{line}");
        if keep(&line) {
            kept.push(line.trim().to_owned());
        }
    }
    kept
}

/// What a program prints on stdout, if it is there and succeeds.
pub fn output_of(program: impl AsRef<OsStr>, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    forget_cargo_run(&mut command);
    let output = command.args(arguments).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Finds a program on the PATH.
pub fn which(program: &str) -> Option<std::path::PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|folder| folder.join(format!("{program}{}", env::consts::EXE_SUFFIX)))
        .find(|path| path.is_file())
}

/// The command as one would type it.
pub fn display(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|part| part.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

/// A step of a longer command: says what happens now and, at its end, how long it took.
pub struct Step {
    name: String,
    began: Instant,
}

impl Step {
    /// Says what happens now.
    pub fn begin(name: impl Into<String>) -> Self {
        let name = name.into();
        eprintln!("==> {name}");
        Self { name, began: Instant::now() }
    }

    /// Says that it is done.
    pub fn done(self) -> Duration {
        let took = self.began.elapsed();
        eprintln!("==> {} done in {}", self.name, seconds(took));
        took
    }

    /// How long it has been going on.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

/// A duration for people.
pub fn seconds(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 100.0 {
        format!("{seconds:.1} s")
    } else {
        format!("{} min {:02} s", duration.as_secs() / 60, duration.as_secs() % 60)
    }
}
