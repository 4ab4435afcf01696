//! The update engine's decisions: what follows after each step, and where to go on after an interruption.
//!
//! An update is a [`Journal`] that moves through [`Step`]s. Whoever carries it out (the agent up to
//! `Staged`, the updater after that) performs one [`Effect`], reports what came of it as an [`Event`], asks
//! [`step`] what follows, and writes the new journal down before acting on it. Effects can be repeated:
//! after an interruption [`recover`] names the one to go on with.

use std::fmt;

use jiff::Timestamp;
use kenny_proto::update::Failure;
use kenny_proto::{FailureKind, Phase, PhaseAt, Sha256Digest, UpdateId, UpdateReport};
use semver::Version;
use serde::{Deserialize, Serialize};

/// The layout of the journal file that this code writes.
pub const JOURNAL_FORMAT: u32 = 1;

/// Where an update stands: the only memory across processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// [`JOURNAL_FORMAT`] of the code that wrote it.
    pub format: u32,
    /// The server's name for the update, or one that the agent made.
    pub update_id: UpdateId,
    /// The version that ran before.
    pub from_version: Version,
    /// Digest of the executable that ran before.
    pub from_sha256: Sha256Digest,
    /// The version that was requested.
    pub version: Version,
    /// The digest that was requested.
    pub sha256: Sha256Digest,
    /// Where the candidate comes from.
    pub url: String,
    /// The step that is being carried out.
    pub step: Step,
    /// Why it did not work out, once that is clear.
    pub failure: Option<Failure>,
    /// Each step with its time, oldest first.
    pub history: Vec<PhaseAt>,
}

/// The steps in order. Each is journaled before it is acted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Agent: the request was taken.
    Accepted,
    /// Agent: fetches the candidate.
    Downloading,
    /// Agent: checks hash, platform and version.
    Verifying,
    /// Agent: keeps *previous* and starts the updater.
    Staging,
    /// Agent: answers; the updater waits for the word.
    Staged,
    /// Updater: stops the service.
    Stopping,
    /// Updater: puts the candidate in place.
    Replacing,
    /// Updater: starts the service.
    Starting,
    /// Updater: watches the new version prove itself.
    Watching,
    /// Updater: puts *previous* back.
    Restoring,
    /// Updater: starts the service on the old version.
    Reviving,
    /// The new version stays.
    Committed,
    /// The old version is back.
    RolledBack,
    /// It ended before anything was stopped.
    Failed,
}

impl Step {
    /// The phase that this step belongs to, given the phase so far: a rollback stays in the phase that it
    /// began in until it is done, because phases only move forward.
    const fn phase(self, so_far: Phase) -> Phase {
        match self {
            Self::Accepted => Phase::Accepted,
            Self::Downloading => Phase::Downloading,
            Self::Verifying => Phase::Verifying,
            Self::Staging => Phase::Preflight,
            Self::Staged => Phase::Staged,
            Self::Stopping | Self::Replacing | Self::Starting => Phase::Swapping,
            Self::Watching => Phase::Probation,
            Self::Restoring | Self::Reviving => so_far,
            Self::Committed => Phase::Committed,
            Self::RolledBack => Phase::RolledBack,
            Self::Failed => Phase::Failed,
        }
    }

    /// What the step's beginning means for the timeline, where that is finer than its phase.
    const fn milestone(self) -> Option<&'static str> {
        match self {
            Self::Verifying => Some("downloaded"),
            Self::Staging => Some("verified"),
            Self::Stopping => Some("stopping"),
            Self::Replacing => Some("stopped"),
            Self::Starting => Some("replaced"),
            Self::Watching => Some("started"),
            Self::Restoring => Some("restoring"),
            Self::Reviving => Some("restored"),
            Self::Accepted
            | Self::Downloading
            | Self::Staged
            | Self::Committed
            | Self::RolledBack
            | Self::Failed => None,
        }
    }

    /// True for the three steps that are never left.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Committed | Self::RolledBack | Self::Failed)
    }
}

