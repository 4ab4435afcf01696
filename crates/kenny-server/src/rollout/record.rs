//! One update of one agent, as facts about it come in. Pure: time and facts are arguments.
//!
//! The outcome is what the *reconnected* agent says. A staging reply, or silence, is never a success, and silence is
//! never a failure either: it is shown as unknown until the agent speaks again.

mod reports;

use jiff::Timestamp;
use kenny_core::rollout::{Attempt, Pace, Standing, Tally};
use kenny_proto::api::{TimelineEntry, Update, UpdateKind, UpdateOrigin, UpdateState};
use kenny_proto::frames::{ErrorCode, ToolError};
use kenny_proto::update::{Failure, FailureKind};
use kenny_proto::{AgentId, Phase, RolloutId, SessionId, Sha256Digest, UpdateId, UpdateReport};
use semver::Version;

/// An update and what only the server needs to know of it.
#[derive(Debug, Clone, PartialEq)]
pub struct UpdateRecord {
    /// What the operator sees.
    pub update: Update,
    /// Going down was asked for.
    pub allow_downgrade: bool,
    /// The attempts before this one.
    pub tally: Tally,
    /// How often it was sent.
    pub sent: u32,
    /// The agent answered that the candidate is staged.
    pub staged_reply: bool,
    /// The connection on which the agent works on it.
    pub session: Option<SessionId>,
    /// When the agent was last heard of about it, by this process: silence counts from there, and the time in which
    /// no server ran does not.
    pub heard_at: Option<Timestamp>,
}

/// What a fact did to a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// Nothing new.
    Nothing,
    /// Only the percentage moved: worth showing, not worth keeping.
    Progress,
    /// The record changed.
    Changed,
    /// It came after the outcome was known.
    Late,
}

/// What an agent said when it registered.
#[derive(Debug, Clone, Copy)]
pub struct Registered<'a> {
    /// The connection.
    pub session: SessionId,
    /// The version that runs.
    pub version: &'a str,
    /// It announced 0.3 or later, so it could say how an update went.
    pub speaks_0_3: bool,
    /// What it says of its last update.
    pub report: Option<&'a UpdateReport>,
}

/// What is to be made a record of.
#[derive(Debug)]
pub struct Wanted {
    /// The agent.
    pub agent_id: AgentId,
    /// What it does.
    pub kind: UpdateKind,
    /// Who starts it.
    pub origin: UpdateOrigin,
    /// The rollout that it is part of.
    pub rollout: Option<RolloutId>,
    /// What runs.
    pub from_version: Option<String>,
    /// What should run.
    pub version: Version,
    /// Go there even if what runs is newer.
    pub allow_downgrade: bool,
    /// The attempts before it.
    pub tally: Tally,
}

/// True when the text names the version, by SemVer precedence.
pub fn is_version(text: &str, version: &str) -> bool {
    match (Version::parse(text), Version::parse(version)) {
        (Ok(one), Ok(other)) => one.cmp_precedence(&other).is_eq(),
        (Err(_), _) | (_, Err(_)) => text == version,
    }
}

impl UpdateRecord {
    /// It is to be done.
    pub fn requested(wanted: Wanted, now: Timestamp) -> Self {
        let mut record = Self::new(UpdateId::random(), wanted, now);
        let attempt = record.update.attempt;
        let detail = match record.update.origin {
            UpdateOrigin::Retry => {
                Some(format!("attempt {attempt}: the server tries again by itself"))
            }
            UpdateOrigin::Operator | UpdateOrigin::Agent | UpdateOrigin::Rollout => {
                (attempt > 1).then(|| format!("attempt {attempt}"))
            }
        };
        record.enter("requested", now, detail);
        record
    }

    /// The agent tells of an update that was not started here.
    pub fn told(agent_id: AgentId, report: &UpdateReport, tally: Tally, now: Timestamp) -> Self {
        let wanted = Wanted {
            agent_id,
            kind: if report.rollback { UpdateKind::Rollback } else { UpdateKind::Update },
            origin: UpdateOrigin::Agent,
            rollout: None,
            from_version: Some(report.from_version.to_string()),
            version: report.version.clone(),
            allow_downgrade: false,
            tally,
        };
        let mut record = Self::new(report.update_id, wanted, now);
        record.update.sha256 = Some(report.sha256);
        let detail = "it was not started by this server; the agent told of it".to_owned();
        record.enter("told", now, Some(detail));
        record
    }

