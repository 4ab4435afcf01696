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
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::config::Config;

/// How long one address may take to answer.
const CONNECT: Duration = Duration::from_secs(10);
/// How long TLS and the WebSocket upgrade may take together.
const HANDSHAKE: Duration = Duration::from_secs(15);
/// Read buffer: most frames are small, large ones grow it for their time.
const READ_BUFFER: usize = 4 * 1024;

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
    let (socket, _) =
        tokio_tungstenite::client_async_with_config(config.server.as_str(), stream, Some(limits))
            .await
            .context("the server did not accept a tunnel at this address")?;
    Ok(socket)
}
