//! A server that carries out effects to the letter of their documentation, and the agents that it knows.

use jiff::{SignedDuration, Timestamp};
use kenny_core::rollout::course::{Course, Effect, MemberFacts, Outcome};
use kenny_core::rollout::plan::plan;
use kenny_core::rollout::stages;
use kenny_proto::rollout::{Channel, MemberState, RolloutKind, RolloutState, Strategy};

/// A Monday, 00:00 UTC.
pub const MONDAY: &str = "2026-01-05T00:00:00Z";

/// What was there before.
pub const OLD: &str = "1.3.0";
/// The target.
pub const NEW: &str = "1.4.0";

pub fn monday() -> Timestamp {
    MONDAY.parse().unwrap()
}

pub fn seconds(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

/// An online agent on the old version.
pub fn agent(id: &str) -> MemberFacts {
    MemberFacts {
        id: id.parse().unwrap(),
        stage: 0,
        state: MemberState::Waiting,
        since: monday(),
        begun_at: None,
        forgiven: false,
        outcome: Outcome::None,
        wanted: false,
        in_hand: false,
        overtaken: false,
        online: true,
        paused: false,
        running: Some(OLD.parse().unwrap()),
        kept: None,
        channel: Channel::Stable,
        pinned: None,
        held: false,
        release_available: true,
        utc_offset_s: Some(0),
    }
}

/// A running update to [`NEW`] that starts on Monday.
pub fn course(strategy: Strategy) -> Course {
    Course {
        kind: RolloutKind::Update,
        version: NEW.parse().unwrap(),
        allow_downgrade: false,
        strategy,
        seed: 1,
        state: RolloutState::Running,
        stage: 0,
        stage_since: monday(),
        listening_since: monday() - seconds(86_400),
    }
}

pub struct World {
    pub course: Course,
    pub members: Vec<MemberFacts>,
    pub now: Timestamp,
}

impl World {
    pub fn member(&mut self, id: &str) -> &mut MemberFacts {
        self.members
            .iter_mut()
            .find(|member| member.id.as_str() == id)
            .unwrap_or_else(|| panic!("no member {id}"))
    }

    pub fn start(&mut self) {
        self.course.stage_since = self.now;
        self.course.listening_since = self.now - seconds(86_400);
        for member in &mut self.members {
            member.since = self.now;
        }
        stages::cut(&self.course, &mut self.members);
    }

    /// Asks, and carries out, until nothing is due; returns what was done.
    pub fn settle(&mut self) -> Vec<Effect> {
        let mut done = Vec::new();
        loop {
            let effects = plan(&self.course, &self.members, self.now).effects;
            if effects.is_empty() {
                return done;
            }
            assert!(done.len() < 10_000, "it never ends: {effects:?}");
            self.carry_out(&effects);
            done.extend(effects);
        }
    }

    pub fn carry_out(&mut self, effects: &[Effect]) {
        for effect in effects {
            self.carry_out_one(effect);
        }
    }

    fn carry_out_one(&mut self, effect: &Effect) {
        let now = self.now;
        match effect {
            Effect::ClockWentBack => {
                self.course.stage_since = self.course.stage_since.min(now);
                for member in &mut self.members {
                    member.since = member.since.min(now);
                    member.begun_at = member.begun_at.map(|at| at.min(now));
                }
            }
            Effect::Settle { agent, to, .. } => {
                let member = self.member(agent.as_str());
                (member.state, member.since, member.forgiven) = (*to, now, false);
                member.wanted &= *to == MemberState::Silent;
            }
            Effect::TakeBack(agent) => {
                let member = self.member(agent.as_str());
                member.wanted = false;
                if member.state == MemberState::InFlight {
                    (member.state, member.since) = (MemberState::Waiting, now);
                }
            }
            Effect::Begin(agent) => {
                let member = self.member(agent.as_str());
                (member.state, member.since, member.forgiven) = (MemberState::InFlight, now, false);
                member.begun_at = Some(now);
                member.wanted = true;
                member.outcome = Outcome::None;
                // The reconciler sends it at once.
                member.in_hand = member.online;
            }
            Effect::Advance { to } => {
                (self.course.stage, self.course.stage_since) = (*to, now);
            }
            Effect::Halt { .. } => self.course.state = RolloutState::Halted,
            Effect::Complete { .. } => self.course.state = RolloutState::Completed,
        }
    }

    /// The operator's word.
    pub fn resume(&mut self, retry_failed: bool) {
        self.course.state = RolloutState::Running;
        for member in self.members.iter_mut().filter(|member| member.state.is_bad()) {
            if retry_failed {
                (member.state, member.since) = (MemberState::Waiting, self.now);
                (member.wanted, member.in_hand, member.outcome) = (false, false, Outcome::None);
            } else {
                member.forgiven = true;
            }
        }
    }

    /// The agent reports that its update is through.
    pub fn succeeds(&mut self, id: &str) {
        let target = match self.course.kind {
            RolloutKind::Update => Some(self.course.version.clone()),
            RolloutKind::Rollback => self.member(id).kept.clone(),
        };
        let member = self.member(id);
        member.kept = member.running.take();
        member.running = target;
        (member.outcome, member.in_hand) = (Outcome::Succeeded, false);
    }

    /// The agent reports that its update came to nothing.
    pub fn fails(&mut self, id: &str, outcome: Outcome) {
        let member = self.member(id);
        (member.outcome, member.in_hand) = (outcome, false);
    }
}
