//! The types of the REST API under `/api/v1`, shared by the server and its clients.
//!
//! Times are RFC 3339 in UTC, sizes bytes, durations milliseconds. Errors are [`Problem`] documents.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::frames::{Snapshot, Status, ToolError};
use crate::policy::Pause;
use crate::rollout::AgentSettings;
use crate::update::{Failure, Phase, PhaseAt};
use crate::{AgentId, Arch, Invitation, Os, PublicKey, RolloutId, Sha256Digest, UpdateId};

/// An error, as RFC 9457 (`application/problem+json`) has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// What callers decide by: a stable word such as `not_found`, `agent_offline`, `release_exists`.
    pub code: String,
    /// The HTTP status.
    pub status: u16,
    /// A short name of the problem.
    pub title: String,
    /// What happened and what to do.
    pub detail: String,
}

/// `GET /agents`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AgentList {
    /// Every agent, by id.
    pub agents: Vec<Agent>,
}

/// One agent, as the server knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Agent {
    /// Its id.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub id: AgentId,
    /// True while it has a connection.
    pub online: bool,
    /// How it proves who it is.
    #[serde(default)]
    pub identity: AgentIdentity,
    /// The key that it enrolled with.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub public_key: Option<PublicKey>,
    /// When the operator made it.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub created_at: Timestamp,
    /// When its last frame came, or its connection ended.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub last_seen_at: Option<Timestamp>,
    /// Since when the current connection is there.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub connected_at: Option<Timestamp>,
    /// The PC's name, once it registered.
    pub hostname: Option<String>,
    /// Its operating system.
    pub os: Option<Os>,
    /// Its architecture, where the agent said so.
    pub arch: Option<Arch>,
    /// The version that it last registered with.
    pub version: Option<String>,
    /// The protocol that it speaks; `0.2` where it named none.
    pub protocol: Option<String>,
    /// True when the service manager runs it.
    pub service: Option<bool>,
    /// Digest of its executable, where the agent said so.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub sha256: Option<Sha256Digest>,
    /// The version that it should run, where the operator said so.
    pub desired_version: Option<String>,
    /// The last update, finished or not; without its log.
    pub update: Option<Update>,
    /// A version that is not sent to it any more until the operator clears the hold.
    #[serde(default)]
    pub hold: Option<Hold>,
    /// When the server tries by itself again, after an update that did not work out.
    #[serde(default)]
    pub next_attempt: Option<NextAttempt>,
    /// Somebody at the PC paused it: it refuses what changes something, updates too, and those wait.
    #[serde(default)]
    pub paused: Option<Pause>,
    /// What the operator says of it.
    #[serde(default)]
    pub settings: AgentSettings,
    /// The release that it runs was withdrawn.
    #[serde(default)]
    pub runs_withdrawn: bool,
    /// How the PC is, by its last telemetry; absent before the first.
    #[serde(default)]
    pub health: Option<AgentHealth>,
}

/// How a PC is, by its last telemetry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AgentHealth {
    /// The worst of its sections.
    pub status: Status,
    /// The sections that are not well, the worst first; at most eight.
    pub problems: Vec<HealthProblem>,
}

/// A section of telemetry that is not well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HealthProblem {
    /// Its name.
    pub section: String,
    /// How bad it is.
    pub status: Status,
    /// One sentence for people, at most 200 characters.
    pub summary: String,
}

/// How an agent proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum AgentIdentity {
    /// Not at all yet: no PC has enrolled for it.
    #[default]
    None,
    /// By the token of 0.2.
    Legacy,
    /// By a key that never leaves the PC.
    Key,
}

/// A version that is not sent to an agent until the operator clears the hold (`DELETE /agents/{id}/hold`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Hold {
    /// The version.
    pub version: String,
    /// How often it was tried.
    pub attempts: u32,
    /// Since when.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub since: Timestamp,
    /// Why, in words.
    pub reason: String,
}

/// The server's own next attempt at the wanted version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NextAttempt {
    /// The version.
    pub version: String,
    /// Which attempt it will be.
    pub attempt: u32,
    /// Not before this time; an agent that is offline then is tried when it connects.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
}

/// `GET /agents/{id}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AgentDetail {
    /// The agent.
    pub agent: Agent,
    /// Its updates, newest first, at most 20.
    pub updates: Vec<Update>,
    /// Its last telemetry.
    pub telemetry: Option<TelemetryView>,
}

/// An agent's last telemetry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TelemetryView {
    /// When the PC read it, by its own clock.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub collected_at: Timestamp,
    /// When the server received it.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub received_at: Timestamp,
    /// The sections.
    #[cfg_attr(feature = "openapi", schema(value_type = std::collections::BTreeMap<String, crate::frames::Section>))]
    pub snapshot: Snapshot,
}

