//! An agent that lives its own life: it connects again and again, and takes updates as it was made to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Between two tries of a server that is not there.
const AGAIN: Duration = Duration::from_millis(50);

/// How it takes an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// It comes back on the new version.
    Obeys,
    /// It comes back on the old one, and blames the new one.
    GoesBack,
    /// It is never heard of again.
    Vanishes,
    /// It cannot fetch it the first time, which is not the version's fault.
    Stumbles,
}

/// What it says of itself.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The server's tunnel, `ws://HOST:PORT/agent/ws`.
    pub tunnel: String,
    /// Its id.
    pub id: String,
    /// Its token.
    pub token: String,
    /// More of its meta.
    pub meta: Value,
    /// How long it takes an update.
    pub takes: Duration,
}

/// A running one; it ends with this.
#[derive(Debug)]
pub struct Puppet {
    /// How many updates it took in hand.
    pub begun: Arc<AtomicU32>,
    task: JoinHandle<()>,
}

impl Drop for Puppet {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Puppet {
    /// Starts one that runs 1.0.0.
    pub fn start(identity: Identity, manner: Manner) -> Self {
        let begun = Arc::new(AtomicU32::new(0));
        let life = Life {
            identity,
            manner,
            version: "1.0.0".to_owned(),
            kept: String::new(),
            report: Value::Null,
            begun: Arc::clone(&begun),
        };
        Self { begun, task: tokio::spawn(life.live()) }
    }

    /// How many updates it took in hand.
    pub fn begun(&self) -> u32 {
        self.begun.load(Ordering::SeqCst)
    }
}

struct Life {
    identity: Identity,
    manner: Manner,
    version: String,
    kept: String,
    report: Value,
    begun: Arc<AtomicU32>,
}

/// The connection is over, or the agent.
enum Next {
    Stay,
    Reconnect,
    Vanish,
}

impl Life {
    async fn live(mut self) {
        loop {
            match self.connect().await {
                Some(mut socket) => match self.serve(&mut socket).await {
                    Some(Next::Vanish) => return,
                    Some(Next::Stay | Next::Reconnect) | None => {}
                },
                None => tokio::time::sleep(AGAIN).await,
            }
        }
    }

    async fn connect(&self) -> Option<Socket> {
        let (mut socket, _) = tokio_tungstenite::connect_async(&self.identity.tunnel).await.ok()?;
        let Identity { id, token, meta, .. } = &self.identity;
        let mut all = json!({
            "hostname": id, "os": "linux", "arch": "x86_64", "version": self.version, "protocol": "0.3",
            "update": self.report
        });
        for (name, value) in meta.as_object().into_iter().flatten() {
            all[name] = value.clone();
        }
        let register = json!({"type": "register", "agent_id": id, "token": token, "meta": all});
        send(&mut socket, register).await?;
        Some(socket)
    }

    /// None when the connection broke.
    async fn serve(&mut self, socket: &mut Socket) -> Option<Next> {
        loop {
            let Message::Text(text) = socket.next().await?.ok()? else { continue };
            let frame: Value = serde_json::from_str(&text).expect("a frame");
            match frame["type"].as_str() {
                Some("ping") => send(socket, json!({"type": "pong"})).await?,
                Some("request") => match self.take(socket, &frame).await? {
                    Next::Stay => {}
                    next @ (Next::Reconnect | Next::Vanish) => return Some(next),
                },
                _ => {}
            }
        }
    }

    async fn take(&mut self, socket: &mut Socket, request: &Value) -> Option<Next> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        if self.manner == Manner::Stumbles {
            self.manner = Manner::Obeys;
            let failure = json!({"kind": "network", "detail": "the line is down"});
            let status = json!({
                "type": "update_status", "update_id": request["args"]["update_id"], "phase": "failed",
                "version": request["args"]["version"], "at": Timestamp::now(), "failure": failure
            });
            send(socket, status).await?;
            let error = json!({"code": "exec_failed", "message": "the line is down"});
            let answer =
                json!({"type": "response", "id": request["id"], "ok": false, "error": error});
            send(socket, answer).await?;
            return Some(Next::Stay);
        }
        let goes_back = request["tool"] == "agent.rollback";
        let to = if goes_back { json!(self.kept) } else { request["args"]["version"].clone() };
        let report = |phase: &str, failure: Value| {
            json!({
                "update_id": request["args"]["update_id"], "from_version": self.version, "version": to,
                "sha256": "ab".repeat(32), "phase": phase, "rollback": goes_back, "failure": failure,
                "history": [{"phase": phase, "at": Timestamp::now()}]
            })
        };
        // What a journal says survives whatever becomes of the connection from here on.
        self.report = match self.manner {
            Manner::Obeys | Manner::Vanishes | Manner::Stumbles => report("committed", Value::Null),
            Manner::GoesBack => {
                let died = json!({"kind": "candidate_died", "detail": "it ended at once"});
                report("rolled_back", died)
            }
        };
        tokio::time::sleep(self.identity.takes).await;
        let result = json!({"ok": true, "staged_version": to});
        let answer = json!({"type": "response", "id": request["id"], "ok": true, "result": result});
        let told = send(socket, answer).await;
        if self.manner == Manner::Vanishes {
            return Some(Next::Vanish);
        }
        if self.manner == Manner::Obeys {
            self.kept = std::mem::replace(&mut self.version, to.as_str().unwrap_or("?").to_owned());
        }
        told?;
        let _ = socket.close(None).await;
        Some(Next::Reconnect)
    }
}

async fn send(socket: &mut Socket, frame: Value) -> Option<()> {
    socket.send(Message::text(frame.to_string())).await.ok()
}
