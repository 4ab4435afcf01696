//! Updates: what an agent should run, and how it goes.

use std::sync::Arc;

use jiff::Timestamp;
use kenny_core::rollout::{Standing, Tally};
use kenny_proto::UpdateId;
use kenny_proto::api::{NewUpdate, Update, UpdateKind, UpdateList, UpdateOrigin};
use semver::Version;

use super::releases::Releases;
use super::{Action, Operator, OpsError, Permit, RolloutError};
use crate::app::App;
use crate::audit::{Facts, Subject};
use crate::events::kind;
use crate::fleet::{AgentEntry, AgentState, Desired};
use crate::rollout::intent::{EndOfIntent, NewIntent};
use crate::rollout::{self, Answer, UpdateRecord, Wanted, is_version};
use crate::store::{StoreError, rollout_rows, update_rows};

/// How many updates of an agent are shown.
const SHOWN: u32 = 20;

/// What became of a request.
#[derive(Debug)]
pub enum Requested {
    /// A new update was made for it.
    Created(Update),
    /// The agent runs the version already, or the very same intent stands.
    Standing(Update),
}

/// Whether a hold stands in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// A held version is refused.
    Respected,
    /// The operator has the version tried although it is held or in quarantine.
    Overruled,
}

/// What a request needs.
enum Plan {
    Stands(Box<Update>),
    Create { record: Box<UpdateRecord>, superseded: Option<Box<UpdateRecord>>, created: bool },
}

/// Asks for a version. The agent need not be online.
pub async fn request(
    app: &Arc<App>,
    operator: &Operator,
    id: &str,
    wanted: &NewUpdate,
) -> Result<Requested, OpsError> {
    let requested = request_and_send(app, operator, id, wanted, Holds::Respected).await;
    requested.map(|(requested, _)| requested)
}

/// Like [`request`], with the agent's answer to come when `agent.update` went out for it.
pub async fn request_and_send(
    app: &Arc<App>,
    operator: &Operator,
    id: &str,
    wanted: &NewUpdate,
    holds: Holds,
) -> Result<(Requested, Option<Answer>), OpsError> {
    let subject = Subject::agent(id).and(&wanted.version);
    let permit = operator.may(app, Action::RequestUpdate, subject)?;
    permit.carry_out(app, want(app, &permit, id, wanted, holds)).await
}

async fn want(
    app: &Arc<App>,
    permit: &Permit<'_>,
    id: &str,
    wanted: &NewUpdate,
    holds: Holds,
) -> Result<(Requested, Option<Answer>), OpsError> {
    let entry = permit.agent(app, id)?;
    let version = Version::parse(&wanted.version)
        .map_err(|_| OpsError::BadVersion(wanted.version.clone()))?;
    let desired = Desired { version, allow_downgrade: wanted.allow_downgrade, rollout: None };
    // Nothing is sent to this agent by anybody else until the intent is written.
    let _intent = entry.intent.lock().await;
    let written = write_intent(app, permit, &entry, &desired, holds).await;
    let answer = rollout::act(app, &entry, Timestamp::now());
    let requested = match written? {
        Requested::Created(update) => {
            tracing::info!(
                agent.id = %entry.id, update.id = %update.id, version = %update.version,
                face = permit.face(), "update requested"
            );
            Requested::Created(current(&entry, update))
        }
        Requested::Standing(update) => Requested::Standing(current(&entry, update)),
    };
    Ok((requested, answer))
}

async fn write_intent(
    app: &App,
    permit: &Permit<'_>,
    entry: &Arc<AgentEntry>,
    desired: &Desired,
    holds: Holds,
) -> Result<Requested, OpsError> {
    let version = desired.version.to_string();
    let tally = match holds {
        Holds::Respected => earlier(app, permit, entry, &version).await?.tally,
        Holds::Overruled => Tally::insisted(),
    };
    let plan = plan(app, entry, &entry.lock(), desired, tally, holds)?;
    let (record, superseded, created) = match plan {
        Plan::Stands(update) => return Ok(Requested::Standing(*update)),
        Plan::Create { record, superseded, created } => (record, superseded, created),
    };
    write(app, permit, entry, desired, &record, superseded).await?;
    let update = record.update;
    Ok(if created { Requested::Created(update) } else { Requested::Standing(update) })
}

/// What the version came to so far on the agent.
async fn earlier(
    app: &App,
    permit: &Permit<'_>,
    entry: &AgentEntry,
    version: &str,
) -> Result<Standing, StoreError> {
    {
        let state = entry.lock();
        if state.is_cleared(version) {
            return Ok(Standing { tally: Tally::insisted(), ..Standing::default() });
        }
        let is_wanted = |desired: &Desired| is_version(&desired.version.to_string(), version);
        if state.desired.as_ref().is_some_and(is_wanted) {
            return Ok(state.standing);
        }
        // The database may not have its end yet.
        if let Some(last) = &state.update
            && is_version(&last.update.version, version)
        {
            return Ok(last.standing());
        }
    }
    let (id, version) = (entry.id.clone(), version.to_owned());
    permit.read(app, move |connection| update_rows::standing(connection, &id, &version)).await
}

