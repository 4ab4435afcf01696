//! From the upgrade to an accepted agent: the first frame, the proof of who it is (a key's, or the token of 0.2),
//! `welcome`, and the older connection's end.
//!
//! Its future is boxed by the caller, so that none of this lives on in an idle connection.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{Message, Utf8Bytes, WebSocket};
use jiff::Timestamp;
use kenny_proto::frames::{Meta, Register, Welcome};
use kenny_proto::{
    AgentFrame, AgentId, CloseCode, MAX_PUSH_BYTES, Nonce, PROTOCOL, Parsed, PublicKey,
    ServerFrame, Signature,
};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Arrival;
use super::challenge::Pending;
use super::connection::close_socket;
use super::session::Session;
use crate::app::App;
use crate::audit::{Subject, Who};
use crate::auth::random_bytes;
use crate::events::kind;
use crate::fleet::{AgentEntry, AgentFacts, Identity};
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
    #[error("no {what} frame came within {} s", .within.as_secs_f32())]
    Silent { what: &'static str, within: Duration },
    #[error("the first frame must be a register: {0}")]
    NotRegistered(String),
    #[error("after a challenge the next frame must be an auth: {0}")]
    NotAnswered(String),
    #[error("a frame of the handshake is larger than {MAX_PUSH_BYTES} bytes")]
    TooBig,
    #[error("no agent of this id is known here; ask the operator to invite it")]
    UnknownAgent,
    #[error("no PC has enrolled for this agent yet; install with its invitation")]
    NotEnrolled,
    #[error("the token is not the one of this agent id")]
    WrongToken,
    #[error("this agent authenticates by its token, and none came")]
    NoToken,
    #[error("this agent enrolled with a key; a token is not accepted any more")]
    TokenAfterKey,
    #[error("the signature is not by the key of this agent; was another PC enrolled for it?")]
    WrongSignature,
    #[error("another identity enrolled for this agent")]
    IdentityChanged,
    #[error("the connection ended before the agent was accepted")]
    Gone,
}

impl Rejection {
    const fn code(&self) -> CloseCode {
        match self {
            Self::Silent { .. } | Self::NotRegistered(_) | Self::NotAnswered(_) | Self::Gone => {
                CloseCode::NotRegistered
            }
            Self::TooBig => CloseCode::TooBig,
            Self::UnknownAgent
            | Self::NotEnrolled
            | Self::WrongToken
            | Self::NoToken
            | Self::TokenAfterKey
            | Self::WrongSignature
            | Self::IdentityChanged => CloseCode::Unauthorized,
        }
    }

    const fn word(&self) -> &'static str {
        match self {
            Self::Silent { .. } => "silent",
            Self::NotRegistered(_) => "not_registered",
            Self::NotAnswered(_) => "not_answered",
            Self::TooBig => "too_big",
            Self::UnknownAgent => "unknown_agent",
            Self::NotEnrolled => "not_enrolled",
            Self::WrongToken => "wrong_token",
            Self::NoToken => "no_token",
            Self::TokenAfterKey => "token_after_key",
            Self::WrongSignature => "wrong_signature",
            Self::IdentityChanged => "identity_changed",
            Self::Gone => "gone",
        }
    }

    /// True for the ends of connections that are nobody's fault.
    const fn is_ordinary(&self) -> bool {
        matches!(self, Self::Gone)
    }
}

/// Takes an agent in, or closes the connection with the reason.
pub async fn accept(app: &Arc<App>, mut socket: WebSocket, arrival: Arrival) -> Option<Accepted> {
    let Arrival { base_url, from, slot, through, waiting } = arrival;
    let mut agent = None;
    let rejection = match introduce(app, &mut socket, base_url, &mut agent).await {
        Ok((entry, session, queue)) => {
            drop((waiting, through));
            if let Some(slot) = slot {
                slot.prove();
            }
            return Some(Accepted { socket, entry, session, queue });
        }
        Err(rejection) => rejection,
    };
    app.metrics.rejected(rejection.word());
    let agent_id = agent.as_ref().map(tracing::field::display);
    if rejection.is_ordinary() {
        tracing::debug!(agent.id = agent_id, "a connection was turned away: {rejection}");
    } else {
        tracing::warn!(agent.id = agent_id, "a connection was turned away: {rejection}");
        if let Some(entry) = agent.as_ref().and_then(|id| app.fleet.get(id)) {
            tell(app, &entry, &rejection);
        }
    }
    if rejection.code() == CloseCode::Unauthorized {
        let subject = agent.as_ref().map(|id| Subject::agent(id.as_str())).unwrap_or_default();
        let who = Who::stranger("tunnel", from);
        app.bounds.failed(from);
        app.audit.denied(who, "agent.register", subject, &rejection.to_string());
    }
    close_socket(socket, rejection.code(), rejection.to_string()).await;
    None
}

type Admitted = (Arc<AgentEntry>, Arc<Session>, mpsc::Receiver<Utf8Bytes>);

