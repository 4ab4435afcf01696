//! Agents: seeing them, making them, removing them.

use jiff::Timestamp;
use kenny_proto::CloseCode;
use kenny_proto::api::{Agent, AgentCreated, AgentDetail, AgentList, NewAgent};
use kenny_proto::rollout::AgentSettings;
use rusqlite::Connection;
use rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY;

use super::{Action, Operator, OpsError, Permit, tunnel_address, updates};
use crate::app::App;
use crate::audit::{Facts, Subject};
use crate::auth::{TokenHash, new_agent_token};
use crate::events::kind;
use crate::fleet::Identity;
use crate::store::StoreError;
use crate::store::rows::{self, AgentRow};

/// Every agent, by id.
pub fn list(app: &App, operator: &Operator) -> Result<AgentList, OpsError> {
    operator.may(app, Action::ListAgents, Subject::default())?;
    let now = Timestamp::now();
    let withdrawn = app.releases.withdrawn();
    let mut agents: Vec<_> =
        app.fleet.all().iter().map(|entry| entry.view(&withdrawn, &app.pace, now)).collect();
    agents.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(AgentList { agents })
}

/// One agent by itself.
pub fn get(app: &App, operator: &Operator, id: &str) -> Result<Agent, OpsError> {
    let permit = operator.may(app, Action::ShowAgent, Subject::agent(id))?;
    Ok(permit.agent(app, id)?.view(&app.releases.withdrawn(), &app.pace, Timestamp::now()))
}

/// One agent with its updates and telemetry.
pub async fn show(app: &App, operator: &Operator, id: &str) -> Result<AgentDetail, OpsError> {
    let permit = operator.may(app, Action::ShowAgent, Subject::agent(id))?;
    let entry = permit.agent(app, id)?;
    let updates = updates::list(app, operator, id).await?.updates;
    let waiting = entry.lock().telemetry.as_deref().cloned();
    let telemetry = if waiting.is_some() {
        waiting
    } else {
        let id = entry.id.clone();
        permit.read(app, move |connection| rows::telemetry(connection, &id)).await?
    };
    let agent = entry.view(&app.releases.withdrawn(), &app.pace, Timestamp::now());
    Ok(AgentDetail { agent, updates, telemetry })
}

/// Makes an agent that authenticates by a token, as those of 0.2 do. `base_url` is how the operator reaches the server.
pub async fn create(
    app: &App,
    operator: &Operator,
    wanted: NewAgent,
    base_url: &str,
) -> Result<AgentCreated, OpsError> {
    let permit = operator.may(app, Action::CreateAgent, Subject::agent(wanted.id.as_str()))?;
    permit.carry_out(app, make(app, &permit, wanted, base_url)).await
}

async fn make(
    app: &App,
    permit: &Permit<'_>,
    wanted: NewAgent,
    base_url: &str,
) -> Result<AgentCreated, OpsError> {
    let id = wanted.id;
    if !wanted.legacy {
        return Err(OpsError::InviteInstead(id.to_string()));
    }
    let token = new_agent_token();
    let row = AgentRow {
        id: id.clone(),
        identity: Identity::Token(TokenHash::of(&token)),
        created_at: Timestamp::now(),
        last_seen_at: None,
        facts: None,
        desired: None,
        settings: AgentSettings::default(),
    };
    let (hash, created_at) = (TokenHash::of(&token), row.created_at);
    let named = id.clone();
    let inserted = permit
        .change(app, Facts::new(), move |connection| {
            rows::insert_legacy_agent(connection, &named, hash, created_at)
        })
        .await;
    match inserted {
        Ok(()) => app.fleet.insert(row),
        Err(StoreError::Database(rusqlite::Error::SqliteFailure(error, _)))
            if error.extended_code == SQLITE_CONSTRAINT_PRIMARYKEY =>
        {
            return Err(OpsError::AgentExists(id.to_string()));
        }
        Err(error) => return Err(error.into()),
    }
    tracing::info!(agent.id = %id, "agent created");
    app.events.publish(kind::AGENT_CREATED, Some(&id), format!("{id} was created"));
    Ok(AgentCreated { id, token, server: tunnel_address(base_url) })
}

/// Removes an agent with its history and ends its connection.
pub async fn remove(app: &App, operator: &Operator, id: &str) -> Result<(), OpsError> {
    let permit = operator.may(app, Action::RemoveAgent, Subject::agent(id))?;
    permit.carry_out(app, take_away(app, &permit, id)).await
}

async fn take_away(app: &App, permit: &Permit<'_>, id: &str) -> Result<(), OpsError> {
    let entry = permit.agent(app, id)?;
    let _intent = entry.intent.lock().await;
    if entry.lock().removed {
        return Err(OpsError::UnknownAgent(id.to_owned()));
    }
    let gone = entry.id.clone();
    let delete = move |connection: &Connection| rows::delete_agent(connection, &gone);
    permit.change(app, Facts::new(), delete).await?;
    app.fleet.remove(&entry.id);
    let session = {
        let mut state = entry.lock();
        state.removed = true;
        state.session.clone()
    };
    if let Some(session) = session {
        session.close(CloseCode::Unauthorized, "the operator removed this agent");
    }
    tracing::info!(agent.id = %entry.id, "agent removed");
    app.events.publish(kind::AGENT_REMOVED, Some(&entry.id), format!("{} was removed", entry.id));
    Ok(())
}
