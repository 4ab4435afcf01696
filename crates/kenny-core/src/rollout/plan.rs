//! The plan of a rollout: which member gets its update when, and what is due now.
//!
//! [`plan`] is asked after every fact and every second. It has no memory: what was begun, and when, stands in the facts,
//! so that a server that was killed goes on where it was.

use std::time::Duration;

use jiff::Timestamp;
use kenny_proto::AgentId;
use kenny_proto::rollout::{MemberState, RolloutState, StageView, WaitsFor, When, WhyNever};

use super::course::{Course, Effect, Entry, MemberFacts, Plan};
use super::member::{self, Turn, Way, later};
use super::{reasons, stages, window};

/// How long a server listens after its start before it takes a stage for good, unless the bake is shorter: agents
/// reconnect within a minute, and what they then say may be that they are back on the old version.
pub const LISTEN_FIRST: Duration = Duration::from_mins(2);

/// The span of `per_minute`.
const MINUTE: Duration = Duration::from_mins(1);

/// Makes the plan anew. The order of the members is of no matter; their ids differ.
///
/// - Members move on first, whatever the rollout's state: what happened is written down.
/// - A running rollout then halts when a stage that it has reached, the current or one before, has more failures than it
///   tolerates (forgiven ones do not count), or when a stage has its outcomes and none is a success.
/// - One that is not running begins nothing, and takes back what is wanted of an agent that has not got it in hand.
/// - One that runs begins what is due, as far as the limits go: earlier stages first.
/// - It is completed when every member has an outcome or is not to be updated, and reaches the next stage when the
///   current one is passed (ADR 15). A stage in which there is nobody to update is passed at once.
pub fn plan<'a>(course: &Course, members: &'a [MemberFacts], now: Timestamp) -> Plan<'a> {
    let mut planner = Planner::new(course, members, now);
    planner.settle();
    planner.stop_or_go_on();
    planner.lay_out();
    planner.finish();
    planner.plan
}

/// A member on its way through the plan.
struct Row<'a> {
    facts: &'a MemberFacts,
    stage: u32,
    order: u64,
    state: MemberState,
    since: Timestamp,
    forgiven: bool,
}

/// What is counted of a stage, beside what is shown of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Count {
    pub view: StageView,
    /// Failures that nobody forgave.
    pub bad: u32,
    /// Members that have had their outcome.
    pub outcomes: u32,
    /// Those among them that run the target by this rollout.
    pub successes: u32,
    /// Members that are updated, or were.
    pub eligible: u32,
    /// Members for which only time, or their turn, is lacking.
    pub due: u32,
    /// When the last outcome was.
    pub last_outcome: Option<Timestamp>,
}

struct Planner<'c, 'a> {
    course: &'c Course,
    now: Timestamp,
    /// The stage that is reached.
    stage: u32,
    last_stage: u32,
    rows: Vec<Row<'a>>,
    counts: Vec<Count>,
    /// Nothing stands against beginning.
    goes_on: bool,
    plan: Plan<'a>,
}

impl<'c, 'a> Planner<'c, 'a> {
    fn new(course: &'c Course, members: &'a [MemberFacts], now: Timestamp) -> Self {
        let last_stage = stages::of_joiner(&course.strategy);
        let mut rows: Vec<Row<'_>> = members
            .iter()
            .map(|facts| Row {
                facts,
                stage: facts.stage.min(last_stage),
                order: stages::order(course.seed, &facts.id),
                state: facts.state,
                since: facts.since.min(now),
                forgiven: facts.forgiven,
            })
            .collect();
        rows.sort_unstable_by(|a, b| {
            (a.stage, a.order, &a.facts.id).cmp(&(b.stage, b.order, &b.facts.id))
        });
        let mut counts = vec![Count::default(); course.strategy.stages.len().max(1)];
        for row in &rows {
            counts[place(row.stage)].view.members += 1;
        }
        for count in &mut counts {
            count.view.tolerated = tolerated(course, count.view.members);
        }
        let plan = Plan {
            entries: Vec::with_capacity(rows.len()),
            stages: Vec::with_capacity(counts.len()),
            effects: Vec::new(),
            look_again_at: None,
        };
        let stage = course.stage.min(last_stage);
        let goes_on = course.state == RolloutState::Running;
        Self { course, now, stage, last_stage, rows, counts, goes_on, plan }
    }

    /// Moves each member on.
    fn settle(&mut self) {
        let now = self.now;
        let is_ahead = |facts: &MemberFacts| {
            facts.since > now || facts.begun_at.is_some_and(|begun| begun > now)
        };
        if self.course.stage_since > now || self.rows.iter().any(|row| is_ahead(row.facts)) {
            self.plan.effects.push(Effect::ClockWentBack);
        }
        for row in &mut self.rows {
            match member::turn(self.course, row.facts, now) {
                Turn::Stay => {}
                Turn::Settle(to, detail) => {
                    (row.state, row.since, row.forgiven) = (to, now, false);
                    let agent = row.facts.id.clone();
                    self.plan.effects.push(Effect::Settle { agent, to, detail });
                }
                Turn::TakeBack => {
                    (row.state, row.since) = (MemberState::Waiting, now);
                    self.plan.effects.push(Effect::TakeBack(row.facts.id.clone()));
                }
            }
        }
        for row in &self.rows {
            count(&mut self.counts[place(row.stage)], self.course, row);
        }
    }

