//! A file server on loopback that goes wrong in one chosen way, or in several: what a network and other people's servers
//! do to a download.
//!
//! Speaks just enough HTTP/1.1: one `GET` per connection, one open range, `If-Range`. It remembers what it was asked and
//! what it answered, and ends when it is dropped.

mod answer;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use answer::{Answer, Body};

/// Where the file is.
const PATH: &str = "/artifact";
/// The longest head of a request: ours has a few hundred bytes.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// A client that says nothing for so long is gone.
const HEAD: Duration = Duration::from_secs(10);
/// How often a second a trickle drips.
const DRIPS_PER_SECOND: usize = 50;

/// What goes wrong.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The connection ends after so many bytes of each body.
    CutEvery(usize),
    /// The connection ends after so many bytes of the body: the first number is the first answer's, and answers that the
    /// list has no number for are whole.
    CutAfter(Vec<usize>),
    /// The first so many connections end without an answer.
    HangUp(usize),
    /// Each body comes at this rate.
    Trickle {
        /// More than nothing.
        bytes_per_second: usize,
    },
    /// The first requests get this status and no file.
    Status {
        /// Like 503.
        code: u16,
        /// How many requests; `usize::MAX` for all.
        times: usize,
        /// The header of this name.
        retry_after: Option<String>,
    },
    /// The file's address sends on to this one. Any other path of this server has the file too.
    Redirect(String),
    /// The file's address sends on to itself.
    RedirectLoop,
    /// The body never ends; no length is announced.
    Endless,
    /// The announced length is so much more than there is, and then the connection ends.
    LengthTooLong(usize),
    /// The announced length is so much less than there is, and all of it is sent.
    LengthTooShort(usize),
    /// No length is announced: the end of the connection is the end of the body.
    NoLength,
    /// The server itself has only so much of the file, and says so.
    Truncated(usize),
    /// After so many bytes of each body nothing more comes, and the connection stays.
    StallAfter(usize),
    /// Each answer names another version of the file.
    ChangingEtag,
    /// The version is named by a weak tag.
    WeakEtag,
    /// The version is not named.
    NoEtag,
    /// A range is answered with 200 and the whole.
    IgnoresRange,
    /// A range is answered whatever version `If-Range` names.
    IgnoresIfRange,
    /// A range is answered with 416, always.
    RefusesRange,
    /// A range is answered with one that begins this many bytes earlier, and says so.
    EarlierRange(usize),
    /// The body is said to be encoded this way; it is the file all the same.
    ContentEncoding(&'static str),
}

impl From<Fault> for Vec<Fault> {
    fn from(fault: Fault) -> Self {
        vec![fault]
    }
}

/// A request and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Request {
    /// The path, with the query.
    pub target: String,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The status of the answer; none when the connection ended without one.
    pub status: Option<u16>,
    /// Bytes of the body that were handed to the connection so far.
    pub body_bytes: u64,
}

impl Request {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The `Range`.
    pub fn range(&self) -> Option<&str> {
        self.header("range")
    }

    /// The `If-Range`.
    pub fn if_range(&self) -> Option<&str> {
        self.header("if-range")
    }
}

/// The server. Dropped, it hangs up on everybody and listens no more.
#[derive(Debug)]
pub struct Faults {
    address: SocketAddr,
    shared: Arc<Shared>,
    listening: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    bytes: Arc<[u8]>,
    faults: Vec<Fault>,
    requests: Mutex<Vec<Request>>,
}

impl Drop for Faults {
    fn drop(&mut self) {
        // The connections are tasks of this one's set and end with it.
        self.listening.abort();
    }
}

impl Faults {
    /// Serves these bytes on a free port of loopback.
    pub async fn start(bytes: impl Into<Arc<[u8]>>, faults: impl Into<Vec<Fault>>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no port on loopback")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            bytes: bytes.into(),
            faults: faults.into(),
            requests: Mutex::default(),
        });
        let listening = tokio::spawn(listen(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, listening })
    }

    /// The file's address.
    pub fn url(&self) -> String {
        self.at(PATH)
    }

    /// The address of a path of this server.
    pub fn at(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The address of a tunnel at the same origin: what an agent that may download from here has as its server.
    pub fn tunnel(&self) -> String {
        format!("ws://{}/agent/ws", self.address)
    }

    /// The requests so far, oldest first.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests().clone()
    }
}

impl Shared {
    fn requests(&self) -> std::sync::MutexGuard<'_, Vec<Request>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // What cannot be accepted is a client that is gone already.
                if let Ok((stream, _)) = accepted {
                    let shared = Arc::clone(&shared);
                    connections.spawn(async move {
                        // A client that hangs up is what most of these faults are about.
                        drop(serve(stream, &shared).await);
                    });
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(mut stream: TcpStream, shared: &Shared) -> Result<()> {
    stream.set_nodelay(true)?;
    let request = timeout(HEAD, read_head(&mut stream)).await.context("no request came")??;
    let number = {
        let mut requests = shared.requests();
        requests.push(request.clone());
        requests.len() - 1
    };
    let Some(answer) = answer::plan(&request, number, &shared.bytes, &shared.faults) else {
        return Ok(());
    };
    shared.requests()[number].status = Some(answer.status);
    stream.write_all(answer.head().as_bytes()).await?;
    send_body(&mut stream, shared, number, &answer).await?;
    if answer.stalls {
        // The client alone ends this.
        while stream.read(&mut [0; 64]).await? > 0 {}
    }
    Ok(())
}

async fn send_body(
    stream: &mut TcpStream,
    shared: &Shared,
    number: usize,
    answer: &Answer,
) -> Result<()> {
    let zeros = vec![0; 64 * 1024];
    let (mut left, endless) = match answer.body.clone() {
        Body::Part(range) => (&shared.bytes[range], false),
        Body::Text(text) => {
            stream.write_all(text.as_bytes()).await?;
            return Ok(());
        }
        Body::Endless => (zeros.as_slice(), true),
    };
    let at_once =
        answer.bytes_per_second.map_or(zeros.len(), |rate| (rate / DRIPS_PER_SECOND).max(1));
    while !left.is_empty() {
        let piece = &left[..left.len().min(at_once)];
        stream.write_all(piece).await?;
        shared.requests()[number].body_bytes += piece.len() as u64;
        if !endless {
            left = &left[piece.len()..];
        }
        if let Some(rate) = answer.bytes_per_second {
            sleep(Duration::from_secs(1) * u32::try_from(piece.len())? / u32::try_from(rate)?)
                .await;
        }
    }
    Ok(())
}

async fn read_head(stream: &mut TcpStream) -> Result<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= MAX_HEAD_BYTES {
            bail!("the head of the request does not end");
        }
        // Byte by byte: nothing after the head is taken, and it is short.
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head);
    let mut lines = head.lines();
    let target = lines.next().and_then(|line| line.split(' ').nth(1)).context("no request line")?;
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Ok(Request { target: target.to_owned(), headers, ..Request::default() })
}
