//! A server and the folders of its PCs, for one test.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use kenny_proto::Invitation;
use kenny_testkit::places::{folder, program};
use kenny_testkit::process::{self, Output};
use kenny_testkit::{Client, Foreground, Server};
use tokio::process::Command;

/// For anything that takes a second at most on an idle machine.
pub const SOON: Duration = Duration::from_secs(30);

/// A server and a folder; removed at the end of a test that passed.
pub struct Site {
    pub server: Server,
    folder: PathBuf,
}

impl Site {
    pub async fn create(name: &str) -> Result<Self> {
        let folder = folder(name)?;
        let server = Server::start(&program("kenny-server")?, &folder.join("server")).await?;
        Ok(Self { server, folder })
    }

    pub fn client(&self) -> &Client {
        self.server.client()
    }

    /// Makes an agent of 0.2 and returns the tunnel's address and its token.
    pub async fn legacy(&self, id: &str) -> Result<(String, String)> {
        let created = self.client().create_legacy_agent(id).await?;
        Ok((created.server, created.token))
    }

    /// Invites, enrols, starts an agent and waits until it is online.
    pub async fn agent(&self, id: &str) -> Result<Foreground> {
        let invitation = self.client().invite(id).await?;
        self.enroll(id, &invitation).await?.success()?;
        let agent = self.start(id)?;
        self.client().online(id, None, SOON).await?;
        Ok(agent)
    }

    /// The folder of a PC of this name.
    pub fn pc(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The config of that PC.
    pub fn config(&self, name: &str) -> PathBuf {
        self.pc(name).join("agent.json")
    }

    /// Has that PC enrol.
    pub async fn enroll(&self, name: &str, invitation: &Invitation) -> Result<Output> {
        fs_err::create_dir_all(self.pc(name))?;
        let file = self.pc(name).join("invitation.json");
        fs_err::write(&file, invitation.to_json())?;
        let file = file.display().to_string();
        self.run(name, &["enroll", "--invitation", &file]).await
    }

    /// Runs a command of the agent with that PC's config.
    pub async fn run(&self, name: &str, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(program("kenny-agent")?);
        process::forget_kenny(command.as_std_mut());
        command
            .args(arguments)
            .arg("--config")
            .arg(self.config(name))
            .env("XDG_STATE_HOME", self.pc(name))
            .env("NO_COLOR", "1");
        process::run(command, &self.pc(name), SOON).await
    }

    /// Starts the agent of that PC.
    pub fn start(&self, name: &str) -> Result<Foreground> {
        Foreground::start_enrolled(&program("kenny-agent")?, &self.pc(name), &self.config(name))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // A folder that stays disturbs nobody.
            let _ = fs_err::remove_dir_all(&self.folder);
        }
    }
}
