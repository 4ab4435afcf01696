//! Carrying out what is due: one transaction per look, and nothing is sent before it is written.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use kenny_core::rollout::course::Effect;
use kenny_core::rollout::plan::plan;
use kenny_core::rollout::{Tally, stages};
use kenny_proto::api::{UpdateKind, UpdateOrigin};
use kenny_proto::audit::AuditOutcome;
use kenny_proto::rollout::{MemberState, RolloutKind, RolloutState, StageView};
use kenny_proto::{AgentId, RolloutId};

use super::facts::{does_it, gather};
use super::{Head, Member, Staged, selected};
use crate::app::App;
use crate::audit::{Entry, Facts, Subject, Who, append};
use crate::events::kind;
use crate::fleet::{AgentEntry, AgentState, Desired};
use crate::ops::Action;
use crate::rollout::intent::{EndOfIntent, NewIntent};
use crate::rollout::{Reconciling, UpdateRecord, Wanted, act, is_version};
use crate::store::{StoreError, rollout_rows};

/// A look leads to the next one where it did something: stages without anybody follow on each other.
const LOOKS: usize = 32;

/// Carries out what is due of one rollout. For who holds the turn.
pub async fn step(app: &Arc<App>, id: RolloutId, now: Timestamp) -> Result<(), StoreError> {
    join(app, id, now).await?;
    for _ in 0..LOOKS {
        match once(app, id, now).await? {
            Looked::Did => {}
            // Somebody has an agent's intent in hand at this moment: the next look finds it free.
            Looked::Waits => return Ok(()),
            Looked::Nothing => break,
        }
    }
    app.rollouts.lock().retain(|rollout| rollout.head.id != id || rollout.is_unfinished());
    Ok(())
}

/// What a look came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Looked {
    /// Something was done: what is due now is another question.
    Did,
    /// Something is due and cannot be done yet.
    Waits,
    /// Nothing is due.
    Nothing,
}

/// Takes agents in that are selected since, and forgets those that are gone.
async fn join(app: &App, id: RolloutId, now: Timestamp) -> Result<(), StoreError> {
    let (joiners, stage) = {
        let mut unfinished = app.rollouts.lock();
        let Some(rollout) = unfinished.iter_mut().find(|it| it.head.id == id) else {
            return Ok(());
        };
        rollout.members.retain(|id, _| app.fleet.get(id).is_some());
        if !rollout.head.state.is_open() || rollout.head.kind == RolloutKind::Rollback {
            return Ok(());
        }
        let mut joiners = selected(app, &rollout.head.selection);
        joiners.retain(|id| !rollout.members.contains_key(id));
        (joiners, stages::of_joiner(&rollout.head.strategy))
    };
    if joiners.is_empty() {
        return Ok(());
    }
    let members: Vec<Member> =
        joiners.into_iter().map(|agent| Member::waiting(agent, stage, now)).collect();
    let rows = members.clone();
    let save = move |connection: &rusqlite::Connection| {
        rows.iter().try_for_each(|member| rollout_rows::save_member(connection, id, member))
    };
    app.store.by(&Reconciling).run(save).await?;
    if let Some(rollout) = app.rollouts.lock().iter_mut().find(|it| it.head.id == id) {
        rollout.members.extend(members.into_iter().map(|it| (it.agent_id.clone(), it)));
    }
    Ok(())
}

/// What becomes of an agent's intent.
enum Turn {
    Begin(Box<NewIntent>),
    End(EndOfIntent),
}

/// What one look changes.
struct Change<'a> {
    before: &'a Staged,
    head: Head,
    members: HashMap<AgentId, Member>,
    turns: Vec<(Arc<AgentEntry>, Turn)>,
    told: Vec<Told>,
}

/// What is told once it is written.
struct Told {
    kind: &'static str,
    agent: Option<AgentId>,
    summary: String,
}

