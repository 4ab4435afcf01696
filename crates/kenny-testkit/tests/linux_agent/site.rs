//! Folders and programs for one test.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use kenny_testkit::{Client, Foreground, Server};

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

    /// Makes an agent and returns the tunnel's address and its token.
    pub async fn enrol(&self, id: &str) -> Result<(String, String)> {
        let created = self.client().create_agent(id).await?;
        Ok((created.server, created.token))
    }

    /// Makes an agent, starts it and waits until it is online.
    pub async fn agent(&self, id: &str) -> Result<Foreground> {
        let (tunnel, token) = self.enrol(id).await?;
        let agent = Foreground::start(
            &program("kenny-agent")?,
            &self.folder.join(id),
            &tunnel,
            id,
            &token,
        )?;
        self.client().online(id, None, SOON).await?;
        Ok(agent)
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

/// A fresh folder for one test.
pub fn folder(name: &str) -> Result<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if folder.exists() {
        fs_err::remove_dir_all(&folder)?;
    }
    fs_err::create_dir_all(&folder)?;
    Ok(folder)
}

/// A program of the workspace: beside the folder that this test lies in.
pub fn program(name: &str) -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let folder = test.parent().and_then(Path::parent).expect("tests lie in target/PROFILE/deps");
    let program = folder.join(name);
    ensure!(
        program.is_file(),
        "{} is not built; `cargo build --workspace` does it",
        program.display()
    );
    Ok(program)
}
