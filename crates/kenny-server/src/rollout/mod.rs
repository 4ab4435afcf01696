//! The reconciler: compares what should run with what does, through `kenny_core::rollout::decide`, and acts.
//!
//! Facts come from the tunnel, intents from `ops`; both end in [`reconcile`]. All of it is in memory and never
//! waits; the fleet writes it behind.

mod record;

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kenny_core::rollout::{Decision, Facts, Intent, Why, decide};
use kenny_proto::api::{Release, Update};
use kenny_proto::frames::{Meta, UpdateStatus};
use kenny_proto::tools::{AGENT_UPDATE, UpdateArgs};
use kenny_proto::update::FailureKind;
use kenny_proto::{RequestId, UpdateId};
use semver::Version;
use serde_json::{Map, Value};
use tokio::sync::oneshot;

pub use record::{Applied, Registered, UpdateRecord, is_version};

use crate::app::App;
use crate::fleet::{AgentEntry, AgentState};
use crate::metrics::{CallLabels, OutcomeLabel};
use crate::releases::{file_name, links::LINK_LIFE_HOURS};
use crate::tunnel::{CallError, Outcome, Session};

/// How long an agent may take to stage an update, while it is connected: as long as the link to the artifact lives.
pub const STAGING_TIME: Duration = Duration::from_hours(24);

/// The agent's answer to an `agent.update` that was sent.
pub type Answer = oneshot::Receiver<Result<Outcome, CallError>>;

