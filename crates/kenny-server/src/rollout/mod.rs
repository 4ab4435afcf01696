//! The reconciler: compares what should run with what does, through `kenny_core::rollout::decide`, and acts.
//!
//! Facts come from the tunnel, intents from `ops`, and time passes; all of it ends in [`reconcile`]. Facts are in memory
//! and never wait; the fleet writes them behind. An attempt is written down before it is sent.

mod attempts;
pub mod intent;
mod record;
mod send;
pub mod staged;
mod timer;
mod told;

use std::sync::Arc;

use jiff::Timestamp;
use kenny_core::rollout::{Decision, Facts, Intent, Last, Standing, Why, decide};
use kenny_proto::UpdateId;
use kenny_proto::api::{Release, Update, UpdateKind, UpdateOrigin, UpdateState};
use kenny_proto::frames::{ErrorCode, Meta, UpdateStatus};
use kenny_proto::policy::Pause;
use kenny_proto::tools::UpdateStaged;
use kenny_proto::update::FailureKind;
use semver::Version;
use serde_json::Value;

pub use attempts::{hold_names, tell_hold};
pub use record::{Applied, Registered, UpdateRecord, Wanted, is_version};
pub use send::{Answer, STAGING_TIME};
#[cfg(test)]
pub use timer::look;
pub use timer::run as run_timer;

use crate::app::App;
use crate::fleet::{AgentEntry, AgentState, Desired};
use crate::metrics::{CallLabels, OutcomeLabel};
use crate::store::{Right, rows};
use crate::tunnel::{Outcome, Session};
use send::Errand;

/// By this, intents are carried out: operators asked for them before.
struct Reconciling;

impl Right for Reconciling {}

/// The agent registered on this connection.
pub fn registered(app: &Arc<App>, entry: &Arc<AgentEntry>, session: &Arc<Session>, meta: &Meta) {
    let now = Timestamp::now();
    app.rollouts.wake();
    let facts = Registered {
        session: session.id,
        version: &meta.version,
        speaks_0_3: session.speaks_0_3,
        report: meta.update.as_ref(),
    };
    let mut is_unsettled = false;
    change(app, entry, |state| {
        let last = state.update.as_ref().map(|record| record.update.id);
        let foreign = facts.report.filter(|report| last != Some(report.update_id));
        is_unsettled = foreign.is_some();
        state.unsettled = foreign.cloned().map(Box::new);
        let Some(record) = &mut state.update else { return Applied::Nothing };
        let goes_back = record.is_open() && record.update.origin == UpdateOrigin::Agent;
        let applied = record.registered(&facts, now);
        if let Some(report) = facts.report.filter(|_| goes_back && !is_unsettled) {
            told::hold_what_was_left(state, report, now);
        }
        applied
    });
    if is_unsettled {
        tokio::spawn(told::settle(Arc::clone(app), Arc::clone(entry), now));
    } else {
        reconcile(app, entry, now);
    }
}

/// The connection ended.
pub fn disconnected(app: &Arc<App>, entry: &Arc<AgentEntry>, session: &Session) {
    change(app, entry, |state| match &mut state.update {
        Some(record) => record.disconnected(session.id, Timestamp::now()),
        None => Applied::Nothing,
    });
}

/// The agent reported a phase.
pub fn reported(
    app: &Arc<App>,
    entry: &Arc<AgentEntry>,
    session: &Arc<Session>,
    status: &UpdateStatus,
) {
    tracing::debug!(agent.id = %entry.id, update.id = %status.update_id, phase = %status.phase, "update status");
    change(app, entry, |state| {
        let current = state.session.as_ref().is_some_and(|current| Arc::ptr_eq(current, session));
        let running = state.running().to_owned();
        match &mut state.update {
            Some(record) if current && record.update.id == status.update_id => {
                record.status(status, session.id, &running, Timestamp::now())
            }
            Some(_) | None => {
                tracing::info!(
                    agent.id = %entry.id, update.id = %status.update_id, phase = %status.phase,
                    "a report of an update that is not the current one"
                );
                Applied::Nothing
            }
        }
    });
}

