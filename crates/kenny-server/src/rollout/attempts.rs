//! Attempts after the first, and the hold when their budget is used up.

use std::sync::Arc;

use jiff::Timestamp;
use kenny_core::rollout::{Decision, Last, Next, Pace, Standing};
use kenny_proto::AgentId;
use kenny_proto::api::{Hold, UpdateKind, UpdateOrigin};

use super::{Reconciling, UpdateRecord, Wanted, act, ask, is_version, tell};
use crate::app::App;
use crate::events::kind;
use crate::fleet::{AgentEntry, AgentState, HeldVersion};
use crate::store::update_rows;

/// What the end of an agent's last update means for its version: the standing of the wanted version, or a hold.
pub fn judge(state: &mut AgentState, pace: &Pace) {
    let Some(record) = state.update.as_deref().filter(|record| !record.is_open()) else { return };
    let version = record.update.version.clone();
    // What was before the operator's last word does not count any more.
    if state.holds.iter().any(|held| is_version(&held.hold.version, &version)) {
        return;
    }
    let standing = record.standing();
    let detail = record.update.failure.as_ref().map_or("", |failure| failure.detail.as_str());
    let reason = match standing.last {
        Last::Quarantined => {
            format!("the agent does not try it again without the operator's word: {detail}")
        }
        Last::Open | Last::Over | Last::Excused(_) | Last::Blamed(_) => {
            format!("it failed there {} times, the last time: {detail}", standing.tally.blamed)
        }
    };
    let hold = Hold {
        version: version.clone(),
        attempts: standing.tally.attempts,
        since: record.update.finished_at.unwrap_or(record.update.requested_at),
        reason,
    };
    let is_held = record.update.kind == UpdateKind::Update && standing.next(pace) == Next::Hold;
    if state.desired.as_ref().is_some_and(|it| is_version(&version, &it.version.to_string())) {
        state.standing = standing;
    }
    if is_held {
        state.holds.push(HeldVersion { hold, cleared: false });
    }
}

/// Tells that a version is held.
pub fn tell_hold(app: &App, id: &AgentId, hold: &Hold) {
    let Hold { version, reason, .. } = hold;
    tracing::warn!(agent.id = %id, %version, "held until the operator clears it: {reason}");
    let summary = format!(
        "{version} is not sent to {id} any more ({reason}); `kenny agent clear-hold {id}` has it tried again"
    );
    app.events.publish(kind::AGENT_HELD, Some(id), summary);
}

/// The names under which the version is held, or was.
pub fn hold_names(state: &AgentState, version: &str) -> Vec<String> {
    let names = state.holds.iter().map(|held| held.hold.version.clone());
    names.filter(|name| is_version(name, version)).collect()
}

/// Makes the next attempt of an agent's intent and sends it, when it is still due at `now`.
pub async fn begin(app: Arc<App>, entry: Arc<AgentEntry>, now: Timestamp) {
    let _intent = entry.intent.lock().await;
    if !is_in_time(&app, &entry, now) {
        return;
    }
    let Some((record, last, holds)) = next(&app, &entry, now) else { return };
    let row = record.clone();
    let written = app
        .store
        .by(&Reconciling)
        .run(move |connection| {
            if let Some(last) = &last {
                update_rows::save_update(connection, last)?;
            }
            for version in &holds {
                update_rows::delete_hold(connection, &row.update.agent_id, version)?;
            }
            update_rows::insert_update(connection, &row)?;
            update_rows::prune(connection, &row.update.agent_id)
        })
        .await;
    if let Err(error) = written {
        tracing::warn!(agent.id = %entry.id, %error, "the next attempt cannot be written down, so it waits");
        return;
    }
    {
        let mut state = entry.lock();
        if state.removed {
            return;
        }
        state.forget_hold(&record.update.version);
        state.standing = Standing { tally: record.tally, last: Last::Open };
        tell(&app, &record, true);
        if record.update.origin == UpdateOrigin::Retry {
            app.metrics.update_retries.inc();
        }
        state.update = Some(record);
    }
    app.fleet.mark(&entry);
    act(&app, &entry, now);
}

/// True unless a rollout wants it, whose maintenance windows are closed at the PC. The timer asks again.
fn is_in_time(app: &App, entry: &AgentEntry, now: Timestamp) -> bool {
    let (rollout, utc_offset_s) = {
        let state = entry.lock();
        let rollout = state.desired.as_ref().and_then(|desired| desired.rollout);
        (rollout, state.facts.as_ref().and_then(|facts| facts.utc_offset_s))
    };
    rollout.is_none_or(|rollout| app.rollouts.is_window_open(rollout, utc_offset_s, now))
}

type Attempt = (Box<UpdateRecord>, Option<Box<UpdateRecord>>, Vec<String>);

/// The next attempt, the update before it, and the holds that it ends.
fn next(app: &App, entry: &AgentEntry, now: Timestamp) -> Option<Attempt> {
    let state = entry.lock();
    if state.removed || state.unsettled.is_some() || ask(app, &state, now).0 != Decision::Begin {
        return None;
    }
    let desired = state.desired.as_ref()?;
    let tally = state.standing.tally;
    let origin = match tally.attempts {
        0 => UpdateOrigin::Operator,
        _ => UpdateOrigin::Retry,
    };
    let record = UpdateRecord::requested(
        Wanted {
            agent_id: entry.id.clone(),
            kind: UpdateKind::Update,
            origin,
            rollout: desired.rollout,
            from_version: Some(state.running().to_owned()),
            version: desired.version.clone(),
            allow_downgrade: desired.allow_downgrade,
            tally,
        },
        now,
    );
    let holds = hold_names(&state, &record.update.version);
    Some((Box::new(record), state.update.clone(), holds))
}
