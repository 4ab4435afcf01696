//! Rollouts over many agents. What is due is asked of `kenny_core::rollout::plan`, again and again; here is what the plan is
//! made of, and the hand that carries it out.
//!
//! Members are in memory and in the database, and change only together: a change is written first. What an update came to
//! is never remembered here but looked up in the fleet each time, so that a server that was killed goes on where it was.

mod carry;
pub mod draft;
mod facts;
mod policies;
pub mod view;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kenny_core::rollout::{selection, window};
use kenny_proto::rollout::{
    Channel, MemberState, Preset, RolloutKind, RolloutState, Selection, StageView, Strategy,
};
use kenny_proto::{AgentId, RolloutId};
use semver::Version;
use tokio::sync::Notify;

pub use policies::Policies;

use crate::app::App;
use crate::auth::sha256;
use crate::store::rows::to_json;

/// Facts that come within so long are looked at together.
const COALESCE: Duration = Duration::from_millis(200);
/// With many agents a look takes its time: it rests for so many times as long.
const REST: u32 = 10;
/// Between two looks at the clock.
const ROUND: Duration = Duration::from_secs(1);
/// Nothing is left unlooked at for longer, whoever forgot to tell.
const LONGEST: Duration = Duration::from_secs(2);
/// A clock that runs ahead of the one that nobody sets by so much was set.
const CLOCK_JUMP: Duration = Duration::from_secs(30);

/// A rollout as it is written down, without its members.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    /// Its id.
    pub id: RolloutId,
    /// What it does.
    pub kind: RolloutKind,
    /// The target; of a rollback, the version that is left.
    pub version: Version,
    /// Who gets it.
    pub selection: Selection,
    /// The strategy's name, where it has one.
    pub preset: Option<Preset>,
    /// How.
    pub strategy: Strategy,
    /// Go there even where what runs is newer.
    pub allow_downgrade: bool,
    /// Orders members and spreads them in time.
    pub seed: u64,
    /// How it stands.
    pub state: RolloutState,
    /// Why, in words, where it did not just go on.
    pub reason: Option<String>,
    /// The stage that it has reached, from 0.
    pub stage: u32,
    /// Since when.
    pub stage_since: Timestamp,
    /// Who started it.
    pub started_by: String,
    /// When.
    pub started_at: Timestamp,
    /// When it was over.
    pub ended_at: Option<Timestamp>,
    /// How its stages stood when it was over, and since then each time that one of its agents said how it went.
    pub stages: Vec<StageView>,
}

/// One member as it is written down.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// The agent.
    pub agent_id: AgentId,
    /// Its stage, from 0.
    pub stage: u32,
    /// How it stands.
    pub state: MemberState,
    /// Since when.
    pub since: Timestamp,
    /// When its update was last begun.
    pub begun_at: Option<Timestamp>,
    /// It does not halt the rollout any more.
    pub forgiven: bool,
    /// The operator has it tried again, even if the agent has the version in quarantine.
    pub insisted: bool,
    /// Of a rollback, the version that the agent kept.
    pub kept: Option<Version>,
    /// Why it failed, in words.
    pub detail: Option<String>,
}

impl Member {
    /// One that waits.
    pub const fn waiting(agent_id: AgentId, stage: u32, now: Timestamp) -> Self {
        Self {
            agent_id,
            stage,
            state: MemberState::Waiting,
            since: now,
            begun_at: None,
            forgiven: false,
            insisted: false,
            kept: None,
            detail: None,
        }
    }
}

/// A rollout with its members.
#[derive(Debug, Clone, PartialEq)]
pub struct Staged {
    /// The rollout.
    pub head: Head,
    /// Its members.
    pub members: HashMap<AgentId, Member>,
    /// When time alone makes something due.
    pub look_again_at: Option<Timestamp>,
    /// When it was looked at last.
    pub looked_at: Option<Instant>,
}

impl Staged {
    /// True while something is left to do about it: an agent of one that is over may have its update in hand.
    fn is_unfinished(&self) -> bool {
        let in_flight = |member: &Member| member.state == MemberState::InFlight;
        self.head.state.is_open() || self.members.values().any(in_flight)
    }

