//! The seam between the engine and a PC: everything that an update does to files, services, clock and network.
//!
//! Each method is one step that a power cut can come before or after; what belongs together is put together by the
//! engine, where the simulated host of the test kit can take it apart.

use jiff::Timestamp;
use kenny_proto::update::Failure;
use kenny_proto::{Sha256Digest, UpdateId};
use semver::Version;

use super::journal::{Journal, JournalProblem};
use super::watch::{Reach, WatchLimits};

/// The files of an update. All but the config lie on the volume of the active executable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum File {
    /// The executable at the service's image path.
    Active,
    /// What was downloaded.
    Candidate,
    /// The kept copy of the version that ran before.
    Previous,
    /// A copy that becomes [`File::Previous`].
    PreviousNew,
    /// A copy that becomes [`File::Active`] in a rollback.
    ActiveNew,
    /// The active executable, renamed aside because something else runs it.
    Displaced,
    /// The agent's config.
    Config,
    /// The kept copy of the config.
    ConfigKept,
    /// A copy that becomes [`File::ConfigKept`].
    ConfigKeptNew,
    /// A copy that becomes [`File::Config`] in a rollback.
    ConfigNew,
}

impl File {
    /// Every file.
    pub const ALL: [Self; 10] = [
        Self::Active,
        Self::Candidate,
        Self::Previous,
        Self::PreviousNew,
        Self::ActiveNew,
        Self::Displaced,
        Self::Config,
        Self::ConfigKept,
        Self::ConfigKeptNew,
        Self::ConfigNew,
    ];

    /// What is of no use once an update is over.
    pub const TEMPORARY: [Self; 6] = [
        Self::Candidate,
        Self::PreviousNew,
        Self::ActiveNew,
        Self::Displaced,
        Self::ConfigKeptNew,
        Self::ConfigNew,
    ];
}

/// Why the PC said no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The disk is full.
    Full,
    /// Something holds the file: a virus scanner, or a process that runs it.
    InUse,
    /// Anything else.
    Other,
}

/// The PC said no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{words}")]
pub struct HostError {
    /// Why.
    pub refusal: Refusal,
    /// What was tried and what came of it.
    pub words: String,
}

/// What became of a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// The time is over.
    Through,
    /// This process has to end now: the PC goes down.
    Ending,
}

/// What the updater hears while it waits for the agent's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// The answer has left.
    Given,
    /// Nothing came in time.
    Silence,
    /// This process has to end now.
    Ending,
}

/// What the agent's service is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentSeen {
    /// Its process is not there, with what is known of its end.
    Dead(String),
    /// Its process is there and has not said that it runs.
    Starting,
    /// It runs; whether the server has accepted it *as this version and this process*.
    Running {
        /// The acceptance stands.
        accepted: bool,
    },
}

/// A PC.
pub trait Host {
    /// The proof that what a journal names may run on this PC. Only [`Host::authorise`] makes one; without one nothing is
    /// fetched, verified, staged or swapped.
    type Authorised;
    /// A file whose bytes were checked and can no longer change; only [`Host::verify_candidate`] and
    /// [`Host::verify_restored`] make one, and only one of these goes to the active path.
    type Verified;

    /// The time by the PC's clock, for the history alone.
    fn now(&mut self) -> Timestamp;
    /// Milliseconds that this process has observed: a clock that cannot be set.
    fn observed_ms(&mut self) -> u64;
    /// Waits.
    fn pause(&mut self, ms: u64) -> Waited;

    /// The journal as it was last written.
    fn read_journal(&mut self) -> Result<Option<Journal>, JournalProblem>;
    /// Writes the journal so that a power cut leaves the old content or the new, and returns once the new is safe.
    fn write_journal(&mut self, journal: &Journal) -> Result<(), HostError>;
    /// Puts a journal that cannot be read aside, so that nothing of it is lost and another can be written.
    fn set_journal_aside(&mut self) -> Result<(), HostError>;
    /// The journal changed; whoever wants to know may be told. Never fails, never waits.
    fn changed(&mut self, journal: &Journal);
    /// Something did not work and is tried again: for the log.
    fn trouble(&mut self, what: &str, error: &HostError);

