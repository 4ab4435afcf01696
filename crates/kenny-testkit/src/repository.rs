//! A server of signed metadata on loopback, which can be hostile file by file, and which hands on whatever else is asked to
//! a real server behind it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use crate::signing::Files;

/// Where metadata is.
const PREFIX: &str = "/tuf/metadata/";
/// The longest head of a request: ours has a few hundred bytes.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// A client that says nothing for so long is gone.
const HEAD: Duration = Duration::from_secs(10);

/// What one file is answered with.
#[derive(Debug, Clone)]
pub enum Answer {
    /// These bytes.
    Bytes(Vec<u8>),
    /// Bytes without end.
    Endless,
    /// These bytes one by one, slowly.
    Trickle(Vec<u8>),
    /// A head, and then nothing for as long as the client waits.
    Stall,
    /// This status.
    Status(u16),
    /// The address where it is said to be.
    Redirect(String),
    /// So many of these bytes, all of which were announced; then the connection ends.
    Cut(Vec<u8>, usize),
}

/// The server. Dropped, it hangs up on everybody and listens no more.
#[derive(Debug)]
pub struct Metadata {
    address: SocketAddr,
    shared: Arc<Shared>,
    listening: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    answers: Mutex<BTreeMap<String, Answer>>,
    asked: Mutex<Vec<String>>,
    behind: Option<String>,
}

impl Drop for Metadata {
    fn drop(&mut self) {
        // The connections are tasks of this one's set and end with it.
        self.listening.abort();
    }
}

impl Metadata {
    /// Serves nothing yet. What is no metadata goes to the server at `behind` (`HOST:PORT`); 404 without one.
    pub async fn start(behind: Option<String>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no port on loopback")?;
        let address = listener.local_addr()?;
        let shared =
            Arc::new(Shared { answers: Mutex::default(), asked: Mutex::default(), behind });
        let listening = tokio::spawn(listen(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, listening })
    }

    /// Serves these files and no other from now on.
    pub fn serve(&self, files: Files) {
        let answers = files.into_iter().map(|(name, bytes)| (name, Answer::Bytes(bytes)));
        *lock(&self.shared.answers) = answers.collect();
    }

    /// Answers one file otherwise from now on.
    pub fn answer(&self, name: &str, answer: Answer) {
        lock(&self.shared.answers).insert(name.to_owned(), answer);
    }

    /// The tunnel's address at this origin.
    pub fn tunnel(&self) -> String {
        format!("ws://{}/agent/ws", self.address)
    }

    /// The address of a path of this server.
    pub fn at(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The paths that were asked for so far, oldest first.
    pub fn asked(&self) -> Vec<String> {
        lock(&self.shared.asked).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // What cannot be accepted is a client that is gone already.
                if let Ok((stream, _)) = accepted {
                    let shared = Arc::clone(&shared);
                    connections.spawn(async move { drop(serve(stream, &shared).await) });
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(mut stream: TcpStream, shared: &Shared) -> Result<()> {
    stream.set_nodelay(true)?;
    let head = timeout(HEAD, read_head(&mut stream)).await.context("no request came")??;
    let line = String::from_utf8_lossy(&head).into_owned();
    let path = line.split(' ').nth(1).context("no request line")?.to_owned();
    lock(&shared.asked).push(path.clone());
    let Some(name) = path.strip_prefix(PREFIX) else {
        let Some(behind) = &shared.behind else {
            return status(&mut stream, 404).await;
        };
        let mut server = TcpStream::connect(behind).await?;
        server.write_all(&head).await?;
        copy_bidirectional(&mut stream, &mut server).await?;
        return Ok(());
    };
    let answer = lock(&shared.answers).get(name).cloned();
    match answer {
        None => status(&mut stream, 404).await,
        Some(Answer::Status(code)) => status(&mut stream, code).await,
        Some(Answer::Bytes(bytes)) => whole(&mut stream, &bytes, bytes.len()).await,
        Some(Answer::Cut(bytes, at)) => whole(&mut stream, &bytes[..at], bytes.len()).await,
        Some(Answer::Redirect(to)) => {
            let head = format!(
                "HTTP/1.1 302 Answer\r\nConnection: close\r\nContent-Length: 0\r\nLocation: {to}\r\n\r\n"
            );
            Ok(stream.write_all(head.as_bytes()).await?)
        }
        Some(Answer::Endless) => {
            stream.write_all(b"HTTP/1.1 200 Answer\r\nConnection: close\r\n\r\n").await?;
            loop {
                stream.write_all(&[b' '; 16 * 1024]).await?;
            }
        }
        Some(Answer::Trickle(bytes)) => {
            whole(&mut stream, &[], bytes.len()).await?;
            for byte in bytes {
                stream.write_all(&[byte]).await?;
                sleep(Duration::from_millis(100)).await;
            }
            Ok(())
        }
        Some(Answer::Stall) => {
            whole(&mut stream, &[], 1000).await?;
            // The client alone ends this.
            while stream.read(&mut [0; 64]).await? > 0 {}
            Ok(())
        }
    }
}

async fn status(stream: &mut TcpStream, code: u16) -> Result<()> {
    let head = format!("HTTP/1.1 {code} Answer\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    Ok(stream.write_all(head.as_bytes()).await?)
}

async fn whole(stream: &mut TcpStream, bytes: &[u8], announced: usize) -> Result<()> {
    let head =
        format!("HTTP/1.1 200 Answer\r\nConnection: close\r\nContent-Length: {announced}\r\n\r\n");
    stream.write_all(&[head.as_bytes(), bytes].concat()).await?;
    Ok(())
}

async fn read_head(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= MAX_HEAD_BYTES {
            bail!("the head of the request does not end");
        }
        // Byte by byte: nothing after the head is taken, and it is short.
        head.push(stream.read_u8().await?);
    }
    Ok(head)
}
