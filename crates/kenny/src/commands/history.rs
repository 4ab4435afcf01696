//! The whole history of one update: each step as the server learnt of it and as the PC's journal has it, the reason,
//! and the tail of the updater's log.

use jiff::Timestamp;
use kenny_proto::PhaseAt;
use kenny_proto::api::{TimelineEntry, Update};

use crate::output::{Palette, Table, Tone};
use crate::words;

/// All that is known of the update.
pub fn describe(update: &Update, palette: Palette) -> String {
    let from = update.from_version.as_deref().unwrap_or("-");
    let what = words::what(update);
    let title = format!("{what}: {from} -> {}, {}", update.version, words::progress(update));
    let mut text = format!("{}\n", palette.paint(Tone::Heading, &words::harmless(&title)));
    if let Some(failure) = &update.failure {
        let why = format!("why: {} ({})", failure.detail, failure.kind);
        text.push_str(&palette.paint(Tone::Bad, &words::harmless(&why)));
        text.push('\n');
    }
    text.push_str(&steps(update).render(palette));
    if !update.log.is_empty() {
        text.push_str("\nLog of the updater on the PC, its last lines\n");
        for line in &update.log {
            text.push_str("  ");
            text.push_str(&words::harmless(line));
            text.push('\n');
        }
    }
    text
}

/// One moment, by the server's clock, by the PC's, or by both.
#[derive(Debug, Default, PartialEq)]
struct Moment<'a> {
    step: &'a str,
    server: Option<Timestamp>,
    pc: Option<Timestamp>,
    detail: Option<&'a str>,
}

fn steps(update: &Update) -> Table {
    let at = |at: Option<Timestamp>| at.map(words::moment).unwrap_or_default();
    let mut table = Table::new(&["STEP", "SERVER'S CLOCK", "PC'S CLOCK", "DETAIL"]);
    for moment in merged(&update.timeline, &update.journal) {
        table.row([
            moment.step.into(),
            at(moment.server).into(),
            at(moment.pc).into(),
            moment.detail.unwrap_or_default().into(),
        ]);
    }
    table
}

/// Both accounts in one order. The two clocks may differ by hours, so it is the names of the steps that bring them
/// together and not the times.
fn merged<'a>(timeline: &'a [TimelineEntry], journal: &'a [PhaseAt]) -> Vec<Moment<'a>> {
    let mut moments = Vec::new();
    let mut rest = journal;
    for entry in timeline {
        let met = rest.iter().position(|moment| name(moment) == entry.step);
        let pc = met.map(|met| {
            moments.extend(rest[..met].iter().map(on_the_pc));
            let at = rest[met].at;
            rest = &rest[met + 1..];
            at
        });
        moments.push(Moment {
            step: &entry.step,
            server: Some(entry.at),
            pc,
            detail: entry.detail.as_deref(),
        });
    }
    moments.extend(rest.iter().map(on_the_pc));
    moments
}

fn on_the_pc(moment: &PhaseAt) -> Moment<'_> {
    Moment { step: name(moment), pc: Some(moment.at), ..Moment::default() }
}

fn name(moment: &PhaseAt) -> &str {
    moment.step.as_deref().unwrap_or(moment.phase.as_str())
}

#[cfg(test)]
mod tests {
    use kenny_proto::api::UpdateState;
    use kenny_proto::update::Failure;
    use kenny_proto::{FailureKind, Phase};

    use super::super::update::tests::update;
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn entry(step: &str, second: i64, detail: Option<&str>) -> TimelineEntry {
        TimelineEntry { step: step.to_owned(), at: at(second), detail: detail.map(str::to_owned) }
    }

    fn moment(phase: Phase, step: Option<&str>, second: i64) -> PhaseAt {
        PhaseAt { phase, step: step.map(str::to_owned), at: at(second) }
    }

    #[test]
    fn both_clocks_the_reason_and_the_log_are_shown() {
        let update = Update {
            attempt: 2,
            timeline: vec![
                entry("requested", 0, Some("attempt 2: the server tries again by itself")),
                entry("sent", 1, None),
                entry("staged", 5, None),
                entry("stopped", 6, None),
                entry("rolled_back", 60, Some("it ended at once")),
            ],
            // This PC's clock is an hour ahead.
            journal: vec![
                moment(Phase::Accepted, None, 3601),
                moment(Phase::Verifying, Some("downloaded"), 3604),
                moment(Phase::Staged, None, 3605),
                moment(Phase::Swapping, Some("stopped"), 3606),
                moment(Phase::Probation, Some("started"), 3607),
                moment(Phase::RolledBack, None, 3610),
            ],
            failure: Some(Failure {
                kind: FailureKind::CandidateDied,
                detail: "it ended at once".to_owned(),
            }),
            log: vec!["ERROR the new version ended\u{1b}[2J".to_owned()],
            ..update(UpdateState::RolledBack)
        };
        assert_eq!(
            describe(&update, Palette { coloured: false }),
            "update, attempt 2: 1.3.0 -> 1.4.0, rolled back\n\
             why: it ended at once (candidate_died)\n\
             STEP         SERVER'S CLOCK        PC'S CLOCK            DETAIL\n\
             requested    1970-01-01 00:00:00Z                        attempt 2: the server tries again by itself\n\
             sent         1970-01-01 00:00:01Z\n\
             accepted                           1970-01-01 01:00:01Z\n\
             downloaded                         1970-01-01 01:00:04Z\n\
             staged       1970-01-01 00:00:05Z  1970-01-01 01:00:05Z\n\
             stopped      1970-01-01 00:00:06Z  1970-01-01 01:00:06Z\n\
             started                            1970-01-01 01:00:07Z\n\
             rolled_back  1970-01-01 00:01:00Z  1970-01-01 01:00:10Z  it ended at once\n\
             \nLog of the updater on the PC, its last lines\n  ERROR the new version ended\u{fffd}[2J\n"
        );
    }

    #[test]
    fn a_step_that_the_pc_did_not_write_down_takes_nothing_away_from_those_that_it_did() {
        let timeline = [entry("requested", 0, None), entry("online", 9, None)];
        let journal = [moment(Phase::Accepted, None, 1), moment(Phase::Committed, None, 8)];
        let moments = merged(&timeline, &journal);
        let names: Vec<&str> = moments.iter().map(|moment| moment.step).collect();
        assert_eq!(names, ["requested", "online", "accepted", "committed"]);
        assert_eq!(merged(&timeline, &[]).len(), 2);
    }
}