    /// The digest of a file's bytes; none where there is no such file.
    fn digest(&mut self, file: File) -> Result<Option<Sha256Digest>, HostError>;
    /// The version that an executable says it is; none where it says none.
    fn version_of(&mut self, file: File) -> Option<Version>;
    /// Copies bytes. The copy counts only once it was flushed.
    fn copy(&mut self, from: File, to: File) -> Result<(), HostError>;
    /// Brings a file's bytes to the disk.
    fn flush(&mut self, file: File) -> Result<(), HostError>;
    /// Gives a file another name, which is free afterwards of what it named before, and returns once that is on the
    /// disk. Not for [`File::Active`] as the target: that takes [`Host::activate`].
    fn rename(&mut self, from: File, to: File) -> Result<(), HostError>;
    /// Removes a file; one that is not there is no error.
    fn remove(&mut self, file: File) -> Result<(), HostError>;
    /// Puts a verified file at the active path, in one step, and returns once that is on the disk. The handle that
    /// kept it from changing is closed.
    fn activate(&mut self, verified: &mut Self::Verified) -> Result<(), HostError>;
    /// [`File::Displaced`] goes back to the active path, where it stood before.
    fn undo_displace(&mut self) -> Result<(), HostError>;

    /// Asks whether what the journal names may run on this PC. Each process asks for itself: the agent whoever has the
    /// say, the updater what the agent was told.
    fn authorise(&mut self, journal: &Journal) -> Result<Self::Authorised, Failure>;
    /// Fetches the candidate, flushed.
    fn fetch(&mut self, journal: &Journal, authorised: &Self::Authorised) -> Result<(), Failure>;
    /// Checks that the candidate is what was authorised, by digest, platform and version, and keeps it from changing.
    fn verify_candidate(
        &mut self,
        journal: &Journal,
        authorised: &Self::Authorised,
    ) -> Result<Self::Verified, Failure>;
    /// Checks that [`File::ActiveNew`] has the digest of the version that ran before, and keeps it from changing.
    fn verify_restored(&mut self, journal: &Journal) -> Result<Self::Verified, HostError>;
    /// Runs the verified candidate beside the old version.
    fn preflight(&mut self, journal: &Journal, candidate: &Self::Verified) -> Result<(), Failure>;

    /// True while the updater's service is registered.
    fn updater_is_registered(&mut self) -> Result<bool, HostError>;
    /// Registers the updater's service, which starts with the PC and after its own end, with *previous* as its image.
    fn register_updater(&mut self) -> Result<(), HostError>;
    /// Brings what the service manager was told to the disk.
    fn flush_services(&mut self) -> Result<(), HostError>;
    /// Starts the updater's service and waits until it runs; one that runs already is left alone.
    fn start_updater(&mut self) -> Result<(), HostError>;
    /// Removes the updater's service; one that is not there is no error. From the updater itself: the service goes
    /// when its process has ended.
    fn remove_updater(&mut self) -> Result<(), HostError>;
    /// Waits for the agent's word that its answer has left.
    fn wait_for_word(&mut self, limit_ms: u64) -> Word;

    /// Switches the service manager's own restarts of the agent's service on or off.
    fn set_recovery(&mut self, on: bool) -> Result<(), HostError>;
    /// Stops the agent's service and waits until its process is gone; past `limit_ms` exactly that process is ended.
    fn stop_agent(&mut self, limit_ms: u64) -> Result<(), HostError>;
    /// Starts the agent's service; one that runs already is left alone.
    fn start_agent(&mut self) -> Result<(), HostError>;
    /// What the agent's service is doing, as the version that the journal's step wants to see.
    fn agent(&mut self, expected: &Version) -> AgentSeen;
    /// Whether this process reaches the server.
    fn reach(&mut self) -> Reach;
    /// How long the watch waits on this PC.
    fn limits(&mut self) -> WatchLimits;
    /// How often the new version reached its service in this update.
    fn starts(&mut self, update: UpdateId) -> u32;
    /// The new version reached its service once more; returns how often now.
    fn count_start(&mut self, update: UpdateId) -> u32;
}
