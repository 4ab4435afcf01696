//! From an address to a WebSocket.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use kenny_proto::MAX_FRAME_BYTES;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use rustls_platform_verifier::Verifier;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::http::header::RETRY_AFTER;
use tokio_tungstenite::tungstenite::http::{HeaderMap, StatusCode};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::config::Config;

/// How long one address may take to answer.
const CONNECT: Duration = Duration::from_secs(10);
/// How long TLS and the WebSocket upgrade may take together.
const HANDSHAKE: Duration = Duration::from_secs(15);
/// Read buffer: most frames are small, large ones grow it for their time.
const READ_BUFFER: usize = 4 * 1024;

/// The most that a server's wish to wait is heeded.
const LONGEST_WAIT: Duration = Duration::from_mins(5);

/// A byte stream, encrypted or not.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// The tunnel's socket.
pub type Socket = WebSocketStream<Box<dyn Stream>>;

/// What the agent trusts: the system's certificates and those of the config's `ca_file`.
pub fn tls_config(config: &Config) -> anyhow::Result<rustls::ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let extra = match &config.ca_file {
        None => Vec::new(),
        Some(path) => CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| anyhow::anyhow!("{error}"))
            .with_context(|| format!("could not read the certificates of {}", path.display()))?,
    };
    // Extra roots make a trust store of their own; without any, the system's is asked as it is.
    let verifier = if extra.is_empty() {
        Verifier::new(Arc::clone(&provider))
    } else {
        Verifier::new_with_extra_roots(extra, Arc::clone(&provider))
    };
    let verifier = verifier.context("could not set up the check of certificates")?;
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("could not set up TLS")?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}

/// Connects: every address of the name in turn, then TLS where the address is `wss`, then the upgrade.
pub async fn connect(config: &Config) -> anyhow::Result<Socket> {
    let url = &config.server;
    let host = url.host_str().context("the server's address names no host")?;
    let host = host.trim_matches(['[', ']']);
    let port = url.port_or_known_default().context("the server's address names no port")?;
    let tcp = dial(host, port).await?;
    timeout(HANDSHAKE, upgrade(config, host, tcp))
        .await
        .context("the server did not answer the handshake within 15 s")?
}

async fn dial(host: &str, port: u16) -> anyhow::Result<TcpStream> {
    let addresses = timeout(CONNECT, lookup_host((host, port)))
        .await
        .with_context(|| format!("looking up {host} took longer than 10 s"))?
        .with_context(|| format!("could not look up {host}"))?;
    let mut last = None;
    for address in addresses {
        match timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(tcp)) => {
                tcp.set_nodelay(true).context("could not set up the connection")?;
                return Ok(tcp);
            }
            Ok(Err(error)) => last = Some(anyhow::anyhow!("{address}: {error}")),
            Err(_) => last = Some(anyhow::anyhow!("{address} did not answer within 10 s")),
        }
    }
    let last = last.unwrap_or_else(|| anyhow::anyhow!("{host} has no address"));
    Err(last.context(format!("could not connect to {host} port {port}")))
}

async fn upgrade(config: &Config, host: &str, tcp: TcpStream) -> anyhow::Result<Socket> {
    let stream: Box<dyn Stream> = if config.server.scheme() == "wss" {
        let tls = TlsConnector::from(Arc::new(tls_config(config)?));
        let name = ServerName::try_from(host.to_owned())
            .with_context(|| format!("`{host}` cannot stand in a certificate"))?;
        Box::new(tls.connect(name, tcp).await.context("the encrypted connection was refused")?)
    } else {
        Box::new(tcp)
    };
    let limits = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_message_size(Some(MAX_FRAME_BYTES))
        .max_frame_size(Some(MAX_FRAME_BYTES));
    let upgraded =
        tokio_tungstenite::client_async_with_config(config.server.as_str(), stream, Some(limits))
            .await;
    match upgraded {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(answer)) if is_busy(answer.status()) => {
            Err(Busy { wait: retry_after(answer.headers()) }.into())
        }
        Err(error) => Err(error).context("the server did not accept a tunnel at this address"),
    }
}

/// The server is there and has too much to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server has too much to do and asks to wait {} s", .wait.as_secs())]
pub struct Busy {
    /// How long it asks to wait.
    pub wait: Duration,
}

fn is_busy(status: StatusCode) -> bool {
    [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&status)
}

fn retry_after(headers: &HeaderMap) -> Duration {
    let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    Duration::from_secs(seconds.unwrap_or(0)).min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::cli::Identity;

    /// What an agent makes of a server that gives this answer to its upgrade.
    async fn refused(answer: &str) -> anyhow::Error {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let identity = Identity {
            server: Some(format!("ws://{}/agent/ws", listener.local_addr().unwrap())),
            agent_id: Some("pc".to_owned()),
            token: Some("secret".to_owned()),
            ..Identity::default()
        };
        let config = identity.over(None).unwrap();
        let answer = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n");
        let serve = async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut heard = Vec::new();
            while !heard.ends_with(b"\r\n\r\n") {
                heard.push(socket.read_u8().await.unwrap());
            }
            socket.write_all(answer.as_bytes()).await.unwrap();
        };
        let (connected, ()) = tokio::join!(connect(&config), serve);
        connected.err().unwrap()
    }

    #[tokio::test]
    async fn a_server_with_too_much_to_do_says_how_long_to_wait() {
        let wait = async |answer: &str| {
            let error = refused(answer).await;
            error.downcast_ref::<Busy>().map(|busy| busy.wait)
        };
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(wait("429 Too Many Requests\r\nretry-after: 7").await, seconds(7));
        assert_eq!(wait("503 Service Unavailable").await, seconds(0));
        assert_eq!(wait("429 x\r\nretry-after: 99999999").await, Some(LONGEST_WAIT));
        assert_eq!(wait("404 Not Found").await, None);
    }
}