/// `POST /agents`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewAgent {
    /// The id that the agent will register with.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub id: AgentId,
    /// Make it one that authenticates by a token, as agents of 0.2 do. It must be true: all others are invited.
    #[serde(default)]
    pub legacy: bool,
}

/// What `POST /agents` answers. The token is shown this once; the server keeps its hash.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AgentCreated {
    /// The id.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub id: AgentId,
    /// The token that the agent registers with.
    pub token: String,
    /// The tunnel's address, for `--server`.
    pub server: String,
}

/// `POST /agents/{id}/invite`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewInvitation {
    /// For how long the code is good, in seconds: 60 to 2592000 (30 days), a day when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_s: Option<u64>,
}

/// What `POST /agents/{id}/invite` answers. The code is shown this once; the server keeps its hash.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AgentInvited {
    /// What the PC needs.
    pub invitation: Invitation,
    /// Where a person finds it in a browser.
    pub link: String,
    /// True when this invitation made the agent.
    pub new_agent: bool,
    /// What the agent proves itself with until the new identity has enrolled.
    pub replaces: AgentIdentity,
    /// What an operator pastes at the PC, into PowerShell as administrator; absent where there is nothing to install.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub powershell: Option<String>,
    /// Why the link offers no download, where it does not, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// `GET /invitations`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct InvitationList {
    /// Those that can still be redeemed, the one that ends first at the top.
    pub invitations: Vec<OpenInvitation>,
}

/// An invitation that can still be redeemed. An agent has one at most: a new one withdraws the one before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OpenInvitation {
    /// Whom it is for.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub agent_id: AgentId,
    /// When it was made.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// Until when it is good.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub expires_at: Timestamp,
}

/// `GET /server`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ServerInfo {
    /// Its version.
    pub version: String,
    /// The public half of its identity key, which agents pin.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub server_key: PublicKey,
}

/// `POST /agents/{id}/updates`: what the agent should run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewUpdate {
    /// The version; a release of it must be there for the agent's platform.
    pub version: String,
    /// Go there even if it is older than what runs.
    #[serde(default)]
    pub allow_downgrade: bool,
}

/// What `POST /agents/{id}/updates` answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UpdateRequested {
    /// The update that stands for the request.
    #[serde(flatten)]
    pub update: Update,
    /// What the operator should know of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// One update of one agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Update {
    /// Its id.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Uuid))]
    pub id: UpdateId,
    /// The agent.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub agent_id: AgentId,
    /// Whether it installs a release or goes back to the version that the agent kept.
    #[serde(default)]
    pub kind: UpdateKind,
    /// Who started it.
    #[serde(default)]
    pub origin: UpdateOrigin,
    /// The rollout that it is part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = Uuid))]
    pub rollout: Option<RolloutId>,
    /// Which attempt at this version on this agent it is, from 1; counted anew after a success and after a hold.
    #[serde(default = "first")]
    pub attempt: u32,
    /// What ran when it was requested.
    pub from_version: Option<String>,
    /// What should run.
    pub version: String,
    /// The artifact, once one was offered to the agent.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub sha256: Option<Sha256Digest>,
    /// How it stands for the operator.
    pub state: UpdateState,
    /// The last phase that the agent reported.
    pub phase: Option<Phase>,
    /// How much of the phase is done, 0 to 100.
    pub percent: Option<u8>,
    /// Why it did not work out.
    pub failure: Option<Failure>,
    /// When the operator asked for it.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub requested_at: Timestamp,
    /// When its outcome was known.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub finished_at: Option<Timestamp>,
    /// The steps with the times at which the server learnt of them, oldest first.
    pub timeline: Vec<TimelineEntry>,
    /// The steps by the PC's own clock, as its journal has them.
    pub journal: Vec<PhaseAt>,
    /// The last lines of the updater's log on the PC, oldest first; empty in lists of agents and in events.
    #[serde(default)]
    pub log: Vec<String>,
}

const fn first() -> u32 {
    1
}

/// What an update does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum UpdateKind {
    /// Installs a release.
    #[default]
    Update,
    /// Goes back to the version that the agent kept at its last update.
    Rollback,
}

/// Who started an update.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum UpdateOrigin {
    /// An operator asked for it.
    #[default]
    Operator,
    /// The server tried again by itself.
    Retry,
    /// The agent told of it: it was started at the PC, or by a tool call that named the file.
    Agent,
    /// A rollout began it.
    Rollout,
}

