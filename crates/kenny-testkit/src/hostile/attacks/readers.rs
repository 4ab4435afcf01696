//! Those who ask for the largest answers and hardly read them, so that the server has to hold what it wants to be rid of.

use std::net::IpAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::sleep;

use super::{read_head, refused};
use crate::hostile::front::Front;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// A release, by a signed link that leaked.
    Artifact,
    /// The description of the API, which anybody may read.
    Document,
    /// Everything that happens, with an operator's token that leaked.
    Events,
}

/// How it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// A byte a second.
    Drip,
    /// Not at all once the answer has begun: every buffer on the way is full.
    Never,
}

impl Answer {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Artifact, Self::Document, Self::Events];

    /// For the report.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Artifact => "release",
            Self::Document => "openapi.json",
            Self::Events => "events",
        }
    }
}

impl Pace {
    /// Every one.
    pub const ALL: [Self; 2] = [Self::Drip, Self::Never];

    /// For the report.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drip => "drop by drop",
            Self::Never => "not at all",
        }
    }
}

/// Asks, and reads at this pace until the server has had enough.
pub async fn once(front: &Front, from: IpAddr, answer: Answer, pace: Pace) -> std::io::Result<()> {
    let loot = front.loot();
    let (path, more) = match answer {
        Answer::Artifact => (loot.artifact.as_str(), String::new()),
        Answer::Document => ("/api/v1/openapi.json", String::new()),
        Answer::Events => {
            let token = format!("authorization: Bearer {}\r\nlast-event-id: 0\r\n", loot.token);
            ("/api/v1/events", token)
        }
    };
    let mut stream = front.connect_with_small_buffer(from).await?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n{more}\r\n").as_bytes()).await?;
    stream.flush().await?;
    if !read_head(&mut stream).await?.starts_with(b"HTTP/1.1 200") {
        return Err(refused().await);
    }
    front.was_answered(answer);
    match pace {
        Pace::Drip => loop {
            stream.read_u8().await?;
            sleep(Duration::from_secs(1)).await;
        },
        // Ended by whoever is more patient.
        Pace::Never => std::future::pending().await,
    }
}
