//! The decisions of a rollout, with time as an argument.

use super::*;

fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + minute * 60).unwrap()
}

fn intent(version: &str) -> Intent {
    Intent { version: version.parse().unwrap(), allow_downgrade: false }
}

fn running(version: &str) -> Facts {
    Facts {
        online: true,
        version: Some(version.parse().unwrap()),
        release_available: true,
        held: false,
        paused: false,
        busy: false,
        attempt: None,
        standing: Standing::default(),
    }
}

fn asked(intent: &Intent, facts: &Facts) -> Decision {
    decide(Some(intent), facts, &Pace::default(), at(0))
}

fn failed(tally: Tally, kind: FailureKind, minute: i64) -> Standing {
    Standing::of(tally, UpdateState::Failed, Some(kind), at(minute))
}

/// What a row of failures, each a minute after the one before, leads to.
fn after(kinds: &[FailureKind]) -> Standing {
    (1..)
        .zip(kinds)
        .fold(Standing::default(), |standing, (minute, kind)| failed(standing.tally, *kind, minute))
}

fn open(sent: u32, in_hand: bool) -> Facts {
    Facts { attempt: Some(Attempt { sent, in_hand }), ..running("1.0.0") }
}

#[test]
fn newer_by_order_and_not_by_difference() {
    assert_eq!(asked(&intent("0.10.0"), &running("0.9.0")), Decision::Begin);
    assert_eq!(asked(&intent("0.9.0"), &running("0.10.0")), Decision::Nothing(Why::Newer));
    assert_eq!(asked(&intent("1.0.0"), &running("1.0.0-rc.1")), Decision::Begin);
    assert_eq!(asked(&intent("1.0.0+b"), &running("1.0.0+a")), Decision::Nothing(Why::Reached));
    let nothing = decide(None, &running("1.0.0"), &Pace::default(), at(0));
    assert_eq!(nothing, Decision::Nothing(Why::NoIntent));
}

#[test]
fn down_only_when_asked_for() {
    let down = Intent { allow_downgrade: true, ..intent("0.9.0") };
    assert_eq!(asked(&down, &running("0.10.0")), Decision::Begin);
}

#[test]
fn an_agent_that_is_at_something_is_left_alone() {
    assert_eq!(asked(&intent("1.1.0"), &open(1, true)), Decision::Nothing(Why::InHand));
    assert_eq!(asked(&intent("1.1.0"), &open(1, false)), Decision::Send);
    assert_eq!(asked(&intent("1.1.0"), &open(MAX_SENDS, false)), Decision::GiveUp);
    let busy = Facts { busy: true, ..running("1.0.0") };
    assert_eq!(asked(&intent("1.1.0"), &busy), Decision::Nothing(Why::InHand));
}

#[test]
fn nothing_is_sent_without_a_connection_a_release_or_a_known_version() {
    let wanted = intent("1.1.0");
    let offline = Facts { online: false, ..running("1.0.0") };
    assert_eq!(asked(&wanted, &offline), Decision::Nothing(Why::Offline));
    let unknown = Facts { version: None, ..running("1.0.0") };
    assert_eq!(asked(&wanted, &unknown), Decision::Nothing(Why::VersionUnknown));
    let missing = Facts { release_available: false, ..running("1.0.0") };
    assert_eq!(asked(&wanted, &missing), Decision::Nothing(Why::NoRelease));
}

#[test]
fn a_version_that_failed_is_tried_again_after_5_and_30_minutes_and_then_held() {
    let wanted = intent("1.1.0");
    let decision = |standing: Standing, minute: i64| {
        let facts = Facts { standing, ..running("1.0.0") };
        decide(Some(&wanted), &facts, &Pace::default(), at(minute))
    };
    let first = failed(Tally::default(), FailureKind::CandidateDied, 0);
    assert_eq!(decision(first, 4), Decision::Nothing(Why::Backoff(at(5))));
    assert_eq!(decision(first, 5), Decision::Begin);
    let second = failed(first.tally, FailureKind::CandidateOffline, 10);
    assert_eq!(decision(second, 39), Decision::Nothing(Why::Backoff(at(40))));
    assert_eq!(decision(second, 40), Decision::Begin);
    let third = failed(second.tally, FailureKind::Preflight, 50);
    assert_eq!((third.tally.attempts, third.tally.blamed), (3, 3));
    assert_eq!(decision(third, 1_000_000), Decision::Nothing(Why::Held));
    let cleared = Standing { tally: Tally::insisted(), last: Last::Open };
    assert_eq!(decision(cleared, 50), Decision::Begin);
}