/// What came of an effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The driver is ready to fetch.
    Begun,
    /// The candidate lies on disk.
    Downloaded,
    /// It is what was announced.
    Verified,
    /// *Previous* is kept and the updater runs.
    UpdaterReady,
    /// The answer was flushed to the server, or the agent is gone and will not say it any more.
    Released,
    /// The service is stopped and its process gone.
    Stopped,
    /// The candidate stands at the active path.
    Replaced,
    /// The service was started.
    Started,
    /// The new version proved itself.
    Proven,
    /// *Previous* stands at the active path.
    Restored,
    /// The service runs on the old version.
    Revived,
    /// The effect, or the new version, failed.
    Failed(Failure),
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Fetch the candidate.
    Download,
    /// Check hash, platform and version of what lies on disk.
    Verify,
    /// Keep *previous* and start the updater.
    StartUpdater,
    /// Answer the server, then give the updater the word.
    Reply,
    /// Check the hash again, stop the service, wait until its process is gone.
    Stop,
    /// Put the candidate at the active path.
    Replace,
    /// Start the service.
    Start,
    /// Watch the new version until a verdict.
    Watch,
    /// Stop the service and put *previous* back at the active path; retried until it works.
    Restore,
    /// Start the service on the old version; retried until it works.
    Revive,
    /// Nothing is left but to remove what is not needed any more.
    CleanUp,
}

/// The event does not belong to the step: a defect in the driver, never acted on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{event} does not follow {step:?}")]
pub struct Unexpected {
    step: Step,
    event: String,
}

impl Journal {
    /// A new update, accepted at `now`.
    pub fn accepted(
        update_id: UpdateId,
        from: (Version, Sha256Digest),
        to: (Version, Sha256Digest),
        url: String,
        now: Timestamp,
    ) -> Self {
        Self {
            format: JOURNAL_FORMAT,
            update_id,
            from_version: from.0,
            from_sha256: from.1,
            version: to.0,
            sha256: to.1,
            url,
            step: Step::Accepted,
            failure: None,
            history: vec![PhaseAt { phase: Phase::Accepted, step: None, at: now }],
        }
    }

    /// The phase that the update is in.
    pub fn phase(&self) -> Phase {
        self.step.phase(self.history.last().map_or(Phase::Accepted, |last| last.phase))
    }

    /// True while the update has no outcome.
    pub fn is_open(&self) -> bool {
        !self.step.is_final()
    }

    /// What the server is told.
    pub fn report(&self) -> UpdateReport {
        UpdateReport {
            update_id: self.update_id,
            from_version: self.from_version.clone(),
            version: self.version.clone(),
            sha256: self.sha256,
            phase: self.phase(),
            failure: self.failure.clone(),
            history: self.history.clone(),
            rollback: false,
            log: Vec::new(),
        }
    }

    fn at(&self, step: Step, now: Timestamp) -> Self {
        let entry = PhaseAt {
            phase: step.phase(self.phase()),
            step: step.milestone().map(str::to_owned),
            at: now,
        };
        let mut history = self.history.clone();
        history.push(entry);
        Self { step, history, ..self.clone() }
    }

    fn failed_at(&self, step: Step, failure: Failure, now: Timestamp) -> Self {
        Self { failure: Some(failure), ..self.at(step, now) }
    }
}