/// One look.
async fn once(app: &Arc<App>, id: RolloutId, now: Timestamp) -> Result<Looked, StoreError> {
    let Some((effects, before, shown)) = planned(app, id, now) else {
        return Ok(Looked::Nothing);
    };
    let is_due = !effects.is_empty();
    // Whoever writes an agent's intent at this moment may change what the effect was made of: that agent's turn comes with
    // the next look.
    let agents = concerned(app, &effects);
    let guards: Vec<_> =
        agents.iter().filter_map(|entry| Some((entry, entry.intent.try_lock().ok()?))).collect();
    let is_as_before = |entry: &AgentEntry| {
        let unfinished = app.rollouts.lock();
        let rollout = unfinished.iter().find(|rollout| rollout.head.id == id);
        rollout.and_then(|it| it.members.get(&entry.id)) == before.members.get(&entry.id)
    };
    let free: HashMap<&AgentId, &Arc<AgentEntry>> = guards
        .iter()
        .filter(|(entry, _)| is_as_before(entry))
        .map(|(entry, _)| (&entry.id, *entry))
        .collect();
    let head = Head { stages: shown, ..before.head.clone() };
    let mut change = Change {
        before: &before,
        head,
        members: HashMap::new(),
        turns: Vec::new(),
        told: Vec::new(),
    };
    let mut is_changed = false;
    for effect in effects {
        is_changed |= change.apply(&free, effect, now);
    }
    // What is shown of one that is over is written down; of one that is open it is made anew each time.
    let is_shown_anew = !before.head.state.is_open() && change.head.stages != before.head.stages;
    if is_changed || is_shown_anew {
        change.write(app).await?;
        change.put(app, now);
    }
    Ok(match (is_changed, is_due) {
        (true, _) => Looked::Did,
        (false, true) => Looked::Waits,
        (false, false) => Looked::Nothing,
    })
}

/// What is due of a rollout, the rollout, and how its stages stand; nothing where nothing is to be written.
fn planned(
    app: &App,
    id: RolloutId,
    now: Timestamp,
) -> Option<(Vec<Effect>, Staged, Vec<StageView>)> {
    let mut unfinished = app.rollouts.lock();
    let index = unfinished.iter().position(|it| it.head.id == id)?;
    let (older, newer) = unfinished.split_at_mut(index + 1);
    let rollout = &mut older[index];
    let (course, members) = gather(app, rollout, newer, now);
    let plan = plan(&course, &members, now);
    rollout.look_again_at = plan.look_again_at;
    rollout.looked_at = Some(Instant::now());
    let is_shown_anew = !rollout.head.state.is_open() && rollout.head.stages != plan.stages;
    (is_shown_anew || !plan.effects.is_empty())
        .then(|| (plan.effects, rollout.clone(), plan.stages))
}

/// The agents whose intents the effects are about.
fn concerned(app: &App, effects: &[Effect]) -> Vec<Arc<AgentEntry>> {
    let mut ids: Vec<&AgentId> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Settle { agent, .. } | Effect::TakeBack(agent) | Effect::Begin(agent) => {
                Some(agent)
            }
            Effect::ClockWentBack
            | Effect::Advance { .. }
            | Effect::Halt { .. }
            | Effect::Complete { .. } => None,
        })
        .collect();
    ids.sort_unstable();
    ids.dedup();
    ids.into_iter().filter_map(|id| app.fleet.get(id)).collect()
}

/// The row of an update that a rollout begins.
fn row(head: &Head, intent: &NewIntent) -> Entry {
    let record = intent.record();
    let who = Who { account: None, role: None, face: "rollout", from: None };
    let action = match record.update.kind {
        UpdateKind::Update => Action::RequestUpdate,
        UpdateKind::Rollback => Action::RollBack,
    };
    let subject = Subject::agent(intent.agent_id().as_str()).and(&record.update.version);
    let facts = Facts::from([
        ("rollout".to_owned(), head.id.to_string()),
        ("started_by".to_owned(), head.started_by.clone()),
        ("update".to_owned(), record.update.id.to_string()),
    ]);
    Entry::now(who, action.name(), subject, AuditOutcome::Done).with(facts)
}

type Free<'f> = HashMap<&'f AgentId, &'f Arc<AgentEntry>>;

