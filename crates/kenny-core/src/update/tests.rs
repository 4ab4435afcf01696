//! The steps and their order.

use jiff::Timestamp;
use kenny_proto::update::Failure;
use kenny_proto::{FailureKind, Sha256Digest, UpdateId};
use semver::Version;

use super::*;

const OLD: Sha256Digest = Sha256Digest([1; 32]);
const NEW: Sha256Digest = Sha256Digest([2; 32]);
const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn journal() -> Journal {
    let wanted = Wanted {
        update_id: UpdateId::random(),
        version: Version::new(1, 1, 0),
        sha256: NEW,
        source: Source::Download { url: "http://127.0.0.1/a".to_owned() },
    };
    Journal::accepted(wanted, (Version::new(1, 0, 0), OLD), Quarantine::default(), NOW)
}

fn failure(kind: FailureKind) -> Failure {
    Failure { kind, detail: "no".to_owned() }
}

const HAPPY: [Event; 10] = [
    Event::Begun,
    Event::Downloaded,
    Event::Verified,
    Event::ProvenBeside,
    Event::UpdaterReady(None),
    Event::Released,
    Event::Stopped,
    Event::Replaced,
    Event::Started,
    Event::Proven,
];
/// So many of them happen before the service is touched.
const UNTOUCHED: usize = 6;

fn walk(events: &[Event]) -> (Journal, Effect) {
    let mut state = (journal(), Effect::CleanUp);
    for event in events {
        state = step(&state.0, event.clone(), NOW).unwrap();
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
        let failed = Event::Failed(failure(FailureKind::Preflight));
        let (mut journal, mut effect) = step(&journal, failed, NOW).unwrap();
        if done >= UNTOUCHED {
            assert_eq!(effect, Effect::Restore, "after {done}");
            for event in [Event::Restored, Event::Revived] {
                (journal, effect) = step(&journal, event, NOW).unwrap();
            }
            assert_eq!(journal.step, Step::RolledBack);
        } else {
            assert_eq!(journal.step, Step::Failed);
        }
        assert_eq!(effect, Effect::CleanUp);
        assert_eq!(journal.failure, Some(failure(FailureKind::Preflight)));
        assert!(journal.history.is_sorted_by_key(|entry| entry.phase));
        assert_eq!(journal.quarantine.entries().len(), 1, "after {done}");
        assert!(step(&journal, Event::Begun, NOW).is_err());
    }
}

#[test]
fn what_is_not_the_versions_fault_does_not_count_against_it() {
    for done in 0..HAPPY.len() {
        let failed = Event::Failed(failure(FailureKind::Network));
        let (mut journal, effect) = step(&walk(&HAPPY[..done]).0, failed, NOW).unwrap();
        if effect == Effect::Restore {
            for event in [Event::Restored, Event::Revived] {
                (journal, _) = step(&journal, event, NOW).unwrap();
            }
        }
        assert!(!journal.is_open());
        assert!(journal.quarantine.entries().is_empty(), "after {done}");
    }
}

#[test]
fn a_failed_rollback_step_is_never_an_outcome() {
    let (open, _) = walk(&HAPPY[..=UNTOUCHED]);
    let failed = || Event::Failed(failure(FailureKind::Swap));
    let (restoring, _) = step(&open, failed(), NOW).unwrap();
    assert!(step(&restoring, failed(), NOW).is_err());
}

#[test]
fn the_second_death_rolls_back_and_the_first_is_remembered() {
    for done in [8, 9] {
        let (journal, _) = walk(&HAPPY[..done]);
        let died = || Event::Died("exit code 1".to_owned());
        let (once, effect) = step(&journal, died(), NOW).unwrap();
        assert_eq!((once.step, once.deaths, effect), (journal.step, 1, Effect::Start));
        let (started, effect) = step(&once, Event::Started, NOW).unwrap();
        assert_eq!((started.step, effect), (Step::Watching, Effect::Watch));
        let (twice, effect) = step(&started, died(), NOW).unwrap();
        assert_eq!((twice.step, effect), (Step::Restoring, Effect::Restore));
        assert_eq!(twice.failure.unwrap().kind, FailureKind::CandidateDied);
    }
}

#[test]
fn an_interrupted_swap_goes_on_where_it_stood() {
    let facts = |active| Facts { active_sha256: Some(active) };
    let effects: Vec<Effect> =
        (5..10).map(|done| recover(&walk(&HAPPY[..done]).0, facts(OLD))).collect();
    let expected = [Effect::Reply, Effect::Stop, Effect::Stop, Effect::Start, Effect::Watch];
    assert_eq!(effects, expected);
    assert_eq!(recover(&walk(&HAPPY[..7]).0, facts(NEW)), Effect::Replace);
    assert_eq!(recover(&walk(&HAPPY[..7]).0, Facts { active_sha256: None }), Effect::Stop);
    assert_eq!(recover(&walk(&HAPPY).0, facts(NEW)), Effect::CleanUp);
}

#[test]
fn an_agent_takes_up_what_is_its_own_and_leaves_the_rest_to_the_updater() {
    let facts = |running, updater_registered, previous_kept| StartFacts {
        running_sha256: running,
        updater_registered,
        previous_kept,
    };
    let at = |done: usize, facts| at_agent_start(&walk(&HAPPY[..done]).0, facts);
    let old = facts(OLD, true, true);
    assert_eq!(at(0, old), AtStart::Resume(Effect::Download));
    assert_eq!(at(2, old), AtStart::Resume(Effect::Verify));
    assert_eq!(at(4, old), AtStart::Resume(Effect::StartUpdater));
    assert_eq!(at(5, old), AtStart::EnsureUpdater);
    assert_eq!(at(9, facts(NEW, true, true)), AtStart::EnsureUpdater);
    assert_eq!(at(10, facts(NEW, true, true)), AtStart::Nothing);
    // The updater's service is gone.
    assert_eq!(at(5, facts(OLD, false, true)), AtStart::CloseInterrupted);
    assert_eq!(at(7, facts(OLD, false, true)), AtStart::CloseRolledBack);
    assert_eq!(at(8, facts(NEW, false, true)), AtStart::RegisterUpdater);
    assert_eq!(at(9, facts(NEW, false, false)), AtStart::ProveAlone);
    // What made the agent crash is not tried for ever.
    let mut crashing = walk(&HAPPY[..2]).0;
    crashing.resumes = RESUMES;
    assert_eq!(at_agent_start(&crashing, old), AtStart::CloseInterrupted);
}