    /// Halts where it hurts, and takes back where nothing may begin.
    fn stop_or_go_on(&mut self) {
        if self.goes_on
            && let Some(reason) = self.why_halt()
        {
            self.goes_on = false;
            self.plan.effects.push(Effect::Halt { reason });
        }
        if self.goes_on {
            return;
        }
        for row in &mut self.rows {
            if row.state == MemberState::InFlight && !row.facts.in_hand {
                (row.state, row.since) = (MemberState::Waiting, self.now);
                self.plan.effects.push(Effect::TakeBack(row.facts.id.clone()));
            }
        }
        self.take_back_the_silent();
    }

    /// A silent agent may come back with the old version, and would be sent the new one. What it has in hand while it is
    /// offline cannot be known after so long.
    fn take_back_the_silent(&mut self) {
        for row in &self.rows {
            let works = row.facts.in_hand && row.facts.online;
            if row.state == MemberState::Silent && row.facts.wanted && !works {
                self.plan.effects.push(Effect::TakeBack(row.facts.id.clone()));
            }
        }
    }

    fn why_halt(&self) -> Option<String> {
        let nowhere = self.counts.iter().all(|count| count.successes == 0);
        (0..=self.stage).find_map(|stage| {
            let count = &self.counts[place(stage)];
            let too_many = count.bad > count.view.tolerated;
            let in_vain = count.bad > 0
                && count.successes == 0
                && count.outcomes == count.eligible
                && (stage < self.last_stage || nowhere);
            (too_many || in_vain)
                .then(|| reasons::of_halt(self.course, stage, count, self.bad_of(stage)))
        })
    }

    fn bad_of(&self, stage: u32) -> impl Iterator<Item = (&'a AgentId, MemberState)> {
        self.rows
            .iter()
            .filter(move |row| row.stage == stage && row.state.is_bad() && !row.forgiven)
            .map(|row| (&row.facts.id, row.state))
    }

    /// Says of each member when, and begins those whose time it is.
    fn lay_out(&mut self) {
        let in_flight = self.rows.iter().filter(|row| row.state == MemberState::InFlight).count();
        let mut slots = place(self.course.strategy.max_in_flight).saturating_sub(in_flight);
        let (mut rate, rate_frees_at) = self.rate();
        let mut waits_for_rate = false;
        for index in 0..self.rows.len() {
            let row = &self.rows[index];
            let (mut when, is_updated) = self.when(row);
            if when == When::Now {
                if slots > 0 && rate > 0 {
                    (slots, rate) = (slots - 1, rate - 1);
                    self.plan.effects.push(Effect::Begin(row.facts.id.clone()));
                } else {
                    waits_for_rate |= slots > 0;
                    when = When::InTurn;
                }
            }
            let facts = row.facts;
            let windows = &self.course.strategy.windows;
            let assumes_utc = is_updated && window::assumes_utc(windows, facts.utc_offset_s);
            let (state, stage) = (row.state, row.stage);
            if let When::At { at, .. } = when {
                self.look_at(at);
            }
            if state == MemberState::InFlight {
                self.look_at(member::deadline(self.course, facts, self.now));
            }
            show(&mut self.counts[place(stage)], state, &when);
            self.plan.entries.push(Entry { agent: &facts.id, stage, state, when, assumes_utc });
        }
        if waits_for_rate {
            self.look_at(rate_frees_at);
        }
    }

    /// When a member gets its update, limits aside, and whether it is one that waits for it.
    fn when(&self, row: &Row<'_>) -> (When, bool) {
        let when = match row.state {
            MemberState::Succeeded
            | MemberState::Failed
            | MemberState::RolledBack
            | MemberState::Silent => When::Done,
            MemberState::InFlight => When::InFlight,
            MemberState::Overtaken => When::Never { why: WhyNever::Overtaken },
            MemberState::Waiting => {
                return match member::way(self.course, row.facts, row.stage <= self.stage) {
                    Way::Never(why) => (When::Never { why }, false),
                    Way::AlreadyThere => (When::AlreadyThere, false),
                    Way::Offline => (When::Offline, true),
                    Way::Paused => (When::Paused, true),
                    Way::Free if self.goes_on => (self.time_of(row), true),
                    Way::Free | Way::Later => (When::Later, true),
                };
            }
        };
        (when, false)
    }

    /// The time of a member that nothing else stands in the way of. Jitter is of the current stage: who comes to an
    /// earlier one comes late enough.
    fn time_of(&self, row: &Row<'_>) -> When {
        let strategy = &self.course.strategy;
        let mut due = self.now;
        if row.stage == self.stage {
            let jitter = stages::jitter(row.order, strategy.jitter_s);
            due = due.max(later(self.stage_since(), jitter));
        }
        let at = window::next_open(&strategy.windows, row.facts.utc_offset_s, due);
        if at > due {
            When::At { at, why: WaitsFor::Window }
        } else if at > self.now {
            When::At { at, why: WaitsFor::Jitter }
        } else {
            When::Now
        }
    }

