//! The real server, as a process of its own on a free port of loopback.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::client::Client;
use crate::poll::eventually;
use crate::process;
use crate::tls::Certificate;

/// A first start makes a database; a loaded machine takes its time.
const START_LIMIT: Duration = Duration::from_secs(30);
/// A server drains before it ends.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// What every operator token starts with, followed by 43 characters.
const TOKEN_PREFIX: &str = "kenny_op_";
const TOKEN_LENGTH: usize = TOKEN_PREFIX.len() + 43;

/// A running server. Dropping it ends it.
#[derive(Debug)]
pub struct Server {
    program: PathBuf,
    folder: PathBuf,
    certificate: Option<Certificate>,
    child: Child,
    client: Client,
}

impl Server {
    /// Starts `program` with its data and its output in `folder`.
    pub async fn start(program: &Path, folder: &Path) -> Result<Self> {
        Self::begin(program, folder, None).await
    }

    /// The same with TLS.
    pub async fn start_with_tls(
        program: &Path,
        folder: &Path,
        certificate: Certificate,
    ) -> Result<Self> {
        Self::begin(program, folder, Some(certificate)).await
    }

    async fn begin(
        program: &Path,
        folder: &Path,
        certificate: Option<Certificate>,
    ) -> Result<Self> {
        fs_err::create_dir_all(folder)?;
        let child = spawn(program, folder, "127.0.0.1:0", certificate.as_ref())?;
        let mut server = Self {
            program: program.to_owned(),
            folder: folder.to_owned(),
            certificate,
            child,
            client: Client::new("http://127.0.0.1:0", "")?,
        };
        let (address, token) =
            eventually("the server's address and token", START_LIMIT, async || {
                server.still_runs()?;
                let said = server.said();
                Ok(find_address(&said).zip(find_token(&said)))
            })
            .await
            .with_context(|| server.tail())?;
        server.client = match &server.certificate {
            None => Client::new(&format!("http://{address}"), &token)?,
            Some(tls) => Client::trusting(&format!("https://{address}"), &token, &tls.pem()?)?,
        };
        server.wait_until_ready().await?;
        Ok(server)
    }

    /// A client with the operator's token.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Its certificate, where it has one.
    pub fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_ref()
    }

    /// Where it listens.
    pub fn address(&self) -> Result<SocketAddr> {
        let (_, address) = self.client.base().split_once("://").context("a base has a scheme")?;
        Ok(address.parse()?)
    }

    /// The folder of its data.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as a service manager would, and waits until it has.
    pub async fn stop(&mut self) -> Result<()> {
        process::ask_to_end(&mut self.child)?;
        let child = &mut self.child;
        eventually("the server's end", STOP_LIMIT, async || Ok(child.try_wait()?)).await?;
        Ok(())
    }

    /// Ends it at once, as a crash would.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts it again, after [`Self::stop`] or [`Self::kill`], with the same data on the same port.
    pub async fn start_again(&mut self) -> Result<()> {
        ensure!(self.child.try_wait()?.is_some(), "the server still runs");
        let address = self.address()?.to_string();
        self.child = spawn(&self.program, &self.folder, &address, self.certificate.as_ref())?;
        self.wait_until_ready().await
    }

    /// The end of what it logged.
    pub fn tail(&self) -> String {
        let said = self.said();
        let lines: Vec<&str> = said.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }

    async fn wait_until_ready(&mut self) -> Result<()> {
        eventually("a server that is ready", START_LIMIT, async || {
            self.still_runs()?;
            Ok(self.client.is_ready().await.then_some(()))
        })
        .await
        .with_context(|| self.tail())
    }

    fn still_runs(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("the server ended ({status})"),
        }
    }

    fn said(&self) -> String {
        ["server.stdout", "server.stderr"]
            .iter()
            .map(|name| {
                let said = fs_err::read(self.folder.join(name)).unwrap_or_default();
                String::from_utf8_lossy(&said).into_owned()
            })
            .collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(
    program: &Path,
    folder: &Path,
    listen: &str,
    certificate: Option<&Certificate>,
) -> Result<Child> {
    let output = |name: &str| -> Result<Stdio> {
        let file = fs_err::File::options().create(true).append(true).open(folder.join(name))?;
        Ok(file.into_parts().0.into())
    };
    let mut command = Command::new(program);
    process::own_group(&mut command);
    process::forget_kenny(&mut command);
    if let Some(Certificate { cert, key }) = certificate {
        command.arg("--tls-cert").arg(cert).arg("--tls-key").arg(key);
    }
    command
        .arg("--data-dir")
        .arg(folder.join("data"))
        .args(["--listen", listen])
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(output("server.stdout")?)
        .stderr(output("server.stderr")?)
        .spawn()
        .with_context(|| {
            format!("cannot start {}; `cargo build --workspace` makes it", program.display())
        })
}

/// The first address of loopback that stands in `text`.
fn find_address(text: &str) -> Option<SocketAddr> {
    text.match_indices("127.0.0.1:").find_map(|(at, host)| {
        let port: String =
            text[at + host.len()..].chars().take_while(char::is_ascii_digit).collect();
        let address: SocketAddr = format!("{host}{port}").parse().ok()?;
        (address.port() != 0).then_some(address)
    })
}

fn find_token(text: &str) -> Option<String> {
    let at = text.find(TOKEN_PREFIX)?;
    text.get(at..at + TOKEN_LENGTH).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_and_token_are_found_in_what_a_server_says() {
        let token = format!("{TOKEN_PREFIX}{}", "a".repeat(43));
        let text =
            format!("asked for 127.0.0.1:0, listening on http://127.0.0.1:4321/ with {token}\n");
        assert_eq!(find_address(&text), Some("127.0.0.1:4321".parse().unwrap()));
        assert_eq!(find_token(&text), Some(token));
        assert_eq!(find_address("nothing yet"), None);
        assert_eq!(find_token("kenny_op_half"), None);
    }
}
