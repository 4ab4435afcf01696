//! The watch over a new version. It counts time that was observed, never the clock.

use kenny_proto::FailureKind;
use kenny_proto::update::Failure;

use super::step::STARTS;

/// How long the watch waits, in milliseconds of observed time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchLimits {
    /// How long the new version must stay accepted by the server.
    pub probation_ms: u64,
    /// How long it may take to be accepted while the server can be reached, and to say that it runs.
    pub connect_ms: u64,
}

/// Whether this PC reaches the server without the new version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The server would accept this agent now.
    Reachable,
    /// It is there and busy (429, 503): nobody's fault.
    Busy,
    /// It cannot be reached, or does not accept this agent whatever runs here.
    Unreachable,
}

/// What the watch sees in one look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// The service is not running, with what is known of its end.
    Dead(String),
    /// Its process is there and has not said that it runs.
    Starting,
    /// It runs and the server has not accepted it.
    Offline(Reach),
    /// The server accepted it.
    Online,
}

/// What the watch decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Look again.
    Wait,
    /// It ended, with what is known of that.
    Died(String),
    /// The new version proved itself.
    Proven,
    /// It did not.
    RollBack(Failure),
}

/// The watch over a new version: a look that comes late (sleep, a jump of the clock) counts as
/// [`Watch::MOST_PER_LOOK_MS`] at most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "each is a time, and says its unit")]
pub struct Watch {
    accepted_for_ms: u64,
    offline_ms: u64,
    starting_ms: u64,
    without_server_ms: u64,
}

impl Watch {
    /// Most that one look adds: twice the longest pause between looks.
    pub const MOST_PER_LOOK_MS: u64 = 2_000;
    /// How long a network that is down, or a server that is busy, extends the watch: a day, as an update must have an
    /// outcome, and a PC that is off at night must not lose one for it.
    pub const MOST_WITHOUT_SERVER_MS: u64 = 24 * 60 * 60 * 1000;

    /// Takes one look into account. `since_last_ms` is the time since the look before, `starts` how often the new
    /// version reached its service in this update.
    pub fn look(
        &mut self,
        seen: Seen,
        since_last_ms: u64,
        starts: u32,
        limits: WatchLimits,
    ) -> Verdict {
        let observed_ms = since_last_ms.min(Self::MOST_PER_LOOK_MS);
        if starts >= STARTS && seen != Seen::Online {
            let detail =
                format!("the new version was started {starts} times and did not prove itself");
            return roll_back(FailureKind::CandidateDied, detail);
        }
        match seen {
            Seen::Dead(detail) => {
                *self = Self { without_server_ms: self.without_server_ms, ..Self::default() };
                Verdict::Died(detail)
            }
            Seen::Starting => {
                self.accepted_for_ms = 0;
                self.starting_ms += observed_ms;
                if self.starting_ms < limits.connect_ms {
                    return Verdict::Wait;
                }
                let seconds = self.starting_ms / 1000;
                let detail =
                    format!("the new version hangs: in {seconds} s it did not say that it runs");
                roll_back(FailureKind::CandidateDied, detail)
            }
            Seen::Offline(Reach::Reachable) => {
                self.accepted_for_ms = 0;
                self.offline_ms += observed_ms;
                if self.offline_ms < limits.connect_ms {
                    return Verdict::Wait;
                }
                let seconds = self.offline_ms / 1000;
                let detail = format!(
                    "the new version runs, and in {seconds} s the server did not accept it, although this PC reaches the server"
                );
                roll_back(FailureKind::CandidateOffline, detail)
            }
            Seen::Offline(Reach::Busy | Reach::Unreachable) => {
                self.accepted_for_ms = 0;
                self.without_server_ms += observed_ms;
                if self.without_server_ms < Self::MOST_WITHOUT_SERVER_MS {
                    return Verdict::Wait;
                }
                let detail = "for a day neither the new version nor the old one reached the server"
                    .to_owned();
                roll_back(FailureKind::Network, detail)
            }
            Seen::Online => {
                self.accepted_for_ms += observed_ms;
                self.offline_ms = 0;
                self.starting_ms = 0;
                if self.accepted_for_ms >= limits.probation_ms {
                    Verdict::Proven
                } else {
                    Verdict::Wait
                }
            }
        }
    }
}

