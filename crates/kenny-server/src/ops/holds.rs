//! Holds: versions that are not sent to an agent any more, until the operator says otherwise.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Action, Operator, OpsError, Permit};
use crate::app::App;
use crate::audit::{Facts, Subject, cut};
use crate::events::kind;
use crate::fleet::HeldVersion;
use crate::rollout::{self, is_version};
use crate::store::update_rows;

/// Clears every hold of an agent. Where the wanted version was held it is tried again, with a fresh budget and whatever
/// the agent itself thinks of the version; without a hold nothing changes.
pub async fn clear(app: &Arc<App>, operator: &Operator, id: &str) -> Result<(), OpsError> {
    let permit = operator.may(app, Action::ClearHold, Subject::agent(id))?;
    permit.carry_out(app, take_off(app, &permit, id)).await
}

async fn take_off(app: &Arc<App>, permit: &Permit<'_>, id: &str) -> Result<(), OpsError> {
    let entry = permit.agent(app, id)?;
    let _intent = entry.intent.lock().await;
    let held: Vec<HeldVersion> = {
        let state = entry.lock();
        if state.removed {
            return Err(OpsError::UnknownAgent(id.to_owned()));
        }
        let standing = state.holds.iter().filter(|held| !held.cleared);
        standing.map(|held| HeldVersion { cleared: true, ..held.clone() }).collect()
    };
    if held.is_empty() {
        return Ok(());
    }
    let (agent_id, cleared) = (entry.id.clone(), held.clone());
    let versions: Vec<&str> = held.iter().map(|held| held.hold.version.as_str()).collect();
    let facts = Facts::from([("versions".to_owned(), cut(&versions.join(", ")))]);
    permit
        .change(app, facts, move |connection| {
            cleared.iter().try_for_each(|held| update_rows::set_hold(connection, &agent_id, held))
        })
        .await?;
    {
        let mut state = entry.lock();
        let wanted = state.desired.as_ref().map(|desired| desired.version.to_string());
        for one in held {
            let version = &one.hold.version;
            let is_wanted = wanted.as_ref().is_some_and(|wanted| is_version(version, wanted));
            tracing::info!(agent.id = %entry.id, %version, "hold cleared");
            let what = if is_wanted { "it is tried again" } else { "it may be asked for again" };
            let summary = format!("{version} is not held for {} any more; {what}", entry.id);
            app.events.publish(kind::HOLD_CLEARED, Some(&entry.id), summary);
            state.forget_hold(version);
            if is_wanted {
                state.start_over();
            }
            state.holds.push(one);
        }
    }
    app.fleet.mark(&entry);
    rollout::act(app, &entry, Timestamp::now());
    Ok(())
}
