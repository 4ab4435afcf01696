//! What attackers share: where the server is, until when they go on, and what they have got hold of.

use std::io::Error;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustls::ClientConfig;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, timeout};

use super::attacks::Answer;
use crate::tls::{AnySocket, wrap};

/// How long a connection may take: the listener's queue is full now and then, which is the point.
const CONNECT: Duration = Duration::from_secs(3);
/// What a slow reader's system holds for it: little, so that the rest stays with the server.
const SMALL_BUFFER_BYTES: u32 = 4096;

/// What leaked to the attackers.
#[derive(Debug)]
pub struct Loot {
    /// The path of a signed link to a release.
    pub artifact: String,
    /// A token of an operator.
    pub token: String,
}

/// What attackers share.
#[derive(Debug)]
pub struct Front {
    server: SocketAddr,
    trust: Option<Arc<ClientConfig>>,
    loot: Loot,
    until: Instant,
    no_socket: AtomicU64,
    answered: [AtomicU64; Answer::ALL.len()],
}

impl Front {
    /// Against this server, for so long from now on.
    pub fn new(
        server: SocketAddr,
        trust: Option<Arc<ClientConfig>>,
        loot: Loot,
        time: Duration,
    ) -> Self {
        let until = Instant::now() + time;
        let (no_socket, answered) = Default::default();
        Self { server, trust, loot, until, no_socket, answered }
    }

    /// When it is over.
    pub fn until(&self) -> Instant {
        self.until
    }

    /// True once it is.
    pub fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    /// What leaked.
    pub fn loot(&self) -> &Loot {
        &self.loot
    }

    /// What a client of a server with TLS has.
    pub fn trust(&self) -> Option<&Arc<ClientConfig>> {
        self.trust.as_ref()
    }

    /// A large answer has begun.
    pub fn was_answered(&self, answer: Answer) {
        self.answered[answer as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many large answers began, by what was asked for.
    pub fn answers(&self) -> [(Answer, u64); Answer::ALL.len()] {
        Answer::ALL.map(|answer| (answer, self.answered[answer as usize].load(Ordering::Relaxed)))
    }

    /// For how many attacks no socket was to be had.
    pub fn no_socket(&self) -> u64 {
        self.no_socket.load(Ordering::Relaxed)
    }

    /// A connection from this loopback address, encrypted where the server has TLS.
    pub async fn connect(&self, from: IpAddr) -> std::io::Result<AnySocket> {
        let stream = self.connect_bare(from).await?;
        wrap(stream, self.trust()).await
    }

    /// The same with little room for what comes.
    pub async fn connect_with_small_buffer(&self, from: IpAddr) -> std::io::Result<AnySocket> {
        let stream = self.open(from, Some(SMALL_BUFFER_BYTES)).await?;
        wrap(stream, self.trust()).await
    }

    /// The same without TLS.
    pub async fn connect_bare(&self, from: IpAddr) -> std::io::Result<TcpStream> {
        self.open(from, None).await
    }

    async fn open(&self, from: IpAddr, buffer: Option<u32>) -> std::io::Result<TcpStream> {
        let connect = async {
            let socket = TcpSocket::new_v4()?;
            if let Some(bytes) = buffer {
                socket.set_recv_buffer_size(bytes)?;
            }
            socket.bind(SocketAddr::new(from, 0))?;
            socket.connect(self.server).await
        };
        if let Ok(Ok(stream)) = timeout(CONNECT, connect).await {
            return Ok(stream);
        }
        self.no_socket.fetch_add(1, Ordering::Relaxed);
        sleep(Duration::from_millis(20)).await;
        Err(Error::other("there was no room"))
    }
}
