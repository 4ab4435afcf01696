//! Tunnels that are used for other things than an agent.

use tokio::io::AsyncWriteExt as _;

use super::{hear_out, read_head, refused};
use crate::tls::AnySocket;

/// The mask of every frame: zeros leave the payload as it is.
const MASK: [u8; 4] = [0; 4];

/// What comes through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tunnel {
    /// Nothing.
    Silent,
    /// A frame that announces a terabyte, or as much as one may send.
    GiantFrame,
    /// Text that is none.
    InvalidUtf8,
    /// Nothing: nobody waits for the upgrade's answer.
    Flood,
    /// Registers with wrong tokens, as one agent after the other.
    WrongToken,
}

impl Tunnel {
    /// Every one.
    pub const ALL: [Self; 5] =
        [Self::Silent, Self::GiantFrame, Self::InvalidUtf8, Self::Flood, Self::WrongToken];

    /// For the report.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Silent => "without register",
            Self::GiantFrame => "giant frame",
            Self::InvalidUtf8 => "invalid UTF-8",
            Self::Flood => "flood of upgrades",
            Self::WrongToken => "wrong token",
        }
    }

    /// The attack of this number.
    pub async fn once(self, stream: &mut AnySocket, number: u64) -> std::io::Result<()> {
        if self == Self::Flood {
            return stream.write_all(UPGRADE).await;
        }
        upgrade(stream).await?;
        match self {
            Self::Silent | Self::Flood => {}
            Self::GiantFrame if number.is_multiple_of(2) => {
                let mut head = vec![0x81, 0x80 | 127];
                head.extend((1_u64 << 40).to_be_bytes());
                head.extend(MASK);
                stream.write_all(&head).await?;
            }
            Self::GiantFrame => {
                // Fragments without end, each of which may be.
                for _ in 0..1024 {
                    frame(stream, 0x01, &[b'x'; 16 * 1024]).await?;
                }
            }
            Self::InvalidUtf8 => {
                frame(stream, 0x81, b"{\"type\":\"register\",\"agent_id\":\"\xff\xfe\"}").await?;
            }
            Self::WrongToken => {
                let register = format!(
                    r#"{{"type":"register","agent_id":"office-{}","token":"kenny_agent_wrong","meta":{{"hostname":"x","os":"windows","version":"1.0.0"}}}}"#,
                    number % 100
                );
                frame(stream, 0x81, register.as_bytes()).await?;
            }
        }
        stream.flush().await?;
        hear_out(stream).await
    }
}

const UPGRADE: &[u8] =
    b"GET /agent/ws HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Asks for a tunnel and reads the head of the answer.
async fn upgrade(stream: &mut AnySocket) -> std::io::Result<()> {
    stream.write_all(UPGRADE).await?;
    if read_head(stream).await?.starts_with(b"HTTP/1.1 101") {
        return Ok(());
    }
    Err(refused().await)
}

async fn frame(stream: &mut AnySocket, opcode: u8, payload: &[u8]) -> std::io::Result<()> {
    let mut bytes = vec![opcode];
    match u16::try_from(payload.len()) {
        Ok(length @ 0..126) => bytes.push(0x80 | length.to_be_bytes()[1]),
        Ok(length) => {
            bytes.push(0x80 | 0x7e);
            bytes.extend(length.to_be_bytes());
        }
        Err(_) => {
            bytes.push(0x80 | 127);
            bytes.extend((payload.len() as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(payload);
    stream.write_all(&bytes).await
}
