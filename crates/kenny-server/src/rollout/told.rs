//! Updates that agents tell of and that were not started here: from a console at the PC, by a tool call that named the
//! file, or by a server that was lost.

use std::sync::Arc;

use jiff::Timestamp;
use kenny_core::rollout::Tally;
use kenny_proto::api::{Hold, UpdateKind};
use kenny_proto::{SessionId, UpdateReport};

use super::{
    Applied, Reconciling, Registered, UpdateRecord, act, attempts, is_version, tell, tell_hold,
};
use crate::app::App;
use crate::fleet::{AgentEntry, AgentState, HeldVersion};
use crate::store::{StoreError, update_rows};

/// Looks up what the agent told of, takes it into the history where it is news, and goes on with the intent. Where the
/// database does not answer it stays unsettled, and the timer comes back to it.
pub async fn settle(app: Arc<App>, entry: Arc<AgentEntry>, now: Timestamp) {
    let _intent = entry.intent.lock().await;
    let Some(report) = entry.lock().unsettled.clone() else { return };
    if let Err(error) = take(&app, &entry, &report, now).await {
        tracing::warn!(
            agent.id = %entry.id, update.id = %report.update_id, %error, "an update that the agent told of waits"
        );
        return;
    }
    {
        let mut state = entry.lock();
        // It may have registered anew meanwhile, with something else to tell.
        if state.unsettled.as_ref() == Some(&report) {
            state.unsettled = None;
        }
    }
    act(&app, &entry, now);
}

/// What becomes of the news.
struct News {
    record: Box<UpdateRecord>,
    /// The open update that the person at the PC decided against.
    superseded: Option<Box<UpdateRecord>>,
    /// The version that was left.
    hold: Option<HeldVersion>,
    /// It is the agent's last update from now on; otherwise it is history beside the one that is under way.
    is_last: bool,
}

async fn take(
    app: &Arc<App>,
    entry: &Arc<AgentEntry>,
    report: &UpdateReport,
    now: Timestamp,
) -> Result<(), StoreError> {
    let id = report.update_id;
    let known = app
        .store
        .by(&Reconciling)
        .run(move |connection| update_rows::update_by_id(connection, id))
        .await?;
    if let Some(mut known) = known {
        // An update of the past: what its journal and log say is worth keeping, and changes nothing else.
        if !known.is_open() && heard(&mut known, &entry.lock(), report, now) == Applied::Changed {
            app.store
                .by(&Reconciling)
                .run(move |connection| update_rows::save_update(connection, &known))
                .await?;
        }
        return Ok(());
    }
    let Some(News { record, superseded, hold, is_last }) = news(&entry.lock(), entry, report, now)
    else {
        return Ok(());
    };
    let (row, old, held) = (record.clone(), superseded.clone(), hold.clone());
    app.store
        .by(&Reconciling)
        .run(move |connection| {
            if let Some(old) = &old {
                update_rows::save_update(connection, old)?;
            }
            update_rows::insert_update(connection, &row)?;
            if let Some(held) = &held {
                update_rows::set_hold(connection, &row.update.agent_id, held)?;
            }
            update_rows::prune(connection, &row.update.agent_id)
        })
        .await?;
    let mut state = entry.lock();
    if state.removed {
        return Ok(());
    }
    if let Some(old) = &superseded {
        tell(app, old, true);
    }
    tell(app, &record, true);
    if let Some(held) = hold {
        tell_hold(app, &entry.id, &held.hold);
        state.forget_hold(&held.hold.version);
        state.holds.push(held);
    }
    if is_last {
        state.update = Some(record);
        let before = state.holds.len();
        attempts::judge(&mut state, &app.pace);
        for held in state.holds.iter().skip(before) {
            tell_hold(app, &entry.id, &held.hold);
        }
        app.fleet.mark(entry);
    }
    Ok(())
}

fn news(
    state: &AgentState,
    entry: &AgentEntry,
    report: &UpdateReport,
    now: Timestamp,
) -> Option<News> {
    let wanted = state.desired.as_ref().map(|desired| desired.version.to_string());
    let is_wanted = wanted.is_some_and(|wanted| is_version(&wanted, &report.version.to_string()));
    let tally = if is_wanted && !report.rollback { state.standing.tally } else { Tally::default() };
    let mut record = Box::new(UpdateRecord::told(entry.id.clone(), report, tally, now));
    heard(&mut record, state, report, now);
    let hold = left(state, report, now);
    let open = state.update.as_deref().filter(|record| record.is_open());
    let superseded = open.filter(|_| hold.is_some()).map(|open| {
        let mut old = Box::new(open.clone());
        old.superseded("somebody went back to an older version at the PC", now);
        old
    });
    let is_last = open.is_none() || superseded.is_some();
    // What is still going on beside an open update is told again when it is over.
    (is_last || !record.is_open()).then_some(News { record, superseded, hold, is_last })
}

/// What the report says of its update.
fn heard(
    record: &mut UpdateRecord,
    state: &AgentState,
    report: &UpdateReport,
    now: Timestamp,
) -> Applied {
    let session = state.session.as_ref().map(|session| session.id);
    let facts = Registered {
        // It may be gone again since it told.
        session: session.unwrap_or_else(SessionId::random),
        version: state.running(),
        speaks_0_3: true,
        report: Some(report),
    };
    let applied = record.registered(&facts, now);
    record.session = record.session.and(session);
    applied
}

/// Holds the wanted version where somebody at the PC went back from it.
pub fn hold_what_was_left(state: &mut AgentState, report: &UpdateReport, now: Timestamp) {
    if let Some(held) = left(state, report, now)
        && attempts::hold_names(state, &held.hold.version).is_empty()
    {
        state.holds.push(held);
    }
}

/// The wanted version, when this is a rollback away from it: what a person at the PC decided is not undone from afar
/// without a word.
fn left(state: &AgentState, report: &UpdateReport, now: Timestamp) -> Option<HeldVersion> {
    let version = state.desired.as_ref()?.version.to_string();
    let of = |one: &semver::Version| is_version(&version, &one.to_string());
    let is_left = report.rollback
        && !is_version(&version, state.running())
        && (of(&report.from_version) || of(&report.version));
    let attempts = state
        .update
        .as_deref()
        .filter(|record| record.update.kind == UpdateKind::Update)
        .filter(|record| is_version(&record.update.version, &version))
        .map_or(0, |record| record.update.attempt);
    is_left.then(|| HeldVersion {
        hold: Hold { version, attempts, since: now, reason: "rolled back at the PC".to_owned() },
        cleared: false,
    })
}