    /// How many more may begin within this minute, and when there may be one more.
    fn rate(&self) -> (u32, Timestamp) {
        let Some(per_minute) = self.course.strategy.per_minute else {
            return (u32::MAX, Timestamp::MAX);
        };
        let (mut begun, mut oldest) = (0, self.now);
        for row in &self.rows {
            let Some(at) = row.facts.begun_at.map(|at| at.min(self.now)) else { continue };
            if later(at, MINUTE) > self.now {
                begun += 1;
                oldest = oldest.min(at);
            }
        }
        (per_minute.saturating_sub(begun), later(oldest, MINUTE))
    }

    /// Completes the rollout, or reaches its next stage.
    fn finish(&mut self) {
        self.plan.stages.extend(self.counts.iter().map(|count| count.view));
        if !self.goes_on {
            return;
        }
        if self.counts.iter().all(|count| count.outcomes == count.eligible) {
            let reason = reasons::of_completion(self.course, &self.counts);
            self.plan.effects.push(Effect::Complete { reason });
            self.take_back_the_silent();
        } else if self.stage < self.last_stage {
            let passed_at = self.passed_at(&self.counts[place(self.stage)]);
            match passed_at {
                Some(at) if at <= self.now => {
                    self.plan.effects.push(Effect::Advance { to: self.stage + 1 });
                }
                Some(at) => self.look_at(at),
                None => {}
            }
        }
    }

    /// When the current stage is passed, if no fact changes; none when it needs one.
    fn passed_at(&self, count: &Count) -> Option<Timestamp> {
        if count.eligible == 0 {
            return Some(self.now);
        }
        let is_quiet = count.view.in_flight == 0 && count.due == 0;
        let is_quorum = 2 * u64::from(count.outcomes) >= u64::from(count.eligible);
        let all_forgiven = count.outcomes == count.eligible && count.bad == 0;
        let is_good = count.successes > 0 || all_forgiven;
        if !(is_quiet && is_quorum && is_good) {
            return None;
        }
        let bake =
            Duration::from_secs(self.course.strategy.stages[place(self.stage)].bake_s.into());
        let from =
            count.last_outcome.map_or(self.stage_since(), |last| last.max(self.stage_since()));
        let heard = later(self.course.listening_since.min(self.now), bake.min(LISTEN_FIRST));
        Some(later(from, bake).max(heard))
    }

    fn stage_since(&self) -> Timestamp {
        self.course.stage_since.min(self.now)
    }

    fn look_at(&mut self, at: Timestamp) {
        let next = &mut self.plan.look_again_at;
        *next = Some(next.map_or(at, |earlier| earlier.min(at)));
    }
}

/// Counts what a stage is judged by.
fn count(count: &mut Count, course: &Course, row: &Row<'_>) {
    let has_outcome = match row.state {
        MemberState::Waiting => {
            count.eligible += u32::from(member::takes_it(course, row.facts));
            return;
        }
        MemberState::Overtaken => return,
        MemberState::InFlight => false,
        MemberState::Succeeded
        | MemberState::Failed
        | MemberState::RolledBack
        | MemberState::Silent => true,
    };
    count.eligible += 1;
    if has_outcome {
        count.outcomes += 1;
        count.successes += u32::from(row.state == MemberState::Succeeded);
        count.bad += u32::from(row.state.is_bad() && !row.forgiven);
        count.last_outcome = Some(count.last_outcome.map_or(row.since, |last| last.max(row.since)));
    }
}

/// Counts what is shown of a stage.
fn show(count: &mut Count, state: MemberState, when: &When) {
    let view = &mut count.view;
    let shown = match state {
        MemberState::InFlight => &mut view.in_flight,
        MemberState::Succeeded => &mut view.succeeded,
        MemberState::Failed => &mut view.failed,
        MemberState::RolledBack => &mut view.rolled_back,
        MemberState::Silent => &mut view.silent,
        MemberState::Overtaken => &mut view.excluded,
        MemberState::Waiting => match when {
            When::AlreadyThere => &mut view.succeeded,
            When::Never { .. } => &mut view.excluded,
            When::Offline => &mut view.offline,
            When::Paused | When::Later | When::Done | When::InFlight => &mut view.waiting,
            When::Now | When::At { .. } | When::InTurn => {
                count.due += 1;
                &mut view.waiting
            }
        },
    };
    *shown += 1;
}

/// How many failures a stage of so many members tolerates.
fn tolerated(course: &Course, members: u32) -> u32 {
    let tolerated = course.strategy.tolerated;
    let part = u64::from(members) * u64::from(tolerated.percent) / 100;
    tolerated.count.max(u32::try_from(part).unwrap_or(u32::MAX))
}

fn place(number: u32) -> usize {
    usize::try_from(number).expect("a pointer has at least 32 bits")
}
