//! From the upgrade to an accepted agent: the first frame, the token, `welcome`, and the older connection's end.
//!
//! Its future is boxed by the caller, so that none of this lives on in an idle connection.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{Message, Utf8Bytes, WebSocket};
use jiff::Timestamp;
use kenny_proto::frames::{Register, Welcome};
use kenny_proto::{
    AgentFrame, CloseCode, MAX_PUSH_BYTES, PROTOCOL, Parsed, REGISTER_TIMEOUT_S, ServerFrame,
};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Arrival;
use super::connection::close_socket;
use super::session::Session;
use crate::app::App;
use crate::audit::{Subject, Who};
use crate::events::kind;
use crate::fleet::{AgentEntry, AgentFacts};
use crate::rollout;

/// Between two events about the same agent being turned away; it tries for ever.
const TELL_REJECTION_EVERY: Duration = Duration::from_mins(15);

/// An accepted agent.
pub struct Accepted {
    pub socket: WebSocket,
    pub entry: Arc<AgentEntry>,
    pub session: Arc<Session>,
    pub queue: mpsc::Receiver<Utf8Bytes>,
}

/// Why a connection was turned away.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Rejection {
    #[error("no register frame came within {REGISTER_TIMEOUT_S} s")]
    Silent,
    #[error("the first frame must be a register: {0}")]
    NotRegistered(String),
    #[error("the register frame is larger than {MAX_PUSH_BYTES} bytes")]
    TooBig,
    #[error("no agent of this id is known here; ask the operator to create it")]
    UnknownAgent,
    #[error("the token is not the one of this agent id")]
    WrongToken,
    #[error("the connection ended before the register frame")]
    Gone,
}

impl Rejection {
    const fn code(&self) -> CloseCode {
        match self {
            Self::Silent | Self::NotRegistered(_) | Self::Gone => CloseCode::NotRegistered,
            Self::TooBig => CloseCode::TooBig,
            Self::UnknownAgent | Self::WrongToken => CloseCode::Unauthorized,
        }
    }

    const fn word(&self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::NotRegistered(_) => "not_registered",
            Self::TooBig => "too_big",
            Self::UnknownAgent => "unknown_agent",
            Self::WrongToken => "wrong_token",
            Self::Gone => "gone",
        }
    }
}

/// Takes an agent in, or closes the connection with the reason.
pub async fn accept(app: &Arc<App>, mut socket: WebSocket, arrival: Arrival) -> Option<Accepted> {
    let Arrival { base_url, from, slot, waiting } = arrival;
    let time = Duration::from_secs(u64::from(REGISTER_TIMEOUT_S));
    let first = match tokio::time::timeout(time, first_frame(&mut socket)).await {
        Ok(first) => first,
        Err(_) => Err(Rejection::Silent),
    };
    let (rejection, agent) = match first {
        Ok(register) => {
            let agent_id = register.agent_id.clone();
            match admit(app, *register, base_url) {
                Ok((entry, session, queue)) => {
                    drop(waiting);
                    if let Some(slot) = slot {
                        slot.prove();
                    }
                    return Some(Accepted { socket, entry, session, queue });
                }
                Err(rejection) => (rejection, Some(agent_id)),
            }
        }
        Err(rejection) => (rejection, None),
    };
    app.metrics.rejected(rejection.word());
    let agent_id = agent.as_ref().map(tracing::field::display);
    match rejection {
        Rejection::Gone => tracing::debug!("a connection was turned away: {rejection}"),
        Rejection::Silent
        | Rejection::NotRegistered(_)
        | Rejection::TooBig
        | Rejection::UnknownAgent
        | Rejection::WrongToken => {
            tracing::warn!(agent.id = agent_id, "a connection was turned away: {rejection}");
        }
    }
    if rejection.code() == CloseCode::Unauthorized {
        let subject = agent.as_ref().map(|id| Subject::agent(id.as_str())).unwrap_or_default();
        app.bounds.failed(from);
        app.audit.denied(
            Who::stranger("tunnel", from),
            "agent.register",
            subject,
            &rejection.to_string(),
        );
    }
    if let Some(entry) = agent.and_then(|id| app.fleet.get(&id)) {
        tell(app, &entry, &rejection);
    }
    close_socket(socket, rejection.code(), rejection.to_string()).await;
    None
}

