//! Random fleets under random strategies: what a rollout promises holds at each step, and it comes to an end.
//!
//! Agents go and come, are lost, fail, are pinned and paused; the server is killed before it carried out what was due;
//! the clock jumps; the operator pauses and resumes. Each seed is one rollout.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kenny_core::rollout::course::{Effect, MemberFacts, Outcome};
use kenny_core::rollout::plan::plan;
use kenny_core::rollout::stages;
use kenny_proto::AgentId;
use kenny_proto::rollout::{MemberState, RolloutState, When};

use super::fates::{Nature, random_agent, random_nature, random_strategy};
use super::random::Random;
use super::windows::is_open_by_the_calendar;
use super::world::{OLD, World, course, monday, seconds};

const SEEDS: u64 = 2000;
const STEPS: u32 = 150;
/// Every end comes earlier: a fleet of 40, in 5 stages of a day each, with a window a week.
const STEPS_TO_THE_END: u32 = 20_000;

#[test]
fn what_a_rollout_promises_holds_whatever_happens() {
    let mut ends = Ends::default();
    for seed in 0..SEEDS {
        let mut rollout = Rollout::new(seed);
        for _ in 0..STEPS {
            rollout.time_passes();
            rollout.something_happens();
            rollout.step();
        }
        rollout.comes_to_an_end();
        ends.add(&rollout);
    }
    // The simulation has to reach what it is about.
    assert!(ends.halts > 1000 && ends.resumes > 1000 && ends.take_backs > 500, "{ends:?}");
    assert!(ends.successes > 20_000 && ends.bad > 1000 && ends.corrected > 50, "{ends:?}");
    assert!(ends.advances > 2000 && ends.kills > 1000 && ends.clocks > 300, "{ends:?}");
}

#[derive(Debug, Default)]
struct Ends {
    halts: u32,
    resumes: u32,
    advances: u32,
    take_backs: u32,
    corrected: u32,
    kills: u32,
    clocks: u32,
    successes: usize,
    bad: usize,
}

impl Ends {
    fn add(&mut self, rollout: &Rollout) {
        let counted = &rollout.ends;
        self.halts += counted.halts;
        self.resumes += counted.resumes;
        self.advances += counted.advances;
        self.take_backs += counted.take_backs;
        self.corrected += counted.corrected;
        self.kills += counted.kills;
        self.clocks += counted.clocks;
        let members = &rollout.world.members;
        self.successes +=
            members.iter().filter(|member| member.state == MemberState::Succeeded).count();
        self.bad += members.iter().filter(|member| member.state.is_bad()).count();
    }
}

struct Rollout {
    seed: u64,
    random: Random,
    world: World,
    natures: BTreeMap<AgentId, Nature>,
    /// Begun, and neither taken back nor to be retried.
    begun: BTreeMap<AgentId, bool>,
    /// When the last outcome of each stage was.
    last_outcome: Vec<Timestamp>,
    /// While halted: the most failures that each stage may come to.
    bound: Option<Vec<usize>>,
    ends: Ends,
}

