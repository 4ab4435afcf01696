//! Going back: the agent puts the version that it kept at its last update in place again.

use std::sync::Arc;

use jiff::Timestamp;
use kenny_core::rollout::Tally;
use kenny_proto::api::{Update, UpdateKind, UpdateOrigin};
use semver::Version;

use super::updates::{current, refuse_pinned, refuse_while_busy, write};
use super::{Action, Operator, OpsError, Permit};
use crate::app::App;
use crate::audit::Subject;
use crate::fleet::{AgentEntry, AgentState, Desired};
use crate::rollout::{self, Answer, UpdateRecord, Wanted, is_version};
use crate::store::{StoreError, update_rows};

/// Has an agent go back. The version that it goes back to is the wanted one from then on.
pub async fn request(app: &Arc<App>, operator: &Operator, id: &str) -> Result<Update, OpsError> {
    request_and_send(app, operator, id).await.map(|(update, _)| update)
}

/// Like [`request`], with the agent's answer to come when `agent.rollback` went out.
pub async fn request_and_send(
    app: &Arc<App>,
    operator: &Operator,
    id: &str,
) -> Result<(Update, Option<Answer>), OpsError> {
    let permit = operator.may(app, Action::RollBack, Subject::agent(id))?;
    permit.carry_out(app, go_back(app, &permit, id)).await
}

async fn go_back(
    app: &Arc<App>,
    permit: &Permit<'_>,
    id: &str,
) -> Result<(Update, Option<Answer>), OpsError> {
    let entry = permit.agent(app, id)?;
    // Nothing is sent to this agent by anybody else until the intent is written.
    let _intent = entry.intent.lock().await;
    let target = target(app, permit, &entry).await?;
    let (record, superseded) = plan(&entry, &entry.lock(), target)?;
    let version = Version::parse(&record.update.version).expect("made of a version");
    let desired = Desired { version, allow_downgrade: true, rollout: None };
    write(app, permit, &entry, &desired, &record, superseded).await?;
    let answer = rollout::act(app, &entry, Timestamp::now());
    let update = record.update;
    tracing::info!(
        agent.id = %entry.id, update.id = %update.id, version = %update.version, face = permit.face(),
        "rollback requested"
    );
    Ok((current(&entry, update), answer))
}

/// What is known of where the agent came from.
enum Target {
    /// Its last update brought it from this version.
    Version(Version),
    /// There is none, for this reason.
    None(String),
}

async fn target(app: &App, permit: &Permit<'_>, entry: &AgentEntry) -> Result<Target, StoreError> {
    let (last, running) = {
        let state = entry.lock();
        (state.update.clone(), state.running().to_owned())
    };
    let id = entry.id.clone();
    let change = permit
        .read(app, move |connection| {
            // Its end may not be in the database yet.
            if let Some(last) = &last {
                update_rows::save_update(connection, last)?;
            }
            update_rows::last_change(connection, &id)
        })
        .await?;
    let unknown = || Target::None(format!("no update is known here that brought it to {running}"));
    let Some(change) = change.filter(|it| is_version(&it.update.version, &running)) else {
        return Ok(unknown());
    };
    if change.update.kind == UpdateKind::Rollback {
        return Ok(Target::None(format!(
            "it went back to {running} already, and an agent keeps one older version only"
        )));
    }
    let from = change.update.from_version.and_then(|from| Version::parse(&from).ok());
    Ok(from.map_or_else(unknown, Target::Version))
}

type Plan = (Box<UpdateRecord>, Option<Box<UpdateRecord>>);

fn plan(entry: &AgentEntry, state: &AgentState, target: Target) -> Result<Plan, OpsError> {
    if state.removed {
        return Err(OpsError::UnknownAgent(entry.id.to_string()));
    }
    let agent = entry.id.to_string();
    let to = match &target {
        Target::Version(version) => version.to_string(),
        Target::None(_) => "VERSION".to_owned(),
    };
    match (&state.session, &state.facts) {
        (Some(session), _) if session.speaks_0_3 => {}
        (Some(_), _) => return Err(OpsError::RollbackUnsupported { agent, to }),
        // It registered when it was here last.
        (None, Some(facts)) if facts.protocol.is_none() => {
            return Err(OpsError::RollbackUnsupported { agent, to });
        }
        (None, _) => return Err(OpsError::RollbackOffline { agent, to }),
    }
    let open = state.update.as_deref().filter(|record| record.is_open());
    refuse_while_busy(open)?;
    let version = match target {
        Target::Version(version) => version,
        Target::None(why) => return Err(OpsError::NothingToGoBackTo { agent, why }),
    };
    refuse_pinned(entry, state, &version.to_string())?;
    let now = Timestamp::now();
    let superseded = open.map(|open| {
        let mut old = Box::new(open.clone());
        old.superseded(&format!("the agent goes back to {version} instead"), now);
        old
    });
    let record = UpdateRecord::requested(
        Wanted {
            agent_id: entry.id.clone(),
            kind: UpdateKind::Rollback,
            origin: UpdateOrigin::Operator,
            rollout: None,
            from_version: Some(state.running().to_owned()),
            version,
            allow_downgrade: true,
            tally: Tally::default(),
        },
        now,
    );
    Ok((Box::new(record), superseded))
}
