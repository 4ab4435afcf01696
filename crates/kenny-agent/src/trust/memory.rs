//! What the agent remembers beside the metadata: the version floor, and how the last look at the server went.

use std::time::Duration;

use jiff::Timestamp;
use kenny_proto::update::Failure;
use semver::Version;
use serde::{Deserialize, Serialize};

/// A clock may be set back by so much without being remarked on: a time zone that was wrong, and the leap of a dual boot.
const REMARKABLE: Duration = Duration::from_hours(24);

/// Looks that are not further apart than this may be told as one.
const SOON: Duration = Duration::from_mins(1);

/// The memory; small, and written whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// The highest version whose update was over here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<Version>,
    /// The last look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked: Option<Checked>,
}

/// A look at the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// When, by the PC's clock.
    pub at: Timestamp,
    /// Why it came to nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Failure>,
}

impl Checked {
    /// True where another look came to the same within a minute.
    pub fn is_as(&self, other: &Self) -> bool {
        let kind = |checked: &Self| checked.problem.as_ref().map(|problem| problem.kind);
        kind(self) == kind(other) && self.at.duration_since(other.at).unsigned_abs() < SOON
    }
}

impl Memory {
    /// True where the last look went well and is not older than `limit`, nor from the future.
    pub fn is_fresh(&self, now: Timestamp, limit: Duration) -> bool {
        self.checked.as_ref().is_some_and(|checked| {
            let age = now.duration_since(checked.at);
            checked.problem.is_none() && !age.is_negative() && age.unsigned_abs() < limit
        })
    }

    /// True where the PC's clock stands well before the time of the last look.
    pub fn clock_went_back(&self, now: Timestamp) -> bool {
        self.checked.as_ref().is_some_and(|checked| {
            let back = checked.at.duration_since(now);
            back.is_positive() && back.unsigned_abs() > REMARKABLE
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn a_look_is_fresh_while_it_is_young_and_went_well() {
        let limit = Duration::from_secs(100);
        let mut memory = Memory::default();
        assert!(!memory.is_fresh(at(0), limit));
        memory.checked = Some(Checked { at: at(1000), problem: None });
        assert!(memory.is_fresh(at(1099), limit));
        assert!(!memory.is_fresh(at(1100), limit));
        assert!(!memory.is_fresh(at(999), limit), "a look from the future says nothing");
        let kind = kenny_proto::FailureKind::Expired;
        let problem = Some(Failure { kind, detail: "x".to_owned() });
        memory.checked = Some(Checked { at: at(1000), problem });
        assert!(!memory.is_fresh(at(1001), limit));
    }

    #[test]
    fn a_clock_that_went_back_for_days_is_remarked_on() {
        let day = 24 * 3600;
        let memory =
            Memory { floor: None, checked: Some(Checked { at: at(10 * day), problem: None }) };
        assert!(!memory.clock_went_back(at(11 * day)));
        assert!(!memory.clock_went_back(at(9 * day)));
        assert!(memory.clock_went_back(at(9 * day - 1)));
    }
}
