//! The cases of an update, as the facts come in.

use kenny_core::rollout::Next;
use kenny_proto::PhaseAt;
use kenny_proto::frames::UpdateStatus;
use kenny_proto::update::{LOG_LINE_BYTES, LOG_LINES};

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

struct Case {
    record: UpdateRecord,
    session: SessionId,
    second: i64,
}

impl Case {
    fn requested() -> Self {
        Self::of(UpdateKind::Update, UpdateOrigin::Operator, Tally::default())
    }

    fn of(kind: UpdateKind, origin: UpdateOrigin, tally: Tally) -> Self {
        let wanted = Wanted {
            agent_id: "pc-1".parse().unwrap(),
            kind,
            origin,
            rollout: None,
            from_version: Some("1.0.0".to_owned()),
            version: Version::new(1, 1, 0),
            allow_downgrade: false,
            tally,
        };
        let record = UpdateRecord::requested(wanted, at(0));
        Self { record, session: SessionId::random(), second: 0 }
    }

    fn sent() -> Self {
        let mut case = Self::requested();
        case.record.sent(Some(Sha256Digest([1; 32])), case.session, at(1));
        case
    }

    fn now(&mut self) -> Timestamp {
        self.second += 1;
        at(self.second)
    }

    fn status(&mut self, phase: Phase, percent: Option<u8>, failure: Option<Failure>) -> Applied {
        let status = UpdateStatus {
            update_id: self.record.update.id,
            version: Version::new(1, 1, 0),
            phase,
            percent,
            detail: None,
            failure,
            at: at(0),
        };
        let now = self.now();
        self.record.status(&status, self.session, "1.0.0", now)
    }

    fn disconnected(&mut self) {
        let now = self.now();
        self.record.disconnected(self.session, now);
    }

    fn registered(
        &mut self,
        version: &str,
        speaks_0_3: bool,
        report: Option<(Phase, Option<Failure>)>,
    ) -> Applied {
        let report = report.map(|(phase, failure)| UpdateReport {
            update_id: self.record.update.id,
            from_version: Version::new(1, 0, 0),
            version: Version::new(1, 1, 0),
            sha256: Sha256Digest([1; 32]),
            phase,
            failure,
            history: vec![PhaseAt { phase, step: Some("started".to_owned()), at: at(7) }],
            rollback: false,
            log: Vec::new(),
        });
        self.session = SessionId::random();
        let facts =
            Registered { session: self.session, version, speaks_0_3, report: report.as_ref() };
        let now = self.now();
        self.record.registered(&facts, now)
    }

    fn steps(&self) -> Vec<&str> {
        self.record.update.timeline.iter().map(|entry| entry.step.as_str()).collect()
    }

    fn state(&self) -> UpdateState {
        self.record.update.state
    }

    fn failure(&self) -> &Failure {
        self.record.update.failure.as_ref().unwrap()
    }
}

#[test]
fn the_whole_way_of_an_update() {
    let mut case = Case::sent();
    for phase in [Phase::Downloading, Phase::Verifying, Phase::Staged] {
        assert_eq!(case.status(phase, None, None), Applied::Changed);
    }
    assert_eq!(case.record.staged(case.session, at(9)), Applied::Changed);
    case.disconnected();
    case.registered("1.1.0", true, Some((Phase::Probation, None)));
    assert_eq!(case.state(), UpdateState::Online);
    assert_eq!(case.record.update.finished_at, None);
    let committed = UpdateStatus {
        update_id: case.record.update.id,
        version: Version::new(1, 1, 0),
        phase: Phase::Committed,
        percent: None,
        detail: None,
        failure: None,
        at: at(0),
    };
    case.record.status(&committed, case.session, "1.1.0", at(60));
    assert_eq!(case.state(), UpdateState::Succeeded);
    assert_eq!(case.record.update.finished_at, Some(at(60)));
    assert_eq!(
        case.steps(),
        [
            "requested",
            "sent",
            "downloading",
            "verifying",
            "staged",
            "stopped",
            "started",
            "online",
            "committed"
        ]
    );
    assert_eq!(case.record.update.journal.len(), 1);
}

#[test]
fn a_staging_reply_is_not_an_outcome() {
    let mut case = Case::sent();
    case.record.staged(case.session, at(2));
    assert_eq!(case.state(), UpdateState::Running);
    case.disconnected();
    assert_eq!(case.state(), UpdateState::Running);
    assert_eq!(case.steps(), ["requested", "sent", "staged", "stopped"]);
}

