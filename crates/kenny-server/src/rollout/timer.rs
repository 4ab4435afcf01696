//! What happens because time passes: attempts that become due, and silence. One task for all agents.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kenny_core::rollout::Next;
use tokio::time::MissedTickBehavior;

use super::{change, reconcile, told};
use crate::app::App;
use crate::fleet::{AgentEntry, AgentState};

/// Between two looks: nothing here is due to the second.
const ROUND: Duration = Duration::from_secs(1);
/// Between two looks where a test waits for milliseconds.
const SHORTEST_ROUND: Duration = Duration::from_millis(10);

/// Looks again and again, for ever.
pub async fn run(app: &Arc<App>) {
    let mut ticks =
        tokio::time::interval((app.pace.first_backoff / 4).clamp(SHORTEST_ROUND, ROUND));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        look(app, Timestamp::now());
    }
}

/// Looks once at every agent.
pub fn look(app: &Arc<App>, now: Timestamp) {
    for entry in app.fleet.all() {
        pass(app, &entry, now);
        let (is_unsettled, is_due) = {
            let state = entry.lock();
            (state.unsettled.is_some(), is_due(app, &state, now))
        };
        if is_unsettled && entry.intent.try_lock().is_ok() {
            tokio::spawn(told::settle(Arc::clone(app), entry, now));
        } else if is_due {
            reconcile(app, &entry, now);
        }
    }
}

/// An open update that nothing was heard of for too long.
fn pass(app: &App, entry: &Arc<AgentEntry>, now: Timestamp) {
    change(app, entry, |state| {
        let session = state.session.as_deref();
        let Some(record) = &mut state.update else { return super::Applied::Nothing };
        // An agent of 0.2 says nothing between the request and its answer.
        let may_be_silent = !record.staged_reply
            && session.is_some_and(|it| !it.speaks_0_3 && record.session == Some(it.id));
        record.passed(may_be_silent, &app.pace, now)
    });
}

/// A next attempt, or an open one that the agent does not have: whoever held the agent's intent when it registered may
/// have had no reason to send it.
fn is_due(app: &App, state: &AgentState, now: Timestamp) -> bool {
    let (Some(session), Some(_)) = (&state.session, &state.desired) else { return false };
    if let Some(open) = state.update.as_ref().filter(|record| record.is_open()) {
        return open.session != Some(session.id);
    }
    match state.standing.next(&app.pace) {
        Next::Now => true,
        Next::At(at) => at <= now,
        Next::Over | Next::Hold => false,
    }
}