/// Hears who it is and has it proven. `agent` is whom the other side says that it is, as soon as it did.
async fn introduce(
    app: &Arc<App>,
    socket: &mut WebSocket,
    base_url: String,
    agent: &mut Option<AgentId>,
) -> Result<Admitted, Rejection> {
    let register = in_time(app, "register", registered(socket)).await?;
    let Register { agent_id, token, nonce, meta } = *register;
    *agent = Some(agent_id.clone());
    let entry = app.fleet.get(&agent_id).ok_or(Rejection::UnknownAgent)?;
    let identity = entry.lock().identity;
    match identity {
        Identity::None => return Err(Rejection::NotEnrolled),
        Identity::Token(hash) => match token {
            Some(token) if hash.matches(&token) => {}
            Some(_) => return Err(Rejection::WrongToken),
            None => return Err(Rejection::NoToken),
        },
        Identity::Key(key) => {
            let nonce = nonce.ok_or(Rejection::TokenAfterKey)?;
            let protocol = meta.protocol.as_deref().unwrap_or("");
            challenge(app, socket, &agent_id, key, protocol, nonce).await?;
        }
    }
    admit(app, &entry, identity, &meta, base_url)
}

/// Proves this server to the agent, and has the agent prove itself.
async fn challenge(
    app: &App,
    socket: &mut WebSocket,
    agent_id: &AgentId,
    key: PublicKey,
    protocol: &str,
    client_nonce: Nonce,
) -> Result<(), Rejection> {
    let server_nonce = Nonce(random_bytes());
    let pending = Pending::new(&app.identity, key, agent_id, protocol, client_nonce, server_nonce);
    let frame = ServerFrame::Challenge(pending.frame.clone()).to_json();
    socket.send(Message::Text(frame.into())).await.map_err(|_| Rejection::Gone)?;
    let signature = in_time(app, "auth", answered(socket)).await?;
    if pending.is_answered_by(&signature) { Ok(()) } else { Err(Rejection::WrongSignature) }
}

async fn in_time<T>(
    app: &App,
    what: &'static str,
    frame: impl Future<Output = Result<T, Rejection>>,
) -> Result<T, Rejection> {
    let within = app.bounds.register_time();
    let silent = Err(Rejection::Silent { what, within });
    tokio::time::timeout(within, frame).await.unwrap_or(silent)
}

async fn registered(socket: &mut WebSocket) -> Result<Box<Register>, Rejection> {
    match next_frame(socket, Rejection::NotRegistered).await? {
        AgentFrame::Register(register) => Ok(register),
        AgentFrame::Auth { .. }
        | AgentFrame::Response(_)
        | AgentFrame::Telemetry(_)
        | AgentFrame::UpdateStatus(_)
        | AgentFrame::Ping
        | AgentFrame::Pong => Err(Rejection::NotRegistered("it was another one".to_owned())),
    }
}

async fn answered(socket: &mut WebSocket) -> Result<Signature, Rejection> {
    match next_frame(socket, Rejection::NotAnswered).await? {
        AgentFrame::Auth { signature } => Ok(signature),
        AgentFrame::Register(_)
        | AgentFrame::Response(_)
        | AgentFrame::Telemetry(_)
        | AgentFrame::UpdateStatus(_)
        | AgentFrame::Ping
        | AgentFrame::Pong => Err(Rejection::NotAnswered("it was another one".to_owned())),
    }
}

/// The next frame of the handshake; `wrong` makes the rejection of what is none.
async fn next_frame(
    socket: &mut WebSocket,
    wrong: fn(String) -> Rejection,
) -> Result<AgentFrame, Rejection> {
    loop {
        let text = match socket.recv().await {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Binary(_))) => {
                return Err(wrong("it was a binary message".to_owned()));
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
            Some(Ok(Message::Close(_)) | Err(_)) | None => return Err(Rejection::Gone),
        };
        if text.len() > MAX_PUSH_BYTES {
            return Err(Rejection::TooBig);
        }
        return match AgentFrame::parse(&text) {
            Ok(Parsed::Frame(frame)) => Ok(frame),
            Ok(Parsed::Unknown(kind)) => Err(wrong(format!("it was `{kind}`"))),
            Err(error) => Err(wrong(error.to_string())),
        };
    }
}

/// Takes in an agent that proved this identity.
fn admit(
    app: &Arc<App>,
    entry: &Arc<AgentEntry>,
    proven: Identity,
    meta: &Meta,
    base_url: String,
) -> Result<Admitted, Rejection> {
    let (session, queue) =
        Session::new(entry.id.clone(), meta.speaks_0_3(), base_url, app.heartbeat);
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
        if state.identity != proven {
            return Err(Rejection::IdentityChanged);
        }
        // Its telemetry comes later, and says so again.
        let pins_root = state.facts.as_ref().and_then(|facts| facts.pins_root);
        state.facts = Some(Box::new(AgentFacts { pins_root, ..AgentFacts::from(meta) }));
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
    app.fleet.mark(entry);
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
    rollout::registered(app, entry, &session, meta);
    if app.tunnel_closing.is_cancelled() {
        session.close(CloseCode::GoingAway, "the server is going down");
    }
    Ok((Arc::clone(entry), session, queue))
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