/// Writes the intent with the update that stands for it, then puts both in place. For who holds the agent's intent.
pub async fn write(
    app: &App,
    permit: &Permit<'_>,
    entry: &Arc<AgentEntry>,
    desired: &Desired,
    record: &UpdateRecord,
    superseded: Option<Box<UpdateRecord>>,
) -> Result<(), OpsError> {
    let intent = NewIntent::new(&entry.lock(), desired.clone(), record.clone(), superseded);
    let mut facts = Facts::from([
        ("update".to_owned(), record.update.id.to_string()),
        ("version".to_owned(), record.update.version.clone()),
    ]);
    if desired.allow_downgrade {
        facts.insert("allow_downgrade".to_owned(), "true".to_owned());
    }
    if record.tally.insisted {
        facts.insert("hold_overruled".to_owned(), "true".to_owned());
    }
    let (rows, now) = (intent.clone(), Timestamp::now());
    permit
        .change(app, facts, move |connection| {
            rows.write(connection)?;
            rollout_rows::overtake(connection, rows.agent_id(), now)
        })
        .await?;
    if !intent.put(app, entry) {
        return Err(OpsError::UnknownAgent(entry.id.to_string()));
    }
    app.rollouts.overtake(&entry.id, now);
    Ok(())
}

fn plan(
    app: &App,
    entry: &AgentEntry,
    state: &AgentState,
    desired: &Desired,
    tally: Tally,
    holds: Holds,
) -> Result<Plan, OpsError> {
    if state.removed {
        return Err(OpsError::UnknownAgent(entry.id.to_string()));
    }
    let now = Timestamp::now();
    let wanted = desired.version.to_string();
    refuse_pinned(entry, state, &wanted)?;
    let running = state.facts.as_ref().map(|facts| facts.version.as_str());
    let last = state.update.as_deref();
    let open = last.filter(|record| record.is_open());
    if let Some(open) = open
        && is_version(&open.update.version, &wanted)
        && (open.allow_downgrade || !desired.allow_downgrade)
        && state.desired.is_some()
    {
        return Ok(Plan::Stands(Box::new(open.update.clone())));
    }
    refuse_while_busy(open)?;
    let superseded = open.map(|open| {
        let mut old = Box::new(open.clone());
        old.superseded(&format!("{wanted} is wanted instead"), now);
        old
    });
    let mut record = Box::new(UpdateRecord::requested(
        Wanted {
            agent_id: entry.id.clone(),
            kind: UpdateKind::Update,
            origin: UpdateOrigin::Operator,
            rollout: None,
            from_version: running.map(str::to_owned),
            version: desired.version.clone(),
            allow_downgrade: desired.allow_downgrade,
            tally,
        },
        now,
    ));
    match (running, running.and_then(|running| Version::parse(running).ok())) {
        (Some(running), _) if is_version(running, &wanted) => {
            let finished = last.filter(|last| {
                last.update.state == kenny_proto::api::UpdateState::Succeeded
                    && is_version(&last.update.version, &wanted)
            });
            if let Some(finished) = finished
                && state.desired.as_ref() == Some(desired)
            {
                return Ok(Plan::Stands(Box::new(finished.update.clone())));
            }
            record.already_runs(now);
            return Ok(Plan::Create { record, superseded, created: false });
        }
        (Some(running), None) => {
            return Err(OpsError::VersionUnknown(rollout::unknown_version(running)));
        }
        (Some(running), Some(version))
            if version.cmp_precedence(&desired.version).is_gt() && !desired.allow_downgrade =>
        {
            return Err(OpsError::DowngradeNotAllowed { running: running.to_owned(), wanted });
        }
        (_, _) => {}
    }
    if let Some(hold) = state.hold_of(&wanted).filter(|_| holds == Holds::Respected) {
        return Err(OpsError::Held { agent: entry.id.to_string(), hold: hold.clone() });
    }
    authorised(app, entry, state, &desired.version)?;
    Ok(Plan::Create { record, superseded, created: true })
}

/// Refuses what the agent would refuse: with keys on the server that is a release which they did not sign, unless the
/// agent says that it pins no root.
fn authorised(
    app: &App,
    entry: &AgentEntry,
    state: &AgentState,
    version: &Version,
) -> Result<(), OpsError> {
    let candidates = match &state.facts {
        Some(facts) => vec![app.releases.find(version, facts.os, facts.arch)?],
        // Never connected: which platform it is, is seen when it registers.
        None => app.releases.all_of(version)?,
    };
    let pins_root = state.facts.as_ref().and_then(|facts| facts.pins_root());
    if candidates.iter().any(|release| Releases::is_taken(&app.trust, release, pins_root)) {
        return Ok(());
    }
    let why = match pins_root {
        Some(_) => "runs signed releases only",
        None => "has not said that it runs others",
    };
    let platforms: Vec<String> =
        candidates.iter().map(|release| format!("{} {}", release.os, release.arch)).collect();
    Err(OpsError::NotSigned {
        version: version.to_string(),
        platform: platforms.join(", "),
        agent: entry.id.to_string(),
        why,
    })
}

