//! Running programs to their end, with a deadline, and ending others.
//!
//! Output goes through files and not through pipes: what a program leaves running may hold a pipe open for ever.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::process::Command;

#[cfg_attr(unix, path = "process/unix.rs")]
#[cfg_attr(windows, path = "process/windows.rs")]
mod os;

pub use os::{ask_to_end, command_line, end, freeze, own_group, thaw};

/// What a program left behind.
#[derive(Debug, Clone)]
pub struct Output {
    /// What was run, for messages.
    pub command: String,
    /// Its exit code; -1 when something ended it.
    pub code: i32,
    /// What it wrote to stdout.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
}

impl Output {
    /// The output, if the program succeeded; an error that quotes it, if not.
    pub fn success(self) -> Result<Self> {
        self.exited_with(0)
    }

    /// The output, if the program ended with this code; an error that quotes it, if not.
    pub fn exited_with(self, code: i32) -> Result<Self> {
        if self.code == code {
            return Ok(self);
        }
        bail!(
            "`{}` ended with {} and not with {code}\n--- stdout\n{}\n--- stderr\n{}",
            self.command,
            self.code,
            self.stdout.trim_end(),
            self.stderr.trim_end()
        )
    }

    /// Both streams, for looking for words.
    pub fn text(&self) -> String {
        format!("{}\n{}", self.stdout, self.stderr)
    }
}

/// Runs `command` to its end and gathers its output in `folder`.
pub async fn run(mut command: Command, folder: &Path, within: Duration) -> Result<Output> {
    let text = display(&command);
    let (stdout_path, stderr_path) = output_paths(folder)?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(fs_err::File::create(&stdout_path)?.into_parts().0)
        .stderr(fs_err::File::create(&stderr_path)?.into_parts().0)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start `{text}`"))?;
    let status = tokio::time::timeout(within, child.wait()).await;
    let read = |path: &Path| -> Result<String> {
        Ok(String::from_utf8_lossy(&fs_err::read(path)?).replace("\r\n", "\n"))
    };
    let (stdout, stderr) = (read(&stdout_path)?, read(&stderr_path)?);
    for path in [&stdout_path, &stderr_path] {
        // On Windows a grandchild may still hold it.
        let _ = fs_err::remove_file(path);
    }
    let Ok(status) = status else {
        bail!(
            "`{text}` did not end within {} s\n--- stdout\n{stdout}\n--- stderr\n{stderr}",
            within.as_secs()
        );
    };
    let code = status?.code().unwrap_or(-1);
    Ok(Output { command: text, code, stdout, stderr })
}

fn output_paths(folder: &Path) -> Result<(PathBuf, PathBuf)> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    fs_err::create_dir_all(folder)?;
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    Ok((folder.join(format!("{number}.stdout")), folder.join(format!("{number}.stderr"))))
}

/// Takes away what the shell may have set for the command line or an agent of its user's: tests say all they mean.
pub fn forget_kenny(command: &mut std::process::Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("KENNY_") {
            command.env_remove(name);
        }
    }
}

fn display(command: &Command) -> String {
    let command = command.as_std();
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|part| part.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}
