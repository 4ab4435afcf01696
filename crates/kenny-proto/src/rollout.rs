//! Rollouts as the REST API has them: a target, who it is for, how carefully, and how it goes.
//!
//! `docs/adr/0015-rollouts.md` has what the fields mean together. Durations are seconds, times RFC 3339 in UTC.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::civil::Time;
use serde::{Deserialize, Serialize};

use crate::{AgentId, RolloutId};

/// How adventurous an agent is, or a version.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    /// Versions without a pre-release part.
    #[default]
    Stable,
    /// Those with one, as well.
    Beta,
}

/// Which agents. Whoever is in each list that is not empty is selected; `everyone` stands for no list at all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Selection {
    /// Every agent. It has to be said: an empty selection is refused.
    pub everyone: bool,
    /// These agents.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub agents: BTreeSet<AgentId>,
    /// Those of one of these owners.
    pub owners: BTreeSet<String>,
    /// Those in one of these groups.
    pub groups: BTreeSet<String>,
    /// Those with each of these labels.
    pub labels: BTreeSet<String>,
    /// Those on one of these channels.
    pub channels: BTreeSet<Channel>,
    /// Those that run one of these versions now.
    pub versions: BTreeSet<String>,
}

/// How a rollout goes about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Strategy {
    /// One after the other, 1 to 20. Sizes are cumulative; whoever no stage has room for is in the last.
    pub stages: Vec<Stage>,
    /// The most updates at a time.
    pub max_in_flight: u32,
    /// The most updates begun in a minute; as many as there is room for when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_minute: Option<u32>,
    /// Each agent begins up to so many seconds after its stage.
    #[serde(default)]
    pub jitter_s: u32,
    /// What each stage tolerates.
    pub tolerated: Tolerated,
    /// Seconds after which an update that was begun and has no outcome counts as silent.
    pub silent_after_s: u32,
    /// When updates begin, in the PC's local time; at any time when empty.
    #[serde(default)]
    pub windows: Vec<Window>,
}

/// One stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// How far the rollout has come with this stage.
    pub to: StageSize,
    /// Seconds between its last outcome and the next stage.
    pub bake_s: u32,
}

/// How many agents a rollout has reached with a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum StageSize {
    /// These, the canaries.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    Agents(BTreeSet<AgentId>),
    /// So many.
    Count(u32),
    /// So many of a hundred, rounded up.
    Percent(u8),
}

/// How many failures of a stage are tolerated: whichever is more. The next one halts the rollout.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Tolerated {
    /// So many members.
    #[serde(default)]
    pub count: u32,
    /// So many of a hundred of the stage's members, rounded down.
    #[serde(default)]
    pub percent: u8,
}

/// A time of the week in which updates begin. One that ends before it begins goes on into the next day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// The days on which it begins; every day when empty.
    #[serde(default)]
    pub days: BTreeSet<Day>,
    /// Its beginning, such as `22:00`.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub from: Time,
    /// Its end, such as `05:00`, which is outside.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub to: Time,
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Day {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

/// A strategy by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// Two PCs, then a tenth, a half, all, with a day between, at night, and no failure is tolerated.
    Careful,
    /// One PC, then a quarter, all, with an hour between.
    Normal,
    /// All at once. It still stops when it hurts.
    Now,
}

/// How a rollout stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum RolloutState {
    /// It goes on.
    Running,
    /// The operator paused it.
    Paused,
    /// It stopped itself; the reason stands beside it.
    Halted,
    /// Every member has an outcome.
    Completed,
    /// The operator ended it.
    Cancelled,
}

impl RolloutState {
    /// True while it may go on: it is not over.
    pub const fn is_open(self) -> bool {
        match self {
            Self::Running | Self::Paused | Self::Halted => true,
            Self::Completed | Self::Cancelled => false,
        }
    }
}

/// What a rollout does with its agents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum RolloutKind {
    /// Installs the target version.
    #[default]
    Update,
    /// Has each go back to the version that it kept.
    Rollback,
}

/// How a member stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum MemberState {
    /// Its update has not begun.
    Waiting,
    /// Its update has begun.
    InFlight,
    /// It runs the target.
    Succeeded,
    /// It failed before anything was swapped.
    Failed,
    /// It is back on the old version.
    RolledBack,
    /// Nothing was heard of it until the deadline. What it says when it comes back counts.
    Silent,
    /// Something else decides about it now: an operator's word, or a newer rollout.
    Overtaken,
}

impl MemberState {
    /// True for what a stage tolerates only so much of.
    pub const fn is_bad(self) -> bool {
        match self {
            Self::Failed | Self::RolledBack | Self::Silent => true,
            Self::Waiting | Self::InFlight | Self::Succeeded | Self::Overtaken => false,
        }
    }
}