fn roll_back(kind: FailureKind, detail: String) -> Verdict {
    Verdict::RollBack(Failure { kind, detail })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: WatchLimits = WatchLimits { probation_ms: 5_000, connect_ms: 10_000 };

    fn kind_of(verdict: Verdict) -> FailureKind {
        let Verdict::RollBack(failure) = verdict else { panic!("{verdict:?}") };
        failure.kind
    }

    #[test]
    fn time_that_was_not_observed_proves_nothing() {
        let mut watch = Watch::default();
        assert_eq!(watch.look(Seen::Online, 3_600_000, 1, LIMITS), Verdict::Wait);
        assert_eq!(watch.look(Seen::Online, 2_000, 1, LIMITS), Verdict::Wait);
        assert_eq!(watch.look(Seen::Online, 1_000, 1, LIMITS), Verdict::Proven);
    }

    #[test]
    fn probation_is_one_unbroken_window() {
        let mut watch = Watch::default();
        for _ in 0..20 {
            assert_eq!(watch.look(Seen::Online, 2_000, 1, LIMITS), Verdict::Wait);
            assert_eq!(watch.look(Seen::Online, 2_000, 1, LIMITS), Verdict::Wait);
            let offline = Seen::Offline(Reach::Unreachable);
            assert_eq!(watch.look(offline, 10, 1, LIMITS), Verdict::Wait);
        }
    }

    #[test]
    fn a_network_that_is_down_or_a_busy_server_is_not_the_versions_fault() {
        for reach in [Reach::Busy, Reach::Unreachable] {
            let mut watch = Watch::default();
            for _ in 0..1_000 {
                assert_eq!(watch.look(Seen::Offline(reach), 2_000, 1, LIMITS), Verdict::Wait);
            }
            let mut verdict = Verdict::Wait;
            for _ in 0..5 {
                verdict = watch.look(Seen::Offline(Reach::Reachable), 2_000, 1, LIMITS);
            }
            assert_eq!(kind_of(verdict), FailureKind::CandidateOffline);
        }
    }

    #[test]
    fn a_day_without_a_server_ends_the_update_without_blame() {
        let mut watch = Watch::default();
        let mut looks = 0;
        let verdict = loop {
            looks += 1;
            let verdict = watch.look(Seen::Offline(Reach::Unreachable), 2_000, 1, LIMITS);
            if verdict != Verdict::Wait {
                break verdict;
            }
        };
        assert_eq!(looks, 43_200);
        let kind = kind_of(verdict);
        assert_eq!(kind, FailureKind::Network);
        assert!(!kind.blames_the_version());
    }

    #[test]
    fn one_that_never_says_that_it_runs_is_given_up() {
        let mut watch = Watch::default();
        for _ in 0..4 {
            assert_eq!(watch.look(Seen::Starting, 2_000, 0, LIMITS), Verdict::Wait);
        }
        assert_eq!(
            kind_of(watch.look(Seen::Starting, 2_000, 0, LIMITS)),
            FailureKind::CandidateDied
        );
    }

    #[test]
    fn the_third_start_without_proof_is_the_last() {
        let offline = || Seen::Offline(Reach::Unreachable);
        let mut watch = Watch::default();
        assert_eq!(watch.look(offline(), 10, 2, LIMITS), Verdict::Wait);
        assert_eq!(kind_of(watch.look(offline(), 10, 3, LIMITS)), FailureKind::CandidateDied);
        // One that the server has accepted may go on to prove itself.
        assert_eq!(Watch::default().look(Seen::Online, 10, 3, LIMITS), Verdict::Wait);
    }
}
