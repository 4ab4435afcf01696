//! What becomes of one member: its outcome, and what stands in its way.

use std::cmp::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use kenny_proto::rollout::{MemberState, RolloutKind, WhyNever};
use semver::Version;

use super::course::{Course, MemberFacts, Outcome};
use super::selection;

/// What the facts make of a member's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing.
    Stay,
    /// It is settled, for this reason.
    Settle(MemberState, Option<String>),
    /// It waits again: it must not have the update any more, and has not taken it.
    TakeBack,
}

/// What stands in the way of a member that waits, time and turn aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// It is not to be updated.
    Never(WhyNever),
    /// There is nothing to do.
    AlreadyThere,
    /// It has no connection.
    Offline,
    /// It is paused at the PC.
    Paused,
    /// Its stage is not reached.
    Later,
    /// Nothing.
    Free,
}

/// Moves a member on. An outcome counts before anything else: it happened.
pub(super) fn turn(course: &Course, facts: &MemberFacts, now: Timestamp) -> Turn {
    match facts.state {
        MemberState::Waiting => match facts.outcome {
            // Its update was taken back while it had it in hand after all.
            Outcome::Succeeded if facts.begun_at.is_some() => {
                Turn::Settle(MemberState::Succeeded, None)
            }
            Outcome::Succeeded
            | Outcome::None
            | Outcome::Blamed { .. }
            | Outcome::Excused { .. } => unless_overtaken(facts),
        },
        MemberState::InFlight => match &facts.outcome {
            Outcome::Succeeded => Turn::Settle(MemberState::Succeeded, None),
            Outcome::Blamed { rolled_back, detail } => blamed(*rolled_back, detail),
            Outcome::None | Outcome::Excused { .. } if got_there(course, facts) => {
                Turn::Settle(MemberState::Succeeded, None)
            }
            outcome @ (Outcome::None | Outcome::Excused { .. }) => {
                in_flight(course, facts, outcome, now)
            }
        },
        MemberState::Silent => match &facts.outcome {
            Outcome::Succeeded => Turn::Settle(MemberState::Succeeded, None),
            Outcome::Blamed { rolled_back, detail } => blamed(*rolled_back, detail),
            Outcome::None | Outcome::Excused { .. } if got_there(course, facts) => {
                Turn::Settle(MemberState::Succeeded, None)
            }
            Outcome::None | Outcome::Excused { .. } => Turn::Stay,
        },
        MemberState::Succeeded
        | MemberState::Failed
        | MemberState::RolledBack
        | MemberState::Overtaken => Turn::Stay,
    }
}

/// When a member in flight without an outcome is silent: measured from its beginning, or from when this process began
/// to listen where that is later.
pub(super) fn deadline(course: &Course, facts: &MemberFacts, now: Timestamp) -> Timestamp {
    let begun = facts.begun_at.unwrap_or(facts.since).max(course.listening_since).min(now);
    later(begun, Duration::from_secs(course.strategy.silent_after_s.into()))
}

/// What stands in the way of a member of a stage that is reached or not.
pub(super) fn way(course: &Course, facts: &MemberFacts, is_reached: bool) -> Way {
    if facts.overtaken {
        return Way::Never(WhyNever::Overtaken);
    }
    let version_unknown = match is_there(course, facts) {
        Some(true) => return Way::AlreadyThere,
        Some(false) => false,
        None => true,
    };
    if let Some(why) = excluded(course, facts) {
        return Way::Never(why);
    }
    if !facts.online {
        return Way::Offline;
    }
    if version_unknown {
        return Way::Never(WhyNever::VersionUnknown);
    }
    match (nothing_kept(course, facts), facts.paused, is_reached) {
        (true, _, _) => Way::Never(WhyNever::NothingKept),
        (false, true, _) => Way::Paused,
        (false, false, false) => Way::Later,
        (false, false, true) => Way::Free,
    }
}

/// True when the agent would get the update at some time, as things are: it can be a canary.
pub(super) fn takes_it(course: &Course, facts: &MemberFacts) -> bool {
    match way(course, facts, true) {
        Way::Never(_) | Way::AlreadyThere => false,
        Way::Offline | Way::Paused | Way::Later | Way::Free => true,
    }
}