    fn new(id: UpdateId, wanted: Wanted, now: Timestamp) -> Self {
        Self {
            update: Update {
                id,
                agent_id: wanted.agent_id,
                kind: wanted.kind,
                origin: wanted.origin,
                rollout: wanted.rollout,
                attempt: wanted.tally.attempts.saturating_add(1),
                from_version: wanted.from_version,
                version: wanted.version.to_string(),
                sha256: None,
                state: UpdateState::Waiting,
                phase: None,
                percent: None,
                failure: None,
                requested_at: now,
                finished_at: None,
                timeline: Vec::new(),
                journal: Vec::new(),
                log: Vec::new(),
            },
            allow_downgrade: wanted.allow_downgrade,
            tally: wanted.tally,
            sent: 0,
            staged_reply: false,
            session: None,
            heard_at: Some(now),
        }
    }

    /// True while an outcome is awaited.
    pub const fn is_open(&self) -> bool {
        !self.update.state.is_final()
    }

    /// What the rollout decision needs to know of it while it is open, on this connection.
    pub fn attempt(&self, session: SessionId) -> Attempt {
        Attempt { sent: self.sent, in_hand: self.session == Some(session) }
    }

    /// What it comes to for its version on its agent. A rollback that did not work out is the operator's to repeat.
    pub fn standing(&self) -> Standing {
        let update = &self.update;
        let ended_at = update.finished_at.unwrap_or(update.requested_at);
        match (update.kind, update.state) {
            (UpdateKind::Rollback, UpdateState::Failed | UpdateState::RolledBack) => {
                Standing::of(self.tally, UpdateState::Superseded, None, ended_at)
            }
            (UpdateKind::Rollback | UpdateKind::Update, state) => {
                let kind = update.failure.as_ref().map(|failure| failure.kind);
                Standing::of(self.tally, state, kind, ended_at)
            }
        }
    }

    /// It goes out on this connection.
    pub fn sent(&mut self, sha256: Option<Sha256Digest>, session: SessionId, now: Timestamp) {
        self.sent += 1;
        let again = (self.sent > 1)
            .then(|| format!("sent again ({} of {})", self.sent, kenny_core::rollout::MAX_SENDS));
        self.update.sha256 = sha256;
        self.update.state = UpdateState::Running;
        self.update.phase = None;
        self.update.percent = None;
        self.staged_reply = false;
        self.session = Some(session);
        self.heard_at = Some(now);
        self.enter("sent", now, again);
    }

    /// The agent answered the request with an error.
    pub fn refused(&mut self, session: SessionId, error: &ToolError, now: Timestamp) -> Applied {
        if !self.is_open() || self.session != Some(session) {
            return Applied::Late;
        }
        let kind = match error.code {
            // The same request gets the same answer, until somebody changes something.
            ErrorCode::NotFound
            | ErrorCode::Unsupported
            | ErrorCode::BadArgs
            | ErrorCode::Refused => FailureKind::Refused,
            ErrorCode::Paused => return self.held_back(error, now),
            // It was tried. All that an agent of 0.2 says of any failure.
            ErrorCode::Timeout | ErrorCode::ExecFailed | ErrorCode::Internal => FailureKind::Other,
        };
        let mut detail = error.to_string();
        if self.update.kind == UpdateKind::Rollback && error.code == ErrorCode::NotFound {
            let Update { agent_id: agent, version, .. } = &self.update;
            detail = format!(
                "this agent cannot go back by itself ({detail}); `kenny update {agent} --to {version} --allow-downgrade` installs \
                 that version"
            );
        }
        let failure = self.update.failure.take().unwrap_or(Failure { kind, detail });
        self.finish(UpdateState::Failed, Some(failure), now)
    }

    /// Somebody at the PC paused the agent: it counts as never sent, and waits.
    fn held_back(&mut self, error: &ToolError, now: Timestamp) -> Applied {
        self.sent = self.sent.saturating_sub(1);
        self.session = None;
        self.update.state = UpdateState::Waiting;
        self.update.phase = None;
        self.update.percent = None;
        self.enter("paused", now, Some(format!("paused at the PC: {}", error.message)));
        Applied::Changed
    }

    /// The agent answered that the candidate is staged: a step on the way, not an outcome.
    pub fn staged(&mut self, session: SessionId, now: Timestamp) -> Applied {
        if !self.is_open() || self.session != Some(session) {
            return Applied::Late;
        }
        self.heard(now, UpdateState::Running);
        self.staged_reply = true;
        if self.update.phase.is_none_or(|phase| phase < Phase::Staged) {
            self.update.phase = Some(Phase::Staged);
            self.update.percent = None;
            self.enter(Phase::Staged.as_str(), now, None);
        }
        Applied::Changed
    }

