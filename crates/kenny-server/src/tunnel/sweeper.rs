//! One task for all heartbeats: a timer per connection costs five times as much with ten thousand of them.

use std::time::Duration;

use kenny_proto::{CloseCode, ServerFrame};
use tokio::time::{Instant, MissedTickBehavior};

use crate::app::App;

/// Rounds per heartbeat, which spreads the pings.
const ROUNDS: u32 = 30;

/// Intervals without any frame after which an agent is offline, by the contract.
const SILENT_INTERVALS: u32 = 3;

/// Looks after every connection, for ever.
pub async fn run(app: &App) {
    let round = (app.heartbeat / ROUNDS).max(Duration::from_millis(10));
    let mut ticks = tokio::time::interval(round);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let now = ticks.tick().await;
        sweep(app, now);
    }
}

/// Pings whom a ping is due, closes who was silent for too long.
pub fn sweep(app: &App, now: Instant) {
    for entry in app.fleet.all() {
        let Some(session) = entry.session() else { continue };
        let silent = session.silent_for(now);
        if silent >= app.heartbeat * SILENT_INTERVALS {
            let reason = format!("no frame for {} s", silent.as_secs());
            tracing::info!(agent.id = %entry.id, "{reason}: the agent counts as offline");
            session.close(CloseCode::Silent, reason);
        } else if session.ping_due(now, app.heartbeat) {
            session.send_if_room(&ServerFrame::Ping);
        }
    }
}