/// The agent answered the request that carried this update.
pub fn answered(
    app: &Arc<App>,
    entry: &Arc<AgentEntry>,
    session: &Session,
    update: UpdateId,
    outcome: &Outcome,
) {
    let mut redirected = false;
    change(app, entry, |state| {
        let now = Timestamp::now();
        let Some(record) = state.update.as_mut().filter(|record| record.update.id == update) else {
            return Applied::Nothing;
        };
        let word = if outcome.is_ok() { "ok" } else { "error" };
        let labels = CallLabels { tool: send::tool(record.update.kind), outcome: word };
        app.metrics.calls.get_or_create(&labels).inc();
        let result = match outcome {
            Err(error) => {
                let applied = record.refused(session.id, error, now);
                if let (ErrorCode::Paused, Some(facts)) = (error.code, &mut state.facts) {
                    // Its telemetry says more, and says when it is over.
                    facts.paused.get_or_insert(Pause { since: now, until: None, reason: None });
                }
                return applied;
            }
            Ok(result) => result,
        };
        let applied = record.staged(session.id, now);
        let kept = serde_json::from_value::<UpdateStaged>(Value::Object(result.clone()))
            .ok()
            .map(|staged| staged.staged_version)
            .filter(|kept| !is_version(&record.update.version, &kept.to_string()));
        if let (Applied::Changed, UpdateKind::Rollback, Some(kept)) =
            (applied, record.update.kind, kept)
        {
            redirected = true;
            record.redirected(&kept, now);
            let rollout = state.desired.as_ref().and_then(|desired| desired.rollout);
            state.desired = Some(Desired { version: kept, allow_downgrade: true, rollout });
            state.standing = Standing::default();
        }
        applied
    });
    if redirected {
        tokio::spawn(keep_desired(Arc::clone(app), Arc::clone(entry)));
    }
}

/// Writes down what the agent, and not the operator, made the wanted version.
async fn keep_desired(app: Arc<App>, entry: Arc<AgentEntry>) {
    let _intent = entry.intent.lock().await;
    let (id, desired) = (entry.id.clone(), entry.lock().desired.clone());
    let written = app
        .store
        .by(&Reconciling)
        .run(move |connection| rows::set_desired(connection, &id, desired.as_ref()))
        .await;
    if let Err(error) = written {
        tracing::warn!(agent.id = %entry.id, %error, "the version that the agent goes back to is not in the database");
    }
}

/// Compares intent and fact of one agent and acts. Does nothing while an operator's intent is being written: whoever
/// writes it reconciles afterwards.
pub fn reconcile(app: &Arc<App>, entry: &Arc<AgentEntry>, now: Timestamp) {
    if let Ok(_intent) = entry.intent.try_lock() {
        act(app, entry, now);
    }
}

/// Like [`reconcile`], for who holds the agent's intent. Returns the answer to come when something was sent.
pub fn act(app: &Arc<App>, entry: &Arc<AgentEntry>, now: Timestamp) -> Option<Answer> {
    let mut sent = None;
    let mut begins = false;
    change(app, entry, |state| {
        if state.unsettled.is_some() {
            return Applied::Nothing;
        }
        let (decision, release) = ask(app, state, now);
        begins = decision == Decision::Begin;
        let running = state.running().to_owned();
        let platform = state.facts.as_deref().map_or_else(String::new, |facts| match facts.arch {
            Some(arch) => format!("{} {arch}", facts.os),
            None => facts.os.to_string(),
        });
        let (Some(record), Some(session)) = (&mut state.update, &state.session) else {
            return Applied::Nothing;
        };
        let idle = record.is_open() && record.session != Some(session.id);
        match decision {
            Decision::Send => {
                let errand = match (record.update.kind, release) {
                    (UpdateKind::Rollback, _) if session.speaks_0_3 => Errand::Rollback,
                    (UpdateKind::Update, Some(release)) => Errand::Update(release),
                    (UpdateKind::Rollback, _) => {
                        let detail = format!(
                            "the agent speaks 0.2 now and cannot go back by itself; `kenny update {} --to {} --allow-downgrade` \
                             installs that version",
                            entry.id, record.update.version
                        );
                        record.impossible(FailureKind::Refused, detail, now);
                        return Applied::Changed;
                    }
                    (UpdateKind::Update, None) => return Applied::Nothing,
                };
                record.sent(errand.sha256(), session.id, now);
                sent = Some((Arc::clone(session), record.clone(), errand));
                Applied::Changed
            }
            Decision::GiveUp => {
                record.give_up(now);
                Applied::Changed
            }
            Decision::Nothing(why) if idle => close_idle(record, why, &running, &platform, now),
            Decision::Begin | Decision::Nothing(_) => Applied::Nothing,
        }
    });
    if begins {
        tokio::spawn(attempts::begin(Arc::clone(app), Arc::clone(entry), now));
    }
    let (session, record, errand) = sent?;
    Some(send::send(app, entry, session, &record, &errand))
}

