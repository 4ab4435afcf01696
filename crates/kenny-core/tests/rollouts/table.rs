//! Plans and effects as text.

use std::fmt::Write;

use jiff::Timestamp;
use kenny_core::rollout::course::{Effect, Plan};
use kenny_proto::rollout::{MemberState, StageView, WaitsFor, When, WhyNever};

use super::world::monday;

/// A plan's members, then its stages, then when to look again.
pub fn of_plan(plan: &Plan<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in &plan.entries {
        let utc = if entry.assumes_utc { " (taking UTC for its time)" } else { "" };
        let stage = entry.stage + 1;
        let state = state(entry.state);
        lines.push(format!(
            "{stage} {:8} {state:11} {}{utc}",
            entry.agent.as_str(),
            when(&entry.when)
        ));
    }
    for (view, number) in plan.stages.iter().zip(1..) {
        lines.push(format!("stage {number}: {}", stage(view)));
    }
    lines.push(
        plan.look_again_at.map_or("look again after a fact".to_owned(), |at| {
            format!("look again at {}", time(at))
        }),
    );
    lines
}

/// One line for each run of effects of a kind.
pub fn of_effects(effects: &[Effect]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut last = String::new();
    for effect in effects {
        let (kind, rest) = match effect {
            Effect::ClockWentBack => ("clock went back".to_owned(), String::new()),
            Effect::Settle { agent, to, detail } => {
                let detail = detail.as_ref().map_or(String::new(), |detail| format!(" ({detail})"));
                (format!("settle {}", state(*to)), format!("{agent}{detail}"))
            }
            Effect::TakeBack(agent) => ("take back".to_owned(), agent.to_string()),
            Effect::Begin(agent) => ("begin".to_owned(), agent.to_string()),
            Effect::Advance { to } => (format!("advance to {}", to + 1), String::new()),
            Effect::Halt { reason } => ("halt:".to_owned(), reason.clone()),
            Effect::Complete { reason } => ("complete:".to_owned(), reason.clone()),
        };
        match lines.last_mut() {
            Some(line) if kind == last => write!(line, " {rest}").unwrap(),
            Some(_) | None => lines.push(format!("{kind} {rest}").trim().to_owned()),
        }
        last = kind;
    }
    lines
}

/// A time since Monday, such as `1d 2h 30m`.
pub fn time(at: Timestamp) -> String {
    let mut rest = at.duration_since(monday()).as_millis();
    if rest < 0 {
        return format!("{rest} ms");
    }
    let mut text = String::new();
    for (unit, length) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)] {
        if rest >= length {
            write!(text, "{}{unit} ", rest / length).unwrap();
            rest %= length;
        }
    }
    if rest > 0 || text.is_empty() {
        write!(text, "{rest}ms").unwrap();
    }
    text.trim().to_owned()
}

fn state(state: MemberState) -> &'static str {
    match state {
        MemberState::Waiting => "waiting",
        MemberState::InFlight => "in_flight",
        MemberState::Succeeded => "succeeded",
        MemberState::Failed => "failed",
        MemberState::RolledBack => "rolled_back",
        MemberState::Silent => "silent",
        MemberState::Overtaken => "overtaken",
    }
}

fn when(when: &When) -> String {
    match when {
        When::Done => "done".to_owned(),
        When::AlreadyThere => "already there".to_owned(),
        When::InFlight => "in flight".to_owned(),
        When::Now => "now".to_owned(),
        When::At { at, why: WaitsFor::Jitter } => format!("at {}: its own delay", time(*at)),
        When::At { at, why: WaitsFor::Window } => format!("at {}: its window", time(*at)),
        When::InTurn => "in turn".to_owned(),
        When::Later => "later".to_owned(),
        When::Offline => "offline".to_owned(),
        When::Paused => "paused at the PC".to_owned(),
        When::Never { why } => format!("never: {}", why_never(*why)),
    }
}

fn why_never(why: WhyNever) -> &'static str {
    match why {
        WhyNever::Pinned => "pinned",
        WhyNever::Held => "held",
        WhyNever::Channel => "channel",
        WhyNever::NoRelease => "no release",
        WhyNever::VersionUnknown => "version unknown",
        WhyNever::NothingKept => "nothing kept",
        WhyNever::Overtaken => "overtaken",
    }
}

fn stage(view: &StageView) -> String {
    let counts = [
        ("waiting", view.waiting),
        ("offline", view.offline),
        ("in flight", view.in_flight),
        ("succeeded", view.succeeded),
        ("failed", view.failed),
        ("rolled back", view.rolled_back),
        ("silent", view.silent),
        ("excluded", view.excluded),
    ];
    let sum: u32 = counts.iter().map(|(_, count)| count).sum();
    assert_eq!(sum, view.members, "a member is counted twice, or not at all: {view:?}");
    let mut text = format!("{} members", view.members);
    for (name, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
        write!(text, ", {count} {name}").unwrap();
    }
    write!(text, "; tolerates {}", view.tolerated).unwrap();
    text
}
