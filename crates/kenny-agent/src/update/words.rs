//! The journal in the words of somebody who never heard of one.

use jiff::Timestamp;
use kenny_proto::Phase;
use kenny_proto::update::PhaseAt;

/// One moment of an update: its time and what began.
pub fn moment(moment: &PhaseAt) -> String {
    format!("{}  {}", time(moment.at), what(moment))
}

/// A time to the second, in UTC as every log of this program has it.
pub fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn what(moment: &PhaseAt) -> String {
    let words = match moment.step.as_deref() {
        Some("downloaded") => "the download is complete and is being checked",
        Some("verified") => "it is what was announced, and is being tried beside the old version",
        Some("proven_beside") => "it works on this PC; the old version is being kept",
        Some("stopping") => "the agent is being stopped",
        Some("stopped") => "the agent has stopped; its program is being replaced",
        Some("replaced") => "the new program is in its place and is being started",
        Some("started") => "the new version runs and has to prove itself",
        Some("restoring") => "the new version is given up; the old program is being put back",
        Some("restored") => "the old program is back and is being started",
        // A step that a newer agent names.
        Some(other) => return format!("{} ({other})", phase(moment.phase)),
        None => phase(moment.phase),
    };
    words.to_owned()
}

/// A phase.
pub const fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Accepted => "the update was asked for",
        Phase::Downloading => "the new version is being fetched",
        Phase::Verifying => "the new version is being checked",
        Phase::Preflight => "the new version is being tried beside the old one",
        Phase::Staged => "everything is ready for the swap",
        Phase::Swapping => "the program is being replaced",
        Phase::Probation => "the new version runs and has to prove itself",
        Phase::Committed => "the new version has proved itself and stays",
        Phase::RolledBack => "the old version runs again",
        Phase::Failed => "the update was given up before anything was changed",
    }
}

#[cfg(test)]
mod tests {
    use kenny_core::update::{Event, Journal, Quarantine, Source, Step, Wanted, step};
    use kenny_proto::update::Failure;
    use kenny_proto::{FailureKind, Sha256Digest, UpdateId};
    use semver::Version;

    use super::*;

    #[test]
    fn every_moment_of_a_journal_has_words() {
        let now = Timestamp::UNIX_EPOCH;
        let wanted = Wanted {
            update_id: UpdateId::random(),
            version: Version::new(1, 1, 0),
            sha256: Sha256Digest([7; 32]),
            source: Source::Previous {},
        };
        let from = (Version::new(1, 0, 0), Sha256Digest([6; 32]));
        let mut journal = Journal::accepted(wanted, from, Quarantine::default(), now);
        let failure = Failure { kind: FailureKind::CandidateDied, detail: "x".to_owned() };
        for event in [
            Event::Begun,
            Event::Downloaded,
            Event::Verified,
            Event::ProvenBeside,
            Event::UpdaterReady(None),
            Event::Released,
            Event::Stopped,
            Event::Replaced,
            Event::Started,
            Event::Failed(failure),
            Event::Restored,
            Event::Revived,
        ] {
            journal = step(&journal, event, now).unwrap().0;
        }
        assert_eq!(journal.step, Step::RolledBack);
        for entry in &journal.history {
            let words = moment(entry);
            assert!(words.starts_with("1970-01-01 00:00:00 UTC  "), "{words}");
            assert!(!words.contains('('), "a step without words: {words}");
        }
    }
}
