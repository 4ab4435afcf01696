//! One update of one agent, as facts about it come in. Pure: time and facts are arguments.
//!
//! The outcome is what the *reconnected* agent says. A staging reply, or silence, is never a success.

use jiff::Timestamp;
use kenny_core::rollout::Attempt;
use kenny_proto::api::{TimelineEntry, Update, UpdateState};
use kenny_proto::frames::{ToolError, UpdateStatus};
use kenny_proto::update::{Failure, FailureKind};
use kenny_proto::{AgentId, Phase, SessionId, Sha256Digest, UpdateId, UpdateReport};
use semver::Version;

/// An update and what only the server needs to know of it.
#[derive(Debug, Clone, PartialEq)]
pub struct UpdateRecord {
    /// What the operator sees.
    pub update: Update,
    /// Going down was asked for.
    pub allow_downgrade: bool,
    /// How often `agent.update` was sent for it.
    pub sent: u32,
    /// The agent answered that the candidate is staged.
    pub staged_reply: bool,
    /// The connection on which the agent works on it.
    pub session: Option<SessionId>,
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

/// True when the text names the version, by SemVer precedence.
pub fn is_version(text: &str, version: &str) -> bool {
    match (Version::parse(text), Version::parse(version)) {
        (Ok(one), Ok(other)) => one.cmp_precedence(&other).is_eq(),
        (Err(_), _) | (_, Err(_)) => text == version,
    }
}

impl UpdateRecord {
    /// The operator asked for it.
    pub fn requested(
        agent_id: AgentId,
        from_version: Option<String>,
        version: &Version,
        allow_downgrade: bool,
        now: Timestamp,
    ) -> Self {
        let mut record = Self {
            update: Update {
                id: UpdateId::random(),
                agent_id,
                from_version,
                version: version.to_string(),
                sha256: None,
                state: UpdateState::Waiting,
                phase: None,
                percent: None,
                failure: None,
                requested_at: now,
                finished_at: None,
                timeline: Vec::new(),
                journal: Vec::new(),
            },
            allow_downgrade,
            sent: 0,
            staged_reply: false,
            session: None,
        };
        record.enter("requested", now, None);
        record
    }

    /// True while an outcome is awaited.
    pub const fn is_open(&self) -> bool {
        !self.update.state.is_final()
    }

    /// What the rollout decision needs to know of it, on this connection.
    pub fn attempt(&self, session: SessionId) -> Attempt {
        Attempt {
            state: self.update.state,
            sent: self.sent,
            in_hand: self.session == Some(session),
        }
    }

    /// `agent.update` goes out on this connection.
    pub fn sent(&mut self, sha256: Sha256Digest, session: SessionId, now: Timestamp) {
        self.sent += 1;
        let again = (self.sent > 1)
            .then(|| format!("sent again ({} of {})", self.sent, kenny_core::rollout::MAX_SENDS));
        self.update.sha256 = Some(sha256);
        self.update.state = UpdateState::Running;
        self.update.phase = None;
        self.update.percent = None;
        self.staged_reply = false;
        self.session = Some(session);
        self.enter("sent", now, again);
    }

    /// The agent answered the request with an error.
    pub fn refused(&mut self, session: SessionId, error: &ToolError, now: Timestamp) -> Applied {
        if !self.is_open() || self.session != Some(session) {
            return Applied::Late;
        }
        let failure = self
            .update
            .failure
            .take()
            .unwrap_or_else(|| Failure { kind: FailureKind::Refused, detail: error.to_string() });
        self.finish(UpdateState::Failed, Some(failure), now)
    }

    /// The agent answered that the candidate is staged: a step on the way, not an outcome.
    pub fn staged(&mut self, session: SessionId, now: Timestamp) -> Applied {
        if !self.is_open() || self.session != Some(session) {
            return Applied::Late;
        }
        self.staged_reply = true;
        if self.update.phase.is_none_or(|phase| phase < Phase::Staged) {
            self.update.phase = Some(Phase::Staged);
            self.update.percent = None;
            self.enter(Phase::Staged.as_str(), now, None);
        }
        Applied::Changed
    }

    /// The agent reported a phase. `running` is the version that it registered with.
    pub fn status(
        &mut self,
        status: &UpdateStatus,
        session: SessionId,
        running: &str,
        now: Timestamp,
    ) -> Applied {
        if !self.is_open() {
            return self.explained(status);
        }
        self.session = Some(session);
        if self.update.state == UpdateState::Waiting {
            self.update.state = UpdateState::Running;
        }
        if self.update.phase.is_some_and(|phase| status.phase < phase) {
            return Applied::Nothing;
        }
        let on_target = is_version(running, &self.update.version);
        match status.phase {
            Phase::Committed if on_target => {
                self.enter_once(Phase::Committed.as_str(), now, status.detail.clone());
                self.update.phase = Some(Phase::Committed);
                self.finish(UpdateState::Succeeded, None, now)
            }
            Phase::RolledBack => {
                let failure = reason(status.failure.as_ref(), status.detail.as_deref());
                self.update.phase = Some(Phase::RolledBack);
                self.finish(UpdateState::RolledBack, Some(failure), now)
            }
            Phase::Failed => {
                let failure = reason(status.failure.as_ref(), status.detail.as_deref());
                self.update.phase = Some(Phase::Failed);
                self.finish(UpdateState::Failed, Some(failure), now)
            }
            // A commit told by an agent that runs something else is believed once it registers with the new version.
            Phase::Accepted
            | Phase::Downloading
            | Phase::Verifying
            | Phase::Preflight
            | Phase::Staged
            | Phase::Swapping
            | Phase::Probation
            | Phase::Committed => {
                if self.update.phase == Some(status.phase) {
                    if self.update.percent == status.percent {
                        return Applied::Nothing;
                    }
                    self.update.percent = status.percent;
                    return Applied::Progress;
                }
                self.update.phase = Some(status.phase);
                self.update.percent = status.percent;
                self.enter(status.phase.as_str(), now, status.detail.clone());
                if status.phase == Phase::Probation && on_target {
                    self.update.state = UpdateState::Online;
                    self.enter_once("online", now, None);
                }
                Applied::Changed
            }
        }
    }

