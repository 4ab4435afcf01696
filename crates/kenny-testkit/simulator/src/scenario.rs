//! What may happen in an update, and how it has to end where nothing is interrupted.

use kenny_core::update::File;
use kenny_proto::FailureKind;

use crate::disk::Image;
use crate::ending::Ending;

/// How a new version behaves as a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// As it should.
    Good,
    /// It ends after so many milliseconds, each time.
    CrashesAfter(u64),
    /// It says that it starts, and never that it runs.
    Hangs,
    /// It runs and connects to nothing.
    CannotConnect,
    /// Its start fails at once.
    DoesNotStart,
    /// It works for a minute and a half of probation, then loses its connection for good.
    LosesConnectionAfter(u64),
}

/// Whether the announced version may run here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// What is signed names it.
    Names,
    /// What is signed does not name it.
    NamesNothing,
    /// What is signed names it until it is staged, and no longer when the updater asks.
    Withdraws,
}

/// One story.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// What is downloaded.
    pub artifact: Option<Image>,
    /// The download stops halfway, with the announced digest missing.
    pub truncated: bool,
    /// What was announced, by digest.
    pub announced: Image,
    /// Whether it may run here.
    pub trust: Trust,
    /// How the new version behaves.
    pub behaviour: Behaviour,
    /// Preflight fails.
    pub fails_preflight: bool,
    /// The new version writes nonsense into the config before it fails.
    pub scribbles_config: bool,
    /// It is a rollback to the kept version, asked for by somebody.
    pub rollback: bool,
    /// The network is down for so long from the first start of the new version on.
    pub network_down_ms: u64,
    /// The server is overloaded for so long from the first start of the new version on.
    pub busy_ms: u64,
    /// A virus scanner holds this file for so long from the swap on.
    pub scanner: Option<(File, u64)>,
    /// Another process runs the active executable all the time.
    pub image_in_use: bool,
    /// The old version does not stop when it is told to.
    pub hangs_at_stop: bool,
    /// The clock is set by so many seconds when the service is stopped.
    pub clock_jump_s: i64,
    /// The service manager does not register the updater.
    pub no_updater: bool,
    /// How it ends.
    pub ends: (Ending, Option<FailureKind>),
}

impl Scenario {
    /// Nothing goes wrong.
    pub const fn good(name: &'static str) -> Self {
        Self {
            name,
            artifact: Some(Image::New),
            truncated: false,
            announced: Image::New,
            trust: Trust::Names,
            behaviour: Behaviour::Good,
            fails_preflight: false,
            scribbles_config: false,
            rollback: false,
            network_down_ms: 0,
            busy_ms: 0,
            scanner: None,
            image_in_use: false,
            hangs_at_stop: false,
            clock_jump_s: 0,
            no_updater: false,
            ends: (Ending::Committed, None),
        }
    }

    const fn bad(name: &'static str, behaviour: Behaviour, kind: FailureKind) -> Self {
        Self { behaviour, ends: (Ending::RolledBack, Some(kind)), ..Self::good(name) }
    }

    const fn refused(name: &'static str, kind: FailureKind) -> Self {
        Self { ends: (Ending::Failed, Some(kind)), ..Self::good(name) }
    }

    /// True where the new version may stay.
    pub fn may_commit(&self) -> bool {
        self.ends.0 == Ending::Committed
    }
}

const TEN_YEARS_S: i64 = 10 * 365 * 24 * 3600;
const MINUTE_MS: u64 = 60_000;
const FOR_EVER_MS: u64 = u64::MAX / 4;

