//! What makes pages live: a stream that says "something changed", after which a page asks for itself anew.
//!
//! It says no more than that, so that there is one way only to make each piece of a page, and nothing to keep in step.
//! Changes that follow each other closely are one: a rollout over a thousand PCs makes a page ask twice a second, no more.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::sse::{self, KeepAlive};
use axum::response::{IntoResponse as _, Response, Sse};
use futures_util::{FutureExt as _, Stream, StreamExt as _};
use kenny_proto::api::Event;
use tokio::time::Instant;

use super::error::WebError;
use super::fields::Fields;
use super::session::SignedIn;
use crate::app::App;
use crate::ops;

/// Where the stream is.
pub const PATH: &str = "/live";

/// What a page listens to.
const CHANGED: &str = "changed";
/// Shorter than the idle timeout of common proxies (30 s and more).
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The least time between two words: quick enough to look immediate, and two pages a second at most.
const PAUSE: Duration = Duration::from_millis(500);

const HX_REQUEST: HeaderName = HeaderName::from_static("hx-request");
const HX_REDIRECT: HeaderName = HeaderName::from_static("hx-redirect");

/// The stream for a page, from the moment at which its content was read.
pub struct Live(String);

impl Live {
    /// Of everything.
    pub fn all(app: &App) -> Self {
        Self(format!("{PATH}?after={}", app.events.newest()))
    }

    /// Of one agent.
    pub fn agent(app: &App, id: &str) -> Self {
        Self(format!("{PATH}?after={}&agent={id}", app.events.newest()))
    }

    /// Its address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `GET /live`.
pub async fn follow(
    State(app): State<Arc<App>>,
    who: SignedIn,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, WebError> {
    let fields = Fields::parse(query.unwrap_or_default().as_bytes()).unwrap_or_default();
    // A browser that comes back says where it was.
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let after = last.or(fields.get("after")).and_then(|id| id.trim().parse().ok());
    let events = ops::events::follow(&app, &who.operator, fields.get("agent"), after).await?;
    let over = async move { who.operator.until_over(&app).await };
    let words = Words { events: Box::pin(events.take_until(Box::pin(over))), quiet_until: None };
    let words = futures_util::stream::unfold(words, Words::next).map(Ok::<_, Infallible>);
    Ok(Sse::new(words).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

struct Words {
    events: Pin<Box<dyn Stream<Item = Arc<Event>> + Send>>,
    quiet_until: Option<Instant>,
}

impl Words {
    /// Waits for an event, then for the pause to be over, and takes all that came until then as one.
    async fn next(mut self) -> Option<(sse::Event, Self)> {
        let mut newest = self.events.next().await?.id;
        if let Some(end) = self.quiet_until {
            tokio::time::sleep_until(end).await;
        }
        while let Some(Some(event)) = self.events.next().now_or_never() {
            newest = event.id;
        }
        self.quiet_until = Some(Instant::now() + PAUSE);
        let word = sse::Event::default().event(CHANGED).id(newest.to_string()).data(CHANGED);
        Some((word, self))
    }
}

/// Sends a page to the sign-in as a whole where only a piece of it was asked for: a piece in the place of another would be
/// the wrong one.
pub async fn lead_to_login(request: axum::extract::Request, next: Next) -> Response {
    let is_piece = request.headers().contains_key(HX_REQUEST);
    let response = next.run(request).await;
    let place = response.headers().get(axum::http::header::LOCATION);
    let Some(place) = place.filter(|place| is_piece && place.as_bytes().starts_with(b"/login"))
    else {
        return response;
    };
    let headers = [(HX_REDIRECT, HeaderValue::clone(place))];
    (StatusCode::NO_CONTENT, headers).into_response()
}
