//! The cases of an update, as the facts come in.

use kenny_proto::PhaseAt;
use kenny_proto::frames::ErrorCode;

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
        let record = UpdateRecord::requested(
            "pc-1".parse().unwrap(),
            Some("1.0.0".to_owned()),
            &Version::new(1, 1, 0),
            false,
            at(0),
        );
        Self { record, session: SessionId::random(), second: 0 }
    }

    fn sent() -> Self {
        let mut case = Self::requested();
        case.record.sent(Sha256Digest([1; 32]), case.session, at(1));
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
        case.record.sent(Sha256Digest([1; 32]), case.session, at(9));
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
    let mismatch = Failure { kind: FailureKind::HashMismatch, detail: "other bytes".to_owned() };
    let error = ToolError::new(ErrorCode::ExecFailed, "no");

    let mut report_first = Case::sent();
    report_first.status(Phase::Failed, None, Some(mismatch.clone()));
    assert_eq!(report_first.record.refused(report_first.session, &error, at(9)), Applied::Late);
    assert_eq!(report_first.failure(), &mismatch);

    let mut answer_first = Case::sent();
    answer_first.record.refused(answer_first.session, &error, at(9));
    assert_eq!(answer_first.failure().kind, FailureKind::Refused);
    assert_eq!(answer_first.status(Phase::Failed, None, Some(mismatch.clone())), Applied::Changed);
    assert_eq!(answer_first.failure(), &mismatch);
    assert_eq!(answer_first.status(Phase::Failed, None, Some(mismatch)), Applied::Late);
    assert_eq!(answer_first.state(), UpdateState::Failed);
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
    case.record.sent(Sha256Digest([1; 32]), case.session, at(9));
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
