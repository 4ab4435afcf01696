//! TLS handshakes that lead nowhere.

use std::io::Error;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection};
use tokio::io::AsyncWriteExt as _;

use super::{hear_out, noise};
use crate::hostile::front::Front;
use crate::tls::{loopback, wrap};

/// How it goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handshake {
    /// Half of a ClientHello.
    Half,
    /// A whole one, and nothing after it: the server's keys are made for nobody.
    HelloOnly,
    /// A whole handshake, and no request.
    Silent,
    /// Records that are none: a length and noise, in place of the handshake and after its beginning.
    Garbage,
    /// One whole handshake after the other.
    Flood,
}

impl Handshake {
    /// Every one.
    pub const ALL: [Self; 5] =
        [Self::Half, Self::HelloOnly, Self::Silent, Self::Garbage, Self::Flood];

    /// For the report.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Half => "half a hello",
            Self::HelloOnly => "hello only",
            Self::Silent => "silent after it",
            Self::Garbage => "garbage records",
            Self::Flood => "flood of handshakes",
        }
    }

    /// The attack of this number.
    pub async fn once(self, front: &Front, from: IpAddr, number: u64) -> std::io::Result<()> {
        let trust = front.trust().ok_or_else(|| Error::other("the server has no TLS"))?;
        let mut stream = front.connect_bare(from).await?;
        match self {
            Self::Half => {
                let hello = hello(trust)?;
                stream.write_all(&hello[..hello.len() / 2]).await?;
            }
            Self::HelloOnly => stream.write_all(&hello(trust)?).await?,
            Self::Silent => return hear_out(&mut wrap(stream, Some(trust)).await?).await,
            Self::Garbage => {
                // A handshake or application data, of TLS 1.2, with the most that a record may have.
                let kind = if number.is_multiple_of(2) { 22 } else { 23 };
                if number.is_multiple_of(3) {
                    stream.write_all(&hello(trust)?).await?;
                }
                let record = [&[kind, 3, 3, 0x40, 0], noise(0x4000).as_slice()].concat();
                stream.write_all(&record).await?;
            }
            Self::Flood => return wrap(stream, Some(trust)).await.map(drop),
        }
        hear_out(&mut stream).await
    }
}

/// The first message of a client.
fn hello(trust: &Arc<ClientConfig>) -> std::io::Result<Vec<u8>> {
    let mut client = ClientConnection::new(Arc::clone(trust), loopback()).map_err(Error::other)?;
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes)?;
    Ok(bytes)
}