async fn first_frame(socket: &mut WebSocket) -> Result<Box<Register>, Rejection> {
    loop {
        let text = match socket.recv().await {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Binary(_))) => {
                return Err(Rejection::NotRegistered("it was a binary message".to_owned()));
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
            Some(Ok(Message::Close(_)) | Err(_)) | None => return Err(Rejection::Gone),
        };
        if text.len() > MAX_PUSH_BYTES {
            return Err(Rejection::TooBig);
        }
        return match AgentFrame::parse(&text) {
            Ok(Parsed::Frame(AgentFrame::Register(register))) => Ok(register),
            Ok(Parsed::Frame(
                AgentFrame::Response(_)
                | AgentFrame::Telemetry(_)
                | AgentFrame::UpdateStatus(_)
                | AgentFrame::Ping
                | AgentFrame::Pong,
            )) => Err(Rejection::NotRegistered("it was another one".to_owned())),
            Ok(Parsed::Unknown(kind)) => Err(Rejection::NotRegistered(format!("it was `{kind}`"))),
            Err(error) => Err(Rejection::NotRegistered(error.to_string())),
        };
    }
}

type Admitted = (Arc<AgentEntry>, Arc<Session>, mpsc::Receiver<Utf8Bytes>);

fn admit(app: &Arc<App>, register: Register, base_url: String) -> Result<Admitted, Rejection> {
    let Register { agent_id, token, meta } = register;
    let entry = app.fleet.get(&agent_id).ok_or(Rejection::UnknownAgent)?;
    let token_hash = entry.lock().token_hash;
    if !token_hash.matches(&token) {
        return Err(Rejection::WrongToken);
    }
    let (session, queue) = Session::new(agent_id, meta.speaks_0_3(), base_url, app.heartbeat);
    let session = Arc::new(session);
    if session.speaks_0_3 {
        // Before anybody can call a tool on it: the first frame that the agent sees.
        session.send_if_room(&ServerFrame::Welcome(Welcome {
            protocol: PROTOCOL.to_owned(),
            session: session.id,
            heartbeat_s: u32::try_from(app.heartbeat.as_secs().max(1)).unwrap_or(u32::MAX),
            server_time: Timestamp::now(),
        }));
    }
    let older = {
        let mut state = entry.lock();
        if state.removed {
            return Err(Rejection::UnknownAgent);
        }
        state.facts = Some(Box::new(AgentFacts::from(&meta)));
        let older = state.session.replace(Arc::clone(&session));
        if older.is_none() {
            app.metrics.agents_online.inc();
        }
        older
    };
    if let Some(older) = older {
        tracing::info!(agent.id = %entry.id, session = %session.id, "a newer connection takes over");
        older.close(CloseCode::Displaced, "a newer connection of this agent took over");
        older.fail_pending();
    }
    app.metrics.agents_registered.inc();
    app.fleet.mark(&entry);
    tracing::info!(
        agent.id = %entry.id,
        session = %session.id,
        version = %meta.version,
        os = %meta.os,
        protocol = meta.protocol.as_deref().unwrap_or("0.2"),
        "agent online"
    );
    let summary = format!("{} is online with version {}", entry.id, meta.version);
    app.events.publish(kind::AGENT_ONLINE, Some(&entry.id), summary);
    rollout::registered(app, &entry, &session, &meta);
    if app.tunnel_closing.is_cancelled() {
        session.close(CloseCode::GoingAway, "the server is going down");
    }
    Ok((entry, session, queue))
}

fn tell(app: &App, entry: &AgentEntry, rejection: &Rejection) {
    let now = Instant::now();
    {
        let mut state = entry.lock();
        let told =
            state.rejection_told.is_some_and(|at| now.duration_since(at) < TELL_REJECTION_EVERY);
        if told {
            return;
        }
        state.rejection_told = Some(now);
    }
    let summary = format!("{} was turned away: {rejection}", entry.id);
    app.events.publish(kind::AGENT_REJECTED, Some(&entry.id), summary);
}
