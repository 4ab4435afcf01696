//! What the server should do so that one agent comes to run what it should run.
//!
//! [`decide`] is asked on every register, every change of intent, at every start of the server and whenever time has
//! passed; it has no memory of its own, so a restart or a lost message changes nothing. What earlier attempts came to
//! is a [`Standing`], which follows from the record of the last one alone.

use std::time::Duration;

use jiff::Timestamp;
use kenny_proto::api::UpdateState;
use kenny_proto::{FailureKind, Phase};
use semver::Version;
use serde::{Deserialize, Serialize};

/// How often one update is sent before the server gives up on it.
pub const MAX_SENDS: u32 = 3;

/// How often a version may fail on an agent before it is held: once can be bad luck that looks like the version's
/// fault, twice a coincidence, and each time the PC is without its agent for a moment.
pub const BUDGET: u32 = 3;

/// The wait after the first failure: a PC that restarts has its services up again by then, and whoever asked for the
/// update is still there to see the second attempt.
pub const FIRST_BACKOFF: Duration = Duration::from_mins(5);

/// Each further wait is so many times the one before: half an hour outlasts a Windows update with its restart, three
/// hours a network that is down.
pub const BACKOFF_GROWTH: u32 = 6;

/// The longest wait in first waits (6 h): four attempts a day go easy on a metered link, and a PC that is on for one
/// evening a week is still tried then.
pub const LONGEST_BACKOFF: u32 = 72;

/// Silence after sending or `accepted`: the agent answers at once, and ten minutes cover its longest wait before it
/// reconnects (60 s) ten times.
pub const SENT_SILENCE: Duration = Duration::from_mins(10);
/// Silence while downloading: progress comes every second and a stall ends after 30 s, so the PC is off or offline. An
/// hour is a lunch with a closed lid, which is not worth a word.
pub const DOWNLOAD_SILENCE: Duration = Duration::from_hours(1);
/// Silence while verifying: the hash of at most 256 MiB on a slow disk, under a scanner that reads it first, takes two.
pub const VERIFY_SILENCE: Duration = Duration::from_mins(8);
/// Silence in preflight: the candidate's first start under such a scanner, and its probe of the server.
pub const PREFLIGHT_SILENCE: Duration = Duration::from_mins(15);
/// Silence once the updater has it: it survives a reboot, and one that installs Windows updates takes half an hour.
pub const UPDATER_SILENCE: Duration = Duration::from_mins(30);

/// What the operator wants of one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// The version that should run.
    pub version: Version,
    /// Go there even if what runs is newer.
    pub allow_downgrade: bool,
}

/// What is known of the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// True while it has a connection.
    pub online: bool,
    /// The version that it registered with; none before its first connection, or when it is no SemVer.
    pub version: Option<Version>,
    /// True when a release of the wanted version is there for its platform, or none is needed.
    pub release_available: bool,
    /// The wanted version is held for this agent.
    pub held: bool,
    /// Somebody at the PC paused the agent.
    pub paused: bool,
    /// The agent works on something that is not the intent.
    pub busy: bool,
    /// The open update that stands for the intent, where there is one.
    pub attempt: Option<Attempt>,
    /// What earlier attempts at the wanted version came to.
    pub standing: Standing,
}

/// The open update that stands for the current intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// How often it was sent.
    pub sent: u32,
    /// True when the agent, on the current connection, works on it: it was sent there, or its report of an open
    /// update came with `register`.
    pub in_hand: bool,
}

/// The attempts at one version on one agent, counted since the last success or the operator's last word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    /// All that ended without success.
    pub attempts: u32,
    /// Those in which the version itself failed.
    pub blamed: u32,
    /// Those since then that say nothing about the version.
    pub excused: u32,
    /// The operator cleared a hold: the agent is to try the version although it failed there before.
    pub insisted: bool,
}

impl Tally {
    /// A fresh budget by the operator's word.
    pub fn insisted() -> Self {
        Self { insisted: true, ..Self::default() }
    }
}

/// What the attempts at one version on one agent came to so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// The attempts.
    pub tally: Tally,
    /// How the last one ended.
    pub last: Last,
}

