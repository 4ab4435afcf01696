//! Why a rollout stopped or ended, in words that a neighbour understands.

use kenny_proto::AgentId;
use kenny_proto::rollout::{MemberState, RolloutKind};

use super::course::Course;
use super::plan::Count;

/// How many PCs are named; who has to look at more opens the list.
const NAMED: usize = 3;

/// Why a stage, from 0, halts the rollout, such as `2 of 10 PCs of stage 1 went back to the old version; 1 is tolerated.
/// Look at anna, ben.` `bad` are its failures that nobody forgave.
pub(super) fn of_halt<'a>(
    course: &Course,
    stage: u32,
    count: &Count,
    bad: impl Iterator<Item = (&'a AgentId, MemberState)>,
) -> String {
    let mut names: Vec<&str> = Vec::new();
    let mut ends = Ends::default();
    for (agent, state) in bad {
        ends.add(state);
        names.push(agent.as_str());
    }
    names.sort_unstable();
    let (bad, members, stage) = (count.bad, count.view.members, stage + 1);
    let who = if members == 1 {
        format!("the only PC of stage {stage}")
    } else {
        format!("{bad} of {members} PCs of stage {stage}")
    };
    let what = match ends.only(course.kind) {
        Some(what) => format!("{who} {what}"),
        None => format!("{who} did not make it ({})", ends.list(course.kind)),
    };
    let tolerated = match (bad > count.view.tolerated, count.view.tolerated) {
        (false, _) => "no PC of the stage has made it".to_owned(),
        (true, 0) => "none is tolerated".to_owned(),
        (true, 1) => "1 is tolerated".to_owned(),
        (true, tolerated) => format!("{tolerated} are tolerated"),
    };
    let rest = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    format!("{what}; {tolerated}. Look at {}{more}.", names.join(", "))
}

/// How a rollout ended, such as `38 PCs run 1.4.0 now; 2 went back to the old version; 1 was not to be updated`.
pub(super) fn of_completion(course: &Course, counts: &[Count]) -> String {
    let sum = |of: fn(&Count) -> u32| counts.iter().map(of).sum::<u32>();
    let members = sum(|count| count.view.members);
    if members == 0 {
        return "no PC is selected: there was nothing to do".to_owned();
    }
    let successes = sum(|count| count.successes);
    let ends = Ends {
        rolled_back: sum(|count| count.view.rolled_back),
        failed: sum(|count| count.view.failed),
        silent: sum(|count| count.view.silent),
    };
    let excluded = sum(|count| count.view.excluded);
    let already = members - successes - ends.rolled_back - ends.failed - ends.silent - excluded;
    let version = &course.version;
    let (done, there) = match course.kind {
        RolloutKind::Update => (format!("came to run {version}"), "needed no update"),
        RolloutKind::Rollback => (format!("left {version}"), "ran another version already"),
    };
    let mut parts = vec![format!("{} {done}", pcs(successes))];
    if already > 0 {
        parts.push(format!("{already} {there}"));
    }
    if !ends.is_none() {
        parts.push(ends.list(course.kind));
    }
    match excluded {
        0 => {}
        1 => parts.push("1 was left out".to_owned()),
        _ => parts.push(format!("{excluded} were left out")),
    }
    parts.join(", ")
}

/// Failures by kind.
#[derive(Default)]
struct Ends {
    rolled_back: u32,
    failed: u32,
    silent: u32,
}

impl Ends {
    fn add(&mut self, state: MemberState) {
        match state {
            MemberState::RolledBack => self.rolled_back += 1,
            MemberState::Failed => self.failed += 1,
            MemberState::Silent => self.silent += 1,
            MemberState::Waiting
            | MemberState::InFlight
            | MemberState::Succeeded
            | MemberState::Overtaken => {}
        }
    }

    fn is_none(&self) -> bool {
        self.rolled_back + self.failed + self.silent == 0
    }

    /// Each kind with its number and what such PCs did.
    fn kinds(&self, kind: RolloutKind) -> impl Iterator<Item = (u32, &'static str)> {
        let (rolled_back, failed) = match kind {
            RolloutKind::Update => ("went back to the old version", "could not install it"),
            RolloutKind::Rollback => ("came back to the version to leave", "could not go back"),
        };
        let kinds =
            [(self.rolled_back, rolled_back), (self.failed, failed), (self.silent, "fell silent")];
        kinds.into_iter().filter(|(number, _)| *number > 0)
    }

    /// What all of them did, where it was the same.
    fn only(&self, kind: RolloutKind) -> Option<&'static str> {
        let mut kinds = self.kinds(kind);
        let (_, what) = kinds.next()?;
        kinds.next().is_none().then_some(what)
    }

    fn list(&self, kind: RolloutKind) -> String {
        let parts: Vec<String> =
            self.kinds(kind).map(|(number, what)| format!("{number} {what}")).collect();
        parts.join(", ")
    }
}

fn pcs(number: u32) -> String {
    match number {
        0 => "no PC".to_owned(),
        1 => "1 PC".to_owned(),
        _ => format!("{number} PCs"),
    }
}