/// A time, and so much later.
pub(super) fn later(time: Timestamp, by: Duration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// Seconds in the largest unit that says it without a fraction, such as `4 h`.
pub(super) fn in_words(seconds: u32) -> String {
    match (seconds % 86_400, seconds % 3600, seconds % 60) {
        (0, _, _) => format!("{} d", seconds / 86_400),
        (_, 0, _) => format!("{} h", seconds / 3600),
        (_, _, 0) => format!("{} min", seconds / 60),
        (_, _, _) => format!("{seconds} s"),
    }
}

fn in_flight(course: &Course, facts: &MemberFacts, outcome: &Outcome, now: Timestamp) -> Turn {
    if facts.overtaken {
        return unless_overtaken(facts);
    }
    if now >= deadline(course, facts, now) {
        let time = in_words(course.strategy.silent_after_s);
        return match outcome {
            // It talks, and says each time that it cannot: it has failed, it is not silent.
            Outcome::Excused { detail } if !facts.in_hand => {
                Turn::Settle(MemberState::Failed, Some(format!("not done within {time}: {detail}")))
            }
            Outcome::Excused { .. }
            | Outcome::None
            | Outcome::Succeeded
            | Outcome::Blamed { .. } => Turn::Settle(
                MemberState::Silent,
                Some(format!("no outcome within {time} of its beginning")),
            ),
        };
    }
    match excluded(course, facts) {
        Some(WhyNever::Pinned | WhyNever::NoRelease) if !facts.in_hand => Turn::TakeBack,
        Some(
            WhyNever::Pinned
            | WhyNever::NoRelease
            | WhyNever::Held
            | WhyNever::Channel
            | WhyNever::VersionUnknown
            | WhyNever::NothingKept
            | WhyNever::Overtaken,
        )
        | None => Turn::Stay,
    }
}

/// It connected with the target, and no attempt is open that could still be rolled back: somebody installed it by hand,
/// or the word about its end was lost.
fn got_there(course: &Course, facts: &MemberFacts) -> bool {
    facts.online && !facts.in_hand && !facts.overtaken && is_there(course, facts) == Some(true)
}

fn unless_overtaken(facts: &MemberFacts) -> Turn {
    if facts.overtaken { Turn::Settle(MemberState::Overtaken, None) } else { Turn::Stay }
}

fn blamed(rolled_back: bool, detail: &str) -> Turn {
    let state = if rolled_back { MemberState::RolledBack } else { MemberState::Failed };
    Turn::Settle(state, Some(detail.to_owned()))
}

/// True when it runs what it should, or something newer that it may stay at; none when that is not known.
fn is_there(course: &Course, facts: &MemberFacts) -> Option<bool> {
    let order = facts.running.as_ref()?.cmp_precedence(&course.version);
    Some(match course.kind {
        RolloutKind::Update => match order {
            Ordering::Equal => true,
            Ordering::Greater => !course.allow_downgrade,
            Ordering::Less => false,
        },
        RolloutKind::Rollback => order != Ordering::Equal,
    })
}

/// Why the operator, or the lack of a release, keeps the agent out.
fn excluded(course: &Course, facts: &MemberFacts) -> Option<WhyNever> {
    let target = match course.kind {
        RolloutKind::Update => Some(&course.version),
        RolloutKind::Rollback => facts.kept.as_ref(),
    };
    let is_other = |pin: &Version| target.is_none_or(|target| !pin.cmp_precedence(target).is_eq());
    if facts.pinned.as_ref().is_some_and(is_other) {
        return Some(WhyNever::Pinned);
    }
    let is_update = course.kind == RolloutKind::Update;
    if is_update && !selection::takes(facts.channel, &course.version) {
        return Some(WhyNever::Channel);
    }
    if facts.held {
        return Some(WhyNever::Held);
    }
    (is_update && !facts.release_available).then_some(WhyNever::NoRelease)
}

fn nothing_kept(course: &Course, facts: &MemberFacts) -> bool {
    course.kind == RolloutKind::Rollback && facts.kept.is_none()
}