#[test]
fn failures_that_say_nothing_about_the_version_do_not_use_up_the_budget() {
    let pace = Pace::default();
    for kind in [
        FailureKind::Network,
        FailureKind::Interrupted,
        FailureKind::Disk,
        FailureKind::Download,
        FailureKind::UrlRefused,
        FailureKind::Untrusted,
        FailureKind::Expired,
        FailureKind::BelowFloor,
        FailureKind::NotApplicable,
        FailureKind::Updater,
        FailureKind::Stop,
        FailureKind::Swap,
        FailureKind::Other,
    ] {
        let waits: Vec<u64> =
            (1..=6).map(|failures| pace.backoff(failures).as_secs() / 60).collect();
        assert_eq!(waits, [5, 30, 180, 360, 360, 360]);
        let many = after(&[kind; 50]);
        assert_eq!((many.tally.blamed, many.tally.attempts), (0, 50), "{kind}");
        assert_eq!(many.next(&pace), Next::At(at(50 + 360)), "{kind}");
    }
    // What comes between does not reset the budget, and a failure that blames begins its own row of waits.
    let (died, network) = (FailureKind::CandidateDied, FailureKind::Network);
    let mixed = after(&[died, network, network, died]);
    assert_eq!((mixed.tally.blamed, mixed.tally.excused, mixed.tally.attempts), (2, 0, 4));
    assert_eq!(mixed.next(&pace), Next::At(at(4 + 30)));
    let again = failed(mixed.tally, network, 5);
    assert_eq!(again.next(&pace), Next::At(at(5 + 5)));
    assert_eq!(failed(again.tally, died, 6).next(&pace), Next::Hold);
}

#[test]
fn a_rollback_without_a_reason_counts_against_the_version() {
    let back =
        |tally| Standing::of(tally, UpdateState::RolledBack, Some(FailureKind::Other), at(0));
    let third = back(back(back(Tally::default()).tally).tally);
    assert_eq!(third.next(&Pace::default()), Next::Hold);
    let network =
        Standing::of(Tally::default(), UpdateState::RolledBack, Some(FailureKind::Network), at(0));
    assert_eq!(network.last, Last::Excused(at(0)));
}

#[test]
fn what_asking_again_cannot_change_waits_for_the_operator() {
    let wanted = intent("1.1.0");
    for (state, kind) in [
        (UpdateState::Failed, Some(FailureKind::Refused)),
        (UpdateState::Succeeded, None),
        (UpdateState::Superseded, None),
    ] {
        let standing = Standing::of(Tally::default(), state, kind, at(0));
        let facts = Facts { standing, ..running("1.0.0") };
        assert_eq!(asked(&wanted, &facts), Decision::Nothing(Why::Ended), "{state:?}");
    }
    let spent = Tally { attempts: 2, blamed: 2, ..Tally::default() };
    let reached = Standing::of(spent, UpdateState::Succeeded, None, at(0));
    assert_eq!(reached.tally, Tally::default(), "a success wipes the slate");
    let replaced = Standing::of(spent, UpdateState::Superseded, None, at(0));
    assert_eq!(replaced.tally, spent, "and a change of mind does not");
}

#[test]
fn a_quarantined_version_is_held_at_once() {
    let standing = after(&[FailureKind::Quarantined]);
    assert_eq!(standing.next(&Pace::default()), Next::Hold);
    let facts = Facts { held: true, ..open(0, false) };
    assert_eq!(asked(&intent("1.1.0"), &facts), Decision::Nothing(Why::Held));
}

#[test]
fn an_open_attempt_is_no_failure() {
    let spent = Tally { attempts: 1, blamed: 1, ..Tally::default() };
    for state in
        [UpdateState::Waiting, UpdateState::Running, UpdateState::Online, UpdateState::Unknown]
    {
        let standing = Standing::of(spent, state, None, at(0));
        assert_eq!(standing, Standing { tally: spent, last: Last::Open });
    }
}

#[test]
fn silence_is_measured_from_the_last_word_and_judged_by_the_phase() {
    let pace = Pace::default();
    for (phase, minutes) in [
        (None, 10),
        (Some(Phase::Accepted), 10),
        (Some(Phase::Downloading), 60),
        (Some(Phase::Verifying), 8),
        (Some(Phase::Preflight), 15),
        (Some(Phase::Staged), 30),
        (Some(Phase::Swapping), 30),
        (Some(Phase::Probation), 30),
    ] {
        assert!(!pace.is_overdue(phase, at(0), at(minutes)), "{phase:?}");
        assert!(pace.is_overdue(phase, at(0), at(minutes + 1)), "{phase:?}");
    }
    assert!(!pace.is_overdue(Some(Phase::Committed), at(0), at(1_000_000)));
    assert!(!pace.is_overdue(None, at(5), at(0)), "a clock that was set back is no silence");
    let quick = Pace { first_backoff: Duration::from_millis(10), deadline_percent: 1 };
    assert!(quick.is_overdue(Some(Phase::Downloading), at(0), at(1)));
    assert_eq!(quick.backoff(9), Duration::from_millis(720));
}

#[test]
fn a_pause_at_the_pc_holds_back_what_would_be_sent_and_nothing_else() {
    let pace = Pace::default();
    let intent = Intent { version: "1.1.0".parse().unwrap(), allow_downgrade: false };
    let ask = |facts: &Facts| decide(Some(&intent), facts, &pace, Timestamp::UNIX_EPOCH);
    let paused = |facts: Facts| Facts { paused: true, ..facts };
    assert_eq!(ask(&running("1.0.0")), Decision::Begin);
    assert_eq!(ask(&paused(running("1.0.0"))), Decision::Nothing(Why::Paused));
    assert_eq!(ask(&open(0, false)), Decision::Send);
    assert_eq!(ask(&paused(open(0, false))), Decision::Nothing(Why::Paused));
    assert_eq!(ask(&paused(open(1, true))), Decision::Nothing(Why::InHand), "it goes on");
    assert_eq!(ask(&paused(running("1.1.0"))), Decision::Nothing(Why::Reached));
    assert_eq!(ask(&paused(open(MAX_SENDS, false))), Decision::Nothing(Why::Paused));
}
