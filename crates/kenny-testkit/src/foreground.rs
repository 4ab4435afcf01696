//! The agent in the foreground, as a process of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use crate::process;

/// A running agent. Dropping it ends it.
#[derive(Debug)]
pub struct Foreground {
    folder: PathBuf,
    child: Child,
}

impl Foreground {
    /// Starts `program` for the tunnel at `server` with a token; its state and its output go to `folder`.
    pub fn start(
        program: &Path,
        folder: &Path,
        server: &str,
        id: &str,
        token: &str,
    ) -> Result<Self> {
        let who = ["--server", server, "--agent-id", id, "--token", token];
        Self::start_with(program, folder, &who)
    }

    /// Starts `program` with the config of a PC that has enrolled.
    pub fn start_enrolled(program: &Path, folder: &Path, config: &Path) -> Result<Self> {
        let config = config.to_str().context("paths of the rig are UTF-8")?;
        Self::start_with(program, folder, &["--config", config])
    }

    fn start_with(program: &Path, folder: &Path, arguments: &[&str]) -> Result<Self> {
        fs_err::create_dir_all(folder)?;
        let output = |name: &str| -> Result<Stdio> {
            Ok(fs_err::File::create(folder.join(name))?.into_parts().0.into())
        };
        let mut command = Command::new(program);
        process::own_group(&mut command);
        process::forget_kenny(&mut command);
        let child = command
            .args(arguments)
            .env("XDG_STATE_HOME", folder)
            .env("NO_COLOR", "1")
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(output("agent.stdout")?)
            .stderr(output("agent.stderr")?)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Self { folder: folder.to_owned(), child })
    }

    /// True while it runs.
    pub fn runs(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// What it logged.
    pub fn said(&self) -> String {
        let said = fs_err::read(self.folder.join("agent.stderr")).unwrap_or_default();
        String::from_utf8_lossy(&said).into_owned()
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