impl Change<'_> {
    /// Takes an effect in. False where its agent is not free.
    fn apply(&mut self, free: &Free<'_>, effect: Effect, now: Timestamp) -> bool {
        match effect {
            Effect::ClockWentBack => self.clock_went_back(now),
            Effect::Settle { agent, to, detail } => {
                let Some(entry) = free.get(&agent) else { return false };
                self.settle(entry, to, detail, now);
            }
            Effect::TakeBack(agent) => {
                let Some(entry) = free.get(&agent) else { return false };
                self.take_back(entry, now);
            }
            Effect::Begin(agent) => {
                let Some(entry) = free.get(&agent) else { return false };
                return self.begin(entry, now);
            }
            Effect::Advance { to } => {
                (self.head.stage, self.head.stage_since) = (to, now);
                let of = self.head.strategy.stages.len();
                let summary = format!("{} has reached stage {} of {of}", self.head.words(), to + 1);
                self.tell(kind::ROLLOUT_STAGE, None, summary);
            }
            Effect::Halt { reason } => {
                let summary = format!("{} stopped itself: {reason}", self.head.words());
                self.tell(kind::ROLLOUT_HALTED, None, summary);
                (self.head.state, self.head.reason) = (RolloutState::Halted, Some(reason));
            }
            Effect::Complete { reason } => {
                let summary = format!("{} is complete: {reason}", self.head.words());
                self.tell(kind::ROLLOUT_COMPLETED, None, summary);
                (self.head.state, self.head.reason) = (RolloutState::Completed, Some(reason));
                self.head.ended_at = Some(now);
            }
        }
        true
    }

    fn tell(&mut self, kind: &'static str, agent: Option<&AgentId>, summary: String) {
        self.told.push(Told { kind, agent: agent.cloned(), summary });
    }

    /// The member as this look leaves it so far.
    fn member(&mut self, id: &AgentId) -> &mut Member {
        let before = self.before;
        self.members
            .entry(id.clone())
            .or_insert_with(|| before.members.get(id).expect("the plan is of members").clone())
    }

    fn clock_went_back(&mut self, now: Timestamp) {
        self.head.stage_since = self.head.stage_since.min(now);
        for (id, member) in &self.before.members {
            if member.since > now || member.begun_at.is_some_and(|begun| begun > now) {
                let member = self.member(id);
                member.since = member.since.min(now);
                member.begun_at = member.begun_at.map(|begun| begun.min(now));
            }
        }
    }

    fn settle(
        &mut self,
        entry: &Arc<AgentEntry>,
        to: MemberState,
        detail: Option<String>,
        now: Timestamp,
    ) {
        let why = detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
        let summary = format!("{} {}{why}", entry.id, self.head.became(to));
        self.tell(kind::ROLLOUT_MEMBER, Some(&entry.id), summary);
        let member = self.member(&entry.id);
        (member.state, member.since, member.forgiven) = (to, now, false);
        member.detail = detail;
        if to != MemberState::Silent {
            let why = match to {
                MemberState::Overtaken => "a newer rollout decides about it",
                MemberState::Waiting
                | MemberState::InFlight
                | MemberState::Succeeded
                | MemberState::Failed
                | MemberState::RolledBack
                | MemberState::Silent => "its part of the rollout is over",
            };
            self.end(entry, why, now);
        }
    }

    fn take_back(&mut self, entry: &Arc<AgentEntry>, now: Timestamp) {
        let member = self.member(&entry.id);
        if member.state == MemberState::InFlight {
            (member.state, member.since) = (MemberState::Waiting, now);
        }
        self.end(entry, "the rollout took it back", now);
    }

    /// Ends the agent's intent, where it is the rollout's.
    fn end(&mut self, entry: &Arc<AgentEntry>, why: &str, now: Timestamp) {
        let state = entry.lock();
        let wanted = state.desired.as_ref().and_then(|desired| desired.rollout);
        if wanted == Some(self.head.id) {
            let end = EndOfIntent::new(&state, &entry.id, why, now);
            self.turns.push((Arc::clone(entry), Turn::End(end)));
        }
    }

    /// Makes the target the agent's intent. False while the agent is in the middle of something else.
    fn begin(&mut self, entry: &Arc<AgentEntry>, now: Timestamp) -> bool {
        let (kind, id) = (self.head.kind, self.head.id);
        let member = self.member(&entry.id).clone();
        let (update_kind, version) = match (kind, member.kept) {
            (RolloutKind::Update, _) => (UpdateKind::Update, self.head.version.clone()),
            (RolloutKind::Rollback, Some(kept)) => (UpdateKind::Rollback, kept),
            (RolloutKind::Rollback, None) => return false,
        };
        let allow_downgrade = self.head.allow_downgrade || kind == RolloutKind::Rollback;
        let desired = Desired { version: version.clone(), allow_downgrade, rollout: Some(id) };
        let intent = {
            let state = entry.lock();
            if state.removed || state.unsettled.is_some() {
                return false;
            }
            let open = state.update.as_deref().filter(|record| record.is_open());
            if let Some(open) = does_it(&state, update_kind, &version) {
                NewIntent::taking_over(&state, desired, open)
            } else if open.is_some_and(|open| open.session.is_some()) {
                return false;
            } else {
                let superseded = open.map(|open| {
                    let mut old = Box::new(open.clone());
                    old.superseded(&format!("a rollout wants {version} instead"), now);
                    old
                });
                let tally =
                    if member.insisted { Tally::insisted() } else { earlier(&state, &desired) };
                let wanted = Wanted {
                    agent_id: entry.id.clone(),
                    kind: update_kind,
                    origin: UpdateOrigin::Rollout,
                    rollout: Some(id),
                    from_version: state.facts.as_ref().map(|facts| facts.version.clone()),
                    version,
                    allow_downgrade,
                    tally,
                };
                let record = UpdateRecord::requested(wanted, now);
                NewIntent::new(&state, desired, record, superseded)
            }
        };
        let member = self.member(&entry.id);
        (member.state, member.since, member.begun_at) = (MemberState::InFlight, now, Some(now));
        (member.forgiven, member.detail) = (false, None);
        self.turns.push((Arc::clone(entry), Turn::Begin(Box::new(intent))));
        true
    }

    async fn write(&self, app: &App) -> Result<(), StoreError> {
        let (head, members) = (self.head.clone(), self.members.clone());
        let (mut begins, mut ends) = (Vec::new(), Vec::new());
        for (_, turn) in &self.turns {
            match turn {
                Turn::Begin(intent) => begins.push((row(&head, intent), intent.clone())),
                Turn::End(end) => ends.push(end.clone()),
            }
        }
        app.store
            .by(&Reconciling)
            .run(move |connection| {
                for member in members.values() {
                    rollout_rows::save_member(connection, head.id, member)?;
                }
                for end in &ends {
                    end.write(connection)?;
                }
                for (row, begin) in &begins {
                    begin.write(connection)?;
                    append(connection, row)?;
                }
                rollout_rows::save(connection, &head)
            })
            .await
    }

    /// Puts in place what the database has by now, tells it, and sends what was begun.
    fn put(self, app: &Arc<App>, now: Timestamp) {
        let id = self.head.id;
        if let Some(rollout) = app.rollouts.lock().iter_mut().find(|it| it.head.id == id) {
            rollout.head = self.head;
            rollout.members.extend(self.members);
        }
        for Told { kind, agent, summary } in self.told {
            if agent.is_none() {
                tracing::info!(rollout.id = %id, "{summary}");
            }
            app.events.rollout(kind, id, agent.as_ref(), summary);
        }
        for (entry, turn) in self.turns {
            match turn {
                Turn::Begin(intent) => {
                    if intent.put(app, &entry) {
                        act(app, &entry, now);
                    }
                }
                Turn::End(end) => end.put(app, &entry),
            }
        }
    }
}

