//! `POST /agent/enroll`: a PC redeems its invitation. Nobody is known here yet, so everything is bounded: the body, how
//! many are at it at once, and how much is told of those that are turned away.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use kenny_core::identity::is_signed_by;
use kenny_proto::audit::AuditOutcome;
use kenny_proto::enrolment::{EnrolRequest, Enrolled, MAX_ENROL_BYTES};
use kenny_proto::transcript::Enrolment;
use kenny_proto::{AgentId, CloseCode};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::api::problem::problem;
use crate::app::App;
use crate::audit::{Entry, Facts, Subject, Who, append};
use crate::auth::sha256;
use crate::events::kind;
use crate::fleet::Identity;
use crate::limits;
use crate::store::invitation_rows::{self, Redemption};
use crate::store::{Right, StoreError};

/// How long a request's body may take: it is a few hundred bytes.
const BODY_TIME: Duration = Duration::from_secs(10);
/// How many enrolments may wait for the database: a family at once, and not more of a crowd.
const AT_ONCE: usize = 16;
/// So many rejections are told as events within [`TELL_WITHIN`]; all of them are logged and counted.
const TELL_AT_MOST: u32 = 30;
const TELL_WITHIN: Duration = Duration::from_mins(10);

/// The face and the action in the audit log.
const FACE: &str = "tunnel";
const ENROL: &str = "agent.enrol";

/// What bounds those who are not known yet.
pub struct Door {
    room: Semaphore,
    told: Mutex<(Instant, u32)>,
}

impl Default for Door {
    fn default() -> Self {
        Self { room: Semaphore::new(AT_ONCE), told: Mutex::new((Instant::now(), 0)) }
    }
}

impl Door {
    /// True when one more rejection may be told now.
    fn may_tell(&self, now: Instant) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if now.duration_since(told.0) >= TELL_WITHIN {
            *told = (now, 0);
        }
        told.1 = told.1.saturating_add(1);
        told.1 <= TELL_AT_MOST
    }
}

/// Why a PC was not enrolled.
#[derive(Debug, thiserror::Error)]
enum Rejection {
    #[error("the request is not an enrolment: {0}")]
    Malformed(String),
    #[error("the request has more than {MAX_ENROL_BYTES} bytes, or broke off")]
    TooBig,
    #[error("the request did not come within {} s", BODY_TIME.as_secs())]
    Slow,
    #[error(
        "no invitation has this code: look at it once more, or ask the operator for a new one (`kenny agent invite`)"
    )]
    UnknownCode,
    #[error(
        "the code is of an invitation for another agent id; take server, id and code from the same invitation"
    )]
    OtherAgent,
    #[error("the invitation expired at {}; ask the operator for a new one (`kenny agent invite`)", time(.0))]
    Expired(Timestamp),
    #[error(
        "the code was used at {}; a code is good for one PC. If that was not yours, tell the operator; either way, ask for a \
         new one",
        time(.0)
    )]
    Used(Timestamp),
    #[error(
        "the proof does not hold: it has to be signed by the key that enrols, for this server's key (the invitation names it)"
    )]
    BadProof,
    #[error("too many enrol at once; try again in a moment")]
    Busy,
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn time(at: &Timestamp) -> impl std::fmt::Display {
    at.strftime("%Y-%m-%d %H:%M:%SZ")
}

impl Rejection {
    /// True where somebody tried what is not theirs.
    const fn is_an_attempt(&self) -> bool {
        match self {
            Self::UnknownCode
            | Self::OtherAgent
            | Self::Expired(_)
            | Self::Used(_)
            | Self::BadProof => true,
            Self::Malformed(_) | Self::TooBig | Self::Slow | Self::Busy | Self::Store(_) => false,
        }
    }

    /// What callers decide by, and the status.
    const fn facts(&self) -> (&'static str, StatusCode) {
        match self {
            Self::Malformed(_) => ("bad_request", StatusCode::BAD_REQUEST),
            Self::TooBig => ("too_large", StatusCode::PAYLOAD_TOO_LARGE),
            Self::Slow => ("too_slow", StatusCode::REQUEST_TIMEOUT),
            Self::UnknownCode => ("code_unknown", StatusCode::NOT_FOUND),
            Self::OtherAgent => ("code_of_another_agent", StatusCode::CONFLICT),
            Self::Expired(_) => ("code_expired", StatusCode::GONE),
            Self::Used(_) => ("code_used", StatusCode::CONFLICT),
            Self::BadProof => ("bad_proof", StatusCode::FORBIDDEN),
            Self::Busy => ("busy", StatusCode::SERVICE_UNAVAILABLE),
            Self::Store(_) => ("database_unavailable", StatusCode::SERVICE_UNAVAILABLE),
        }
    }
}

/// By this, invitations are redeemed: who has the code needs no account.
struct Enrolling;

impl Right for Enrolling {}