#[test]
fn an_agent_of_0_2_is_judged_by_the_version_it_comes_back_with() {
    let mut good = Case::sent();
    good.record.staged(good.session, at(2));
    good.disconnected();
    good.registered("1.1.0", false, None);
    assert_eq!(good.state(), UpdateState::Succeeded);
    assert_eq!(good.steps(), ["requested", "sent", "staged", "stopped", "online"]);

    let mut bad = Case::sent();
    bad.record.staged(bad.session, at(2));
    bad.disconnected();
    bad.registered("1.0.0", false, None);
    assert_eq!(bad.state(), UpdateState::RolledBack);
    assert!(bad.failure().detail.contains("came back on 1.0.0 without saying why"));
}

#[test]
fn a_connection_lost_before_staging_leaves_the_update_open_to_be_sent_again() {
    for speaks_0_3 in [false, true] {
        let mut case = Case::sent();
        case.status(Phase::Downloading, Some(40), None);
        case.disconnected();
        assert_eq!(case.registered("1.0.0", speaks_0_3, None), Applied::Nothing);
        assert_eq!(case.state(), UpdateState::Running);
        assert!(!case.record.attempt(case.session).in_hand);
        case.record.sent(Some(Sha256Digest([1; 32])), case.session, at(9));
        assert_eq!(case.status(Phase::Downloading, None, None), Applied::Changed);
        assert_eq!(case.steps(), ["requested", "sent", "downloading", "sent", "downloading"]);
    }
}

#[test]
fn an_agent_that_still_works_on_it_is_left_alone() {
    let mut case = Case::sent();
    case.status(Phase::Downloading, Some(40), None);
    case.disconnected();
    case.registered("1.0.0", true, Some((Phase::Downloading, None)));
    assert_eq!(case.state(), UpdateState::Running);
    assert!(case.record.attempt(case.session).in_hand);
}

#[test]
fn the_reconnected_agent_says_how_it_ended() {
    let died = Failure { kind: FailureKind::CandidateDied, detail: "it ended at once".to_owned() };
    let mut back = Case::sent();
    back.status(Phase::Staged, None, None);
    back.disconnected();
    back.registered("1.0.0", true, Some((Phase::RolledBack, Some(died.clone()))));
    assert_eq!(back.state(), UpdateState::RolledBack);
    assert_eq!(back.failure(), &died);
    assert_eq!(back.steps(), ["requested", "sent", "staged", "stopped", "rolled_back"]);

    let mut failed = Case::sent();
    failed.disconnected();
    failed.registered("1.0.0", true, Some((Phase::Failed, None)));
    assert_eq!(failed.state(), UpdateState::Failed);
    assert_eq!(failed.failure().kind, FailureKind::Other);

    let mut unseen = Case::sent();
    unseen.disconnected();
    unseen.registered("1.1.0", true, Some((Phase::Committed, None)));
    assert_eq!(unseen.state(), UpdateState::Succeeded);
    assert_eq!(unseen.steps(), ["requested", "sent", "started", "online", "committed"]);
}

#[test]
fn a_commit_is_believed_only_on_the_new_version() {
    let mut told = Case::sent();
    told.status(Phase::Committed, None, None);
    assert_eq!(told.state(), UpdateState::Running);

    let mut registered = Case::sent();
    registered.disconnected();
    registered.registered("1.0.0", true, Some((Phase::Committed, None)));
    assert_eq!(registered.state(), UpdateState::RolledBack);
}

#[test]
fn the_reason_survives_whichever_message_comes_first() {
    let mismatch = Failure { kind: FailureKind::WrongVersion, detail: "it is 2.0.0".to_owned() };
    let error = ToolError::new(ErrorCode::ExecFailed, "no");

    let mut report_first = Case::sent();
    report_first.status(Phase::Failed, None, Some(mismatch.clone()));
    assert_eq!(report_first.record.refused(report_first.session, &error, at(9)), Applied::Late);
    assert_eq!(report_first.failure(), &mismatch);

    let mut answer_first = Case::sent();
    answer_first.record.refused(answer_first.session, &error, at(9));
    assert_eq!(answer_first.failure().kind, FailureKind::Other);
    assert_eq!(answer_first.record.standing().tally.excused, 1);
    assert_eq!(answer_first.status(Phase::Failed, None, Some(mismatch.clone())), Applied::Changed);
    assert_eq!(answer_first.failure(), &mismatch);
    assert_eq!(answer_first.status(Phase::Failed, None, Some(mismatch)), Applied::Late);
    assert_eq!(answer_first.state(), UpdateState::Failed);
    let tally = answer_first.record.standing().tally;
    assert_eq!((tally.attempts, tally.blamed, tally.excused), (1, 1, 0), "counted once");

    let mut answer_and_register = Case::sent();
    answer_and_register.record.refused(answer_and_register.session, &error, at(9));
    let disk = Failure { kind: FailureKind::Disk, detail: "full".to_owned() };
    answer_and_register.registered("1.0.0", true, Some((Phase::Failed, Some(disk.clone()))));
    assert_eq!(answer_and_register.failure(), &disk);
}