/// What is to be done about an agent now, and with which release.
fn ask(app: &App, state: &AgentState, now: Timestamp) -> (Decision, Option<Release>) {
    let facts = state.facts.as_deref();
    let Some(desired) = &state.desired else {
        return (Decision::Nothing(Why::NoIntent), None);
    };
    let wanted = desired.version.to_string();
    let release =
        facts.and_then(|facts| app.releases.find(&desired.version, facts.os, facts.arch).ok());
    let open = state.update.as_deref().filter(|record| record.is_open());
    let standing_for_it = open.filter(|record| is_version(&record.update.version, &wanted));
    let session = state.session.as_deref();
    let goes_back = standing_for_it.is_some_and(|it| it.update.kind == UpdateKind::Rollback);
    let facts = Facts {
        online: session.is_some(),
        version: Version::parse(state.running()).ok(),
        release_available: release.is_some() || goes_back,
        held: state.hold_of(&wanted).is_some(),
        paused: state.paused(now).is_some(),
        busy: open.is_some() && standing_for_it.is_none(),
        attempt: standing_for_it.zip(session).map(|(record, session)| record.attempt(session.id)),
        standing: state.standing,
    };
    // Inside a rollout nobody tries a bad version a second time: that is what the canary is for.
    let is_blamed = matches!(state.standing.last, Last::Blamed(_)) && standing_for_it.is_none();
    if desired.rollout.is_some() && is_blamed {
        return (Decision::Nothing(Why::Ended), release);
    }
    (decide(Some(&Intent::from(desired)), &facts, &app.pace, now), release)
}

/// An open update that nobody works on and that will not be sent gets its outcome.
fn close_idle(
    record: &mut UpdateRecord,
    why: Why,
    running: &str,
    platform: &str,
    now: Timestamp,
) -> Applied {
    match why {
        Why::NoIntent => record.superseded("no version is wanted any more", now),
        Why::Newer => record.superseded(&format!("the agent runs {running}, which is newer"), now),
        Why::NoRelease => record.impossible(
            FailureKind::Refused,
            format!(
                "there is no release {} for {platform}; add it and ask again",
                record.update.version
            ),
            now,
        ),
        Why::VersionUnknown => record.impossible(FailureKind::Other, unknown_version(running), now),
        Why::Reached
        | Why::Held
        | Why::Offline
        | Why::Paused
        | Why::InHand
        | Why::Backoff(_)
        | Why::Ended => return Applied::Nothing,
    }
    Applied::Changed
}

/// What the operator is told about an agent whose version cannot be compared.
pub fn unknown_version(running: &str) -> String {
    format!(
        "the agent says that its version is `{running}`, which is not a semantic version and so cannot be compared; \
         call agent.update with version, url and sha256 to update it anyway"
    )
}

/// Changes an agent's state; marks, tells and counts what became of its update and of what is held.
pub fn change(app: &App, entry: &Arc<AgentEntry>, change: impl FnOnce(&mut AgentState) -> Applied) {
    let mut state = entry.lock();
    let open_before = state.update.as_ref().is_some_and(|record| record.is_open());
    let held_before = state.holds.len();
    let applied = change(&mut state);
    if applied == Applied::Changed {
        attempts::judge(&mut state, &app.pace);
    }
    for held in state.holds.iter().skip(held_before) {
        app.fleet.mark(entry);
        tell_hold(app, &entry.id, &held.hold);
    }
    let Some(record) = &state.update else { return };
    match applied {
        Applied::Nothing => {}
        Applied::Progress => app.events.update_progress(&record.update),
        Applied::Late => tracing::info!(
            agent.id = %entry.id, update.id = %record.update.id,
            "a report came after the update's outcome was known"
        ),
        Applied::Changed => {
            app.fleet.mark(entry);
            app.rollouts.wake();
            tell(app, record, open_before);
        }
    }
}

/// Tells that an update changed, and counts its outcome when it has one since.
pub fn tell(app: &App, record: &UpdateRecord, open_before: bool) {
    let update = &record.update;
    app.events.update_changed(update);
    if open_before && !record.is_open() {
        let outcome = outcome_word(update);
        app.metrics.updates.get_or_create(&OutcomeLabel { outcome }).inc();
        tracing::info!(
            agent.id = %update.agent_id, update.id = %update.id, version = %update.version, outcome,
            attempt = update.attempt, why = update.failure.as_ref().map(|failure| failure.detail.as_str()),
            "update ended"
        );
    }
}

const fn outcome_word(update: &Update) -> &'static str {
    match update.state {
        UpdateState::Waiting => "waiting",
        UpdateState::Running => "running",
        UpdateState::Online => "online",
        UpdateState::Unknown => "unknown",
        UpdateState::Succeeded => "succeeded",
        UpdateState::RolledBack => "rolled_back",
        UpdateState::Failed => "failed",
        UpdateState::Superseded => "superseded",
    }
}
