//! A certificate for loopback, made by OpenSSL for one run, and sockets that may be encrypted with it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, IpAddr, Ipv4Addr, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What OpenSSL makes the certificate by. Not one of an authority: rustls takes none of those for a server's.
const REQUEST: &str = "[req]\ndistinguished_name = name\nx509_extensions = extensions\nprompt = no\n\
[name]\nCN = kenny test\n\
[extensions]\nsubjectAltName = IP:127.0.0.1\nbasicConstraints = critical, CA:FALSE\n";

/// A socket, encrypted or not.
pub trait Socket: AsyncRead + AsyncWrite + fmt::Debug + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + fmt::Debug + Send + Unpin> Socket for T {}

/// Any of them.
pub type AnySocket = Box<dyn Socket>;

/// Certificate and key of a server at 127.0.0.1, as files.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The certificate, in PEM.
    pub cert: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
}

impl Certificate {
    /// Makes one that holds for two days, in this folder.
    pub fn make(folder: &Path) -> Result<Self> {
        fs_err::create_dir_all(folder)?;
        let request = folder.join("request.cnf");
        fs_err::write(&request, REQUEST)?;
        let made = Self { cert: folder.join("cert.pem"), key: folder.join("key.pem") };
        let output = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
            .args(["-nodes", "-days", "2", "-config"])
            .arg(&request)
            .arg("-keyout")
            .arg(&made.key)
            .arg("-out")
            .arg(&made.cert)
            .output()
            .context("openssl is needed for a certificate (`cargo xtask setup` installs it)")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "openssl made no certificate: {said}");
        Ok(made)
    }

    /// The certificate's text.
    pub fn pem(&self) -> Result<Vec<u8>> {
        Ok(fs_err::read(&self.cert)?)
    }

    /// What a client has that trusts this certificate and no other.
    pub fn trust(&self) -> Result<Arc<ClientConfig>> {
        let certificate = CertificateDer::from_pem_file(&self.cert)?;
        let mut roots = RootCertStore::empty();
        roots.add(certificate)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Arc::new(config))
    }
}

/// The name that a server on loopback has.
pub fn loopback() -> ServerName<'static> {
    ServerName::IpAddress(IpAddr::V4(Ipv4Addr::from([127, 0, 0, 1])))
}

/// The same connection, encrypted where there is something to trust.
pub async fn wrap(
    stream: TcpStream,
    trust: Option<&Arc<ClientConfig>>,
) -> std::io::Result<AnySocket> {
    match trust {
        None => Ok(Box::new(stream)),
        Some(config) => {
            let connector = TlsConnector::from(Arc::clone(config));
            Ok(Box::new(connector.connect(loopback(), stream).await?))
        }
    }
}