/// How the last attempt ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Last {
    /// There was none, or it is not over.
    #[default]
    Open,
    /// It worked, was taken back, or asking again unchanged is no use: the operator's turn.
    Over,
    /// It failed for a reason that says nothing about the version.
    Excused(Timestamp),
    /// The version itself failed.
    Blamed(Timestamp),
    /// The agent will not try the version again without the operator's word.
    Quarantined,
}

/// What may be done next about the wanted version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// An attempt, at once.
    Now,
    /// An attempt, not before this time.
    At(Timestamp),
    /// Nothing, until the operator asks.
    Over,
    /// Nothing, until the operator clears the hold.
    Hold,
}

impl Standing {
    /// What follows from an attempt in this state that had `tally` before it. `ended_at` is when its outcome was known.
    pub fn of(
        tally: Tally,
        state: UpdateState,
        failure: Option<FailureKind>,
        ended_at: Timestamp,
    ) -> Self {
        let failed = Tally { attempts: tally.attempts.saturating_add(1), ..tally };
        let last = match state {
            UpdateState::Waiting
            | UpdateState::Running
            | UpdateState::Online
            | UpdateState::Unknown => return Self { tally, last: Last::Open },
            UpdateState::Succeeded => return Self { tally: Tally::default(), last: Last::Over },
            UpdateState::Superseded => return Self { tally, last: Last::Over },
            UpdateState::Failed | UpdateState::RolledBack => {
                judge(state, failure.unwrap_or(FailureKind::Other), ended_at)
            }
        };
        let tally = match last {
            Last::Blamed(_) => {
                Tally { blamed: tally.blamed.saturating_add(1), excused: 0, ..failed }
            }
            Last::Excused(_) => Tally { excused: tally.excused.saturating_add(1), ..failed },
            Last::Open | Last::Over | Last::Quarantined => failed,
        };
        Self { tally, last }
    }

    /// What may be done next.
    pub fn next(self, pace: &Pace) -> Next {
        let after = |at: Timestamp, failures: u32| {
            Next::At(at.checked_add(pace.backoff(failures)).unwrap_or(Timestamp::MAX))
        };
        match self.last {
            Last::Open => Next::Now,
            Last::Over => Next::Over,
            Last::Quarantined => Next::Hold,
            Last::Blamed(_) if self.tally.blamed >= BUDGET => Next::Hold,
            Last::Blamed(at) => after(at, self.tally.blamed),
            Last::Excused(at) => after(at, self.tally.excused),
        }
    }
}

/// A rollback that nobody can explain is held against the version: the service was stopped for it, and an agent of
/// 0.2, which has no quarantine of its own, would be stopped for it for ever.
fn judge(state: UpdateState, kind: FailureKind, ended_at: Timestamp) -> Last {
    match kind {
        FailureKind::Quarantined => Last::Quarantined,
        FailureKind::Refused => Last::Over,
        FailureKind::Other if state == UpdateState::RolledBack => Last::Blamed(ended_at),
        kind if kind.blames_the_version() => Last::Blamed(ended_at),
        FailureKind::UrlRefused
        | FailureKind::Download
        | FailureKind::HashMismatch
        | FailureKind::WrongPlatform
        | FailureKind::WrongVersion
        | FailureKind::Disk
        | FailureKind::Preflight
        | FailureKind::NoPrevious
        | FailureKind::Untrusted
        | FailureKind::Expired
        | FailureKind::BelowFloor
        | FailureKind::NotApplicable
        | FailureKind::Updater
        | FailureKind::Stop
        | FailureKind::Swap
        | FailureKind::CandidateDied
        | FailureKind::CandidateOffline
        | FailureKind::Network
        | FailureKind::Interrupted
        | FailureKind::Other => Last::Excused(ended_at),
    }
}

/// How long things may take. Tests shorten it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The wait after the first failure; the others follow from it.
    pub first_backoff: Duration,
    /// The deadlines of the phases in hundredths of what they are.
    pub deadline_percent: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self { first_backoff: FIRST_BACKOFF, deadline_percent: 100 }
    }
}

impl Pace {
    /// The wait after so many failures, at least one: 5 min, 30 min, 3 h, 6 h, and 6 h from then on.
    pub fn backoff(&self, failures: u32) -> Duration {
        let factor = BACKOFF_GROWTH.saturating_pow(failures.saturating_sub(1));
        self.first_backoff.saturating_mul(factor.min(LONGEST_BACKOFF))
    }