/// How an update stands for the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum UpdateState {
    /// Not sent yet: the agent is offline.
    Waiting,
    /// Sent; the agent is at it.
    Running,
    /// The agent is online on the new version and has yet to prove itself.
    Online,
    /// The agent has been silent for longer than its phase may take. Not final: what it says when it is back counts.
    Unknown,
    /// The agent runs the new version for good.
    Succeeded,
    /// The agent is back on the old version.
    RolledBack,
    /// It ended before anything was swapped.
    Failed,
    /// Another intent took its place before it was sent.
    Superseded,
}

impl UpdateState {
    /// True when nothing more will happen.
    pub const fn is_final(self) -> bool {
        match self {
            Self::Waiting | Self::Running | Self::Online | Self::Unknown => false,
            Self::Succeeded | Self::RolledBack | Self::Failed | Self::Superseded => true,
        }
    }
}

/// One line of an update's timeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TimelineEntry {
    /// What happened: `requested`, `told` (by the agent, of an update that was not started here), `sent`, a phase's name,
    /// `stopped`, `started`, `online`, `redirected` (to the version that the agent kept), `unknown`, `heard` (of again),
    /// `paused` (at the PC), `superseded`.
    pub step: String,
    /// When, by the server's clock.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
    /// More, in words.
    pub detail: Option<String>,
}

/// `GET /releases`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReleaseList {
    /// Every artifact, newest version first.
    pub releases: Vec<Release>,
}

/// One artifact of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Release {
    /// The version, as the executable says it.
    pub version: String,
    /// The operating system that it is for.
    pub os: Os,
    /// The architecture that it is for.
    pub arch: Arch,
    /// Its digest.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub sha256: Sha256Digest,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// When it was added.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub added_at: Timestamp,
    /// Who signed it, where it carries an Authenticode signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<ReleaseSigner>,
    /// When the keys that had signed it took it out of the signed metadata: no agent is sent to it any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub withdrawn_at: Option<Timestamp>,
}

/// Who an executable says that it was signed by. It is read, not checked by the server: Windows checks signatures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReleaseSigner {
    /// The common name in the certificate's subject.
    pub common_name: String,
    /// The SHA-256 of the certificate (DER).
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub certificate_sha256: Sha256Digest,
}

/// `POST /releases` (the body is the executable).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReleaseAdded {
    /// What was read out of the executable.
    pub release: Release,
    /// False when exactly this artifact was there already.
    pub created: bool,
    /// What the operator should know before sending it to agents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// `GET /tools`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ToolList {
    /// Every forwarded tool.
    pub tools: Vec<ToolView>,
}

/// One forwarded tool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ToolView {
    /// The dotted name.
    pub name: String,
    /// One sentence.
    pub description: String,
    /// True when it can change the PC.
    pub changes: bool,
    /// JSON Schema of its arguments.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub input_schema: Map<String, Value>,
}

/// `POST /agents/{id}/tools/{tool}`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ToolCall {
    /// The tool's arguments.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub args: Map<String, Value>,
    /// Milliseconds to wait for the answer; the server's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// What a tool call came to. HTTP 200 also when the tool itself failed: `error` says so then.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ToolOutcome {
    /// True when there is a result.
    pub ok: bool,
    /// The result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub result: Option<Map<String, Value>>,
    /// Why there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ToolError>,
    /// Milliseconds from sending the request to its answer.
    pub duration_ms: u64,
}

/// `GET /updates`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UpdateList {
    /// Updates, newest first.
    pub updates: Vec<Update>,
}

/// One event: the data of a Server-Sent Event of `GET /events`, whose `event` is the `kind` and whose `id` is the `id`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Event {
    /// Grows with each event; what `Last-Event-ID` resumes from.
    pub id: i64,
    /// When.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
    /// `agent_online`, `agent_offline`, `agent_created`, `agent_removed`, `agent_rejected`, `release_added`, `release_removed`, `update_changed`,
    /// `tool_called`, `intent_cleared`, `agent_held`, `hold_cleared`, `trust_changed` (signed metadata was published),
    /// `trust_expiring`, `agent_changed`, `channels_changed`, and of rollouts `rollout_started`, `rollout_stage`, `rollout_member` (it has
    /// its outcome), `rollout_paused`, `rollout_resumed`, `rollout_halted`, `rollout_completed`, `rollout_cancelled`.
    pub kind: String,
    /// The agent that it is about.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub agent_id: Option<AgentId>,
    /// One sentence for people.
    pub summary: String,
    /// The rollout that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = Uuid))]
    pub rollout: Option<RolloutId>,
    /// The update, with `update_changed`; without its log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<Box<Update>>,
}

/// What `/healthz` and `/readyz` answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Health {
    /// `ok`, or what is wrong.
    pub status: String,
    /// The server's version.
    pub version: String,
}
