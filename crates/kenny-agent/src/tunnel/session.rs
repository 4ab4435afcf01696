//! One connection, from `register` to its end.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use kenny_proto::frames::{ErrorCode, Meta, Register, Request, Response, ToolError};
use kenny_proto::{
    AgentFrame, AgentId, CloseCode, HEARTBEAT_S, MAX_FRAME_BYTES, MAX_PUSH_BYTES, Parsed,
    ServerFrame,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use super::connect::Socket;
use super::sleep::SleepWatch;
use super::{Outbound, Outbox, QUEUE, handshake};
use crate::dispatch::Dispatcher;
use crate::identity::Credential;
use crate::platform;

/// Time between heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(HEARTBEAT_S as u64);
/// Intervals without any frame after which the server is gone.
const SILENT_INTERVALS: u32 = 3;
/// How long the last frame may take when the agent leaves.
const FAREWELL: Duration = Duration::from_millis(200);

/// How a connection ended.
#[derive(Debug)]
pub enum End {
    /// The agent stops.
    Stopped,
    /// The server does not accept this agent: no use in trying often.
    Unauthorized(String),
    /// What answers is not the server that this PC enrolled at.
    Impostor(String),
    /// This agent has nothing to prove itself with: its key cannot be read.
    NoKey(String),
    /// A newer connection of the same agent took over.
    Displaced(String),
    /// A frame of the server was over the limit.
    TooBig,
    /// Anything else.
    Lost(String),
}

/// One connection that has yet to run.
pub struct Session<'a> {
    /// The socket.
    pub socket: Socket,
    /// Who we are.
    pub agent_id: AgentId,
    /// How we prove it.
    pub credential: Credential,
    /// What we say of ourselves.
    pub meta: Meta,
    /// Where requests go.
    pub dispatcher: Arc<Dispatcher>,
    /// Where pushes come from.
    pub outbox: Outbox,
    /// Becomes true when the agent stops.
    pub stop: watch::Receiver<bool>,
    /// Called once when the server accepted us.
    pub on_accepted: &'a mut (dyn FnMut() + Send),
}

impl Session<'_> {
    /// Runs the connection to its end.
    pub async fn run(mut self) -> End {
        let (mut sink, mut source) = self.socket.split();
        let is_accepted = match self.credential {
            Credential::Key(pinned) => {
                let introduced = tokio::select! {
                    biased;
                    _ = self.stop.wait_for(|stop| *stop) => Err(End::Stopped),
                    introduced = handshake::introduce(&mut sink, &mut source, &pinned, self.meta) => introduced,
                };
                if let Err(end) = introduced {
                    if let Some(frame) = last_words(&end) {
                        drop(timeout(FAREWELL, sink.send(Message::Close(Some(frame)))).await);
                    }
                    return end;
                }
                true
            }
            Credential::Token(token) => {
                let (agent_id, meta) = (self.agent_id, self.meta);
                let register = Register { agent_id, token: Some(token), nonce: None, meta };
                let register = AgentFrame::Register(Box::new(register)).to_json();
                // A 0.2 server says nothing to a register; it answers this ping.
                for first in [register, AgentFrame::Ping.to_json()] {
                    if let Err(error) = sink.send(Message::text(first)).await {
                        return End::Lost(error.to_string());
                    }
                }
                false
            }
        };
        let (sender, receiver) = mpsc::channel(QUEUE);
        let (farewell, leaving) = oneshot::channel();
        let mut writer = tokio::spawn(write(sink, receiver, leaving));
        self.dispatcher.attach(sender.clone());
        self.outbox.attach(Some(sender.clone()));
        let on_accepted = if is_accepted {
            // The `welcome` was the end of proving who is who. What acceptance gives rise to is told, so it comes last.
            self.dispatcher.welcomed();
            (self.on_accepted)();
            None
        } else {
            Some(self.on_accepted)
        };
        let end = read(&mut source, &sender, &self.dispatcher, &mut self.stop, on_accepted).await;
        self.outbox.attach(None);
        self.dispatcher.detach();
        if let Some(frame) = last_words(&end) {
            // The writer has ended where the socket has.
            let _ = farewell.send(frame);
            drop(timeout(FAREWELL, &mut writer).await);
        }
        writer.abort();
        end
    }
}