/// The handler of `/agent/enroll`.
pub async fn enrol(State(app): State<Arc<App>>, request: Request) -> Response {
    let from = app.client(request.extensions(), request.headers());
    let (agent, outcome) = match read(request).await {
        Ok(request) => (Some(request.agent_id.clone()), redeem(&app, request, from).await),
        Err(rejection) => (None, Err(rejection)),
    };
    match outcome {
        Ok(enrolled) => Json(enrolled).into_response(),
        Err(rejection) => {
            let (code, status) = rejection.facts();
            turned_away(&app, agent.as_ref(), code, &rejection);
            if rejection.is_an_attempt() {
                let subject = agent.map(|id| Subject::agent(id.as_str())).unwrap_or_default();
                let who = Who::stranger(FACE, from);
                app.audit.denied(who, ENROL, subject, &rejection.to_string());
                if let Some(wait) = app.bounds.failed(from) {
                    return limits::too_many(wait);
                }
            }
            problem(status, code, "Not enrolled", rejection.to_string()).into_response()
        }
    }
}

async fn read(request: Request) -> Result<EnrolRequest, Rejection> {
    let body = axum::body::to_bytes(request.into_body(), MAX_ENROL_BYTES);
    let body = tokio::time::timeout(BODY_TIME, body).await.map_err(|_| Rejection::Slow)?;
    let body = body.map_err(|_| Rejection::TooBig)?;
    serde_json::from_slice(&body).map_err(|error| Rejection::Malformed(error.to_string()))
}

async fn redeem(
    app: &Arc<App>,
    request: EnrolRequest,
    from: Option<IpAddr>,
) -> Result<Enrolled, Rejection> {
    let EnrolRequest { code, agent_id, public_key, nonce, signature } = request;
    let server_key = app.identity.public();
    let enrolment = Enrolment { code: &code, agent_id: &agent_id, public_key, nonce, server_key };
    if !is_signed_by(&public_key, &enrolment.agent_transcript(), &signature) {
        return Err(Rejection::BadProof);
    }
    let _room = app.door.room.try_acquire().map_err(|_| Rejection::Busy)?;
    // An unknown agent has no codes either.
    let entry = app.fleet.get(&agent_id).ok_or(Rejection::UnknownCode)?;
    let _intent = entry.intent.lock().await;
    let code_hash = sha256(code.as_bytes());
    let redemption = app
        .store
        .by(&Enrolling)
        .run({
            let id = agent_id.clone();
            let who = Who::stranger(FACE, from);
            let facts = Facts::from([("key".to_owned(), public_key.to_string())]);
            let subject = Subject::agent(id.as_str());
            let row = Entry::now(who, ENROL, subject, AuditOutcome::Done).with(facts);
            move |connection| {
                let now = Timestamp::now();
                let redeemed =
                    invitation_rows::redeem(connection, code_hash, &id, public_key, now)?;
                if matches!(redeemed, Redemption::Enrolled) {
                    append(connection, &row)?;
                }
                Ok(redeemed)
            }
        })
        .await?;
    match redemption {
        Redemption::Enrolled => {
            let older = {
                let mut state = entry.lock();
                state.identity = Identity::Key(public_key);
                state.session.clone()
            };
            if let Some(older) = older {
                older.close(CloseCode::Unauthorized, "another identity enrolled for this agent");
            }
            tracing::info!(agent.id = %agent_id, key = %public_key, "agent enrolled");
            let summary = format!("{agent_id} enrolled with the key {public_key}");
            app.events.publish(kind::AGENT_ENROLLED, Some(&agent_id), summary);
        }
        Redemption::Repeated => {
            tracing::info!(agent.id = %agent_id, "agent enrolled before, and asks again");
        }
        Redemption::Unknown => return Err(Rejection::UnknownCode),
        Redemption::OtherAgent => return Err(Rejection::OtherAgent),
        Redemption::Expired(at) => return Err(Rejection::Expired(at)),
        Redemption::Used(at) => return Err(Rejection::Used(at)),
    }
    let server_signature = app.identity.sign(&enrolment.server_transcript());
    Ok(Enrolled { agent_id: agent_id.clone(), server_key, server_signature })
}

fn turned_away(app: &App, agent: Option<&AgentId>, code: &'static str, rejection: &Rejection) {
    app.metrics.rejected(code);
    let id = agent.map(tracing::field::display);
    let source = std::error::Error::source(rejection).map(ToString::to_string);
    tracing::warn!(agent.id = id, code, source, "an enrolment was turned away: {rejection}");
    if app.door.may_tell(Instant::now()) {
        let who = agent.map_or("somebody", AgentId::as_str);
        let known = agent.filter(|id| app.fleet.get(id).is_some());
        let summary = format!("an enrolment of {who} was turned away: {rejection}");
        app.events.publish(kind::ENROLMENT_REJECTED, known, summary);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_crowd_at_the_door_does_not_fill_the_events() {
        let door = Door::default();
        let told = (0..1000).filter(|_| door.may_tell(Instant::now())).count();
        assert_eq!(told, TELL_AT_MOST as usize);
        tokio::time::advance(TELL_WITHIN).await;
        assert!(door.may_tell(Instant::now()));
    }
}