impl Rollout {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let strategy = random_strategy(&mut random);
        let stages = strategy.stages.len();
        let members = (0..random.below(40))
            .map(|number| random_agent(&mut random, &format!("pc-{number}")))
            .collect();
        let mut course = course(strategy);
        course.seed = random.next();
        let mut world = World { course, members, now: monday() };
        world.start();
        let ill = random.below(30);
        let natures = world
            .members
            .iter()
            .map(|member| (member.id.clone(), random_nature(&mut random, ill)))
            .collect();
        Self {
            seed,
            random,
            world,
            natures,
            begun: BTreeMap::new(),
            last_outcome: vec![monday(); stages],
            bound: None,
            ends: Ends::default(),
        }
    }

    fn time_passes(&mut self) {
        let by = match self.random.below(10) {
            0..=4 => self.random.below(30),
            5..=7 => self.random.below(1200),
            _ => self.random.below(20_000),
        };
        self.world.now += seconds(by.into());
        if self.random.percent(1) {
            self.world.now -= seconds(self.random.below(100_000).into());
        }
    }

    fn something_happens(&mut self) {
        let now = self.world.now;
        if self.random.percent(2) {
            self.world.course.listening_since = now;
        }
        if self.random.percent(2) && self.world.course.state == RolloutState::Running {
            self.world.course.state = RolloutState::Paused;
        } else if self.random.percent(20) {
            self.resume();
        }
        if self.random.percent(2) {
            let id = format!("late-{}", self.world.members.len());
            let mut member = random_agent(&mut self.random, &id);
            member.stage = stages::of_joiner(&self.world.course.strategy);
            member.since = now;
            self.natures.insert(member.id.clone(), Nature::Good);
            self.world.members.push(member);
        }
        for index in 0..self.world.members.len() {
            if self.random.percent(6) {
                let member = &mut self.world.members[index];
                match self.random.below(12) {
                    0 => member.pinned = Some(OLD.parse().unwrap()),
                    1 => member.pinned = None,
                    2 => member.paused = !member.paused,
                    3 => member.overtaken |= self.random.percent(20),
                    4 => member.release_available = !member.release_available,
                    _ => member.online = !member.online,
                }
            }
            if self.random.percent(25) {
                self.works_on_it(index);
            }
        }
    }

    /// The agent comes to an end with what it has in hand, or takes what is wanted.
    fn works_on_it(&mut self, index: usize) {
        let member = &mut self.world.members[index];
        let (id, begun) = (member.id.to_string(), member.begun_at.unwrap_or(self.world.now));
        if member.wanted && !member.in_hand {
            let takes = member.online && !member.paused && member.release_available;
            if takes && !matches!(member.outcome, Outcome::Succeeded | Outcome::Blamed { .. }) {
                (member.in_hand, member.outcome) = (true, Outcome::None);
            }
            return;
        }
        if !member.in_hand {
            return;
        }
        let nature = self.natures[&member.id];
        let detail = "why".to_owned();
        match nature {
            Nature::RollsBack => {
                self.world.fails(&id, Outcome::Blamed { rolled_back: true, detail });
            }
            Nature::Fails => {
                self.world.fails(&id, Outcome::Blamed { rolled_back: false, detail });
            }
            Nature::Lost => member.online = false,
            Nature::LostForLong if self.world.now < begun + seconds(30_000) => {
                member.online = false;
            }
            Nature::Full => self.world.fails(&id, Outcome::Excused { detail }),
            Nature::Flaky if self.random.percent(50) => {
                self.world.fails(&id, Outcome::Excused { detail });
            }
            Nature::Good | Nature::LostForLong | Nature::Flaky => self.world.succeeds(&id),
        }
    }

    fn resume(&mut self) {
        if !matches!(self.world.course.state, RolloutState::Halted | RolloutState::Paused) {
            return;
        }
        let retry = self.random.percent(30);
        if retry {
            for member in self.world.members.iter().filter(|member| member.state.is_bad()) {
                self.begun.insert(member.id.clone(), false);
                // The reason was mended for some.
                if self.random.percent(50) {
                    self.natures.insert(member.id.clone(), Nature::Good);
                }
            }
        }
        self.world.resume(retry);
        if retry {
            // What is tried once more has no outcome any more.
            self.last_outcome.fill(monday() - seconds(1_000_000));
            for member in &self.world.members {
                if member.state.is_bad() || member.state == MemberState::Succeeded {
                    let last = &mut self.last_outcome[usize::try_from(member.stage).unwrap()];
                    *last = (*last).max(member.since);
                }
            }
        }
        self.bound = None;
        self.ends.resumes += 1;
    }

    /// Asks once, holds the answer against the promises, and carries it out unless the server is killed.
    fn step(&mut self) {
        let (course, now) = (&self.world.course, self.world.now);
        let answer = plan(course, &self.world.members, now);
        assert_eq!(
            answer,
            plan(course, &self.world.members, now),
            "seed {}: the same question has the same answer",
            self.seed
        );
        if self.random.percent(20) {
            let mut moved = self.world.members.clone();
            self.random.shuffle(&mut moved);
            let other = plan(&self.world.course, &moved, now);
            assert_eq!(answer, other, "seed {}: the order of members is of no matter", self.seed);
        }
        assert_eq!(answer.entries.len(), self.world.members.len());
        let begins = answer.effects.iter().filter(|it| matches!(it, Effect::Begin(_))).count();
        let nows = answer.entries.iter().filter(|entry| entry.when == When::Now).count();
        assert_eq!(begins, nows, "seed {}: what is due now begins now", self.seed);
        let (effects, look_again_at) = (answer.effects, answer.look_again_at);

        if effects.is_empty() {
            self.nothing_is_due_before(look_again_at);
        }
        if self.random.percent(3) {
            self.ends.kills += 1;
            return;
        }
        let before = self.bad_and_in_flight();
        for effect in &effects {
            self.check(effect, &effects);
            self.world.carry_out(std::slice::from_ref(effect));
            self.note(effect);
        }
        self.check_limits(&effects, &before);
    }

    fn nothing_is_due_before(&mut self, look_again_at: Option<Timestamp>) {
        let now = self.world.now;
        let end = look_again_at.unwrap_or(now + seconds(10_000_000));
        assert!(end > now, "seed {}: to look again now is to look for ever", self.seed);
        let span = u32::try_from(end.duration_since(now).as_secs()).unwrap();
        if span > 1 {
            let then = now + seconds(self.random.below(span).into());
            let effects = plan(&self.world.course, &self.world.members, then).effects;
            assert_eq!(effects, [], "seed {}: due at {then}, not only at {end}", self.seed);
        }
    }

    /// What has to hold before an effect is carried out.
    fn check(&self, effect: &Effect, all: &[Effect]) {
        let (seed, world) = (self.seed, &self.world);
        let member = |id: &AgentId| world.members.iter().find(|member| member.id == *id).unwrap();
        match effect {
            Effect::Begin(id) => {
                let member = member(id);
                assert_eq!(world.course.state, RolloutState::Running, "seed {seed}: {id}");
                assert_eq!(member.state, MemberState::Waiting, "seed {seed}: {id}");
                assert!(!self.begun.get(id).copied().unwrap_or(false), "seed {seed}: {id} twice");
                assert!(member.stage <= world.course.stage, "seed {seed}: {id} before its stage");
                assert!(is_to_be_updated(member), "seed {seed}: {id} is left out");
                assert!(member.online && !member.paused, "seed {seed}: {id}");
                let windows = &world.course.strategy.windows;
                let offset = member.utc_offset_s.unwrap_or(0);
                assert!(is_open_by_the_calendar(windows, offset, world.now), "seed {seed}: {id}");
            }
            Effect::Advance { to } => {
                assert_eq!(*to, world.course.stage + 1, "seed {seed}");
                self.check_passed(all);
            }
            Effect::Complete { .. } => {
                assert_eq!(world.course.state, RolloutState::Running, "seed {seed}");
                let open = world.members.iter().find(|member| match member.state {
                    MemberState::Waiting => is_to_be_updated(member),
                    MemberState::InFlight => true,
                    MemberState::Succeeded
                    | MemberState::Failed
                    | MemberState::RolledBack
                    | MemberState::Silent
                    | MemberState::Overtaken => false,
                });
                assert_eq!(open, None, "seed {seed}");
            }
            Effect::TakeBack(id) => {
                let member = member(id);
                assert!(!(member.in_hand && member.online), "seed {seed}: {id} is at it");
            }
            Effect::Halt { .. } | Effect::Settle { .. } | Effect::ClockWentBack => {}
        }
    }

    /// What a stage has to have come to before the next one is reached.
    fn check_passed(&self, all: &[Effect]) {
        let (seed, world) = (self.seed, &self.world);
        let stage = world.course.stage;
        let of_stage = || world.members.iter().filter(|member| member.stage == stage);
        let count = |is: fn(&MemberFacts) -> bool| of_stage().filter(|member| is(member)).count();
        let outcomes = count(|it| it.state.is_bad() || it.state == MemberState::Succeeded);
        let waiting = count(|it| it.state == MemberState::Waiting && is_to_be_updated(it));
        let in_flight = count(|it| it.state == MemberState::InFlight);
        let due = count(|it| {
            it.state == MemberState::Waiting && is_to_be_updated(it) && it.online && !it.paused
        });
        assert_eq!((in_flight, due), (0, 0), "seed {seed}: {all:?}");
        if outcomes + waiting == 0 {
            return;
        }
        assert!(outcomes >= waiting, "seed {seed}: half of the stage has an outcome");
        let good = count(|it| it.state == MemberState::Succeeded);
        let unforgiven = count(|it| it.state.is_bad() && !it.forgiven);
        assert!(good > 0 || (waiting == 0 && unforgiven == 0), "seed {seed}: one is a success");
        let number = usize::try_from(stage).unwrap();
        let since = self.last_outcome[number].max(world.course.stage_since);
        let bake = world.course.strategy.stages[number].bake_s;
        assert!(world.now >= since + seconds(bake.into()), "seed {seed}: the bake is over");
    }

    fn note(&mut self, effect: &Effect) {
        let now = self.world.now;
        match effect {
            Effect::ClockWentBack => {
                self.last_outcome.iter_mut().for_each(|at| *at = (*at).min(now));
                self.ends.clocks += 1;
            }
            Effect::Settle { agent, to, .. } => {
                let stage = self.world.member(agent.as_str()).stage;
                if *to != MemberState::Overtaken {
                    self.last_outcome[usize::try_from(stage).unwrap()] = now;
                }
                let lost = matches!(self.natures[agent], Nature::LostForLong);
                self.ends.corrected += u32::from(lost && *to == MemberState::Succeeded);
            }
            Effect::TakeBack(agent) => {
                self.begun.insert(agent.clone(), false);
                self.ends.take_backs += 1;
            }
            Effect::Begin(agent) => {
                self.begun.insert(agent.clone(), true);
            }
            Effect::Advance { .. } => self.ends.advances += 1,
            Effect::Halt { .. } => self.ends.halts += 1,
            Effect::Complete { .. } => {}
        }
    }

    /// Failures that count and members that may become some, by stage.
    fn bad_and_in_flight(&self) -> Vec<(usize, usize)> {
        let mut counts = vec![(0, 0); self.last_outcome.len()];
        for member in &self.world.members {
            let count = &mut counts[usize::try_from(member.stage).unwrap()];
            count.0 += usize::from(member.state.is_bad() && !member.forgiven);
            // A silence that was forgiven may turn out to be a rollback, which was not.
            let may_turn = member.state == MemberState::Silent && member.forgiven;
            count.1 += usize::from(member.state == MemberState::InFlight || may_turn);
        }
        counts
    }

    fn check_limits(&mut self, effects: &[Effect], before: &[(usize, usize)]) {
        let (seed, world) = (self.seed, &self.world);
        let strategy = &world.course.strategy;
        let in_flight =
            world.members.iter().filter(|member| member.state == MemberState::InFlight).count();
        assert!(in_flight <= strategy.max_in_flight as usize, "seed {seed}: {in_flight} at a time");
        let minute_ago = world.now - seconds(60);
        let is_recent = |member: &&MemberFacts| member.begun_at.is_some_and(|at| at > minute_ago);
        let recent = world.members.iter().filter(is_recent).count();
        let begins = effects.iter().any(|effect| matches!(effect, Effect::Begin(_)));
        if let Some(rate) = strategy.per_minute.filter(|_| begins) {
            assert!(recent <= rate as usize, "seed {seed}: {recent} in a minute");
        }
        let now = self.bad_and_in_flight();
        if effects.iter().any(|effect| matches!(effect, Effect::Halt { .. })) {
            let mut tolerated = vec![0; now.len()];
            for (stage, tolerated) in tolerated.iter_mut().enumerate() {
                let members =
                    world.members.iter().filter(|member| member.stage as usize == stage).count();
                let part = members * usize::from(strategy.tolerated.percent) / 100;
                *tolerated = part.max(strategy.tolerated.count as usize);
            }
            for stage in 0..now.len() {
                let most = tolerated[stage] + before[stage].1;
                assert!(now[stage].0 <= most, "seed {seed}: {now:?} of {tolerated:?} {before:?}");
            }
            self.bound = Some(now.iter().map(|(bad, in_flight)| bad + in_flight).collect());
        }
        if let Some(bound) = &self.bound {
            let is_within = now.iter().zip(bound).all(|((bad, _), bound)| bad <= bound);
            assert!(is_within, "seed {seed}: {now:?} is more than {bound:?}, and it is halted");
        }
    }

    /// Everybody comes, and the operator stays: each member gets its outcome.
    fn comes_to_an_end(&mut self) {
        for member in &mut self.world.members {
            member.paused = false;
            member.release_available = true;
        }
        for _ in 0..STEPS_TO_THE_END {
            if self.world.course.state == RolloutState::Completed {
                return;
            }
            for index in 0..self.world.members.len() {
                let nature = self.natures[&self.world.members[index].id];
                let member = &mut self.world.members[index];
                member.online = !(nature == Nature::Lost && member.in_hand);
                self.works_on_it(index);
            }
            self.resume();
            self.step();
            let effects = plan(&self.world.course, &self.world.members, self.world.now);
            if effects.effects.is_empty() {
                let hour = self.world.now + seconds(3600);
                self.world.now = effects.look_again_at.map_or(hour, |at| at.min(hour));
            }
        }
        let plan = plan(&self.world.course, &self.world.members, self.world.now);
        panic!("seed {} goes on for ever:\n{}", self.seed, super::table::of_plan(&plan).join("\n"));
    }
}

/// Neither excluded nor there already, in this fleet.
fn is_to_be_updated(member: &MemberFacts) -> bool {
    let is_old = member.running.as_ref().is_none_or(|running| *running == OLD.parse().unwrap());
    let is_known = member.running.is_some() || !member.online;
    is_old
        && is_known
        && !member.overtaken
        && !member.held
        && member.pinned.is_none()
        && member.release_available
}
