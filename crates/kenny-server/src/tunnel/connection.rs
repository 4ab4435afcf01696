//! The life of one accepted connection: read, write, and end. Everything here is small, because it idles by the
//! thousand.

use std::ops::ControlFlow;
use std::sync::Arc;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use jiff::Timestamp;
use kenny_core::health;
use kenny_proto::api::TelemetryView;
use kenny_proto::frames::{HOST_SECTION, UTC_OFFSET_FIELD};
use kenny_proto::policy::{PAUSED_FIELD, POLICY_SECTION};
use kenny_proto::trust::{HASH_ONLY, MODE_FIELD, TRUST_SECTION};
use kenny_proto::{AgentFrame, CloseCode, MAX_FRAME_BYTES, MAX_PUSH_BYTES, Parsed, ServerFrame};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite;

use super::handshake::{self, Accepted};
use super::session::Session;
use super::{Arrival, CLOSING_TIME, HARD_LIMIT_BYTES};
use crate::app::App;
use crate::events::kind;
use crate::fleet::AgentEntry;
use crate::rollout;

/// A close reason has at most so many bytes (RFC 6455: a control frame has 125, two are the code).
const REASON_BYTES: usize = 123;
/// After so many dropped frames of one connection, further ones are logged at debug.
const DROPS_WARNED: u32 = 10;

/// Why a connection ended.
enum End {
    /// The peer closed it.
    Closed,
    /// It broke.
    Lost(axum::Error),
    /// We close it.
    Close(CloseCode, String),
    /// A frame was announced that is not even read: nothing more can be read.
    Cut(String),
}

/// Serves one connection from its upgrade to its end.
pub async fn run(app: Arc<App>, socket: WebSocket, arrival: Arrival) {
    let accepted = Box::pin(handshake::accept(&app, socket, arrival)).await;
    let Some(Accepted { socket, entry, session, mut queue }) = accepted else { return };
    let (mut sink, mut stream) = socket.split();
    let end = tokio::select! {
        end = read(&app, &entry, &session, &mut stream) => end,
        end = write(&app, &mut queue, &mut sink) => end,
        () = session.close_asked() => {
            let (code, reason) = session.closing().expect("a close is asked with its reason");
            End::Close(code, reason)
        }
    };
    // First the facts, then the courtesies.
    ended(&app, &entry, &session, &end);
    drop(queue);
    Box::pin(part(sink, stream, end)).await;
}

async fn read(
    app: &Arc<App>,
    entry: &Arc<AgentEntry>,
    session: &Arc<Session>,
    stream: &mut SplitStream<WebSocket>,
) -> End {
    let mut drops = 0;
    loop {
        let message = match stream.next().await {
            Some(Ok(message)) => message,
            Some(Err(error)) => return broken(error),
            None => return End::Closed,
        };
        session.heard();
        let text = match message {
            Message::Text(text) => text,
            Message::Binary(_) => {
                dropped(app, entry, &mut drops, "binary", "it is a binary message");
                continue;
            }
            Message::Ping(_) | Message::Pong(_) => continue,
            Message::Close(_) => return End::Closed,
        };
        app.metrics.frames_in.inc();
        if text.len() > MAX_FRAME_BYTES {
            return too_big("a frame", text.len(), MAX_FRAME_BYTES);
        }
        match AgentFrame::parse(&text) {
            Ok(Parsed::Frame(frame)) => {
                if let ControlFlow::Break(end) = handle(app, entry, session, frame, text.len()) {
                    return end;
                }
            }
            Ok(Parsed::Unknown(kind)) => {
                tracing::debug!(agent.id = %entry.id, kind, "ignored a frame of an unknown type");
            }
            Err(error) => {
                dropped(app, entry, &mut drops, "malformed", &error.to_string());
            }
        }
    }
}

fn handle(
    app: &Arc<App>,
    entry: &Arc<AgentEntry>,
    session: &Arc<Session>,
    frame: AgentFrame,
    size_bytes: usize,
) -> ControlFlow<End> {
    match frame {
        AgentFrame::Response(response) => {
            if let Some(update) = session.update_of(response.id) {
                rollout::answered(app, entry, session, update, &response.outcome);
            }
            let id = response.id;
            if !session.answer(response) {
                tracing::debug!(agent.id = %entry.id, request = %id, "nobody waits for this answer any more");
            }
        }
        AgentFrame::Telemetry(_) | AgentFrame::UpdateStatus(_) if size_bytes > MAX_PUSH_BYTES => {
            return ControlFlow::Break(too_big("a push", size_bytes, MAX_PUSH_BYTES));
        }
        AgentFrame::Telemetry(telemetry) => {
            let mut state = entry.lock();
            if let (Some(section), Some(facts)) =
                (telemetry.snapshot.get(POLICY_SECTION), &mut state.facts)
            {
                let paused = section.fields.get(PAUSED_FIELD).cloned().unwrap_or_default();
                facts.paused = serde_json::from_value(paused).unwrap_or_default();
            }
            if let (Some(section), Some(facts)) =
                (telemetry.snapshot.get(TRUST_SECTION), &mut state.facts)
            {
                let mode = section.fields.get(MODE_FIELD).and_then(Value::as_str);
                facts.pins_root = mode.map(|mode| mode != HASH_ONLY);
            }
            let local = telemetry.snapshot.get(HOST_SECTION).map(|section| &section.fields);
            let offset = local.and_then(|fields| fields.get(UTC_OFFSET_FIELD)?.as_i64());
            if let (Some(offset), Some(facts)) = (offset, &mut state.facts) {
                facts.utc_offset_s = i32::try_from(offset).ok();
            }
            state.health = Some(Box::new(health::overall(&telemetry.snapshot)));
            state.telemetry = Some(Box::new(TelemetryView {
                collected_at: telemetry.collected_at,
                received_at: Timestamp::now(),
                snapshot: telemetry.snapshot,
            }));
            drop(state);
            app.fleet.mark(entry);
        }
        AgentFrame::UpdateStatus(status) => rollout::reported(app, entry, session, &status),
        AgentFrame::Ping => {
            session.send_if_room(&ServerFrame::Pong);
        }
        AgentFrame::Pong => {}
        AgentFrame::Register(_) | AgentFrame::Auth { .. } => {
            tracing::debug!(agent.id = %entry.id, "ignored a frame of the handshake, which is over");
        }
    }
    ControlFlow::Continue(())
}

