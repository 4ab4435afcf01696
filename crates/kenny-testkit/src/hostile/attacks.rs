//! The attacks. Each is written to the socket byte by byte: no library keeps its manners.

use std::net::IpAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout_at};

use super::Front;

/// Between two bytes of a slow one: well within what a server takes for a sign of life.
const DRIP: Duration = Duration::from_millis(200);
/// How long an attack is kept up that the server should end: longer than a register or a head may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// The mask of every frame: zeros leave the payload as it is.
const MASK: [u8; 4] = [0; 4];

/// One kind of attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attack {
    /// A request's head, one byte at a time.
    SlowHead,
    /// A request's body, one byte at a time, without credentials.
    SlowBody,
    /// A socket that says nothing.
    HalfOpen,
    /// A tunnel that says nothing.
    SilentTunnel,
    /// A frame that announces a terabyte, and one that sends as much as it may.
    GiantFrame,
    /// Text that is none.
    InvalidUtf8,
    /// An upgrade whose answer nobody waits for.
    HandshakeFlood,
    /// Registers with wrong tokens, as one agent after the other.
    RegisterFlood,
    /// Requests with wrong tokens.
    TokenFlood,
    /// Bytes of another protocol.
    Garbage,
}

impl Attack {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::SlowHead,
        Self::SlowBody,
        Self::HalfOpen,
        Self::SilentTunnel,
        Self::GiantFrame,
        Self::InvalidUtf8,
        Self::HandshakeFlood,
        Self::RegisterFlood,
        Self::TokenFlood,
        Self::Garbage,
    ];

    /// For the report.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SlowHead => "slow loris, head",
            Self::SlowBody => "slow loris, body",
            Self::HalfOpen => "half-open socket",
            Self::SilentTunnel => "tunnel without register",
            Self::GiantFrame => "giant frame",
            Self::InvalidUtf8 => "invalid UTF-8",
            Self::HandshakeFlood => "handshake flood",
            Self::RegisterFlood => "register, wrong token",
            Self::TokenFlood => "request, wrong token",
            Self::Garbage => "garbage",
        }
    }

    /// Again and again until it is over; how often it was begun.
    pub async fn repeat(self, front: &Front, from: IpAddr) -> u64 {
        let mut begun = 0;
        while !front.is_over() {
            begun += 1;
            if let Some(stream) = front.connect(from).await {
                let until = front.until.min(Instant::now() + PATIENCE);
                // That the server hangs up is what is wanted.
                let _ = timeout_at(until, self.once(stream, begun)).await;
            }
        }
        begun
    }

    async fn once(self, mut stream: TcpStream, number: u64) -> std::io::Result<()> {
        match self {
            Self::SlowHead => {
                stream.write_all(b"GET /api/v1/agents HTTP/1.1\r\nhost: x\r\nx-slow: ").await?;
                drip(&mut stream).await
            }
            Self::SlowBody => {
                let head = "POST /api/v1/agents HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                            content-length: 100000\r\n\r\n";
                stream.write_all(head.as_bytes()).await?;
                drip(&mut stream).await
            }
            Self::HalfOpen => hear_out(&mut stream).await,
            Self::SilentTunnel => {
                upgrade(&mut stream).await?;
                hear_out(&mut stream).await
            }
            Self::GiantFrame => {
                upgrade(&mut stream).await?;
                if number.is_multiple_of(2) {
                    let mut head = vec![0x81, 0x80 | 127];
                    head.extend((1_u64 << 40).to_be_bytes());
                    head.extend(MASK);
                    stream.write_all(&head).await?;
                } else {
                    // Fragments without end, each of which may be.
                    for _ in 0..1024 {
                        frame(&mut stream, 0x01, &[b'x'; 16 * 1024]).await?;
                    }
                }
                hear_out(&mut stream).await
            }
            Self::InvalidUtf8 => {
                upgrade(&mut stream).await?;
                frame(&mut stream, 0x81, b"{\"type\":\"register\",\"agent_id\":\"\xff\xfe\"}")
                    .await?;
                hear_out(&mut stream).await
            }
            Self::HandshakeFlood => stream.write_all(UPGRADE).await,
            Self::RegisterFlood => {
                upgrade(&mut stream).await?;
                let register = format!(
                    r#"{{"type":"register","agent_id":"office-{}","token":"kenny_agent_wrong","meta":{{"hostname":"x","os":"windows","version":"1.0.0"}}}}"#,
                    number % 100
                );
                frame(&mut stream, 0x81, register.as_bytes()).await?;
                hear_out(&mut stream).await
            }
            Self::TokenFlood => {
                let head = "GET /api/v1/agents HTTP/1.1\r\nhost: x\r\nauthorization: Bearer kenny_op_wrong\r\nconnection: close\r\n\r\n";
                stream.write_all(head.as_bytes()).await?;
                hear_out(&mut stream).await
            }
            Self::Garbage => {
                let noise: Vec<u8> = (0..4096_u32).map(|n| (n * 31 % 251) as u8).collect();
                stream.write_all(&noise).await?;
                hear_out(&mut stream).await
            }
        }
    }
}

const UPGRADE: &[u8] =
    b"GET /agent/ws HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Asks for a tunnel and reads the head of the answer. One that was refused is an end like any other.
async fn upgrade(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(UPGRADE).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    if head.starts_with(b"HTTP/1.1 101") {
        return Ok(());
    }
    // An attacker that took no for an answer would come back at once, and only that would be measured.
    sleep(DRIP).await;
    Err(std::io::Error::other("refused"))
}

async fn frame(stream: &mut TcpStream, opcode: u8, payload: &[u8]) -> std::io::Result<()> {
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

/// One byte after the other, until the server has had enough.
async fn drip(stream: &mut TcpStream) -> std::io::Result<()> {
    loop {
        stream.write_all(b"x").await?;
        sleep(DRIP).await;
    }
}

/// Reads until the server hangs up.
async fn hear_out(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut sink = [0; 4096];
    while stream.read(&mut sink).await? > 0 {}
    Ok(())
}