#[test]
fn an_error_that_asking_again_cannot_change_is_the_last_word() {
    for (code, kind) in [
        (ErrorCode::NotFound, FailureKind::Refused),
        (ErrorCode::Unsupported, FailureKind::Refused),
        (ErrorCode::BadArgs, FailureKind::Refused),
        (ErrorCode::Timeout, FailureKind::Other),
        (ErrorCode::ExecFailed, FailureKind::Other),
        (ErrorCode::Internal, FailureKind::Other),
    ] {
        let mut case = Case::sent();
        case.record.refused(case.session, &ToolError::new(code, "no"), at(9));
        assert_eq!((case.state(), case.failure().kind), (UpdateState::Failed, kind), "{code}");
    }
}

#[test]
fn silence_is_shown_as_unknown_until_the_agent_speaks_again() {
    let pace = Pace::default();
    let mut case = Case::sent();
    case.status(Phase::Downloading, Some(40), None);
    case.status(Phase::Downloading, Some(40), None);
    let heard = at(2);
    assert_eq!(case.record.heard_at, Some(heard), "a repeated report is a sign of life");
    let hour = jiff::SignedDuration::from_hours(1);
    let late = heard.checked_add(hour).unwrap().checked_add(hour).unwrap();
    assert_eq!(
        case.record.passed(false, &pace, heard.checked_add(hour).unwrap()),
        Applied::Nothing
    );
    assert_eq!(case.record.passed(true, &pace, late), Applied::Nothing, "0.2 has no word for it");
    assert_eq!(case.record.passed(false, &pace, late), Applied::Changed);
    assert_eq!(case.record.passed(false, &pace, late), Applied::Nothing, "once");
    assert_eq!(case.state(), UpdateState::Unknown);
    assert!(case.record.is_open());
    let detail = case.record.update.timeline.last().unwrap().detail.as_deref();
    assert_eq!(detail, Some("silent for too long, last heard of in the phase `downloading`"));

    assert_eq!(case.status(Phase::Downloading, Some(40), None), Applied::Changed);
    assert_eq!(case.state(), UpdateState::Running);
    case.record.passed(false, &pace, late);
    case.disconnected();
    case.registered("1.1.0", true, Some((Phase::Probation, None)));
    assert_eq!(case.state(), UpdateState::Online);
    case.record.passed(false, &pace, late);
    assert_eq!(case.state(), UpdateState::Unknown);
    case.disconnected();
    case.registered("1.0.0", true, Some((Phase::RolledBack, None)));
    assert_eq!(case.state(), UpdateState::RolledBack);
    assert_eq!(
        case.steps(),
        [
            "requested",
            "sent",
            "downloading",
            "unknown",
            "heard",
            "unknown",
            "heard",
            "started",
            "online",
            "unknown",
            "rolled_back"
        ]
    );
}

#[test]
fn the_time_without_a_server_is_not_the_agents_silence() {
    let mut case = Case::sent();
    case.record.heard_at = None;
    let late = at(1_000_000);
    assert_eq!(case.record.passed(false, &Pace::default(), late), Applied::Nothing);
    assert_eq!(case.record.heard_at, Some(late));
    let mut waiting = Case::requested();
    assert_eq!(waiting.record.passed(false, &Pace::default(), late), Applied::Nothing);
    assert_eq!(waiting.state(), UpdateState::Waiting, "nothing was sent yet");
}

#[test]
fn a_rollback_is_done_once_the_agent_is_back_whatever_it_calls_that() {
    for phase in [Phase::Committed, Phase::RolledBack] {
        let mut case = Case::of(UpdateKind::Rollback, UpdateOrigin::Operator, Tally::default());
        case.record.sent(None, case.session, at(1));
        case.record.staged(case.session, at(2));
        case.disconnected();
        case.registered("1.1.0", true, Some((phase, None)));
        assert_eq!(case.state(), UpdateState::Succeeded, "{phase}");
    }
    let mut stayed = Case::of(UpdateKind::Rollback, UpdateOrigin::Operator, Tally::default());
    stayed.record.sent(None, stayed.session, at(1));
    let none = Failure { kind: FailureKind::NoPrevious, detail: "nothing kept".to_owned() };
    stayed.status(Phase::Failed, None, Some(none));
    assert_eq!(stayed.state(), UpdateState::Failed);
    assert_eq!(stayed.record.standing().next(&Pace::default()), Next::Over, "not by itself");
}