/// What stands between a member and its update, or that there is nothing to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "when", rename_all = "snake_case")]
pub enum When {
    /// It has its outcome.
    Done,
    /// It runs the target, or something newer, already.
    AlreadyThere,
    /// Its update has begun.
    InFlight,
    /// Now.
    Now,
    /// Not before this time: its jitter, or its window.
    At {
        /// The time.
        #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
        at: Timestamp,
        /// What it waits for.
        why: WaitsFor,
    },
    /// As soon as others are through: as many are in flight, or were begun this minute, as the strategy allows.
    InTurn,
    /// Once its stage is reached.
    Later,
    /// Once it connects.
    Offline,
    /// Once it is resumed at the PC.
    Paused,
    /// Never, as things are.
    Never {
        /// Why.
        why: WhyNever,
    },
}

/// What a member waits for until a known time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum WaitsFor {
    /// Its own delay within the stage.
    Jitter,
    /// The maintenance window.
    Window,
}

/// Why a member is not updated, as things are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum WhyNever {
    /// It is pinned to another version.
    Pinned,
    /// The version is held for it.
    Held,
    /// It is on a channel that does not take the version.
    Channel,
    /// There is no release of the version for its platform, it was withdrawn, or the agent pins a root whose keys did not
    /// sign it.
    NoRelease,
    /// Its version is not known, or is no semantic version.
    VersionUnknown,
    /// It never connected, or kept no version to go back to.
    NothingKept,
    /// An operator's word or a newer rollout decides about it.
    Overtaken,
}

/// `POST /rollouts` and `POST /rollouts/plan`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewRollout {
    /// The version; a release of it must be there.
    pub version: String,
    /// Who gets it.
    pub selection: Selection,
    /// How; `careful` where neither this nor `strategy` is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// How, in detail. Not together with `preset`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// Go there even where what runs is newer.
    #[serde(default)]
    pub allow_downgrade: bool,
}

/// One rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Rollout {
    /// Its id.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Uuid))]
    pub id: RolloutId,
    /// What it does.
    #[serde(default)]
    pub kind: RolloutKind,
    /// The target; of a rollback, the version that is left.
    pub version: String,
    /// Who gets it.
    pub selection: Selection,
    /// The strategy's name, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// How.
    pub strategy: Strategy,
    /// Go there even where what runs is newer.
    #[serde(default)]
    pub allow_downgrade: bool,
    /// How it stands.
    pub state: RolloutState,
    /// Why, in words, where it did not just go on: of a halt, a pause or an end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The stage that it has reached, from 0.
    pub stage: u32,
    /// Since when.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub stage_since: Timestamp,
    /// Who started it: an account, or the channel's policy.
    pub started_by: String,
    /// When.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub started_at: Timestamp,
    /// When it was over.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub ended_at: Option<Timestamp>,
    /// How each stage stands.
    pub stages: Vec<StageView>,
}

/// How one stage stands: members by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StageView {
    /// All of them.
    pub members: u32,
    /// Not begun, and nothing stands in the way but time.
    pub waiting: u32,
    /// Not begun because they are offline.
    pub offline: u32,
    /// Begun.
    pub in_flight: u32,
    /// On the target.
    pub succeeded: u32,
    /// Failed before anything was swapped.
    pub failed: u32,
    /// Back on the old version.
    pub rolled_back: u32,
    /// Silent past the deadline.
    pub silent: u32,
    /// Not to be updated: pinned, held, on another channel, without a release, overtaken.
    pub excluded: u32,
    /// So many failures are tolerated.
    pub tolerated: u32,
}

/// One member of a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Member {
    /// The agent.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub agent_id: AgentId,
    /// Its stage, from 0.
    pub stage: u32,
    /// How it stands.
    pub state: MemberState,
    /// When it gets its update, or why not.
    pub when: When,
    /// Since when it stands so; of a plan, nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub since: Option<Timestamp>,
    /// What it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Why it failed, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What `POST /rollouts/plan` answers: nothing is begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RolloutPlan {
    /// The strategy that is meant.
    pub strategy: Strategy,
    /// Its stages.
    pub stages: Vec<StageView>,
    /// Every member, by stage and then in the order in which they are begun.
    pub members: Vec<Member>,
}

/// `GET /rollouts/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RolloutDetail {
    /// The rollout.
    pub rollout: Rollout,
    /// Every member, by stage and then in the order in which they are begun.
    pub members: Vec<Member>,
}

/// `GET /rollouts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RolloutList {
    /// Every rollout, newest first.
    pub rollouts: Vec<Rollout>,
}

/// `POST /rollouts/{id}/resume`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Resume {
    /// Members that failed, were rolled back or fell silent are tried once more.
    pub retry_failed: bool,
}

/// What the operator says of an agent, for whoever chooses among many.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct AgentSettings {
    /// A name for people, such as `Anna's laptop`; its id where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whose PC it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Its group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Its labels: words without spaces and commas.
    pub labels: BTreeSet<String>,
    /// The versions that it takes from rollouts.
    pub channel: Channel,
    /// The version that it stays at, whatever rollouts say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pinned: Option<String>,
}

/// `PATCH /agents/{id}`: what is absent stays; an empty text takes away.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct AgentChange {
    /// A name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whose PC it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Its group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// All of its labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeSet<String>>,
    /// The versions that it takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<Channel>,
    /// The version that it stays at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pinned: Option<String>,
}
