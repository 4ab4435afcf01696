//! Agents that behave, and notice when they are dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::client::Client;
use crate::poll::eventually;
use crate::raw::{Heard, Peer};

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
    pub async fn start(client: &Client, count: usize) -> Result<Self> {
        let dropped = Arc::new(AtomicU64::new(0));
        let mut fleet = Self { ids: Vec::new(), dropped: Arc::clone(&dropped), tasks: Vec::new() };
        for number in 0..count {
            let id = format!("office-{number}");
            let created = client.create_legacy_agent(&id).await?;
            let peer = Peer::register(&created.server, &id, &created.token, "1.0.0").await?;
            let dropped = Arc::clone(&dropped);
            fleet.tasks.push(tokio::spawn(async move {
                serve(peer).await;
                dropped.fetch_add(1, Ordering::Relaxed);
            }));
            fleet.ids.push(id);
        }
        eventually("the fleet", ONLINE, async || {
            let online = client.agents().await?.iter().filter(|agent| agent.online).count();
            Ok((online == count).then_some(()))
        })
        .await?;
        Ok(fleet)
    }

    /// Their ids.
    pub fn ids(&self) -> &[String] {
        &self.ids
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
