//! Agents that behave, and notice when they are dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustls::ClientConfig;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::client::Client;
use crate::poll::eventually;
use crate::raw::{Heard, Peer};
use crate::tls::wrap;

/// A hundred agents register in less than a second on an idle machine.
const ONLINE: Duration = Duration::from_mins(1);

/// The agents. Dropping it ends them.
#[derive(Debug)]
pub struct Fleet {
    ids: Vec<String>,
    dropped: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<()>>,
}

impl Fleet {
    /// Makes them and brings them online.
    pub async fn start(
        client: &Client,
        trust: Option<&Arc<ClientConfig>>,
        count: usize,
    ) -> Result<Self> {
        let dropped = Arc::new(AtomicU64::new(0));
        let mut fleet = Self { ids: Vec::new(), dropped: Arc::clone(&dropped), tasks: Vec::new() };
        for number in 0..count {
            let id = format!("office-{number}");
            let created = client.create_legacy_agent(&id).await?;
            let mut peer = dial(&created.server, trust).await?;
            peer.introduce(&id, &created.token, "1.0.0").await?;
            let dropped = Arc::clone(&dropped);
            fleet.tasks.push(tokio::spawn(async move {
                serve(peer).await;
                dropped.fetch_add(1, Ordering::Relaxed);
            }));
            fleet.ids.push(id);
        }
        eventually("the fleet", ONLINE, async || {
            Ok((fleet.online(client).await? == count).then_some(()))
        })
        .await?;
        Ok(fleet)
    }

    /// Their ids.
    pub fn ids(&self) -> &[String] {
        &self.ids
    }

    /// How many of them are online, as the server says.
    pub async fn online(&self, client: &Client) -> Result<usize> {
        let agents = client.agents().await?;
        let is_ours = |id: &str| self.ids.iter().any(|ours| ours == id);
        Ok(agents.iter().filter(|agent| agent.online && is_ours(agent.id.as_str())).count())
    }

    /// How many lost their connection.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Opens a tunnel, encrypted where there is something to trust.
pub async fn dial(tunnel: &str, trust: Option<&Arc<ClientConfig>>) -> Result<Peer> {
    let (_, rest) = tunnel.split_once("://").context("a tunnel has a scheme")?;
    let address = rest.split('/').next().unwrap_or(rest);
    let stream = TcpStream::connect(address).await.context("the server does not listen")?;
    Peer::over(wrap(stream, trust).await?, tunnel).await
}

/// Until the connection ends.
async fn serve(mut peer: Peer) {
    let answer = async {
        loop {
            match peer.hear_at_last().await? {
                Heard::Frame(frame) if frame["type"] == "ping" => {
                    peer.send(&json!({ "type": "pong" })).await?;
                }
                Heard::Frame(frame) if frame["type"] == "request" => {
                    peer.answer(&frame, json!({ "interfaces": [], "dns": [] })).await?;
                }
                Heard::Frame(_) => {}
                Heard::Closed(code, words) => bail!("closed with {code:?}: {words}"),
            }
        }
    };
    let _: Result<()> = answer.await;
}
