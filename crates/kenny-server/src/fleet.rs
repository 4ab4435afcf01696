//! Every agent in memory: what it may authenticate with, what it said of itself, what it should run, and its
//! connection. Loaded at start and kept in step by `ops`, so that nothing of the tunnel waits for the database.
//!
//! [`write_behind`] keeps what the tunnel learns.

mod write_behind;

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use jiff::Timestamp;
use kenny_core::rollout::{Intent, Next, Pace, Standing, Tally};
use kenny_proto::api::{
    Agent, AgentHealth, AgentIdentity, Hold, NextAttempt, Release, TelemetryView, Update,
    UpdateState,
};
use kenny_proto::frames::Meta;
use kenny_proto::policy::Pause;
use kenny_proto::rollout::AgentSettings;
use kenny_proto::{AgentId, Arch, Os, PublicKey, RolloutId, Sha256Digest, UpdateReport};
use semver::Version;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::auth::TokenHash;
use crate::rollout::{UpdateRecord, is_version};
use crate::store::rows::AgentRow;
use crate::tunnel::Session;

/// What an agent said of itself when it last registered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentFacts {
    /// The PC's name.
    pub hostname: String,
    /// Its operating system.
    pub os: Os,
    /// Its architecture, where the agent said so.
    pub arch: Option<Arch>,
    /// The version that runs.
    pub version: String,
    /// The protocol that it announced.
    pub protocol: Option<String>,
    /// True when the service manager runs it.
    pub service: Option<bool>,
    /// Digest of its executable.
    pub sha256: Option<Sha256Digest>,
    /// Somebody at the PC paused it.
    #[serde(default)]
    pub paused: Option<Pause>,
    /// Whether it runs signed releases alone, as its telemetry says.
    #[serde(default)]
    pub pins_root: Option<bool>,
    /// Its local time minus UTC, in seconds.
    #[serde(default)]
    pub utc_offset_s: Option<i32>,
}

impl From<&Meta> for AgentFacts {
    fn from(meta: &Meta) -> Self {
        Self {
            hostname: meta.hostname.clone(),
            os: meta.os,
            arch: meta.arch,
            version: meta.version.clone(),
            protocol: meta.protocol.clone(),
            service: meta.service,
            sha256: meta.sha256,
            paused: meta.paused.clone(),
            pins_root: None,
            utc_offset_s: meta.utc_offset_s,
        }
    }
}

impl AgentFacts {
    /// Whether the agent pins a root of trust; none while it did not say. One of 0.2 knows none.
    pub fn pins_root(&self) -> Option<bool> {
        if self.protocol.is_none() { Some(false) } else { self.pins_root }
    }
}

/// What an agent proves itself with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// Nothing: no PC has enrolled for it yet.
    None,
    /// The token of 0.2, as the operator made it.
    Token(TokenHash),
    /// The key that its PC enrolled.
    Key(PublicKey),
}

impl Identity {
    /// How the operator sees it.
    pub const fn kind(&self) -> AgentIdentity {
        match self {
            Self::None => AgentIdentity::None,
            Self::Token(_) => AgentIdentity::Legacy,
            Self::Key(_) => AgentIdentity::Key,
        }
    }

    /// The key, where it has one.
    pub const fn key(&self) -> Option<PublicKey> {
        match self {
            Self::Key(key) => Some(*key),
            Self::None | Self::Token(_) => None,
        }
    }
}

/// What the operator wants an agent to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// The version.
    pub version: Version,
    /// Go there even if what runs is newer.
    pub allow_downgrade: bool,
    /// The rollout that wants it; none where an operator does.
    pub rollout: Option<RolloutId>,
}

impl From<&Desired> for Intent {
    fn from(desired: &Desired) -> Self {
        Self { version: desired.version.clone(), allow_downgrade: desired.allow_downgrade }
    }
}

/// A version that is held for an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldVersion {
    /// What the operator sees.
    pub hold: Hold,
    /// The operator cleared it: the next attempt begins a fresh budget, and then it is forgotten.
    pub cleared: bool,
}

/// What the database has beside the agents themselves.
#[derive(Debug, Default)]
pub struct Kept {
    /// The update of each agent that matters most.
    pub updates: Vec<UpdateRecord>,
    /// What the wanted versions came to so far.
    pub standings: Vec<(AgentId, Standing)>,
    /// What is held.
    pub holds: Vec<(AgentId, HeldVersion)>,
    /// How the PCs are.
    pub health: Vec<(AgentId, AgentHealth)>,
}

/// One agent.
#[derive(Debug)]
pub struct AgentEntry {
    /// Its id.
    pub id: AgentId,
    /// Held while an operator's intent is written and applied: one after the other.
    pub intent: tokio::sync::Mutex<()>,
    marked: AtomicBool,
    state: Mutex<AgentState>,
}