async fn write(
    app: &App,
    queue: &mut mpsc::Receiver<Utf8Bytes>,
    sink: &mut SplitSink<WebSocket, Message>,
) -> End {
    while let Some(text) = queue.recv().await {
        app.metrics.frames_out.inc();
        if let Err(error) = sink.send(Message::Text(text)).await {
            return End::Lost(error);
        }
    }
    End::Closed
}

/// The connection's end as a fact. A connection that was displaced says nothing about its agent.
fn ended(app: &Arc<App>, entry: &Arc<AgentEntry>, session: &Arc<Session>, end: &End) {
    session.fail_pending();
    let why = match end {
        End::Closed => "the agent closed the connection".to_owned(),
        End::Lost(error) => format!("the connection broke: {error}"),
        End::Close(_, reason) | End::Cut(reason) => reason.clone(),
    };
    {
        let mut state = entry.lock();
        if !state.session.as_ref().is_some_and(|current| Arc::ptr_eq(current, session)) {
            tracing::debug!(agent.id = %entry.id, session = %session.id, "an older connection ended");
            return;
        }
        state.session = None;
        state.last_seen_at = Some(Timestamp::now());
    }
    tracing::info!(agent.id = %entry.id, session = %session.id, "agent offline: {why}");
    app.fleet.mark(entry);
    app.events.publish(
        kind::AGENT_OFFLINE,
        Some(&entry.id),
        format!("{} is offline: {why}", entry.id),
    );
    rollout::disconnected(app, entry, session);
    // Last: a server that goes down waits for this.
    app.metrics.agents_online.dec();
    app.disconnected.notify_one();
}

/// Tells the peer why, and hears it out, within bounds.
async fn part(
    mut sink: SplitSink<WebSocket, Message>,
    mut stream: SplitStream<WebSocket>,
    end: End,
) {
    let (close, readable) = match end {
        End::Closed => (None, true),
        End::Lost(_) => (None, false),
        End::Close(code, reason) => (Some((code, reason)), true),
        End::Cut(reason) => (Some((CloseCode::TooBig, reason)), false),
    };
    let _ = tokio::time::timeout(CLOSING_TIME, async {
        if let Some((code, reason)) = close {
            send_close(&mut sink, code, &reason).await;
            if !readable {
                // What the peer still sends cannot be taken; hanging up at once would lose the reason on its way.
                std::future::pending::<()>().await;
            }
        }
        if readable {
            drain(&mut stream).await;
        }
    })
    .await;
}

/// Closes a connection that was never accepted.
pub async fn close_socket(mut socket: WebSocket, code: CloseCode, reason: String) {
    let _ = tokio::time::timeout(CLOSING_TIME, async {
        send_close(&mut socket, code, &reason).await;
        drain(&mut socket).await;
    })
    .await;
}

async fn send_close(
    sink: &mut (impl Sink<Message, Error = axum::Error> + Unpin),
    code: CloseCode,
    reason: &str,
) {
    let mut length = reason.len().min(REASON_BYTES);
    while !reason.is_char_boundary(length) {
        length -= 1;
    }
    let frame = CloseFrame { code: code.as_u16(), reason: reason[..length].into() };
    // A peer that is gone needs no reason.
    let _ = sink.send(Message::Close(Some(frame))).await;
}

async fn drain(stream: &mut (impl Stream<Item = Result<Message, axum::Error>> + Unpin)) {
    while let Some(Ok(_)) = stream.next().await {}
}

fn broken(error: axum::Error) -> End {
    let inner = error.into_inner();
    match inner.downcast_ref::<tungstenite::Error>() {
        Some(tungstenite::Error::Capacity(_)) => End::Cut(format!(
            "a frame may have at most {MAX_FRAME_BYTES} bytes, this one has more than {HARD_LIMIT_BYTES}"
        )),
        Some(_) | None => End::Lost(axum::Error::new(inner)),
    }
}

fn too_big(what: &str, size_bytes: usize, limit_bytes: usize) -> End {
    End::Close(
        CloseCode::TooBig,
        format!("{what} may have at most {limit_bytes} bytes, this one has {size_bytes}"),
    )
}

fn dropped(app: &App, entry: &AgentEntry, drops: &mut u32, reason: &'static str, why: &str) {
    app.metrics.dropped(reason);
    *drops = drops.saturating_add(1);
    if *drops <= DROPS_WARNED {
        tracing::warn!(agent.id = %entry.id, "dropped a frame: {why}");
    } else {
        tracing::debug!(agent.id = %entry.id, "dropped a frame: {why}");
    }
}