#[test]
fn what_the_agent_told_of_and_forgot_is_closed() {
    let report = UpdateReport {
        update_id: UpdateId::random(),
        from_version: Version::new(1, 0, 0),
        version: Version::new(1, 1, 0),
        sha256: Sha256Digest([1; 32]),
        phase: Phase::Downloading,
        failure: None,
        history: Vec::new(),
        rollback: false,
        log: Vec::new(),
    };
    let record = UpdateRecord::told("pc-1".parse().unwrap(), &report, Tally::default(), at(0));
    assert_eq!(record.update.id, report.update_id);
    let mut case = Case { record, session: SessionId::random(), second: 0 };
    case.registered("1.0.0", true, None);
    assert_eq!(case.state(), UpdateState::Failed);
    assert_eq!(case.failure().kind, FailureKind::Interrupted);
    assert_eq!(case.steps(), ["told", "failed"]);
}

#[test]
fn journal_and_log_are_kept_within_bounds() {
    let mut case = Case::sent();
    let moment = PhaseAt { phase: Phase::Swapping, step: None, at: at(7) };
    let last = PhaseAt { phase: Phase::RolledBack, step: None, at: at(8) };
    let mut history = vec![moment; 1000];
    history.push(last.clone());
    let mut log = vec!["ä".repeat(10_000); 1000];
    log.push("the end".to_owned());
    let report = UpdateReport {
        update_id: case.record.update.id,
        from_version: Version::new(1, 0, 0),
        version: Version::new(1, 1, 0),
        sha256: Sha256Digest([1; 32]),
        phase: Phase::RolledBack,
        failure: None,
        history,
        rollback: false,
        log,
    };
    let facts = Registered {
        session: case.session,
        version: "1.0.0",
        speaks_0_3: true,
        report: Some(&report),
    };
    assert_eq!(case.record.registered(&facts, at(9)), Applied::Changed);
    let update = &case.record.update;
    assert_eq!(update.journal.len(), 100);
    assert_eq!(update.journal.last(), Some(&last));
    assert_eq!(update.log.len(), LOG_LINES);
    assert!(update.log.iter().all(|line| line.len() <= LOG_LINE_BYTES));
    assert_eq!(update.log.last().unwrap(), "the end");
    assert_eq!(case.record.registered(&facts, at(10)), Applied::Nothing, "said once");
}

#[test]
fn reports_are_idempotent_and_phases_only_move_forward() {
    let mut case = Case::sent();
    assert_eq!(case.status(Phase::Downloading, Some(1), None), Applied::Changed);
    assert_eq!(case.status(Phase::Downloading, Some(1), None), Applied::Nothing);
    assert_eq!(case.status(Phase::Downloading, Some(2), None), Applied::Progress);
    assert_eq!(case.status(Phase::Verifying, None, None), Applied::Changed);
    assert_eq!(case.status(Phase::Downloading, Some(3), None), Applied::Nothing);
    assert_eq!(case.steps(), ["requested", "sent", "downloading", "verifying"]);
    case.status(Phase::RolledBack, None, None);
    assert_eq!(case.status(Phase::Committed, None, None), Applied::Late);
    case.registered("1.1.0", true, Some((Phase::Committed, None)));
    assert_eq!(case.state(), UpdateState::RolledBack);
}

#[test]
fn an_answer_of_an_earlier_connection_does_not_count() {
    let mut case = Case::sent();
    let earlier = case.session;
    case.registered("1.0.0", true, None);
    case.record.sent(Some(Sha256Digest([1; 32])), case.session, at(9));
    let error = ToolError::new(ErrorCode::Internal, "gone");
    assert_eq!(case.record.refused(earlier, &error, at(10)), Applied::Late);
    assert_eq!(case.state(), UpdateState::Running);
}

#[test]
fn an_agent_that_reaches_the_version_by_itself_is_done() {
    let mut case = Case::requested();
    case.registered("1.1.0", true, None);
    assert_eq!(case.state(), UpdateState::Succeeded);
    assert_eq!(case.record.update.timeline[1].detail.as_deref(), Some("already runs 1.1.0"));
}
