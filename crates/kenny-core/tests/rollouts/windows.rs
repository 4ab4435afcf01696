//! Windows in local time.

use jiff::Timestamp;
use jiff::civil::{DateTime, Time, Weekday, date};
use jiff::tz::Offset;
use kenny_core::rollout::window::{assumes_utc, is_open, next_open};
use kenny_proto::rollout::{Day, Window};

use super::random::Random;
use super::world::{monday, seconds};

fn window(days: &[Day], from: &str, to: &str) -> Window {
    Window {
        days: days.iter().copied().collect(),
        from: from.parse().unwrap(),
        to: to.parse().unwrap(),
    }
}

/// A time of that week: the 5th of January 2026 was a Monday.
fn utc(day: i8, hour: i8, minute: i8) -> Timestamp {
    Offset::UTC.to_timestamp(date(2026, 1, day).at(hour, minute, 0, 0)).unwrap()
}

#[test]
fn without_windows_it_is_always_open() {
    assert!(is_open(&[], None, monday()) && is_open(&[], Some(3600), utc(7, 12, 0)));
    assert!(!assumes_utc(&[], None));
}

#[test]
fn a_window_holds_its_beginning_and_not_its_end() {
    let windows = [window(&[], "09:00", "17:00")];
    assert_eq!(next_open(&windows, Some(0), utc(5, 8, 59)), utc(5, 9, 0));
    assert!(is_open(&windows, Some(0), utc(5, 9, 0)));
    assert!(is_open(&windows, Some(0), utc(5, 16, 59)));
    assert_eq!(next_open(&windows, Some(0), utc(5, 17, 0)), utc(6, 9, 0));
}

#[test]
fn a_window_across_midnight_belongs_to_the_day_on_which_it_begins() {
    let windows = [window(&[Day::Fri], "22:00", "05:00")];
    assert!(!is_open(&windows, Some(0), utc(9, 3, 0)), "the night before Friday");
    assert!(
        is_open(&windows, Some(0), utc(9, 22, 0)) && is_open(&windows, Some(0), utc(10, 4, 59))
    );
    assert_eq!(next_open(&windows, Some(0), utc(10, 5, 0)), utc(16, 22, 0), "a week later");
    assert_eq!(next_open(&windows, Some(0), utc(9, 21, 59)), utc(9, 22, 0));
}

#[test]
fn until_midnight_is_until_the_day_ends() {
    let windows = [window(&[Day::Sun], "20:00", "00:00")];
    assert!(is_open(&windows, Some(0), utc(11, 23, 59)));
    assert_eq!(next_open(&windows, Some(0), utc(12, 0, 0)), utc(18, 20, 0));
}

#[test]
fn the_earliest_of_several_counts() {
    let windows =
        [window(&[Day::Tue], "12:00", "13:00"), window(&[Day::Mon, Day::Tue], "06:00", "07:00")];
    assert_eq!(next_open(&windows, Some(0), utc(5, 7, 30)), utc(6, 6, 0));
    assert_eq!(next_open(&windows, Some(0), utc(6, 7, 0)), utc(6, 12, 0));
    assert_eq!(next_open(&windows, Some(0), utc(6, 13, 0)), utc(12, 6, 0));
}

#[test]
fn local_time_is_utc_and_the_offset() {
    let windows = [window(&[Day::Mon], "01:00", "05:00")];
    // 01:00 on Monday is Sunday in UTC where the sun rises early, and late on Monday in the west.
    assert_eq!(next_open(&windows, Some(13 * 3600), utc(4, 0, 0)), utc(4, 12, 0));
    assert_eq!(next_open(&windows, Some(-8 * 3600), utc(4, 0, 0)), utc(5, 9, 0));
    assert_eq!(next_open(&windows, Some(20_700), utc(4, 0, 0)), utc(4, 19, 15), "Nepal, 5:45");
}

#[test]
fn an_offset_that_is_not_known_or_nowhere_on_earth_is_utc_and_that_is_said() {
    let windows = [window(&[], "01:00", "05:00")];
    for offset in [None, Some(20 * 3600), Some(i32::MIN), Some(i32::MAX)] {
        assert!(assumes_utc(&windows, offset), "{offset:?}");
        assert_eq!(next_open(&windows, offset, utc(5, 12, 0)), utc(6, 1, 0), "{offset:?}");
    }
    assert!(!assumes_utc(&windows, Some(0)));
}

#[test]
fn fractions_of_a_second_before_the_window_are_before_it() {
    let windows = [window(&[], "09:00", "17:00")];
    let before = utc(5, 9, 0) - jiff::SignedDuration::from_millis(1);
    assert_eq!(next_open(&windows, Some(0), before), utc(5, 9, 0));
    let within = utc(5, 9, 0) + jiff::SignedDuration::from_millis(1);
    assert_eq!(next_open(&windows, Some(0), within), within);
}

/// What the calendar says, minute by minute.
pub fn is_open_by_the_calendar(windows: &[Window], offset_s: i32, at: Timestamp) -> bool {
    let local = Offset::from_seconds(offset_s).unwrap().to_datetime(at);
    windows.is_empty() || windows.iter().any(|window| holds(window, local))
}

fn holds(window: &Window, local: DateTime) -> bool {
    let begins = |day: Weekday| window.days.is_empty() || window.days.contains(&of_weekday(day));
    let (today, time): (Weekday, Time) = (local.date().weekday(), local.time());
    if window.to > window.from {
        return begins(today) && window.from <= time && time < window.to;
    }
    let yesterday = local.date().yesterday().unwrap().weekday();
    (begins(today) && time >= window.from) || (begins(yesterday) && time < window.to)
}

fn of_weekday(day: Weekday) -> Day {
    match day {
        Weekday::Monday => Day::Mon,
        Weekday::Tuesday => Day::Tue,
        Weekday::Wednesday => Day::Wed,
        Weekday::Thursday => Day::Thu,
        Weekday::Friday => Day::Fri,
        Weekday::Saturday => Day::Sat,
        Weekday::Sunday => Day::Sun,
    }
}

pub fn random_window(random: &mut Random) -> Window {
    let days = [Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri, Day::Sat, Day::Sun];
    let days = days.into_iter().filter(|_| random.percent(60)).collect();
    let mut time = || {
        let (hour, minute) = (random.below(24), random.below(4) * 15);
        jiff::civil::time(i8::try_from(hour).unwrap(), i8::try_from(minute).unwrap(), 0, 0)
    };
    let from = time();
    let to = loop {
        let to = time();
        if to != from {
            break to;
        }
    };
    Window { days, from, to }
}

#[test]
fn it_is_the_calendar_that_says_what_is_open() {
    for seed in 0..300 {
        let mut random = Random(seed);
        let windows: Vec<Window> =
            (0..=random.below(3)).map(|_| random_window(&mut random)).collect();
        let offset = i32::try_from(random.below(27 * 4)).unwrap() * 900 - 12 * 3600;
        let from = monday() + seconds(i64::from(random.below(7 * 1440)) * 60);
        let next = next_open(&windows, Some(offset), from);
        let mut at = from;
        while at < next {
            assert!(!is_open_by_the_calendar(&windows, offset, at), "{seed}: {at} in {windows:?}");
            at += seconds(60);
        }
        assert!(is_open_by_the_calendar(&windows, offset, next), "{seed}: {next} in {windows:?}");
    }
}