/// The agent registered on this connection.
pub fn registered(app: &Arc<App>, entry: &Arc<AgentEntry>, session: &Arc<Session>, meta: &Meta) {
    let facts = Registered {
        session: session.id,
        version: &meta.version,
        speaks_0_3: session.speaks_0_3,
        report: meta.update.as_ref(),
    };
    change(app, entry, |state| match &mut state.update {
        Some(record) => record.registered(&facts, Timestamp::now()),
        None => Applied::Nothing,
    });
    reconcile(app, entry);
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
        let running = state.facts.as_ref().map(|facts| facts.version.clone()).unwrap_or_default();
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

/// The agent answered the `agent.update` of this update.
pub fn answered(
    app: &Arc<App>,
    entry: &Arc<AgentEntry>,
    session: &Session,
    update: UpdateId,
    outcome: &Outcome,
) {
    let labels = match outcome {
        Ok(_) => CallLabels { tool: AGENT_UPDATE, outcome: "ok" },
        Err(_) => CallLabels { tool: AGENT_UPDATE, outcome: "error" },
    };
    app.metrics.calls.get_or_create(&labels).inc();
    change(app, entry, |state| match &mut state.update {
        Some(record) if record.update.id == update => match outcome {
            Ok(_) => record.staged(session.id, Timestamp::now()),
            Err(error) => record.refused(session.id, error, Timestamp::now()),
        },
        Some(_) | None => Applied::Nothing,
    });
}

/// Compares intent and fact of one agent and acts. Does nothing while an operator's intent is being written: whoever
/// writes it reconciles afterwards.
pub fn reconcile(app: &Arc<App>, entry: &Arc<AgentEntry>) {
    if let Ok(_intent) = entry.intent.try_lock() {
        act(app, entry);
    }
}

/// Like [`reconcile`], for who holds the agent's intent. Returns the answer to come when `agent.update` was sent.
pub fn act(app: &Arc<App>, entry: &Arc<AgentEntry>) -> Option<Answer> {
    let mut sent = None;
    change(app, entry, |state| {
        let now = Timestamp::now();
        let session = state.session.clone();
        let intent = state.desired.as_ref().map(Intent::from);
        let facts = state.facts.as_deref();
        let release = state.desired.as_ref().zip(facts).and_then(|(desired, facts)| {
            app.releases.find(&desired.version, facts.os, facts.arch).ok()
        });
        let running = facts.map(|facts| facts.version.clone()).unwrap_or_default();
        let platform = facts
            .map(|facts| match facts.arch {
                Some(arch) => format!("{} {arch}", facts.os),
                None => facts.os.to_string(),
            })
            .unwrap_or_default();
        let attempt = match (&state.update, &state.desired, &session) {
            (Some(record), Some(desired), Some(session))
                if is_version(&record.update.version, &desired.version.to_string()) =>
            {
                Some(record.attempt(session.id))
            }
            (_, _, _) => None,
        };
        let decision = decide(
            intent.as_ref(),
            &Facts {
                online: session.is_some(),
                version: Version::parse(&running).ok(),
                release_available: release.is_some(),
                attempt,
            },
        );
        let (Some(record), Some(session)) = (&mut state.update, session) else {
            return Applied::Nothing;
        };
        let idle = record.is_open() && record.session != Some(session.id);
        match decision {
            Decision::Send => {
                // An intent is written together with its update, so an intent without one is none.
                let Some(release) = release.filter(|_| record.is_open()) else {
                    return Applied::Nothing;
                };
                record.sent(release.sha256, session.id, now);
                sent = Some((session, record.update.clone(), release));
                Applied::Changed
            }
            Decision::GiveUp => {
                record.give_up(now);
                Applied::Changed
            }
            Decision::Nothing(why) if idle => close_idle(record, why, &running, &platform, now),
            Decision::Nothing(_) => Applied::Nothing,
        }
    });
    let (session, update, release) = sent?;
    Some(send(app, entry, session, &update, &release))
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
            FailureKind::WrongPlatform,
            format!(
                "there is no release {} for {platform}; add it and ask again",
                record.update.version
            ),
            now,
        ),
        Why::VersionUnknown => record.impossible(FailureKind::Other, unknown_version(running), now),
        Why::Reached | Why::Offline | Why::InHand | Why::Ended => return Applied::Nothing,
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

fn send(
    app: &Arc<App>,
    entry: &Arc<AgentEntry>,
    session: Arc<Session>,
    update: &Update,
    release: &Release,
) -> Answer {
    let args = update_args(app, &session, update, release);
    tracing::info!(
        agent.id = %entry.id, update.id = %update.id, version = %update.version, sha256 = %release.sha256,
        "sending agent.update"
    );
    let (sender, answer) = oneshot::channel();
    let (app, entry, update) = (Arc::clone(app), Arc::clone(entry), update.id);
    let request = RequestId::random();
    session.carries_update(request, update);
    tokio::spawn(async move {
        let result = session.call_as(request, AGENT_UPDATE, args, STAGING_TIME).await;
        match result {
            // The tunnel has told `answered` or `disconnected` already, in the order in which things came.
            Ok(_) | Err(CallError::Offline | CallError::ConnectionLost) => {}
            Err(CallError::Timeout(_)) => timed_out(&app, &entry, update),
        }
        // Only a tool call waits for it.
        let _ = sender.send(result);
    });
    answer
}

fn timed_out(app: &Arc<App>, entry: &Arc<AgentEntry>, update: UpdateId) {
    change(app, entry, |state| match &mut state.update {
        Some(record) if record.update.id == update && record.is_open() && !record.staged_reply => {
            let detail = "the agent was connected for a day and did not stage it".to_owned();
            record.impossible(FailureKind::Refused, detail, Timestamp::now());
            Applied::Changed
        }
        Some(_) | None => Applied::Nothing,
    });
}

fn update_args(
    app: &App,
    session: &Session,
    update: &Update,
    release: &Release,
) -> Map<String, Value> {
    let expires_at = Timestamp::now()
        .checked_add(SignedDuration::from_hours(LINK_LIFE_HOURS))
        .expect("a day from now is a time");
    let name = file_name(&release.version, release.os, release.arch);
    let path = app.releases.signer.path(release.sha256, &name, expires_at);
    let args = UpdateArgs {
        version: release.version.parse().expect("a release has a semantic version"),
        url: format!("{}{path}", session.base_url),
        sha256: release.sha256,
        update_id: session.speaks_0_3.then_some(update.id),
        deadline: session.speaks_0_3.then_some(expires_at),
        allow_quarantined: false,
    };
    match serde_json::to_value(args) {
        Ok(Value::Object(args)) => args,
        Ok(_) | Err(_) => unreachable!("UpdateArgs serialises as an object"),
    }
}

/// Changes an agent's state; marks, tells and counts what became of its update.
pub fn change(app: &App, entry: &Arc<AgentEntry>, change: impl FnOnce(&mut AgentState) -> Applied) {
    let mut state = entry.lock();
    let open_before = state.update.as_ref().is_some_and(|record| record.is_open());
    let applied = change(&mut state);
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
            why = update.failure.as_ref().map(|failure| failure.detail.as_str()),
            "update ended"
        );
    }
}

const fn outcome_word(update: &Update) -> &'static str {
    use kenny_proto::api::UpdateState;
    match update.state {
        UpdateState::Waiting => "waiting",
        UpdateState::Running => "running",
        UpdateState::Online => "online",
        UpdateState::Succeeded => "succeeded",
        UpdateState::RolledBack => "rolled_back",
        UpdateState::Failed => "failed",
        UpdateState::Superseded => "superseded",
    }
}
