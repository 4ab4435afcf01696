//! Invitations: making them, listing what is open, withdrawing.

use jiff::{SignedDuration, Timestamp};
use kenny_proto::api::{AgentIdentity, AgentInvited, InvitationList, NewInvitation};
use kenny_proto::invitation::{INVITATION_VERSION, INVITE_PATH};
use kenny_proto::rollout::AgentSettings;
use kenny_proto::{AgentId, Invitation, InvitationCode};
use rusqlite::Connection;

use super::{Action, Operator, OpsError, Permit, tunnel_address};
use crate::app::App;
use crate::audit::{Facts, Subject};
use crate::auth::{random_bytes, sha256};
use crate::events::kind;
use crate::fleet::Identity;
use crate::invite::{self, Setup};
use crate::store::invitation_rows;
use crate::store::rows::AgentRow;

/// Seconds for which a code is good where nobody says otherwise.
const USUAL_LIFE_S: u64 = 24 * 60 * 60;
/// A person has to get to the PC; a code that lies about for longer than a month is forgotten, not needed.
const LIFE_S: std::ops::RangeInclusive<u64> = 60..=30 * 24 * 60 * 60;

/// Invites a PC to be this agent, which is made where there is none. `base_url` is how the operator reaches the server.
/// What the agent proves itself with so far holds until a PC has enrolled with the new code.
pub async fn invite(
    app: &App,
    operator: &Operator,
    id: &str,
    wanted: &NewInvitation,
    base_url: &str,
) -> Result<AgentInvited, OpsError> {
    let permit = operator.may(app, Action::InviteAgent, Subject::agent(id))?;
    permit.carry_out(app, make(app, &permit, id, wanted, base_url)).await
}

async fn make(
    app: &App,
    permit: &Permit<'_>,
    id: &str,
    wanted: &NewInvitation,
    base_url: &str,
) -> Result<AgentInvited, OpsError> {
    let id: AgentId = id.parse()?;
    let life_s = wanted.expires_s.unwrap_or(USUAL_LIFE_S);
    if !LIFE_S.contains(&life_s) {
        return Err(OpsError::BadExpiry { min_s: *LIFE_S.start(), max_s: *LIFE_S.end() });
    }
    let entry = app.fleet.get(&id);
    let _intent = match &entry {
        Some(entry) => Some(entry.intent.lock().await),
        None => None,
    };
    if entry.as_ref().is_some_and(|entry| entry.lock().removed) {
        return Err(OpsError::UnknownAgent(id.to_string()));
    }
    let random = random_bytes();
    let code = InvitationCode::from_random(std::array::from_fn(|at| random[at]));
    let created_at = Timestamp::now();
    let life = SignedDuration::from_secs(i64::try_from(life_s).expect("a month at most"));
    let expires_at = created_at.checked_add(life).expect("a month from now is a time");
    let row = invitation_rows::NewInvitation {
        code_hash: sha256(code.as_bytes()),
        agent_id: id.clone(),
        created_at,
        created_by: permit.account().to_owned(),
        expires_at,
    };
    let facts = Facts::from([("expires_at".to_owned(), expires_at.to_string())]);
    let invite = move |connection: &Connection| invitation_rows::invite(connection, &row);
    let new_agent = permit.change(app, facts, invite).await?;
    if new_agent {
        app.fleet.insert(AgentRow {
            id: id.clone(),
            identity: Identity::None,
            created_at,
            last_seen_at: None,
            facts: None,
            desired: None,
            settings: AgentSettings::default(),
        });
        app.events.publish(kind::AGENT_CREATED, Some(&id), format!("{id} was created"));
    }
    tracing::info!(agent.id = %id, %expires_at, "agent invited");
    let summary = format!("a PC was invited to be {id}, until {}", super::minute(expires_at));
    app.events.publish(kind::AGENT_INVITED, Some(&id), summary);
    let link = format!("{base_url}{INVITE_PATH}/{code}");
    let replaces = entry.as_ref().map_or(AgentIdentity::None, |entry| entry.lock().identity.kind());
    let invitation = invitation(app, base_url, id, code, expires_at);
    let (powershell, problem) = match offer(app, &link, &invitation).await {
        Ok(powershell) => (Some(powershell), None),
        Err(problem) => (None, Some(problem)),
    };
    Ok(AgentInvited { invitation, link, new_agent, replaces, powershell, problem })
}

/// What a PC needs to enrol with this code.
pub fn invitation(
    app: &App,
    base_url: &str,
    agent_id: AgentId,
    code: InvitationCode,
    expires_at: Timestamp,
) -> Invitation {
    Invitation {
        v: INVITATION_VERSION,
        server: tunnel_address(base_url),
        agent_id,
        code,
        server_key: app.identity.public(),
        tuf_root: app.trust.root(),
        ca: app.agent_ca.clone(),
        expires_at,
    }
}

/// The line for PowerShell. The error says why there is nothing to install, and what to do.
async fn offer(app: &App, link: &str, invitation: &Invitation) -> Result<String, String> {
    let release = app.releases.for_setup().ok_or(
        "the link offers no download yet, because no agent for Windows is released: `kenny release add kenny-agent.exe`",
    )?;
    let setup = Setup::make(&app.releases.files, &release, invitation).await.map_err(|error| {
        tracing::warn!(%error, source = std::error::Error::source(&error), "there is no installer");
        error.to_string()
    })?;
    let name = invite::file_name(&invitation.agent_id);
    Ok(invite::powershell(link, &name, release.sha256, setup.sha256()))
}

/// Invitations that can still be redeemed.
pub async fn list(app: &App, operator: &Operator) -> Result<InvitationList, OpsError> {
    let permit = operator.may(app, Action::ListInvitations, Subject::default())?;
    let now = Timestamp::now();
    let invitations =
        permit.read(app, move |connection| invitation_rows::open(connection, now)).await?;
    Ok(InvitationList { invitations })
}

/// Withdraws an agent's open invitation.
pub async fn withdraw(app: &App, operator: &Operator, id: &str) -> Result<(), OpsError> {
    let permit = operator.may(app, Action::WithdrawInvitation, Subject::agent(id))?;
    permit.carry_out(app, take_back(app, &permit, id)).await
}

async fn take_back(app: &App, permit: &Permit<'_>, id: &str) -> Result<(), OpsError> {
    let entry = permit.agent(app, id)?;
    let _intent = entry.intent.lock().await;
    let agent_id = entry.id.clone();
    let none = OpsError::NoInvitation(id.to_owned());
    permit
        .change_unless(app, Facts::new(), move |connection| {
            Ok(if invitation_rows::withdraw(connection, &agent_id)? { Ok(()) } else { Err(none) })
        })
        .await??;
    tracing::info!(agent.id = %entry.id, "invitation withdrawn");
    let summary = format!("the invitation to be {} was withdrawn", entry.id);
    app.events.publish(kind::INVITATION_WITHDRAWN, Some(&entry.id), summary);
    Ok(())
}
