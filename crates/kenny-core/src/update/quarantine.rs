//! Versions that failed on this PC, so that a server without a memory of its own cannot try one for ever.

use jiff::{SignedDuration, Timestamp};
use kenny_proto::update::Failure;
use kenny_proto::{FailureKind, Sha256Digest};
use semver::Version;
use serde::{Deserialize, Serialize};

/// How often a version may fail on one PC before only an operator's word lets it be tried again.
pub const BUDGET: u32 = 3;
/// How many versions are remembered; the one that failed longest ago goes first.
const REMEMBERED: usize = 16;
/// How long a server that names no update (0.2) waits at least between two tries of a version that failed: it is the
/// one kind of server that may ask again each time that the agent registers.
const PAUSE: SignedDuration = SignedDuration::from_mins(10);

/// The versions that failed here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Quarantine(Vec<Quarantined>);

/// One version that failed here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// What it says it is.
    pub version: Version,
    /// Its bytes, which are what counts.
    pub sha256: Sha256Digest,
    /// How often it failed.
    pub failures: u32,
    /// When it last did, by the PC's clock.
    pub last_at: Timestamp,
}

/// Who asks for a version that may be in quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// A server that counts attempts itself (it names the update).
    ByCountingServer,
    /// A server that may not count.
    BySimpleServer,
    /// An operator, who knows that it failed.
    Knowingly,
}

impl Quarantine {
    /// Every version that failed here.
    pub fn entries(&self) -> &[Quarantined] {
        &self.0
    }

    /// Whether the bytes may be tried at `now`; the failure says why not and what to do.
    pub fn check(&self, sha256: Sha256Digest, asked: Asked, now: Timestamp) -> Result<(), Failure> {
        let Some(entry) = self.0.iter().find(|entry| entry.sha256 == sha256) else { return Ok(()) };
        let refused = |detail: String| Err(Failure { kind: FailureKind::Quarantined, detail });
        let since = now.duration_since(entry.last_at);
        match asked {
            Asked::ByCountingServer | Asked::BySimpleServer if entry.failures >= BUDGET => {
                refused(format!(
                    "{} failed {} times on this PC and is not tried again; publish a corrected version, or allow it with `allow_quarantined`",
                    entry.version, entry.failures
                ))
            }
            // A clock that was set back makes `since` negative: then it is not known how long ago it was.
            Asked::BySimpleServer if !since.is_negative() && since < PAUSE => refused(format!(
                "{} failed on this PC {} s ago; it may be tried again after {} min",
                entry.version,
                since.as_secs(),
                PAUSE.as_mins()
            )),
            Asked::Knowingly | Asked::ByCountingServer | Asked::BySimpleServer => Ok(()),
        }
    }

    /// The version failed once more.
    pub(super) fn add(&mut self, version: &Version, sha256: Sha256Digest, now: Timestamp) {
        let known = self.0.iter().position(|entry| entry.sha256 == sha256);
        let failures = known.map_or(0, |at| self.0.remove(at).failures).saturating_add(1);
        self.0.push(Quarantined { version: version.clone(), sha256, failures, last_at: now });
        if self.0.len() > REMEMBERED {
            self.0.remove(0);
        }
    }

    /// The version proved itself.
    pub(super) fn remove(&mut self, sha256: Sha256Digest) {
        self.0.retain(|entry| entry.sha256 != sha256);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes)
    }

    #[test]
    fn the_third_failure_needs_an_operators_word() {
        let (version, digest) = (Version::new(1, 1, 0), Sha256Digest([1; 32]));
        let mut quarantine = Quarantine::default();
        for failures in 0..BUDGET {
            assert!(quarantine.check(digest, Asked::ByCountingServer, at(0)).is_ok(), "{failures}");
            quarantine.add(&version, digest, at(0));
        }
        let refused = quarantine.check(digest, Asked::ByCountingServer, at(100_000)).unwrap_err();
        assert_eq!(refused.kind, FailureKind::Quarantined);
        assert!(refused.detail.contains("allow_quarantined"), "{}", refused.detail);
        assert!(quarantine.check(digest, Asked::Knowingly, at(0)).is_ok());
        assert!(quarantine.check(Sha256Digest([2; 32]), Asked::BySimpleServer, at(0)).is_ok());
        quarantine.remove(digest);
        assert!(quarantine.check(digest, Asked::BySimpleServer, at(0)).is_ok());
    }

    #[test]
    fn a_server_that_does_not_count_has_to_wait() {
        let (version, digest) = (Version::new(1, 1, 0), Sha256Digest([1; 32]));
        let mut quarantine = Quarantine::default();
        quarantine.add(&version, digest, at(100));
        let check = |minutes| quarantine.check(digest, Asked::BySimpleServer, at(minutes));
        assert!(check(109).is_err());
        assert!(check(110).is_ok());
        // The clock was set back by years: waiting for it to come back would be for ever.
        assert!(check(-5_000_000).is_ok());
    }

    #[test]
    fn only_so_many_are_remembered() {
        let mut quarantine = Quarantine::default();
        for number in 0..40 {
            quarantine.add(&Version::new(number.into(), 0, 0), Sha256Digest([number; 32]), at(0));
        }
        assert_eq!(quarantine.entries().len(), REMEMBERED);
        assert_eq!(quarantine.entries()[0].version, Version::new(24, 0, 0));
    }
}