/// What the wanted version came to on this agent before, where it was the last that was tried there.
fn earlier(state: &AgentState, desired: &Desired) -> Tally {
    let version = desired.version.to_string();
    if state.is_cleared(&version) {
        return Tally::insisted();
    }
    let last = state.update.as_deref().filter(|last| is_version(&last.update.version, &version));
    last.map(|last| last.standing().tally).unwrap_or_default()
}

impl Head {
    /// What it is, for people.
    pub fn words(&self) -> String {
        match self.kind {
            RolloutKind::Update => format!("the rollout of {}", self.version),
            RolloutKind::Rollback => format!("the rollback from {}", self.version),
        }
    }

    fn became(&self, state: MemberState) -> String {
        let what = self.words();
        match (state, self.kind) {
            (MemberState::Succeeded, RolloutKind::Update) => format!("runs {} now", self.version),
            (MemberState::Succeeded, RolloutKind::Rollback) => format!("left {}", self.version),
            (MemberState::Failed, _) => format!("did not make it in {what}"),
            (MemberState::RolledBack, _) => format!("went back to its old version in {what}"),
            (MemberState::Silent, _) => format!("fell silent in {what}"),
            (MemberState::Overtaken, _) => format!("is not part of {what} any more"),
            (MemberState::Waiting | MemberState::InFlight, _) => format!("is part of {what}"),
        }
    }
}