    /// A failure that was only known as a refusal gets its reason when the report overtakes the answer.
    fn explained(&mut self, status: &UpdateStatus) -> Applied {
        let bare = self.update.state == UpdateState::Failed
            && self.update.failure.as_ref().is_some_and(|known| known.kind == FailureKind::Refused);
        match &status.failure {
            Some(failure) if bare && status.phase == Phase::Failed => {
                self.update.failure = Some(failure.clone());
                Applied::Changed
            }
            Some(_) | None => Applied::Late,
        }
    }

    /// The connection ended.
    pub fn disconnected(&mut self, session: SessionId, now: Timestamp) -> Applied {
        if !self.is_open() || self.session != Some(session) {
            return Applied::Nothing;
        }
        self.session = None;
        self.update.percent = None;
        if self.update.phase.is_some_and(|phase| matches!(phase, Phase::Staged | Phase::Swapping)) {
            self.enter_once("stopped", now, None);
        }
        Applied::Changed
    }

    /// The agent registered: what it runs, and what it says, decide.
    pub fn registered(&mut self, facts: &Registered<'_>, now: Timestamp) -> Applied {
        if !self.is_open() {
            return Applied::Nothing;
        }
        if let Some(previous) = self.session
            && previous != facts.session
        {
            self.disconnected(previous, now);
        }
        let on_target = is_version(facts.version, &self.update.version);
        match facts.report.filter(|report| report.update_id == self.update.id) {
            Some(report) => self.reported(report, facts, on_target, now),
            None if on_target => {
                let detail = if self.sent == 0 {
                    format!("already runs {}", facts.version)
                } else {
                    format!("registered with {}", facts.version)
                };
                self.enter_once("online", now, Some(detail));
                self.finish(UpdateState::Succeeded, None, now)
            }
            None if self.sent > 0 && self.staged_reply && !facts.speaks_0_3 => {
                let failure = Failure {
                    kind: FailureKind::Other,
                    detail: format!(
                        "the agent staged {} and came back on {} without saying why",
                        self.update.version, facts.version
                    ),
                };
                self.finish(UpdateState::RolledBack, Some(failure), now)
            }
            // It knows nothing of the update: the decision sends it (again).
            None => Applied::Nothing,
        }
    }

    fn reported(
        &mut self,
        report: &UpdateReport,
        facts: &Registered<'_>,
        on_target: bool,
        now: Timestamp,
    ) -> Applied {
        self.update.journal.clone_from(&report.history);
        self.update.phase = self.update.phase.max(Some(report.phase));
        match report.phase {
            Phase::RolledBack => {
                let failure = reason(report.failure.as_ref(), None);
                self.finish(UpdateState::RolledBack, Some(failure), now)
            }
            Phase::Failed => {
                let failure = reason(report.failure.as_ref(), None);
                self.finish(UpdateState::Failed, Some(failure), now)
            }
            Phase::Committed if on_target => {
                self.online(report, facts, now);
                self.enter_once(Phase::Committed.as_str(), now, None);
                self.finish(UpdateState::Succeeded, None, now)
            }
            Phase::Committed => {
                let failure = Failure {
                    kind: FailureKind::Other,
                    detail: format!(
                        "the agent says that it went to {} for good, and yet it runs {}",
                        self.update.version, facts.version
                    ),
                };
                self.finish(UpdateState::RolledBack, Some(failure), now)
            }
            Phase::Accepted
            | Phase::Downloading
            | Phase::Verifying
            | Phase::Preflight
            | Phase::Staged
            | Phase::Swapping
            | Phase::Probation => {
                self.session = Some(facts.session);
                if on_target {
                    self.update.state = UpdateState::Online;
                    self.online(report, facts, now);
                } else {
                    self.update.state = UpdateState::Running;
                }
                Applied::Changed
            }
        }
    }

    fn online(&mut self, report: &UpdateReport, facts: &Registered<'_>, now: Timestamp) {
        let started = report
            .history
            .iter()
            .rev()
            .find(|moment| {
                moment.step.as_deref() == Some("started") || moment.phase == Phase::Probation
            })
            .map(|moment| format!("at {} by the PC's clock", moment.at));
        self.enter_once("started", now, started);
        self.enter_once("online", now, Some(format!("registered with {}", facts.version)));
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
                "it was sent {} times and the agent never took it; look at the agent's log, then ask for the update again",
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

fn reason(failure: Option<&Failure>, detail: Option<&str>) -> Failure {
    failure.cloned().unwrap_or_else(|| Failure {
        kind: FailureKind::Other,
        detail: detail.unwrap_or("the agent gave no reason").to_owned(),
    })
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