/// What follows: the journal to write down, then the effect to carry out.
pub fn step(
    journal: &Journal,
    event: Event,
    now: Timestamp,
) -> Result<(Journal, Effect), Unexpected> {
    let to = |step: Step, effect: Effect| Ok((journal.at(step, now), effect));
    match (journal.step, event) {
        (Step::Accepted, Event::Begun) => to(Step::Downloading, Effect::Download),
        (Step::Downloading, Event::Downloaded) => to(Step::Verifying, Effect::Verify),
        (Step::Verifying, Event::Verified) => to(Step::Staging, Effect::StartUpdater),
        (Step::Staging, Event::UpdaterReady) => to(Step::Staged, Effect::Reply),
        (Step::Staged, Event::Released) => to(Step::Stopping, Effect::Stop),
        (Step::Stopping, Event::Stopped) => to(Step::Replacing, Effect::Replace),
        // After an interruption the service is stopped once more; that is no new step.
        (Step::Replacing, Event::Stopped) => Ok((journal.clone(), Effect::Replace)),
        (Step::Replacing, Event::Replaced) => to(Step::Starting, Effect::Start),
        (Step::Starting, Event::Started) => to(Step::Watching, Effect::Watch),
        (Step::Watching, Event::Proven) => to(Step::Committed, Effect::CleanUp),
        (Step::Restoring, Event::Restored) => to(Step::Reviving, Effect::Revive),
        (Step::Reviving, Event::Revived) => to(Step::RolledBack, Effect::CleanUp),
        // Nothing was touched yet: the old version simply stays.
        (
            Step::Accepted | Step::Downloading | Step::Verifying | Step::Staging | Step::Staged,
            Event::Failed(failure),
        ) => Ok((journal.failed_at(Step::Failed, failure, now), Effect::CleanUp)),
        // From the first touch of the service on, every failure ends with *previous* in place and running.
        (
            Step::Stopping | Step::Replacing | Step::Starting | Step::Watching,
            Event::Failed(failure),
        ) => Ok((journal.failed_at(Step::Restoring, failure, now), Effect::Restore)),
        (step, event) => Err(Unexpected { step, event: format!("{event:?}") }),
    }
}

/// What the updater finds when it starts over an open update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Digest of the executable at the active path; none where it cannot be read.
    pub active_sha256: Option<Sha256Digest>,
}

/// Where the updater goes on after an interruption. The journal is written down again only by the steps
/// that follow, so being interrupted here once more changes nothing.
pub fn recover(journal: &Journal, facts: Facts) -> Effect {
    let candidate_in_place = facts.active_sha256 == Some(journal.sha256);
    match journal.step {
        // The candidate was verified and the answer may or may not have left: wait for the word. The updater
        // is started before `Staged` is written down, so it can find `Staging` too.
        Step::Staging | Step::Staged => Effect::Reply,
        Step::Stopping => Effect::Stop,
        // A boot may have started the service in between: stop it (again) unless the swap was done.
        Step::Replacing if !candidate_in_place => Effect::Stop,
        Step::Replacing => Effect::Replace,
        Step::Starting => Effect::Start,
        Step::Watching => Effect::Watch,
        Step::Restoring => Effect::Restore,
        Step::Reviving => Effect::Revive,
        // Not the updater's yet, or over.
        Step::Accepted
        | Step::Downloading
        | Step::Verifying
        | Step::Committed
        | Step::RolledBack
        | Step::Failed => Effect::CleanUp,
    }
}

/// What an agent makes of the journal at its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtStart {
    /// No update is open.
    Nothing,
    /// An update was interrupted before it was staged: close it as failed.
    CloseInterrupted,
    /// The update is the updater's: see to it that the updater runs.
    EnsureUpdater,
}

/// What an agent does about an update that it finds at its start.
pub fn at_agent_start(journal: &Journal) -> AtStart {
    if !journal.is_open() {
        AtStart::Nothing
    } else if journal.step < Step::Staged {
        AtStart::CloseInterrupted
    } else {
        AtStart::EnsureUpdater
    }
}

/// How long the watch waits, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchLimits {
    /// How long the new version must stay accepted by the server.
    pub probation_ms: u64,
    /// How long it may take to be accepted while the server can be reached.
    pub connect_ms: u64,
}

/// What the watch sees in one look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// The service is not running, with what is known of its end.
    Dead(String),
    /// It runs and the server has not accepted it.
    Offline {
        /// The updater itself reaches the server: then the network is not to blame.
        server_reachable: bool,
    },
    /// The server accepted it.
    Online,
}

/// What the watch decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Look again.
    Wait,
    /// Start the service once more.
    StartAgain,
    /// The new version proved itself.
    Proven,
    /// It did not.
    RollBack(Failure),
}

/// The watch over a new version. It counts time that was observed, never the clock: a look that comes late
/// (sleep, a jump of the clock) counts as [`Watch::MOST_PER_LOOK_MS`] at most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Watch {
    deaths: u32,
    online_ms: u64,
    offline_ms: u64,
}

