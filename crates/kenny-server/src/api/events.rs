//! `/events`: Server-Sent Events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Sse;
use axum::response::sse::{self, KeepAlive};
use futures_util::{Stream, StreamExt as _};
use kenny_proto::api::{Event, Problem};
use serde::Deserialize;

use super::extract::ApiQuery;
use super::problem::ApiProblem;
use crate::app::App;
use crate::ops::{self, Operator};

/// Shorter than the idle timeout of common proxies (30 s and more).
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What to follow.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// Only events about this agent.
    agent: Option<String>,
}

/// Follows what happens, as Server-Sent Events
///
/// Each event's data is an `Event`. With `Last-Event-ID` what was missed comes first; an event of kind `resync` says
/// that events were missed which cannot be told any more.
#[utoipa::path(
    get,
    path = "/events",
    operation_id = "follow_events",
    tag = "events",
    params(
        Filter,
        ("Last-Event-ID" = Option<i64>, Header, description = "The last event that the listener has seen.")
    ),
    responses(
        (status = OK, body = Event, content_type = "text/event-stream"),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
        (status = NOT_FOUND, description = "`unknown_agent`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn follow(
    State(app): State<Arc<App>>,
    operator: Operator,
    ApiQuery(filter): ApiQuery<Filter>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<sse::Event, Infallible>>>, ApiProblem> {
    let last_seen = headers
        .get("last-event-id")
        .and_then(|id| id.to_str().ok())
        .and_then(|id| id.trim().parse().ok());
    let events = ops::events::follow(&app, &operator, filter.agent.as_deref(), last_seen).await?;
    let events = events.map(|event| {
        let data = serde_json::to_string(&*event).expect("an event serialises");
        Ok(sse::Event::default().id(event.id.to_string()).event(&event.kind).data(data))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}