/// Every story.
pub fn all() -> Vec<Scenario> {
    use FailureKind as Kind;
    vec![
        Scenario::good("a good version"),
        Scenario::bad("crashes at once", Behaviour::CrashesAfter(0), Kind::CandidateDied),
        Scenario::bad("crashes after 5 s", Behaviour::CrashesAfter(5_000), Kind::CandidateDied),
        Scenario::bad("crashes after 30 s", Behaviour::CrashesAfter(30_000), Kind::CandidateDied),
        Scenario::bad("does not start", Behaviour::DoesNotStart, Kind::CandidateDied),
        Scenario::bad("hangs", Behaviour::Hangs, Kind::CandidateDied),
        Scenario::bad("cannot connect", Behaviour::CannotConnect, Kind::CandidateOffline),
        Scenario::bad(
            "loses its connection",
            Behaviour::LosesConnectionAfter(40_000),
            Kind::CandidateOffline,
        ),
        Scenario {
            scribbles_config: true,
            ..Scenario::bad("breaks the config", Behaviour::CrashesAfter(100), Kind::CandidateDied)
        },
        Scenario { network_down_ms: 10 * MINUTE_MS, ..Scenario::good("the network is down") },
        Scenario {
            network_down_ms: FOR_EVER_MS,
            ends: (Ending::RolledBack, Some(Kind::Network)),
            ..Scenario::good("the network is down for ever")
        },
        Scenario {
            network_down_ms: 5 * MINUTE_MS,
            ..Scenario::bad(
                "cannot connect, and the network is down at first",
                Behaviour::CannotConnect,
                Kind::CandidateOffline,
            )
        },
        Scenario { busy_ms: 10 * MINUTE_MS, ..Scenario::good("the server is overloaded") },
        Scenario {
            artifact: Some(Image::Foreign),
            ..Scenario::refused("another file under the digest", Kind::HashMismatch)
        },
        Scenario { truncated: true, ..Scenario::refused("a truncated file", Kind::HashMismatch) },
        Scenario { artifact: None, ..Scenario::refused("nothing to download", Kind::Download) },
        Scenario {
            artifact: Some(Image::OtherProcessor),
            announced: Image::OtherProcessor,
            ..Scenario::refused("for another processor", Kind::WrongPlatform)
        },
        Scenario {
            artifact: Some(Image::OtherVersion),
            announced: Image::OtherVersion,
            ..Scenario::refused("another version than announced", Kind::WrongVersion)
        },
        Scenario {
            trust: Trust::NamesNothing,
            ..Scenario::refused("a version that nobody signed", Kind::Untrusted)
        },
        Scenario {
            trust: Trust::Withdraws,
            ends: (Ending::RolledBack, Some(Kind::Untrusted)),
            ..Scenario::good("a version whose signature is withdrawn before the swap")
        },
        Scenario {
            fails_preflight: true,
            ..Scenario::refused("does not work beside the old one", Kind::Preflight)
        },
        Scenario { no_updater: true, ..Scenario::refused("no updater", Kind::Updater) },
        Scenario {
            rollback: true,
            announced: Image::Kept,
            ..Scenario::good("back to the kept version")
        },
        Scenario {
            rollback: true,
            announced: Image::Kept,
            ..Scenario::bad(
                "back to a kept version that crashes",
                Behaviour::CrashesAfter(1_000),
                Kind::CandidateDied,
            )
        },
        Scenario {
            scanner: Some((File::Active, 5_000)),
            ..Scenario::good("a scanner holds the active file for 5 s")
        },
        Scenario {
            scanner: Some((File::Candidate, 5_000)),
            ..Scenario::good("a scanner holds the candidate for 5 s")
        },
        Scenario {
            scanner: Some((File::Active, FOR_EVER_MS)),
            ends: (Ending::RolledBack, Some(Kind::Swap)),
            ..Scenario::good("something holds the active file for ever")
        },
        Scenario { image_in_use: true, ..Scenario::good("a console runs the executable") },
        Scenario {
            image_in_use: true,
            ..Scenario::bad(
                "a console runs the executable, and the new one crashes",
                Behaviour::CrashesAfter(0),
                Kind::CandidateDied,
            )
        },
        Scenario { hangs_at_stop: true, ..Scenario::good("the old version does not stop") },
        Scenario { clock_jump_s: TEN_YEARS_S, ..Scenario::good("the clock jumps ten years on") },
        Scenario { clock_jump_s: -TEN_YEARS_S, ..Scenario::good("the clock jumps ten years back") },
    ]
}