async fn read(
    source: &mut SplitStream<Socket>,
    sender: &mpsc::Sender<Outbound>,
    dispatcher: &Arc<Dispatcher>,
    stop: &mut watch::Receiver<bool>,
    mut on_accepted: Option<&mut (dyn FnMut() + Send)>,
) -> End {
    let mut accept = |how: &str| {
        if let Some(on_accepted) = on_accepted.take() {
            tracing::info!(how, "the server accepted this agent");
            on_accepted();
        }
    };
    let mut heartbeat = interval(HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    heartbeat.reset();
    let mut sleep = SleepWatch::new(HEARTBEAT, platform::uptime().ok());
    let mut last_frame = Instant::now();
    loop {
        let message = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return End::Stopped,
            message = source.next() => message,
            _ = heartbeat.tick() => {
                if sleep.has_slept(platform::uptime().ok()) {
                    return End::Lost("the PC was asleep; the old connection is of no use".to_owned());
                }
                if last_frame.elapsed() > HEARTBEAT * SILENT_INTERVALS {
                    return End::Lost("the server was silent for 90 s".to_owned());
                }
                drop(sender.try_send(Outbound { frame: AgentFrame::Ping, sent: None }));
                continue;
            }
        };
        let text = match message {
            None => return End::Lost("the connection ended".to_owned()),
            Some(Err(Error::Capacity(_))) => return End::TooBig,
            Some(Err(error)) => return End::Lost(error.to_string()),
            Some(Ok(Message::Close(frame))) => return closed(frame),
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Binary(_))) => {
                tracing::warn!("a binary message was dropped");
                continue;
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
        };
        last_frame = Instant::now();
        match ServerFrame::parse(&text) {
            Ok(Parsed::Frame(ServerFrame::Welcome(welcome))) => {
                dispatcher.welcomed();
                accept(&format!("welcome, session {}", welcome.session));
            }
            Ok(Parsed::Frame(ServerFrame::Request(request))) => {
                accept("a request");
                handle(dispatcher, request);
            }
            Ok(Parsed::Frame(ServerFrame::Challenge(_))) => {
                tracing::debug!("a challenge that nobody waits for");
            }
            Ok(Parsed::Frame(ServerFrame::Cancel { id })) => dispatcher.cancel(id),
            Ok(Parsed::Frame(ServerFrame::Ping)) => {
                drop(sender.try_send(Outbound { frame: AgentFrame::Pong, sent: None }));
            }
            Ok(Parsed::Frame(ServerFrame::Pong)) => accept("a pong"),
            Ok(Parsed::Unknown(kind)) => tracing::debug!(kind, "a frame of unknown type"),
            Err(error) => {
                tracing::warn!(error = crate::words(&error), "a message was dropped");
            }
        }
    }
}

fn handle(dispatcher: &Arc<Dispatcher>, request: Request) {
    tracing::debug!(request.id = %request.id, tool = request.tool, "a request");
    dispatcher.start(request);
}

/// What a close of the server's means.
pub fn closed(frame: Option<CloseFrame>) -> End {
    let Some(frame) = frame else {
        return End::Lost("the server closed the connection".to_owned());
    };
    let code = u16::from(frame.code);
    let reason = format!("the server closed the connection: {} ({code})", frame.reason);
    if code == CloseCode::Unauthorized.as_u16() {
        End::Unauthorized(reason)
    } else if code == CloseCode::Displaced.as_u16() {
        End::Displaced(reason)
    } else {
        End::Lost(reason)
    }
}

/// What the server is told when this side ends the connection.
fn last_words(end: &End) -> Option<CloseFrame> {
    let (code, reason) = match end {
        End::Stopped => (CloseCode::GoingAway, "the agent stops"),
        End::TooBig => (CloseCode::TooBig, "a frame of more than 8 MiB"),
        End::Impostor(_) => {
            (CloseCode::Unauthorized, "this is not the server that this agent enrolled at")
        }
        End::NoKey(_) | End::Unauthorized(_) | End::Displaced(_) | End::Lost(_) => return None,
    };
    Some(CloseFrame { code: code.as_u16().into(), reason: reason.into() })
}

async fn write(
    mut sink: SplitSink<Socket, Message>,
    mut queue: mpsc::Receiver<Outbound>,
    mut leaving: oneshot::Receiver<CloseFrame>,
) {
    loop {
        // What waits goes first: an answer may be among it that somebody needs.
        let outbound = tokio::select! {
            biased;
            outbound = queue.recv() => outbound,
            Ok(frame) = &mut leaving => {
                drop(sink.send(Message::Close(Some(frame))).await);
                return;
            }
        };
        let Some(Outbound { frame, sent }) = outbound else { return };
        let Some(text) = encode(&frame) else { continue };
        if let Err(error) = sink.send(Message::Text(Utf8Bytes::from(text))).await {
            tracing::debug!(error = %error, "a frame could not be sent");
            return;
        }
        if let Some(sent) = sent {
            // Whoever asked may no longer want to know.
            let _ = sent.send(());
        }
    }
}

/// The frame as text within the contract's limits: an answer that is too big becomes an error that says so, a push
/// that is too big is not sent.
fn encode(frame: &AgentFrame) -> Option<String> {
    let text = frame.to_json();
    let bytes = text.len();
    match frame {
        AgentFrame::Response(Response { id, .. }) if bytes > MAX_FRAME_BYTES => {
            let words = format!(
                "the result has {bytes} bytes, more than the {MAX_FRAME_BYTES} that fit a frame; ask for less"
            );
            let outcome = Err(ToolError::new(ErrorCode::ExecFailed, words));
            Some(AgentFrame::Response(Response { id: *id, outcome }).to_json())
        }
        AgentFrame::Telemetry(_) | AgentFrame::UpdateStatus(_) if bytes > MAX_PUSH_BYTES => {
            tracing::warn!(bytes, "a push of more than 256 KiB was not sent");
            None
        }
        AgentFrame::Response(_)
        | AgentFrame::Telemetry(_)
        | AgentFrame::UpdateStatus(_)
        | AgentFrame::Register(_)
        | AgentFrame::Auth { .. }
        | AgentFrame::Ping
        | AgentFrame::Pong => Some(text),
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
