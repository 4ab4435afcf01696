//! Somebody with the command line and a repository folder.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kenny_testkit::Client;
use kenny_testkit::places::program;
use serde_json::Value;
use tokio::process::Command;

/// A key file takes half a second to open, and some commands open four.
const PATIENCE: Duration = Duration::from_mins(2);

/// Somebody with the command line and a repository folder. `DIR` in a line of theirs is that folder.
pub struct Operator {
    repository: PathBuf,
    server: String,
    token: String,
    passphrase: String,
}

impl Operator {
    pub fn new(repository: &Path, client: &Client, passphrase: &str) -> Result<Self> {
        fs_err::create_dir_all(repository)?;
        Ok(Self {
            repository: repository.to_owned(),
            server: client.base().to_owned(),
            token: client.token().to_owned(),
            passphrase: passphrase.to_owned(),
        })
    }

    /// Somebody else at the same server, with an empty folder.
    pub fn at(other: &Self, name: &str, passphrase: &str) -> Result<Self> {
        let repository = other.repository.with_file_name(name);
        fs_err::create_dir_all(&repository)?;
        Ok(Self {
            repository,
            server: other.server.clone(),
            token: other.token.clone(),
            passphrase: passphrase.to_owned(),
        })
    }

    /// Somebody else, with the metadata of this folder and none of its keys.
    pub fn copy_without_keys(&self, name: &str, passphrase: &str) -> Result<Self> {
        let other = Self::at(self, name, passphrase)?;
        copy(&self.path("metadata"), &other.path("metadata"))?;
        Ok(other)
    }

    /// Takes metadata, keys and executables over.
    pub fn take_folder_of(&self, other: &Self) -> Result<()> {
        copy(&other.repository, &self.repository)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.repository.join(name)
    }

    /// What a command that works prints to standard output.
    pub async fn says(&self, line: &str) -> Result<String> {
        let (code, said, out) = self.code(line, true).await?;
        ensure!(code == 0, "kenny {line}: exit code {code}\n{said}");
        Ok(out)
    }

    /// The same without a server to be had.
    pub async fn offline(&self, line: &str) -> Result<String> {
        let (code, said, out) = self.code(line, false).await?;
        ensure!(code == 0, "kenny {line}: exit code {code}\n{said}");
        Ok(out)
    }

    /// The same as JSON.
    pub async fn json(&self, line: &str) -> Result<Value> {
        let text = self.says(&format!("{line} --json")).await?;
        serde_json::from_str(&text).with_context(|| format!("kenny {line}: {text}"))
    }

    /// The exit code of a command, and what it says to standard error.
    pub async fn run(&self, line: &str) -> Result<(i32, String)> {
        let (code, said, _) = self.code(line, true).await?;
        Ok((code, said))
    }

    /// What a command that is refused says to standard error.
    pub async fn refused(&self, line: &str, expected: i32) -> Result<String> {
        let (code, said) = self.run(line).await?;
        ensure!(code == expected, "kenny {line}: exit code {code}\n{said}");
        Ok(said)
    }

    /// Has python-tuf fetch a target, beginning with the first root; where it lies then.
    pub async fn python_client(&self, target: &str) -> Result<PathBuf> {
        let python = std::env::var_os("KENNY_TUF_PYTHON")
            .context("KENNY_TUF_PYTHON names a Python with the package tuf")?;
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/signing/client.py");
        let state = self.path("python");
        fs_err::create_dir_all(&state)?;
        let mut command = Command::new(python);
        command
            .arg(script)
            .args([&self.server, &self.token])
            .arg(self.path("metadata/1.root.json"))
            .arg(&state)
            .arg(target)
            .env("NO_PROXY", "127.0.0.1");
        let output = within(command).await?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "python-tuf: {said}");
        Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
    }

    async fn code(&self, line: &str, online: bool) -> Result<(i32, String, String)> {
        let mut command = Command::new(program("kenny")?);
        command.env_clear();
        command
            .env("XDG_CONFIG_HOME", &self.repository)
            .env("KENNY_REPOSITORY", &self.repository)
            .env("KENNY_KEY_PASSPHRASE", &self.passphrase);
        if online {
            command.env("KENNY_SERVER_URL", &self.server).env("KENNY_TOKEN", &self.token);
        } else {
            command.env("KENNY_SERVER_URL", "http://127.0.0.1:9");
        }
        let repository = self.repository.display().to_string();
        command.args(line.split(' ').map(|word| word.replace("DIR", &repository)));
        let output = within(command).await?;
        let code = output.status.code().context("kenny was ended by a signal")?;
        Ok((code, String::from_utf8(output.stderr)?, String::from_utf8(output.stdout)?))
    }
}

async fn within(mut command: Command) -> Result<std::process::Output> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    Ok(tokio::time::timeout(PATIENCE, command.output()).await??)
}

/// Has OpenSSL read a private key and say whose it is.
pub async fn openssl(path: &Path, passphrase: &str) -> Result<()> {
    let mut command = Command::new("openssl");
    command.args(["pkey", "-noout", "-text", "-in"]).arg(path);
    command.args(["-passin", &format!("pass:{passphrase}")]);
    let output = within(command).await?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(text.contains("ED25519 Private-Key"), "{}: {output:?}", path.display());
    let mut wrong = Command::new("openssl");
    wrong.args(["pkey", "-noout", "-passin", "pass:another one", "-in"]).arg(path);
    ensure!(!within(wrong).await?.status.success(), "{} opens with anything", path.display());
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs_err::create_dir_all(to)?;
    for entry in fs_err::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs_err::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