/// What is known of one agent. Held for moments only, never across an await.
#[derive(Debug)]
pub struct AgentState {
    /// What it proves itself with.
    pub identity: Identity,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last heard of, before the current connection.
    pub last_seen_at: Option<Timestamp>,
    /// What it said of itself.
    pub facts: Option<Box<AgentFacts>>,
    /// What the operator says of it.
    pub settings: Box<AgentSettings>,
    /// What it should run.
    pub desired: Option<Desired>,
    /// What that version came to so far.
    pub standing: Standing,
    /// Its last update.
    pub update: Option<Box<UpdateRecord>>,
    /// Versions that are not sent to it.
    pub holds: Vec<HeldVersion>,
    /// What it said of an update that is not the last one here: whether it is known is looked up, and nothing is sent
    /// before that.
    pub unsettled: Option<Box<UpdateReport>>,
    /// Its connection.
    pub session: Option<Arc<Session>>,
    /// Telemetry that is not in the database yet.
    pub telemetry: Option<Box<TelemetryView>>,
    /// How the PC is, by its last telemetry.
    pub health: Option<Box<AgentHealth>>,
    /// When its last rejection was told, so that one that tries for ever does not fill the events.
    pub rejection_told: Option<Instant>,
    /// The operator removed it.
    pub removed: bool,
}

impl AgentEntry {
    fn new(row: AgentRow, update: Option<UpdateRecord>) -> Self {
        Self {
            id: row.id,
            intent: tokio::sync::Mutex::new(()),
            marked: AtomicBool::new(false),
            state: Mutex::new(AgentState {
                identity: row.identity,
                created_at: row.created_at,
                last_seen_at: row.last_seen_at,
                facts: row.facts.map(Box::new),
                settings: Box::new(row.settings),
                desired: row.desired,
                standing: Standing::default(),
                update: update.map(Box::new),
                holds: Vec::new(),
                unsettled: None,
                session: None,
                telemetry: None,
                health: None,
                rejection_told: None,
                removed: false,
            }),
        }
    }

    /// The agent's state, for a moment.
    pub fn lock(&self) -> MutexGuard<'_, AgentState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its connection.
    pub fn session(&self) -> Option<Arc<Session>> {
        self.lock().session.clone()
    }

    /// How the operator sees it, where these releases were withdrawn.
    pub fn view(&self, withdrawn: &[Release], pace: &Pace, now: Timestamp) -> Agent {
        let state = self.lock();
        let facts = state.facts.as_deref();
        let session = state.session.as_deref();
        Agent {
            id: self.id.clone(),
            online: session.is_some(),
            identity: state.identity.kind(),
            public_key: state.identity.key(),
            created_at: state.created_at,
            last_seen_at: session.map(Session::last_frame_at).or(state.last_seen_at),
            connected_at: session.map(|session| session.connected_at),
            hostname: facts.map(|facts| facts.hostname.clone()),
            os: facts.map(|facts| facts.os),
            arch: facts.and_then(|facts| facts.arch),
            version: facts.map(|facts| facts.version.clone()),
            protocol: facts.map(|facts| facts.protocol.clone().unwrap_or_else(|| "0.2".to_owned())),
            service: facts.and_then(|facts| facts.service),
            sha256: facts.and_then(|facts| facts.sha256),
            desired_version: state.desired.as_ref().map(|desired| desired.version.to_string()),
            // A log is worth its size only where somebody looks at this one update.
            update: state
                .update
                .as_ref()
                .map(|record| Update { log: Vec::new(), ..record.update.clone() }),
            hold: state.hold().cloned(),
            next_attempt: state.next_attempt(pace, now),
            paused: state.paused(now).cloned(),
            settings: (*state.settings).clone(),
            health: state.health.as_deref().cloned(),
            runs_withdrawn: facts.is_some_and(|facts| {
                let runs = |it: &Release| it.version == facts.version && it.os == facts.os;
                let for_it = |it: &Release| facts.arch.is_none_or(|arch| arch == it.arch);
                withdrawn.iter().any(|it| runs(it) && for_it(it))
            }),
        }
    }
}

impl AgentState {
    /// The version that it registered with; empty before its first connection.
    pub fn running(&self) -> &str {
        self.facts.as_ref().map_or("", |facts| &facts.version)
    }

    /// The pause at the PC, where one holds.
    pub fn paused(&self, now: Timestamp) -> Option<&Pause> {
        self.facts.as_ref()?.paused.as_ref().filter(|pause| pause.holds(now))
    }

    /// The hold of this version, where it is held.
    pub fn hold_of(&self, version: &str) -> Option<&Hold> {
        self.holds
            .iter()
            .find(|held| !held.cleared && is_version(&held.hold.version, version))
            .map(|held| &held.hold)
    }

