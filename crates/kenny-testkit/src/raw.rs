//! A peer that speaks bare JSON over a WebSocket, written from the contract's text alone: what others' agents and
//! servers of 0.2 look like to ours.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, accept_async, client_async};

use crate::tls::AnySocket;

/// For anything that the other side does at once, on a loaded machine.
const LIMIT: Duration = Duration::from_secs(30);

/// One end of a tunnel.
#[derive(Debug)]
pub struct Peer {
    socket: WebSocketStream<AnySocket>,
}

/// What came.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// A text message.
    Frame(Value),
    /// The end, with the code and the words of the other side; without, when the connection just broke.
    Closed(Option<u16>, String),
}

impl Peer {
    /// Dials a server's tunnel (`ws://HOST:PORT/agent/ws`).
    pub async fn dial(tunnel: &str) -> Result<Self> {
        let address = tunnel.trim_start_matches("ws://");
        let address = address.split('/').next().unwrap_or(address);
        let stream = TcpStream::connect(address).await.context("the server does not listen")?;
        Self::over(Box::new(stream), tunnel).await
    }

    /// Opens a server's tunnel over a connection to it.
    pub async fn over(stream: AnySocket, tunnel: &str) -> Result<Self> {
        let (socket, _) = client_async(tunnel, stream).await.context("no WebSocket came of it")?;
        Ok(Self { socket })
    }

    /// Dials and registers as an agent of 0.2.
    pub async fn register(tunnel: &str, id: &str, token: &str, version: &str) -> Result<Self> {
        let mut peer = Self::dial(tunnel).await?;
        peer.introduce(id, token, version).await?;
        Ok(peer)
    }

    /// Registers as an agent of 0.2.
    pub async fn introduce(&mut self, id: &str, token: &str, version: &str) -> Result<()> {
        let meta = json!({ "hostname": "raw", "os": "linux", "version": version });
        self.send(&json!({ "type": "register", "agent_id": id, "token": token, "meta": meta }))
            .await
    }

    /// Waits for an agent that dials in, as a server of 0.2 does.
    pub async fn accept(listener: &TcpListener) -> Result<Self> {
        let accepted = timeout(LIMIT, listener.accept()).await.context("nobody dials in")?;
        let stream: AnySocket = Box::new(accepted?.0);
        let socket = accept_async(stream).await.context("no WebSocket came of it")?;
        Ok(Self { socket })
    }

    /// Sends a frame.
    pub async fn send(&mut self, frame: &Value) -> Result<()> {
        self.send_text(frame.to_string()).await
    }

    /// Sends any text.
    pub async fn send_text(&mut self, text: impl Into<String>) -> Result<()> {
        Ok(self.socket.send(Message::text(text.into())).await?)
    }

    /// Sends bytes, which no frame is.
    pub async fn send_binary(&mut self, bytes: Vec<u8>) -> Result<()> {
        Ok(self.socket.send(Message::binary(bytes)).await?)
    }

    /// Closes with a code.
    pub async fn close(&mut self, code: u16, reason: &'static str) -> Result<()> {
        let frame = CloseFrame { code: CloseCode::from(code), reason: reason.into() };
        Ok(self.socket.close(Some(frame)).await?)
    }

    /// The next text message, or the end.
    pub async fn hear(&mut self) -> Result<Heard> {
        timeout(LIMIT, self.hear_at_last()).await.context("nothing came")?
    }

    /// Like [`Self::hear`], however long it takes.
    pub async fn hear_at_last(&mut self) -> Result<Heard> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    return Ok(Heard::Frame(serde_json::from_str(&text).context("not JSON")?));
                }
                Some(Ok(Message::Close(frame))) => {
                    let (code, words) = frame.map_or((None, String::new()), |frame| {
                        (Some(frame.code.into()), frame.reason.to_string())
                    });
                    return Ok(Heard::Closed(code, words));
                }
                Some(Ok(
                    Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_),
                )) => {}
                Some(Err(
                    tungstenite::Error::ConnectionClosed
                    | tungstenite::Error::AlreadyClosed
                    | tungstenite::Error::Protocol(_)
                    | tungstenite::Error::Io(_),
                ))
                | None => return Ok(Heard::Closed(None, String::new())),
                Some(Err(error)) => return Err(error.into()),
            }
        }
    }

    /// The next frame of this type; pings are answered and others are passed over on the way.
    pub async fn frame(&mut self, kind: &str) -> Result<Value> {
        loop {
            match self.hear().await? {
                Heard::Frame(frame) if frame["type"] == kind => return Ok(frame),
                Heard::Frame(frame) if frame["type"] == "ping" => {
                    self.send(&json!({ "type": "pong" })).await?;
                }
                Heard::Frame(_) => {}
                Heard::Closed(code, words) => {
                    bail!("waited for `{kind}`, got the end: {code:?} {words}")
                }
            }
        }
    }

    /// The code of the end that comes next, whatever comes before it.
    pub async fn closed(&mut self) -> Result<(Option<u16>, String)> {
        loop {
            if let Heard::Closed(code, words) = self.hear().await? {
                return Ok((code, words));
            }
        }
    }

    /// Sends a ping and waits for its pong: the other side is there and reads.
    pub async fn answers_pings(&mut self) -> Result<()> {
        self.send(&json!({ "type": "ping" })).await?;
        self.frame("pong").await?;
        Ok(())
    }

    /// Answers a request with this result.
    pub async fn answer(&mut self, request: &Value, result: Value) -> Result<()> {
        let response =
            json!({ "type": "response", "id": request["id"], "ok": true, "result": result });
        self.send(&response).await
    }
}
