//! What an agent says of an update, while it works on it and when it is back.

use jiff::Timestamp;
use kenny_proto::api::{UpdateKind, UpdateOrigin, UpdateState};
use kenny_proto::frames::UpdateStatus;
use kenny_proto::update::{Failure, FailureKind, LOG_LINE_BYTES, LOG_LINES};
use kenny_proto::{Phase, SessionId, UpdateReport};

use super::{Applied, Registered, UpdateRecord, is_version};

/// Most steps that are kept of an agent's journal: an update has about fifteen, one that is interrupted at each of
/// them twice that.
const JOURNAL_STEPS: usize = 100;

impl UpdateRecord {
    /// The agent reported a phase. `running` is the version that it registered with.
    pub fn status(
        &mut self,
        status: &UpdateStatus,
        session: SessionId,
        running: &str,
        now: Timestamp,
    ) -> Applied {
        if !self.is_open() {
            return if self.explained(status.phase, status.failure.as_ref()) {
                Applied::Changed
            } else {
                Applied::Late
            };
        }
        self.session = Some(session);
        let on_target = is_version(running, &self.update.version);
        let phase = self.update.phase.map_or(status.phase, |known| known.max(status.phase));
        let proves_itself = on_target && phase >= Phase::Probation;
        let state = if proves_itself { UpdateState::Online } else { UpdateState::Running };
        let was_silent = self.heard(now, state);
        if self.update.state == UpdateState::Waiting {
            self.update.state = UpdateState::Running;
        }
        match self.advanced(status, on_target, now) {
            Applied::Nothing | Applied::Progress if was_silent => Applied::Changed,
            applied @ (Applied::Nothing | Applied::Progress | Applied::Changed | Applied::Late) => {
                applied
            }
        }
    }

    fn advanced(&mut self, status: &UpdateStatus, on_target: bool, now: Timestamp) -> Applied {
        if self.update.phase.is_some_and(|phase| status.phase < phase) {
            return Applied::Nothing;
        }
        match status.phase {
            Phase::Committed if on_target => {
                self.enter_once(Phase::Committed.as_str(), now, status.detail.clone());
                self.update.phase = Some(Phase::Committed);
                self.finish(UpdateState::Succeeded, None, now)
            }
            Phase::RolledBack if self.went_back(on_target) => {
                self.update.phase = Some(Phase::RolledBack);
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

    /// To be back is what a rollback is for, whichever word the agent has for it.
    fn went_back(&self, on_target: bool) -> bool {
        self.update.kind == UpdateKind::Rollback && on_target
    }

    /// A failure that was only known from the agent's answer gets its reason when that overtook the report.
    fn explained(&mut self, phase: Phase, failure: Option<&Failure>) -> bool {
        let bare = self.update.state == UpdateState::Failed
            && self.update.phase != Some(Phase::Failed)
            && self.update.failure.as_ref().is_some_and(|known| {
                matches!(known.kind, FailureKind::Refused | FailureKind::Other)
            });
        let Some(failure) = failure.filter(|_| bare && phase == Phase::Failed) else {
            return false;
        };
        self.update.phase = Some(Phase::Failed);
        self.update.failure = Some(failure.clone());
        true
    }

    /// The agent registered: what it runs, and what it says, decide.
    pub fn registered(&mut self, facts: &Registered<'_>, now: Timestamp) -> Applied {
        let report = facts.report.filter(|report| report.update_id == self.update.id);
        if !self.is_open() {
            return report.map_or(Applied::Nothing, |report| self.told_more(report));
        }
        if let Some(previous) = self.session
            && previous != facts.session
        {
            self.disconnected(previous, now);
        }
        let on_target = is_version(facts.version, &self.update.version);
        match report {
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
            None if self.update.origin == UpdateOrigin::Agent => {
                let detail = "the agent registered and said nothing of it any more".to_owned();
                let failure = Failure { kind: FailureKind::Interrupted, detail };
                self.finish(UpdateState::Failed, Some(failure), now)
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
        self.take_history(report);
        self.update.phase = self.update.phase.max(Some(report.phase));
        match report.phase {
            Phase::RolledBack if !self.went_back(on_target) => {
                let failure = reason(report.failure.as_ref(), None);
                self.finish(UpdateState::RolledBack, Some(failure), now)
            }
            Phase::Failed => {
                let failure = reason(report.failure.as_ref(), None);
                self.finish(UpdateState::Failed, Some(failure), now)
            }
            Phase::Committed | Phase::RolledBack if on_target => {
                self.online(report, facts, now);
                self.enter_once(report.phase.as_str(), now, None);
                self.finish(UpdateState::Succeeded, None, now)
            }
            Phase::Committed | Phase::RolledBack => {
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
                let state = if on_target { UpdateState::Online } else { UpdateState::Running };
                self.heard(now, state);
                self.update.state = state;
                if on_target {
                    self.online(report, facts, now);
                }
                Applied::Changed
            }
        }
    }

    /// What a report adds once the outcome is known: the log comes with `register` only.
    fn told_more(&mut self, report: &UpdateReport) -> Applied {
        let explained = self.explained(report.phase, report.failure.as_ref());
        let before = (self.update.journal.len(), self.update.log.len());
        if report.history.len() > before.0 || report.log.len() > before.1 {
            self.take_history(report);
        }
        let after = (self.update.journal.len(), self.update.log.len());
        if explained || before != after { Applied::Changed } else { Applied::Nothing }
    }

    /// The agent's journal and the tail of its updater's log, within bounds.
    fn take_history(&mut self, report: &UpdateReport) {
        let surplus = report.history.len().saturating_sub(JOURNAL_STEPS);
        self.update.journal = report.history[surplus..].to_vec();
        let surplus = report.log.len().saturating_sub(LOG_LINES);
        self.update.log = report.log[surplus..].iter().map(|line| bounded(line)).collect();
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
}

fn bounded(line: &str) -> String {
    line[..line.floor_char_boundary(LOG_LINE_BYTES)].to_owned()
}

fn reason(failure: Option<&Failure>, detail: Option<&str>) -> Failure {
    failure.cloned().unwrap_or_else(|| Failure {
        kind: FailureKind::Other,
        detail: detail.unwrap_or("the agent gave no reason").to_owned(),
    })
}