impl Watch {
    /// Most that one look adds: twice the longest pause between looks.
    pub const MOST_PER_LOOK_MS: u64 = 2_000;
    /// The death at which the new version is given up.
    pub const DEATHS: u32 = 2;

    /// Takes one look into account. `since_last_ms` is the time since the look before.
    pub fn look(&mut self, seen: Seen, since_last_ms: u64, limits: WatchLimits) -> Verdict {
        let observed_ms = since_last_ms.min(Self::MOST_PER_LOOK_MS);
        match seen {
            Seen::Dead(detail) => {
                self.online_ms = 0;
                self.deaths += 1;
                if self.deaths < Self::DEATHS {
                    return Verdict::StartAgain;
                }
                let detail = format!("the new version ended {} times: {detail}", self.deaths);
                Verdict::RollBack(Failure { kind: FailureKind::CandidateDied, detail })
            }
            Seen::Offline { server_reachable } => {
                self.online_ms = 0;
                if server_reachable {
                    self.offline_ms += observed_ms;
                }
                if self.offline_ms < limits.connect_ms {
                    return Verdict::Wait;
                }
                let seconds = self.offline_ms / 1000;
                let detail = format!(
                    "the new version runs, and in {seconds} s the server did not accept it, although this PC reaches the server"
                );
                Verdict::RollBack(Failure { kind: FailureKind::CandidateOffline, detail })
            }
            Seen::Online => {
                self.online_ms += observed_ms;
                self.offline_ms = 0;
                if self.online_ms >= limits.probation_ms { Verdict::Proven } else { Verdict::Wait }
            }
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accepted => "the request was taken",
            Self::Downloading => "the new version is being downloaded",
            Self::Verifying => "the download is being verified",
            Self::Staging => "the updater is being started",
            Self::Staged => "everything is ready for the swap",
            Self::Stopping => "the service is being stopped",
            Self::Replacing => "the executable is being replaced",
            Self::Starting => "the service is being started on the new version",
            Self::Watching => "the new version runs and has to prove itself",
            Self::Restoring => "the old executable is being put back",
            Self::Reviving => "the service is being started on the old version",
            Self::Committed => "the new version stays",
            Self::RolledBack => "the old version is back",
            Self::Failed => "nothing was changed",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal() -> Journal {
        let digest = |byte: u8| Sha256Digest([byte; 32]);
        Journal::accepted(
            UpdateId::random(),
            (Version::new(1, 0, 0), digest(1)),
            (Version::new(1, 1, 0), digest(2)),
            "http://127.0.0.1/a".to_owned(),
            Timestamp::UNIX_EPOCH,
        )
    }

    fn failure() -> Failure {
        Failure { kind: FailureKind::Swap, detail: "no".to_owned() }
    }

    const HAPPY: [Event; 9] = [
        Event::Begun,
        Event::Downloaded,
        Event::Verified,
        Event::UpdaterReady,
        Event::Released,
        Event::Stopped,
        Event::Replaced,
        Event::Started,
        Event::Proven,
    ];

    fn walk(events: &[Event]) -> (Journal, Effect) {
        let mut state = (journal(), Effect::CleanUp);
        for event in events {
            state = step(&state.0, event.clone(), Timestamp::UNIX_EPOCH).unwrap();
        }
        state
    }

    #[test]
    fn the_happy_path_commits_and_phases_only_move_forward() {
        let (journal, effect) = walk(&HAPPY);
        assert_eq!(journal.step, Step::Committed);
        assert_eq!(effect, Effect::CleanUp);
        assert!(journal.history.is_sorted_by_key(|entry| entry.phase));
    }

    #[test]
    fn a_failure_at_any_step_ends_on_a_running_agent() {
        for done in 0..HAPPY.len() {
            let (journal, _) = walk(&HAPPY[..done]);
            let (mut journal, mut effect) =
                step(&journal, Event::Failed(failure()), Timestamp::UNIX_EPOCH).unwrap();
            if done >= 5 {
                assert_eq!(effect, Effect::Restore, "after {done}");
                for event in [Event::Restored, Event::Revived] {
                    (journal, effect) = step(&journal, event, Timestamp::UNIX_EPOCH).unwrap();
                }
                assert_eq!(journal.step, Step::RolledBack);
            } else {
                assert_eq!(journal.step, Step::Failed);
            }
            assert_eq!(effect, Effect::CleanUp);
            assert_eq!(journal.failure, Some(failure()));
            assert!(journal.history.is_sorted_by_key(|entry| entry.phase));
            assert!(step(&journal, Event::Begun, Timestamp::UNIX_EPOCH).is_err());
        }
    }

    #[test]
    fn a_failed_rollback_step_is_never_an_outcome() {
        let (open, _) = walk(&HAPPY[..6]);
        let (restoring, _) = step(&open, Event::Failed(failure()), Timestamp::UNIX_EPOCH).unwrap();
        assert!(step(&restoring, Event::Failed(failure()), Timestamp::UNIX_EPOCH).is_err());
    }

    #[test]
    fn an_interrupted_swap_goes_on_where_it_stood() {
        let facts = |byte: u8| Facts { active_sha256: Some(Sha256Digest([byte; 32])) };
        let effects: Vec<Effect> =
            (4..9).map(|done| recover(&walk(&HAPPY[..done]).0, facts(1))).collect();
        let expected = [Effect::Reply, Effect::Stop, Effect::Stop, Effect::Start, Effect::Watch];
        assert_eq!(effects, expected);
        assert_eq!(recover(&walk(&HAPPY[..6]).0, facts(2)), Effect::Replace);
        assert_eq!(recover(&walk(&HAPPY).0, facts(2)), Effect::CleanUp);
    }

    #[test]
    fn an_agent_closes_only_what_was_not_staged() {
        let at = |done: usize| at_agent_start(&walk(&HAPPY[..done]).0);
        assert_eq!(at(0), AtStart::CloseInterrupted);
        assert_eq!(at(3), AtStart::CloseInterrupted);
        assert_eq!(at(4), AtStart::EnsureUpdater);
        assert_eq!(at(8), AtStart::EnsureUpdater);
        assert_eq!(at(9), AtStart::Nothing);
    }

    const LIMITS: WatchLimits = WatchLimits { probation_ms: 5_000, connect_ms: 10_000 };

    #[test]
    fn time_that_was_not_observed_proves_nothing() {
        let mut watch = Watch::default();
        assert_eq!(watch.look(Seen::Online, 3_600_000, LIMITS), Verdict::Wait);
        assert_eq!(watch.look(Seen::Online, 2_000, LIMITS), Verdict::Wait);
        assert_eq!(watch.look(Seen::Online, 1_000, LIMITS), Verdict::Proven);
    }

    #[test]
    fn a_network_that_is_down_is_not_the_versions_fault() {
        let mut watch = Watch::default();
        for _ in 0..1_000 {
            let seen = Seen::Offline { server_reachable: false };
            assert_eq!(watch.look(seen, 2_000, LIMITS), Verdict::Wait);
        }
        let mut verdict = Verdict::Wait;
        for _ in 0..5 {
            verdict = watch.look(Seen::Offline { server_reachable: true }, 2_000, LIMITS);
        }
        let Verdict::RollBack(failure) = verdict else { panic!("{verdict:?}") };
        assert_eq!(failure.kind, FailureKind::CandidateOffline);
    }

    #[test]
    fn the_second_death_rolls_back() {
        let mut watch = Watch::default();
        assert_eq!(watch.look(Seen::Dead("exit 1".to_owned()), 10, LIMITS), Verdict::StartAgain);
        assert_eq!(watch.look(Seen::Online, 10, LIMITS), Verdict::Wait);
        let verdict = watch.look(Seen::Dead("exit 1".to_owned()), 10, LIMITS);
        let Verdict::RollBack(failure) = verdict else { panic!("{verdict:?}") };
        assert_eq!(failure.kind, FailureKind::CandidateDied);
    }
}