/// What to say of an update to a release that no offline key signed, on a server that has signed ones: only an agent
/// that pins no root takes it.
pub fn warning(app: &App, update: &Update) -> Option<String> {
    let entry = app.fleet.get(&update.agent_id)?;
    let (os, arch) = entry.lock().facts.as_ref().map(|facts| (facts.os, facts.arch))?;
    let release = app.releases.find(&Version::parse(&update.version).ok()?, os, arch).ok()?;
    (app.trust.is_signed() && !app.trust.names(release.sha256)).then(|| {
        format!(
            "{} is not signed, and {} runs it only because it pins no root: whoever has this server has that PC. \
             A new invitation (`kenny agent invite {}`) installs it with the root",
            update.version, entry.id, entry.id
        )
    })
}

/// A pin is somebody's word: it is taken back first.
pub fn refuse_pinned(entry: &AgentEntry, state: &AgentState, wanted: &str) -> Result<(), OpsError> {
    match &state.settings.pinned {
        Some(pinned) if !is_version(pinned, wanted) => Err(RolloutError::Pinned {
            agent: entry.id.to_string(),
            pinned: pinned.clone(),
            wanted: wanted.to_owned(),
        }
        .into()),
        Some(_) | None => Ok(()),
    }
}

/// One thing at a time: what the agent works on has its outcome first.
pub fn refuse_while_busy(open: Option<&UpdateRecord>) -> Result<(), OpsError> {
    match open.filter(|record| record.session.is_some()) {
        Some(busy) => Err(OpsError::UpdateInProgress {
            version: busy.update.version.clone(),
            update: busy.update.id,
        }),
        None => Ok(()),
    }
}

/// The update as it stands now: it may have been sent since.
pub fn current(entry: &AgentEntry, update: Update) -> Update {
    match &entry.lock().update {
        Some(record) if record.update.id == update.id => record.update.clone(),
        Some(_) | None => update,
    }
}

/// No version is wanted any more. An update that was not sent yet is over; one that the agent works on goes on.
pub async fn clear(app: &Arc<App>, operator: &Operator, id: &str) -> Result<(), OpsError> {
    let permit = operator.may(app, Action::ClearIntent, Subject::agent(id))?;
    permit.carry_out(app, want_nothing(app, &permit, id)).await
}

async fn want_nothing(app: &Arc<App>, permit: &Permit<'_>, id: &str) -> Result<(), OpsError> {
    let entry = permit.agent(app, id)?;
    let _intent = entry.intent.lock().await;
    let is_awaited = app.rollouts.is_awaited(&entry.id);
    let now = Timestamp::now();
    let end = {
        let state = entry.lock();
        if state.desired.is_none() && !is_awaited {
            return Ok(());
        }
        EndOfIntent::new(&state, &entry.id, "no version is wanted any more", now)
    };
    let (agent_id, rows) = (entry.id.clone(), end.clone());
    permit
        .change(app, Facts::new(), move |connection| {
            rows.write(connection)?;
            rollout_rows::overtake(connection, &agent_id, now)
        })
        .await?;
    end.put(app, &entry);
    app.rollouts.overtake(&entry.id, now);
    app.events.publish(
        kind::INTENT_CLEARED,
        Some(&entry.id),
        format!("no particular version of {} is wanted any more", entry.id),
    );
    rollout::act(app, &entry, Timestamp::now());
    Ok(())
}

/// An agent's updates, newest first.
pub async fn list(app: &App, operator: &Operator, id: &str) -> Result<UpdateList, OpsError> {
    let permit = operator.may(app, Action::ListUpdates, Subject::agent(id))?;
    let entry = permit.agent(app, id)?;
    let agent_id = entry.id.clone();
    let records = permit
        .read(app, move |connection| update_rows::updates_of(connection, &agent_id, SHOWN))
        .await?;
    let updates = records.into_iter().map(|record| current(&entry, record.update)).collect();
    Ok(UpdateList { updates })
}

/// One update.
pub async fn get(app: &App, operator: &Operator, id: &str) -> Result<Update, OpsError> {
    let permit = operator.may(app, Action::ShowUpdate, Subject::named(id))?;
    let unknown = || OpsError::UnknownUpdate(id.to_owned());
    let update_id: UpdateId = id.parse().map_err(|_| unknown())?;
    let record = permit
        .read(app, move |connection| update_rows::update_by_id(connection, update_id))
        .await?
        .ok_or_else(unknown)?;
    Ok(match app.fleet.get(&record.update.agent_id) {
        Some(entry) => current(&entry, record.update),
        None => record.update,
    })
}
