//! What follows from what: events, effects, and where to go on after an interruption.

use jiff::Timestamp;
use kenny_proto::update::Failure;
use kenny_proto::{FailureKind, Sha256Digest};

use super::journal::{Journal, Step};

/// The death at which a new version is given up: one may be bad luck, two are not.
pub const DEATHS: u32 = 2;
/// How often an agent that was started anew takes an update up again before it closes it: an agent that its own
/// update makes crash must come to an end with it.
pub const RESUMES: u32 = 3;
/// The start of a new version, within one update, at which it is given up although the updater may never have seen it
/// end: a PC that is restarted by it looks like that.
pub const STARTS: u32 = 3;

/// What came of an effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The driver is ready to fetch.
    Begun,
    /// The candidate lies on disk.
    Downloaded,
    /// It is what was announced.
    Verified,
    /// It works on this PC.
    ProvenBeside,
    /// *Previous* and the config (of this digest) are kept, and the updater runs.
    UpdaterReady(Option<Sha256Digest>),
    /// The answer was flushed to the server, or the agent is gone and will not say it any more.
    Released,
    /// The service is stopped and its process gone.
    Stopped,
    /// The candidate stands at the active path.
    Replaced,
    /// The service was started.
    Started,
    /// The new version did not start, or ended.
    Died(String),
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
    /// Let the candidate prove beside the old version that it works here.
    Preflight,
    /// Keep *previous* and the config, and start the updater.
    StartUpdater,
    /// Answer the server, then give the updater the word.
    Reply,
    /// Check the candidate again, stop the service, wait until its process is gone.
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

/// The event does not belong to the step: a defect of whoever performs the effects, never acted on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{event} does not follow {step:?}")]
pub struct Unexpected {
    step: Step,
    event: String,
}

/// What follows: the journal to write down, then the effect to carry out.
pub fn step(
    journal: &Journal,
    event: Event,
    now: Timestamp,
) -> Result<(Journal, Effect), Unexpected> {
    let to = |step: Step, effect: Effect| Ok((journal.at(step, now), effect));
    let give_up =
        |failure: Failure| Ok((journal.failed_at(Step::Restoring, failure, now), Effect::Restore));
    match (journal.step, event) {
        (Step::Accepted, Event::Begun) => to(Step::Downloading, Effect::Download),
        (Step::Downloading, Event::Downloaded) => to(Step::Verifying, Effect::Verify),
        (Step::Verifying, Event::Verified) => to(Step::Preflight, Effect::Preflight),
        (Step::Preflight, Event::ProvenBeside) => to(Step::Staging, Effect::StartUpdater),
        (Step::Staging, Event::UpdaterReady(config_sha256)) => {
            Ok((Journal { config_sha256, ..journal.at(Step::Staged, now) }, Effect::Reply))
        }
        (Step::Staged, Event::Released) => to(Step::Stopping, Effect::Stop),
        (Step::Stopping, Event::Stopped) => to(Step::Replacing, Effect::Replace),
        // After an interruption the service is stopped once more; that is no new step.
        (Step::Replacing, Event::Stopped) => Ok((journal.clone(), Effect::Replace)),
        (Step::Replacing, Event::Replaced) => to(Step::Starting, Effect::Start),
        (Step::Starting, Event::Started) => to(Step::Watching, Effect::Watch),
        // Started again after a death: no new step.
        (Step::Watching, Event::Started) => Ok((journal.clone(), Effect::Watch)),
        (Step::Starting | Step::Watching, Event::Died(detail)) => {
            let deaths = journal.deaths.saturating_add(1);
            let died = Journal { deaths, ..journal.clone() };
            if deaths < DEATHS {
                return Ok((died, Effect::Start));
            }
            let detail = format!("the new version did not start or ended {deaths} times: {detail}");
            let failure = Failure { kind: FailureKind::CandidateDied, detail };
            Ok((died.failed_at(Step::Restoring, failure, now), Effect::Restore))
        }
        (Step::Watching, Event::Proven) => {
            let mut proven = journal.at(Step::Committed, now);
            proven.quarantine.remove(journal.sha256);
            Ok((proven, Effect::CleanUp))
        }
        (Step::Restoring, Event::Restored) => to(Step::Reviving, Effect::Revive),
        (Step::Reviving, Event::Revived) => {
            let mut back = journal.at(Step::RolledBack, now);
            if blames_the_version(journal) {
                back.quarantine.add(&journal.version, journal.sha256, now);
            }
            Ok((back, Effect::CleanUp))
        }
        // Nothing was touched yet: the old version simply stays.
        (
            Step::Accepted
            | Step::Downloading
            | Step::Verifying
            | Step::Preflight
            | Step::Staging
            | Step::Staged,
            Event::Failed(failure),
        ) => {
            let mut closed = journal.failed_at(Step::Failed, failure, now);
            if blames_the_version(&closed) {
                closed.quarantine.add(&journal.version, journal.sha256, now);
            }
            Ok((closed, Effect::CleanUp))
        }
        // From the first touch of the service on, every failure ends with *previous* in place and running.
        (
            Step::Stopping | Step::Replacing | Step::Starting | Step::Watching,
            Event::Failed(failure),
        ) => give_up(failure),
        (step, event) => Err(Unexpected { step, event: format!("{event:?}") }),
    }
}

