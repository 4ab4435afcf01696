//! What a rollout's plan is made of, and what it says: the words between the server and [`plan`](super::plan::plan).

use jiff::Timestamp;
use kenny_proto::AgentId;
use kenny_proto::rollout::{
    Channel, MemberState, RolloutKind, RolloutState, StageView, Strategy, When,
};
use semver::Version;

/// One rollout, as the server has it written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Course {
    /// What it does.
    pub kind: RolloutKind,
    /// The target; of a rollback, the version that is left.
    pub version: Version,
    /// Go there even where what runs is newer.
    pub allow_downgrade: bool,
    /// How; it has passed [`strategy::check`](super::strategy::check).
    pub strategy: Strategy,
    /// Random, chosen once at the start: it orders the members and spreads them in time.
    pub seed: u64,
    /// How it stands.
    pub state: RolloutState,
    /// The stage that it has reached, from 0.
    pub stage: u32,
    /// Since when.
    pub stage_since: Timestamp,
    /// When this process of the server began to listen to agents. A server that was down for a night calls nobody
    /// silent, and takes no stage for good before agents had the time to come back. One that notices that its clock
    /// was put forward sets this to then.
    pub listening_since: Timestamp,
}

/// One member and what is known of its agent now.
///
/// The first fields are written down with the member and change only by [`Effect`]s and the operator; the others are
/// looked up each time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberFacts {
    /// The agent.
    pub id: AgentId,
    /// Its stage, from 0, as [`stages::cut`](super::stages::cut) gave it or
    /// [`stages::of_joiner`](super::stages::of_joiner).
    pub stage: u32,
    /// How it stands.
    pub state: MemberState,
    /// Since when.
    pub since: Timestamp,
    /// When its update was last begun. It stays through a taking back and a retry: the rate counts it, though only once
    /// for one that is begun twice within a minute.
    pub begun_at: Option<Timestamp>,
    /// An operator resumed the rollout although this one is bad: it does not halt it again.
    pub forgiven: bool,

    /// What its update came to: of attempts since `begun_at` only, so `None` for one that is to be retried. It is
    /// told for a silent member too.
    pub outcome: Outcome,
    /// The agent's intent is this rollout's: whenever it is online, the reconciler sends it.
    pub wanted: bool,
    /// An attempt was sent to the agent and has no end that the server knows of; also while it is offline, for a swap
    /// takes the connection.
    pub in_hand: bool,
    /// An operator's word about this agent, or a newer open rollout, decides now.
    pub overtaken: bool,
    /// It has a connection.
    pub online: bool,
    /// Somebody at the PC paused it.
    pub paused: bool,
    /// What it registered with last; none before its first connection, or when that is no semantic version.
    pub running: Option<Version>,
    /// The version that it kept to go back to.
    pub kept: Option<Version>,
    /// The versions that it takes.
    pub channel: Channel,
    /// The version that it stays at.
    pub pinned: Option<Version>,
    /// The version that it would get is held for it.
    pub held: bool,
    /// A release of the target is there for its platform and was not withdrawn. A rollback needs none.
    pub release_available: bool,
    /// Its local time minus UTC in seconds, such as 3600 in a Berlin winter; none before it told.
    pub utc_offset_s: Option<i32>,
}

/// What a member's update came to, as far as the server knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing yet.
    None,
    /// The target runs, and stays: `committed`.
    Succeeded,
    /// The version is blamed for it, or the agent will not try it without the operator's word (refused, quarantined,
    /// sent in vain). Final.
    Blamed {
        /// The agent is back on the old version; else nothing was swapped.
        rolled_back: bool,
        /// Why, in words.
        detail: String,
    },
    /// The last attempt ended for a reason that says nothing about the version; another follows.
    Excused {
        /// Why, in words.
        detail: String,
    },
}

/// What a rollout does now and later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan<'a> {
    /// Every member, by stage and then in the order in which they are begun.
    pub entries: Vec<Entry<'a>>,
    /// How each stage stands, as many as the strategy has.
    pub stages: Vec<StageView>,
    /// What is due now, in this order, all in one transaction. Where there is any, ask again once it is done.
    pub effects: Vec<Effect>,
    /// When time alone makes something due; none where only a fact can.
    pub look_again_at: Option<Timestamp>,
}

/// One member in a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The agent.
    pub agent: &'a AgentId,
    /// Its stage, from 0.
    pub stage: u32,
    /// How it stands once the effects are carried out, beginnings aside.
    pub state: MemberState,
    /// When it gets its update, or why not.
    pub when: When,
    /// There are windows, and the PC's offset from UTC is not known: UTC was taken for its local time.
    pub assumes_utc: bool,
}

/// What the server has to do. `now` is the time that the plan was asked with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The clock was put back: of this rollout, `stage_since`, and of its members `since` and `begun_at`, become `now`
    /// wherever they are later.
    ClockWentBack,
    /// The member's state becomes this, `since` becomes `now`, `forgiven` false. The agent's intent, where it is the
    /// rollout's, ends unless it becomes silent: that one is still wanted.
    Settle {
        /// The member.
        agent: AgentId,
        /// Its outcome, or `overtaken`.
        to: MemberState,
        /// Why, in words.
        detail: Option<String>,
    },
    /// The agent's intent ends, and a member in flight waits again (`since` becomes `now`); a silent one stays silent.
    TakeBack(AgentId),
    /// The member is in flight, `since` and `begun_at` become `now`, `forgiven` false, and the agent's intent becomes
    /// the target; of a rollback, the version that it kept. Attempts after the first are the reconciler's: it asks
    /// [`window::is_open`](super::window::is_open) before it makes one.
    Begin(AgentId),
    /// The rollout has reached this stage, `stage_since` becomes `now`.
    Advance {
        /// The stage, from 0.
        to: u32,
    },
    /// The rollout is halted.
    Halt {
        /// Why, in words.
        reason: String,
    },
    /// The rollout is completed.
    Complete {
        /// How it ended, in words.
        reason: String,
    },
}