    /// How long nothing may be heard of an update whose last known phase is this one (none: it was sent). Measured
    /// from the last report and not from the phase's beginning: a slow download reports on, and may take days.
    pub fn deadline(&self, phase: Option<Phase>) -> Duration {
        let time = match phase {
            None | Some(Phase::Accepted) => SENT_SILENCE,
            Some(Phase::Downloading) => DOWNLOAD_SILENCE,
            Some(Phase::Verifying) => VERIFY_SILENCE,
            Some(Phase::Preflight) => PREFLIGHT_SILENCE,
            Some(Phase::Staged | Phase::Swapping | Phase::Probation) => UPDATER_SILENCE,
            // Reports of an end are final: nothing more is waited for.
            Some(Phase::Committed | Phase::RolledBack | Phase::Failed) => return Duration::MAX,
        };
        time.saturating_mul(self.deadline_percent) / 100
    }

    /// True when an update in this phase, last heard of then, has been silent for too long.
    pub fn is_overdue(&self, phase: Option<Phase>, heard_at: Timestamp, now: Timestamp) -> bool {
        let silent = Duration::try_from(now.duration_since(heard_at)).unwrap_or(Duration::ZERO);
        silent > self.deadline(phase)
    }
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Nothing: fact equals intent, or the agent is at it.
    Nothing(Why),
    /// Make another attempt of the intent.
    Begin,
    /// Send the open attempt.
    Send,
    /// Close the update as failed: it was sent [`MAX_SENDS`] times and the agent never took it.
    GiveUp,
}

/// Why there is nothing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// No version is wanted.
    NoIntent,
    /// The version is held until the operator clears it.
    Held,
    /// The wanted version runs.
    Reached,
    /// What runs is newer and going down was not asked for.
    Newer,
    /// The agent is offline.
    Offline,
    /// The agent's version is not known.
    VersionUnknown,
    /// Somebody at the PC paused the agent: what is wanted waits, and no attempt is used up.
    Paused,
    /// No release of that version is there for the agent's platform.
    NoRelease,
    /// The agent works on it, or on something else.
    InHand,
    /// It failed, and the next attempt is not due before this time.
    Backoff(Timestamp),
    /// It is over: only the operator starts it again.
    Ended,
}

/// Compares intent and fact.
pub fn decide(intent: Option<&Intent>, facts: &Facts, pace: &Pace, now: Timestamp) -> Decision {
    let Some(intent) = intent else { return Decision::Nothing(Why::NoIntent) };
    if facts.held {
        return Decision::Nothing(Why::Held);
    }
    let due = match (facts.attempt, facts.standing.next(pace)) {
        (Some(_), _) | (None, Next::Now) => None,
        (None, Next::At(due)) => Some(due),
        (None, Next::Over) => return Decision::Nothing(Why::Ended),
        (None, Next::Hold) => return Decision::Nothing(Why::Held),
    };
    if !facts.online {
        return Decision::Nothing(Why::Offline);
    }
    let Some(running) = &facts.version else { return Decision::Nothing(Why::VersionUnknown) };
    match running.cmp_precedence(&intent.version) {
        std::cmp::Ordering::Equal => return Decision::Nothing(Why::Reached),
        std::cmp::Ordering::Greater if !intent.allow_downgrade => {
            return Decision::Nothing(Why::Newer);
        }
        std::cmp::Ordering::Greater | std::cmp::Ordering::Less => {}
    }
    if facts.busy || facts.attempt.is_some_and(|attempt| attempt.in_hand) {
        return Decision::Nothing(Why::InHand);
    }
    if !facts.release_available {
        return Decision::Nothing(Why::NoRelease);
    }
    if facts.paused {
        return Decision::Nothing(Why::Paused);
    }
    match (facts.attempt, due) {
        (Some(attempt), _) if attempt.sent >= MAX_SENDS => Decision::GiveUp,
        (Some(_), _) => Decision::Send,
        (None, Some(due)) if now < due => Decision::Nothing(Why::Backoff(due)),
        (None, Some(_) | None) => Decision::Begin,
    }
}

#[cfg(test)]
#[path = "agent_tests.rs"]
mod tests;