    /// The hold to show: of the wanted version, or else the newest. What runs is not held back.
    pub fn hold(&self) -> Option<&Hold> {
        let wanted = self.desired.as_ref().map(|desired| desired.version.to_string());
        let shown = |hold: &&Hold| !is_version(&hold.version, self.running());
        wanted.and_then(|wanted| self.hold_of(&wanted)).filter(shown).or_else(|| {
            let standing = self.holds.iter().rev().filter(|held| !held.cleared);
            standing.map(|held| &held.hold).find(shown)
        })
    }

    /// Forgets what is held of this version.
    pub fn forget_hold(&mut self, version: &str) {
        self.holds.retain(|held| !is_version(&held.hold.version, version));
    }

    /// True when the operator cleared the hold of this version and it was not tried since.
    pub fn is_cleared(&self, version: &str) -> bool {
        self.holds.iter().any(|held| held.cleared && is_version(&held.hold.version, version))
    }

    /// What the wanted version came to so far is a fresh budget now.
    pub fn start_over(&mut self) {
        self.standing = Standing { tally: Tally::insisted(), ..Standing::default() };
    }

    fn next_attempt(&self, pace: &Pace, now: Timestamp) -> Option<NextAttempt> {
        let desired = self.desired.as_ref()?;
        let version = desired.version.to_string();
        let open = self.update.as_ref().is_some_and(|record| record.is_open());
        let running = Version::parse(self.running()).ok()?;
        let is_behind = match running.cmp_precedence(&desired.version) {
            std::cmp::Ordering::Less => true,
            std::cmp::Ordering::Equal => false,
            std::cmp::Ordering::Greater => desired.allow_downgrade,
        };
        if open || !is_behind || self.hold_of(&version).is_some() {
            return None;
        }
        let at = match self.standing.next(pace) {
            Next::Now => now,
            Next::At(at) => at,
            Next::Over | Next::Hold => return None,
        };
        Some(NextAttempt { version, attempt: self.standing.tally.attempts.saturating_add(1), at })
    }
}

/// Every agent.
#[derive(Debug, Default)]
pub struct Fleet {
    agents: RwLock<HashMap<AgentId, Arc<AgentEntry>>>,
    /// Agents with something that the database does not have yet.
    marked: Mutex<Vec<Arc<AgentEntry>>>,
    wake: Notify,
}

impl Fleet {
    /// What the database has.
    pub fn new(agents: Vec<AgentRow>, kept: Kept) -> Self {
        let mut updates: HashMap<AgentId, UpdateRecord> = kept
            .updates
            .into_iter()
            .map(|record| (record.update.agent_id.clone(), record))
            .collect();
        let agents: HashMap<_, _> = agents
            .into_iter()
            .map(|row| {
                let update = updates.remove(&row.id);
                (row.id.clone(), Arc::new(AgentEntry::new(row, update)))
            })
            .collect();
        for (id, standing) in kept.standings {
            if let Some(entry) = agents.get(&id) {
                entry.lock().standing = standing;
            }
        }
        for (id, health) in kept.health {
            if let Some(entry) = agents.get(&id) {
                entry.lock().health = Some(Box::new(health));
            }
        }
        for (id, held) in kept.holds {
            let Some(entry) = agents.get(&id) else { continue };
            let mut state = entry.lock();
            let wanted = state.desired.as_ref().map(|desired| desired.version.to_string());
            let begins_anew = held.cleared
                && wanted.is_some_and(|wanted| is_version(&held.hold.version, &wanted));
            state.holds.push(held);
            if begins_anew {
                state.start_over();
            }
        }
        Self { agents: RwLock::new(agents), ..Self::default() }
    }

    /// The agent of this id.
    pub fn get(&self, id: &AgentId) -> Option<Arc<AgentEntry>> {
        self.agents.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// The agent of this name, which may not even be an id.
    pub fn find(&self, id: &str) -> Option<Arc<AgentEntry>> {
        self.get(&id.parse().ok()?)
    }

    /// Every agent, in no order.
    pub fn all(&self) -> Vec<Arc<AgentEntry>> {
        self.agents.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// How many agents have their wanted version held, and how many open updates are of agents that fell silent.
    pub fn troubles(&self) -> (i64, i64) {
        let (mut held, mut unknown) = (0, 0);
        for entry in self.all() {
            let state = entry.lock();
            let wanted = state.desired.as_ref().map(|desired| desired.version.to_string());
            held += i64::from(wanted.is_some_and(|wanted| {
                state.hold().is_some_and(|hold| is_version(&hold.version, &wanted))
            }));
            unknown += i64::from(
                state.update.as_ref().is_some_and(|it| it.update.state == UpdateState::Unknown),
            );
        }
        (held, unknown)
    }

    /// Adds an agent that the database has.
    pub fn insert(&self, row: AgentRow) {
        let entry = Arc::new(AgentEntry::new(row, None));
        self.agents.write().unwrap_or_else(PoisonError::into_inner).insert(entry.id.clone(), entry);
    }

    /// Forgets an agent.
    pub fn remove(&self, id: &AgentId) {
        self.agents.write().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}
