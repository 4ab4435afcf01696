//! Sending an attempt to its agent, and waiting for what it answers.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kenny_proto::api::{Release, UpdateKind};
use kenny_proto::tools::{AGENT_ROLLBACK, AGENT_UPDATE, RollbackArgs, UpdateArgs};
use kenny_proto::update::FailureKind;
use kenny_proto::{RequestId, Sha256Digest, UpdateId};
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::oneshot;

use super::{Applied, UpdateRecord, change};
use crate::app::App;
use crate::fleet::AgentEntry;
use crate::releases::{file_name, links::LINK_LIFE_HOURS};
use crate::tunnel::{CallError, Outcome, Session};

/// How long an agent may take to stage an update, while it is connected: as long as the link to the artifact lives.
pub const STAGING_TIME: Duration = Duration::from_hours(24);
/// How long it may take to stage what it kept: no download, only a hash and the updater's start.
const ROLLBACK_TIME: Duration = Duration::from_mins(10);

/// The agent's answer to what was sent.
pub type Answer = oneshot::Receiver<Result<Outcome, CallError>>;

/// What the agent is to do.
#[derive(Debug)]
pub enum Errand {
    /// Install this release.
    Update(Release),
    /// Go back to what it kept.
    Rollback,
}

impl Errand {
    /// The artifact, where there is one.
    pub const fn sha256(&self) -> Option<Sha256Digest> {
        match self {
            Self::Update(release) => Some(release.sha256),
            Self::Rollback => None,
        }
    }
}

/// The tool that carries an update of this kind.
pub const fn tool(kind: UpdateKind) -> &'static str {
    match kind {
        UpdateKind::Update => AGENT_UPDATE,
        UpdateKind::Rollback => AGENT_ROLLBACK,
    }
}

/// Sends it. The answer is told to the rollout by the tunnel, and to whoever waits for it here.
pub fn send(
    app: &Arc<App>,
    entry: &Arc<AgentEntry>,
    session: Arc<Session>,
    record: &UpdateRecord,
    errand: &Errand,
) -> Answer {
    let update = record.update.id;
    let tool = tool(record.update.kind);
    let (args, time) = match errand {
        Errand::Update(release) => (update_args(app, &session, record, release), STAGING_TIME),
        Errand::Rollback => (object(&RollbackArgs { update_id: Some(update) }), ROLLBACK_TIME),
    };
    tracing::info!(
        agent.id = %entry.id, update.id = %update, version = %record.update.version, attempt = record.update.attempt,
        "sending {tool}"
    );
    let (sender, answer) = oneshot::channel();
    let (app, entry) = (Arc::clone(app), Arc::clone(entry));
    let request = RequestId::random();
    session.carries_update(request, update);
    tokio::spawn(async move {
        let result = session.call_as(request, tool, args, time).await;
        match result {
            // The tunnel has told `answered` or `disconnected` already, in the order in which things came.
            Ok(_) | Err(CallError::Offline | CallError::ConnectionLost) => {}
            Err(CallError::Timeout(_)) => timed_out(&app, &entry, update, time),
        }
        // Only a tool call waits for it.
        let _ = sender.send(result);
    });
    answer
}

fn timed_out(app: &Arc<App>, entry: &Arc<AgentEntry>, update: UpdateId, time: Duration) {
    change(app, entry, |state| match &mut state.update {
        Some(record) if record.update.id == update && record.is_open() && !record.staged_reply => {
            let minutes = time.as_secs() / 60;
            let detail = format!("the agent was connected for {minutes} min and did not stage it");
            record.impossible(FailureKind::Refused, detail, Timestamp::now());
            Applied::Changed
        }
        Some(_) | None => Applied::Nothing,
    });
}

/// What 0.2 does not know is sent to agents of 0.3 only.
fn update_args(
    app: &App,
    session: &Session,
    record: &UpdateRecord,
    release: &Release,
) -> Map<String, Value> {
    let expires_at = Timestamp::now()
        .checked_add(SignedDuration::from_hours(LINK_LIFE_HOURS))
        .expect("a day from now is a time");
    let name = file_name(&release.version, release.os, release.arch);
    let path = app.releases.signer.path(release.sha256, &name, expires_at);
    object(&UpdateArgs {
        version: release.version.parse().expect("a release has a semantic version"),
        url: format!("{}{path}", session.base_url),
        sha256: release.sha256,
        update_id: session.speaks_0_3.then_some(record.update.id),
        deadline: session.speaks_0_3.then_some(expires_at),
        allow_quarantined: session.speaks_0_3 && record.tally.insisted,
    })
}

fn object(args: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(args) {
        Ok(Value::Object(args)) => args,
        Ok(_) | Err(_) => unreachable!("arguments serialise as an object"),
    }
}