fn blames_the_version(journal: &Journal) -> bool {
    journal.failure.as_ref().is_some_and(|failure| failure.kind.blames_the_version())
}

/// What the updater finds when it starts over an open update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Digest of the executable at the active path; none where there is none.
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
        | Step::Preflight
        | Step::Committed
        | Step::RolledBack
        | Step::Failed => Effect::CleanUp,
    }
}

/// What an agent finds at its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartFacts {
    /// Digest of the executable that runs.
    pub running_sha256: Sha256Digest,
    /// The updater's service is registered.
    pub updater_registered: bool,
    /// *Previous* is there, whole; nobody asks where the updater is registered.
    pub previous_kept: bool,
}

/// What an agent makes of the journal at its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtStart {
    /// No update is open.
    Nothing,
    /// It was interrupted before it was staged: take it up again at this effect.
    Resume(Effect),
    /// It ended before it was staged: close it as failed.
    CloseInterrupted,
    /// The update is the updater's: see to it that the updater runs.
    EnsureUpdater,
    /// It is the updater's, whose service is gone: register it again.
    RegisterUpdater,
    /// The old version runs, the updater's service is gone: the swap was interrupted for good, close it as rolled back.
    CloseRolledBack,
    /// The new version runs, and there is neither an updater nor a version to go back to: prove itself alone.
    ProveAlone,
}

/// What an agent does about an update that it finds at its start.
pub fn at_agent_start(journal: &Journal, facts: StartFacts) -> AtStart {
    let may_resume = journal.resumes < RESUMES;
    match journal.step {
        Step::Committed | Step::RolledBack | Step::Failed => AtStart::Nothing,
        Step::Accepted | Step::Downloading if may_resume => AtStart::Resume(Effect::Download),
        Step::Verifying if may_resume => AtStart::Resume(Effect::Verify),
        Step::Preflight if may_resume => AtStart::Resume(Effect::Preflight),
        Step::Staging if may_resume => AtStart::Resume(Effect::StartUpdater),
        Step::Staged
        | Step::Stopping
        | Step::Replacing
        | Step::Starting
        | Step::Watching
        | Step::Restoring
        | Step::Reviving
            if facts.updater_registered =>
        {
            AtStart::EnsureUpdater
        }
        Step::Accepted
        | Step::Downloading
        | Step::Verifying
        | Step::Preflight
        | Step::Staging
        | Step::Staged => AtStart::CloseInterrupted,
        Step::Stopping
        | Step::Replacing
        | Step::Starting
        | Step::Watching
        | Step::Restoring
        | Step::Reviving => {
            if facts.running_sha256 == journal.from_sha256 {
                AtStart::CloseRolledBack
            } else if facts.previous_kept {
                AtStart::RegisterUpdater
            } else {
                AtStart::ProveAlone
            }
        }
    }
}

/// The agent takes the update up again: counted before anything is done.
pub fn resumed(journal: &Journal) -> Journal {
    Journal { resumes: journal.resumes.saturating_add(1), ..journal.clone() }
}

/// The update of [`AtStart::CloseRolledBack`], closed.
pub fn closed_as_rolled_back(journal: &Journal, now: Timestamp) -> Journal {
    let failure = journal.failure.clone().unwrap_or_else(|| Failure {
        kind: FailureKind::Interrupted,
        detail: format!(
            "the PC or the updater was interrupted while {}, and the old version runs",
            journal.step
        ),
    });
    let mut closed = journal.failed_at(Step::RolledBack, failure, now);
    if blames_the_version(&closed) {
        closed.quarantine.add(&journal.version, journal.sha256, now);
    }
    closed
}