    /// True while it decides about this agent.
    fn decides_about(&self, id: &AgentId) -> bool {
        let member = self.members.get(id);
        self.head.state.is_open()
            && member.is_some_and(|member| member.state != MemberState::Overtaken)
    }
}

/// The rollouts that are not over.
#[derive(Debug)]
pub struct Rollouts {
    /// Oldest first. Held for moments only; never asked for while an agent's state is held.
    unfinished: Mutex<Vec<Staged>>,
    /// Held from a look at a rollout to the end of its change. Whoever holds an agent's intent does not ask for it.
    turn: tokio::sync::Mutex<()>,
    /// Something happened.
    woken: Notify,
    /// When this process began to listen to agents, or when it noticed that its clock was put forward.
    listening_since: Mutex<Timestamp>,
    /// What publishing a release begins.
    policies: Mutex<Policies>,
    /// The newest release of each channel about which there is nothing to begin any more.
    handled: Mutex<HashMap<Channel, (Version, Timestamp)>>,
    /// The same request has the same order, here and after a restart: a plan shows what a start then does.
    secret: [u8; 32],
}

impl Rollouts {
    /// What the database has.
    pub fn new(
        unfinished: Vec<Staged>,
        policies: Policies,
        secret: [u8; 32],
        now: Timestamp,
    ) -> Self {
        Self {
            unfinished: Mutex::new(unfinished),
            turn: tokio::sync::Mutex::new(()),
            woken: Notify::new(),
            listening_since: Mutex::new(now),
            policies: Mutex::new(policies),
            handled: Mutex::default(),
            secret,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Staged>> {
        self.unfinished.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// While this is held nobody else changes a rollout.
    pub async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Something happened that a rollout may wait for. Never waits.
    pub fn wake(&self) {
        self.woken.notify_one();
    }

    /// The rollout, where it is not over.
    pub fn get(&self, id: RolloutId) -> Option<Staged> {
        self.lock().iter().find(|rollout| rollout.head.id == id).cloned()
    }

    /// Adds a rollout that the database has by now. For who holds the turn.
    pub fn put(&self, rollout: Staged) {
        self.lock().push(rollout);
        self.wake();
    }

    /// Changes a rollout as the database has it by now. For who holds the turn.
    pub fn alter(&self, id: RolloutId, change: impl FnOnce(&mut Staged)) {
        if let Some(rollout) = self.lock().iter_mut().find(|it| it.head.id == id) {
            change(rollout);
        }
        self.wake();
    }

    /// What publishing a release begins.
    pub fn policies(&self) -> Policies {
        *self.policies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets that, as the database has it by now.
    pub fn set_policies(&self, policies: Policies) {
        *self.policies.lock().unwrap_or_else(PoisonError::into_inner) = policies;
        self.handled.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.wake();
    }

    fn is_handled(&self, channel: Channel, version: &Version, added_at: Timestamp) -> bool {
        let handled = self.handled.lock().unwrap_or_else(PoisonError::into_inner);
        handled.get(&channel).is_some_and(|it| it.0 == *version && it.1 == added_at)
    }

    fn handled(&self, channel: Channel, version: Version, added_at: Timestamp) {
        let mut handled = self.handled.lock().unwrap_or_else(PoisonError::into_inner);
        handled.insert(channel, (version, added_at));
    }

    /// True while the rollout lets an update begin at a PC of this local time, and where it is over.
    pub fn is_window_open(&self, id: RolloutId, utc_offset_s: Option<i32>, now: Timestamp) -> bool {
        let unfinished = self.lock();
        let rollout = unfinished.iter().find(|rollout| rollout.head.id == id);
        rollout.is_none_or(|it| window::is_open(&it.head.strategy.windows, utc_offset_s, now))
    }

    /// True while an open rollout decides about this agent.
    pub fn is_awaited(&self, id: &AgentId) -> bool {
        self.lock().iter().any(|rollout| rollout.decides_about(id))
    }

    /// True while a rollout to this version is open.
    fn is_open_to(&self, version: &Version) -> bool {
        self.lock().iter().any(|it| {
            it.head.state.is_open()
                && it.head.kind == RolloutKind::Update
                && it.head.version == *version
        })
    }

    /// An operator's word decides about this agent now, as the database has it already.
    pub fn overtake(&self, id: &AgentId, now: Timestamp) {
        for rollout in self.lock().iter_mut().filter(|rollout| rollout.head.state.is_open()) {
            let Some(member) = rollout.members.get_mut(id) else { continue };
            match member.state {
                MemberState::Waiting | MemberState::InFlight => {
                    (member.state, member.since) = (MemberState::Overtaken, now);
                    member.forgiven = false;
                }
                MemberState::Succeeded
                | MemberState::Failed
                | MemberState::RolledBack
                | MemberState::Silent
                | MemberState::Overtaken => {}
            }
        }
        self.wake();
    }

    /// The seed of a rollout to this version.
    pub fn seed(&self, version: &Version, selection: &Selection, strategy: &Strategy) -> u64 {
        let mut bytes = self.secret.to_vec();
        bytes.extend(format!("rollout {version} ").into_bytes());
        bytes.extend(to_json(selection).into_bytes());
        bytes.extend(to_json(strategy).into_bytes());
        let digest = sha256(&bytes).0;
        u64::from_be_bytes(*digest.first_chunk().expect("a digest has 32 bytes"))
    }

    fn listening_since(&self) -> Timestamp {
        *self.listening_since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those to look at now.
    fn due(&self, is_woken: bool, now: Timestamp) -> Vec<RolloutId> {
        let is_due = |rollout: &&Staged| {
            let due = rollout.look_again_at.is_some_and(|at| at <= now);
            is_woken || due || rollout.looked_at.is_none_or(|at| at.elapsed() >= LONGEST)
        };
        self.lock().iter().filter(is_due).map(|rollout| rollout.head.id).collect()
    }
}

/// Looks after all rollouts, for ever.
pub async fn run(app: &Arc<App>) {
    let mut before = (Instant::now(), Timestamp::now());
    let mut rest = COALESCE;
    policies::look(app, before.1).await;
    loop {
        let is_woken = tokio::select! {
            () = app.rollouts.woken.notified() => {
                tokio::time::sleep(rest).await;
                true
            }
            () = tokio::time::sleep(ROUND) => false,
        };
        let now = Timestamp::now();
        let passed = Duration::try_from(now.duration_since(before.1)).unwrap_or_default();
        if passed > before.0.elapsed() + CLOCK_JUMP {
            // Agents had no time to say anything in the hours that were skipped.
            *app.rollouts.listening_since.lock().unwrap_or_else(PoisonError::into_inner) = now;
        }
        before = (Instant::now(), now);
        if is_woken {
            policies::look(app, now).await;
        }
        let began = Instant::now();
        look(app, is_woken, now).await;
        rest = (began.elapsed() * REST).clamp(COALESCE, ROUND);
    }
}

/// Looks once at the rollouts that are due.
async fn look(app: &Arc<App>, is_woken: bool, now: Timestamp) {
    for id in app.rollouts.due(is_woken, now) {
        let _turn = app.rollouts.turn().await;
        if let Err(error) = carry::step(app, id, now).await {
            tracing::warn!(rollout.id = %id, %error, "a rollout waits for the database");
        }
    }
}

/// Every agent that a selection is for.
pub fn selected(app: &App, selected: &Selection) -> Vec<AgentId> {
    let is_selected = |entry: &Arc<crate::fleet::AgentEntry>| {
        let state = entry.lock();
        let running = state.facts.as_ref().map(|facts| facts.version.as_str());
        !state.removed && selection::matches(selected, &entry.id, &state.settings, running)
    };
    let all = app.fleet.all().into_iter();
    all.filter(is_selected).map(|entry| entry.id.clone()).collect()
}
