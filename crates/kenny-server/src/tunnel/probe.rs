//! `/agent/probe`: would this agent be accepted now? What a new version proves itself with before it takes over, and what
//! an updater asks before it blames a version. Touches no state and no database, and displaces nobody.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use kenny_proto::AgentId;

use crate::api::extract::bearer;
use crate::api::problem::problem;
use crate::app::App;
use crate::limits;

/// Where it is.
pub const PROBE_PATH: &str = "/agent/probe";
/// Names the agent whose token comes as `Authorization: Bearer`.
const AGENT_ID: &str = "x-kenny-agent-id";
/// Seconds after which a server that restarts is worth another try: it drains for up to 10 s and is back at once.
const RETRY_AFTER_S: &str = "15";

/// The handler of `/agent/probe`.
pub async fn probe(State(app): State<Arc<App>>, request: Request) -> Response {
    let headers = request.headers();
    if app.stopping.is_cancelled() || app.tunnel_closing.is_cancelled() {
        let mut response = problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "going_down",
            "The server goes down",
            "the server restarts; ask again in a moment",
        )
        .into_response();
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_S));
        return response;
    }
    let id = headers.get(AGENT_ID).and_then(|id| id.to_str().ok());
    let detail = match (id.map(str::parse::<AgentId>), bearer(headers)) {
        (Some(Ok(id)), Some(token)) if is_accepted(&app, &id, token) => {
            limits::prove(request.extensions());
            return StatusCode::NO_CONTENT.into_response();
        }
        (None | Some(Err(_)), _) | (_, None) => {
            "this needs the headers `X-Kenny-Agent-Id: ID` and `Authorization: Bearer TOKEN`"
        }
        (Some(Ok(_)), Some(_)) => {
            // A server that is asked too often is busy to an agent, not one that refuses it.
            if let Some(wait) = app.bounds.failed(app.client(request.extensions(), headers)) {
                return limits::too_many(wait);
            }
            "no agent of this id is known here, or the token is not its"
        }
    };
    problem(StatusCode::UNAUTHORIZED, "unauthorized", "Not authorised", detail).into_response()
}

fn is_accepted(app: &App, id: &AgentId, token: &str) -> bool {
    app.fleet.get(id).is_some_and(|entry| {
        let state = entry.lock();
        !state.removed && state.token_hash.matches(token)
    })
}
