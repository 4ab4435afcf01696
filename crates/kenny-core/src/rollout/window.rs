//! Maintenance windows in a PC's local time.
//!
//! Local time is UTC and an offset in seconds, as the agent tells it with each registration and each telemetry; there
//! are no time zones here. An opening beyond a change of the clocks is an hour off until the agent tells the new offset,
//! which it does before the window opens.

use jiff::Timestamp;
use jiff::civil::Time;
use kenny_proto::rollout::{Day, Window};

const DAY_S: i64 = 24 * 60 * 60;

/// No place on Earth is farther from UTC than 14 h; what an agent tells beyond this is a PC without a sane clock.
const FARTHEST_OFFSET_S: i32 = 18 * 60 * 60;

/// The 1st of January 1970, day 0 of a timestamp, was a Thursday: the fourth in this list.
const WEEK: [Day; 7] = [Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri, Day::Sat, Day::Sun];
const FIRST_DAY: i64 = 3;

/// True when windows would be reckoned in UTC because the offset is not known, or cannot be.
pub fn assumes_utc(windows: &[Window], utc_offset_s: Option<i32>) -> bool {
    !windows.is_empty() && known(utc_offset_s).is_none()
}

/// True when one of the windows is open then, or there is none. The offset is local time minus UTC in seconds; UTC is
/// assumed where it is not known.
pub fn is_open(windows: &[Window], utc_offset_s: Option<i32>, at: Timestamp) -> bool {
    next_open(windows, utc_offset_s, at) == at
}

/// The first time from `from` on at which one of the windows is open: `from` itself when one is, or there is none.
/// Otherwise a whole second, at most eight days later.
pub fn next_open(windows: &[Window], utc_offset_s: Option<i32>, from: Timestamp) -> Timestamp {
    let offset = i64::from(known(utc_offset_s).unwrap_or(0));
    let local = from.as_second() + offset;
    let today = local.div_euclid(DAY_S);
    let mut next: Option<i64> = None;
    // From yesterday, whose window may go on past midnight, to this day of the next week, whose window may be the only.
    for day in today - 1..=today + 7 {
        for window in windows.iter().filter(|window| begins_on(window, day)) {
            let (begin, end) = bounds(window, day);
            if begin <= local && local < end {
                return from;
            }
            if begin > local && next.is_none_or(|next| begin < next) {
                next = Some(begin);
            }
        }
        // What begins on a later day begins later, and what is open began yesterday or today.
        if next.is_some() && day >= today {
            break;
        }
    }
    match next {
        Some(begin) => Timestamp::from_second(begin - offset).unwrap_or(Timestamp::MAX),
        None => from,
    }
}

/// Seconds of local time since 1970 at which this day's window begins and ends.
fn bounds(window: &Window, day: i64) -> (i64, i64) {
    let (from, to) = (second_of_day(window.from), second_of_day(window.to));
    let last = if to > from { day } else { day + 1 };
    (day * DAY_S + from, last * DAY_S + to)
}

fn begins_on(window: &Window, day: i64) -> bool {
    let index =
        usize::try_from((day + FIRST_DAY).rem_euclid(7)).expect("a remainder of 7 is small");
    window.days.is_empty() || window.days.contains(&WEEK[index])
}

fn second_of_day(time: Time) -> i64 {
    i64::from(time.hour()) * 3600 + i64::from(time.minute()) * 60 + i64::from(time.second())
}

fn known(utc_offset_s: Option<i32>) -> Option<i32> {
    utc_offset_s.filter(|offset| (-FARTHEST_OFFSET_S..=FARTHEST_OFFSET_S).contains(offset))
}
