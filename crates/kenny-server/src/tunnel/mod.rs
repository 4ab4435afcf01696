//! The tunnel: agents dial in at `/agent/ws` and stay. One task per connection, one sweeper for all heartbeats.
//!
//! Nothing here waits for the database, and nothing that belongs to one connection touches another.

mod challenge;
mod connection;
mod handshake;
mod probe;
mod session;
mod sweeper;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::{WebSocketUpgrade, rejection::WebSocketUpgradeRejection};
use axum::http::{Extensions, HeaderMap};
use axum::response::{IntoResponse as _, Response};
use kenny_proto::CloseCode;

use crate::api::problem::problem;
use crate::app::App;
use crate::limits::{self, Slot, Through, Waiting};

pub use probe::{ProbeNonces, probe};
pub use session::{CallError, Outcome, Session};
pub use sweeper::run as run_sweeper;

/// Small, because ten thousand connections idle: an agent's usual frame is a few hundred bytes.
const READ_BUFFER_BYTES: usize = 4 * 1024;
/// Frames between the contract's limit and this one are read, so that the connection can be closed in order with
/// 1009; above, it is cut.
const HARD_LIMIT_BYTES: usize = 2 * kenny_proto::MAX_FRAME_BYTES;
/// How long the end of a connection may take: the close frame, and the peer's.
const CLOSING_TIME: Duration = Duration::from_secs(3);

/// How an agent came here, before it said who it is.
#[derive(Debug)]
pub struct Arrival {
    /// The server's address as this agent reached it.
    base_url: String,
    /// From where.
    from: Option<IpAddr>,
    /// Its socket.
    slot: Option<Arc<Slot>>,
    /// What it counts as where that is a proxy's, until it has registered.
    through: Option<Through>,
    /// Counts until it has registered.
    waiting: Waiting,
}

/// The handler of `/agent/ws`.
pub async fn upgrade(
    State(app): State<Arc<App>>,
    extensions: Extensions,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => {
            return problem(
                rejection.into_response().status(),
                "not_a_websocket",
                "This address is for agents",
                "an agent connects here by WebSocket; point `kenny-agent --server` at it",
            )
            .into_response();
        }
    };
    let from = app.client(&extensions, &headers);
    let waiting = match app.bounds.tunnel(from) {
        Ok(waiting) => waiting,
        Err(wait) => {
            app.metrics.rejected("too_many");
            return limits::too_many(wait);
        }
    };
    let slot = extensions.get::<Arc<Slot>>().cloned();
    if let Some(slot) = &slot {
        slot.watch();
    }
    let through = extensions.get::<Through>().cloned();
    let arrival = Arrival { base_url: app.base_url(&headers), from, slot, through, waiting };
    upgrade
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_message_size(HARD_LIMIT_BYTES)
        .max_frame_size(HARD_LIMIT_BYTES)
        .on_failed_upgrade(|error| tracing::debug!(%error, "a connection ended during its upgrade"))
        .on_upgrade(move |socket| connection::run(app, socket, arrival))
}

/// Ends every connection because the server goes down, and waits until they are gone.
pub async fn close_all(app: &App) {
    for entry in app.fleet.all() {
        if let Some(session) = entry.session() {
            session.close(CloseCode::GoingAway, "the server is going down");
        }
    }
    let gone = async {
        while app.metrics.agents_online.get() > 0 {
            app.disconnected.notified().await;
        }
    };
    if tokio::time::timeout(CLOSING_TIME, gone).await.is_err() {
        tracing::warn!("some agents did not answer the close of their connection");
    }
}
