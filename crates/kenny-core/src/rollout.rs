//! What the server should do so that an agent comes to run what it should run.
//!
//! [`decide`] is asked on every register, every change of intent and at every start of the server; it has no
//! memory of its own, so a restart or a lost message changes nothing.

use kenny_proto::api::UpdateState;
use semver::Version;

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
    /// True when a release of the wanted version is there for its platform.
    pub release_available: bool,
    /// The update that stands for the intent, where one was made.
    pub attempt: Option<Attempt>,
}

/// The update that stands for the current intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// How it stands.
    pub state: UpdateState,
    /// How often `agent.update` was sent for it.
    pub sent: u32,
    /// True when the agent, on the current connection, works on it: it was sent there, or its report of an open
    /// update came with `register`.
    pub in_hand: bool,
}

/// How often one update is sent before the server gives up on it.
pub const MAX_SENDS: u32 = 3;

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Nothing: fact equals intent, or the agent is at it.
    Nothing(Why),
    /// Send `agent.update`.
    Send,
    /// Close the update as failed: it was sent [`MAX_SENDS`] times and the agent never took it.
    GiveUp,
}

/// Why there is nothing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// No version is wanted.
    NoIntent,
    /// The wanted version runs.
    Reached,
    /// What runs is newer and going down was not asked for.
    Newer,
    /// The agent is offline.
    Offline,
    /// The agent's version is not known.
    VersionUnknown,
    /// No release of that version is there for the agent's platform.
    NoRelease,
    /// The agent works on it.
    InHand,
    /// It was tried and did not work out: only the operator starts it again.
    Ended,
}

/// Compares intent and fact.
pub fn decide(intent: Option<&Intent>, facts: &Facts) -> Decision {
    let Some(intent) = intent else { return Decision::Nothing(Why::NoIntent) };
    if let Some(attempt) = facts.attempt
        && attempt.state.is_final()
    {
        return Decision::Nothing(Why::Ended);
    }
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
    if !facts.release_available {
        return Decision::Nothing(Why::NoRelease);
    }
    match facts.attempt {
        Some(attempt) if attempt.in_hand => Decision::Nothing(Why::InHand),
        Some(attempt) if attempt.sent >= MAX_SENDS => Decision::GiveUp,
        Some(_) | None => Decision::Send,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intent(version: &str) -> Intent {
        Intent { version: version.parse().unwrap(), allow_downgrade: false }
    }

    fn running(version: &str) -> Facts {
        Facts {
            online: true,
            version: Some(version.parse().unwrap()),
            release_available: true,
            attempt: None,
        }
    }

    fn attempt(state: UpdateState, sent: u32, in_hand: bool) -> Attempt {
        Attempt { state, sent, in_hand }
    }

    #[test]
    fn newer_by_order_and_not_by_difference() {
        assert_eq!(decide(Some(&intent("0.10.0")), &running("0.9.0")), Decision::Send);
        assert_eq!(
            decide(Some(&intent("0.9.0")), &running("0.10.0")),
            Decision::Nothing(Why::Newer)
        );
        assert_eq!(decide(Some(&intent("1.0.0")), &running("1.0.0-rc.1")), Decision::Send);
        assert_eq!(
            decide(Some(&intent("1.0.0+b")), &running("1.0.0+a")),
            Decision::Nothing(Why::Reached)
        );
        assert_eq!(decide(None, &running("1.0.0")), Decision::Nothing(Why::NoIntent));
    }

    #[test]
    fn down_only_when_asked_for() {
        let down = Intent { allow_downgrade: true, ..intent("0.9.0") };
        assert_eq!(decide(Some(&down), &running("0.10.0")), Decision::Send);
    }

    #[test]
    fn an_agent_that_is_at_it_is_left_alone() {
        let mut facts = running("1.0.0");
        facts.attempt = Some(attempt(UpdateState::Running, 1, true));
        assert_eq!(decide(Some(&intent("1.1.0")), &facts), Decision::Nothing(Why::InHand));
        facts.attempt = Some(attempt(UpdateState::Running, 1, false));
        assert_eq!(decide(Some(&intent("1.1.0")), &facts), Decision::Send);
        facts.attempt = Some(attempt(UpdateState::Running, MAX_SENDS, false));
        assert_eq!(decide(Some(&intent("1.1.0")), &facts), Decision::GiveUp);
    }

    #[test]
    fn what_ended_is_not_tried_again_by_itself() {
        for state in [
            UpdateState::Failed,
            UpdateState::RolledBack,
            UpdateState::Succeeded,
            UpdateState::Superseded,
        ] {
            let facts = Facts { attempt: Some(attempt(state, 1, false)), ..running("1.0.0") };
            assert_eq!(decide(Some(&intent("1.1.0")), &facts), Decision::Nothing(Why::Ended));
        }
    }

    #[test]
    fn nothing_is_sent_without_a_connection_a_release_or_a_known_version() {
        let wanted = intent("1.1.0");
        let offline = Facts { online: false, ..running("1.0.0") };
        assert_eq!(decide(Some(&wanted), &offline), Decision::Nothing(Why::Offline));
        let unknown = Facts { version: None, ..running("1.0.0") };
        assert_eq!(decide(Some(&wanted), &unknown), Decision::Nothing(Why::VersionUnknown));
        let missing = Facts { release_available: false, ..running("1.0.0") };
        assert_eq!(decide(Some(&wanted), &missing), Decision::Nothing(Why::NoRelease));
    }
}