    /// The connection ended.
    pub fn disconnected(&mut self, session: SessionId, now: Timestamp) -> Applied {
        if !self.is_open() || self.session != Some(session) {
            return Applied::Nothing;
        }
        self.session = None;
        self.heard_at = Some(now);
        self.update.percent = None;
        if self.update.phase.is_some_and(|phase| matches!(phase, Phase::Staged | Phase::Swapping)) {
            self.enter_once("stopped", now, None);
        }
        Applied::Changed
    }

    /// Time passed. `may_be_silent` says that the agent has nothing to report with and is at work.
    pub fn passed(&mut self, may_be_silent: bool, pace: &Pace, now: Timestamp) -> Applied {
        match self.update.state {
            UpdateState::Running | UpdateState::Online => {}
            UpdateState::Waiting
            | UpdateState::Unknown
            | UpdateState::Succeeded
            | UpdateState::RolledBack
            | UpdateState::Failed
            | UpdateState::Superseded => return Applied::Nothing,
        }
        let heard_at = *self.heard_at.get_or_insert(now);
        if may_be_silent || !pace.is_overdue(self.update.phase, heard_at, now) {
            return Applied::Nothing;
        }
        self.update.state = UpdateState::Unknown;
        self.update.percent = None;
        let phase = self.update.phase.map_or_else(
            || "when it was sent".to_owned(),
            |phase| format!("in the phase `{phase}`"),
        );
        self.enter("unknown", now, Some(format!("silent for too long, last heard of {phase}")));
        Applied::Changed
    }

    /// A word about it came. True when it was not known how it stands.
    fn heard(&mut self, now: Timestamp, state: UpdateState) -> bool {
        self.heard_at = Some(now);
        let silent = self.update.state == UpdateState::Unknown;
        if silent {
            self.update.state = state;
            self.enter("heard", now, None);
        }
        silent
    }

    /// The agent went back to another version than was expected.
    pub fn redirected(&mut self, version: &Version, now: Timestamp) {
        let detail = format!("the agent kept {version} and not {}", self.update.version);
        self.update.version = version.to_string();
        self.enter("redirected", now, Some(detail));
    }

    /// The agent runs it already: nothing is sent.
    pub fn already_runs(&mut self, now: Timestamp) {
        let detail = format!("already runs {}", self.update.version);
        self.enter_once("online", now, Some(detail));
        self.finish(UpdateState::Succeeded, None, now);
    }

    /// It was sent as often as it may be.
    pub fn give_up(&mut self, now: Timestamp) {
        let failure = Failure {
            kind: FailureKind::Refused,
            detail: format!(
                "it was sent {} times and the agent never took it; look at the agent's log, then ask again",
                self.sent
            ),
        };
        self.finish(UpdateState::Failed, Some(failure), now);
    }

    /// It cannot be carried out on this PC.
    pub fn impossible(&mut self, kind: FailureKind, detail: String, now: Timestamp) {
        self.finish(UpdateState::Failed, Some(Failure { kind, detail }), now);
    }

    /// Another intent took its place.
    pub fn superseded(&mut self, why: &str, now: Timestamp) {
        self.enter("superseded", now, Some(why.to_owned()));
        self.finish(UpdateState::Superseded, None, now);
    }

    fn finish(&mut self, state: UpdateState, failure: Option<Failure>, now: Timestamp) -> Applied {
        let step = match state {
            UpdateState::RolledBack => Some(Phase::RolledBack.as_str()),
            UpdateState::Failed => Some(Phase::Failed.as_str()),
            UpdateState::Waiting
            | UpdateState::Running
            | UpdateState::Online
            | UpdateState::Unknown
            | UpdateState::Succeeded
            | UpdateState::Superseded => None,
        };
        if let Some(step) = step {
            self.enter_once(step, now, failure.as_ref().map(|failure| failure.detail.clone()));
        }
        self.update.state = state;
        self.update.failure = failure;
        self.update.percent = None;
        self.update.finished_at = Some(now);
        self.session = None;
        Applied::Changed
    }

    fn enter(&mut self, step: &str, at: Timestamp, detail: Option<String>) {
        self.update.timeline.push(TimelineEntry { step: step.to_owned(), at, detail });
    }

    /// Once per sending: a step of an earlier attempt does not count.
    fn enter_once(&mut self, step: &str, at: Timestamp, detail: Option<String>) {
        let there = self
            .update
            .timeline
            .iter()
            .rev()
            .take_while(|entry| entry.step != "sent")
            .any(|entry| entry.step == step);
        if !there {
            self.enter(step, at, detail);
        }
    }
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
