//! Times, sizes and states as people say them.

use jiff::{SignedDuration, Timestamp};
use kenny_proto::api::{Agent, NextAttempt, Update, UpdateKind, UpdateOrigin, UpdateState};
use kenny_proto::policy::Pause;

/// How long ago, such as `3 min ago`.
pub fn ago(then: Timestamp, now: Timestamp) -> String {
    match now.duration_since(then).as_secs() {
        // A clock that is a little ahead is no news from the future.
        ..2 => "just now".to_owned(),
        seconds @ 2..60 => format!("{seconds} s ago"),
        seconds @ 60..3600 => format!("{} min ago", seconds / 60),
        seconds @ 3600..172_800 => format!("{} h ago", seconds / 3600),
        seconds => format!("{} days ago", seconds / 86_400),
    }
}

/// How far away, such as `in 3 min`.
pub fn ahead(then: Timestamp, now: Timestamp) -> String {
    match then.duration_since(now).as_secs() {
        ..1 => "now".to_owned(),
        seconds @ 1..60 => format!("in {seconds} s"),
        seconds @ 60..3600 => format!("in {} min", seconds / 60),
        seconds => format!("in {} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// How long, such as `0.42 s` or `3 min 12 s`.
pub fn duration(duration: SignedDuration) -> String {
    let millis = u128::try_from(duration.as_millis()).unwrap_or_default();
    let seconds = millis / 1000;
    match millis {
        ..10_000 => format!("{seconds}.{:02} s", millis % 1000 / 10),
        10_000..60_000 => format!("{seconds}.{} s", millis % 1000 / 100),
        60_000..3_600_000 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// A moment, to the second, in UTC.
pub fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// A size in decimal units, such as `5.3 MB`.
pub fn size(bytes: u64) -> String {
    match bytes {
        ..1000 => format!("{bytes} B"),
        1000..1_000_000 => format!("{} kB", bytes / 1000),
        1_000_000..1_000_000_000 => {
            format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000)
        }
        _ => format!("{}.{} GB", bytes / 1_000_000_000, bytes % 1_000_000_000 / 100_000_000),
    }
}

/// Whether an agent is there, or when it was.
pub fn presence(agent: &Agent, now: Timestamp) -> String {
    if agent.online {
        return "online".to_owned();
    }
    match agent.last_seen_at {
        Some(at) => format!("offline, seen {}", ago(at, now)),
        None => "never connected".to_owned(),
    }
}

/// How an update stands, in one word or two.
pub fn state(state: UpdateState) -> &'static str {
    match state {
        UpdateState::Waiting => "waiting",
        UpdateState::Running => "running",
        UpdateState::Online => "online, on probation",
        UpdateState::Unknown => "unknown",
        UpdateState::Succeeded => "succeeded",
        UpdateState::RolledBack => "rolled back",
        UpdateState::Failed => "failed",
        UpdateState::Superseded => "superseded",
    }
}

/// How an update stands, with its phase while there is one to wait for.
pub fn progress(update: &Update) -> String {
    let phase = update.phase.map(|phase| phase.to_string());
    match (update.state, phase, update.percent) {
        (UpdateState::Running, Some(phase), Some(percent)) => format!("{phase} {percent} %"),
        (UpdateState::Running, Some(phase), None) => phase,
        (UpdateState::Unknown, Some(phase), _) => format!("unknown, last seen in {phase}"),
        (UpdateState::Unknown, None, _) => "unknown, not seen since it was sent".to_owned(),
        (
            UpdateState::Waiting
            | UpdateState::Running
            | UpdateState::Online
            | UpdateState::Succeeded
            | UpdateState::RolledBack
            | UpdateState::Failed
            | UpdateState::Superseded,
            _,
            _,
        ) => state(update.state).to_owned(),
    }
}

/// What an update does and who began it, such as `update, attempt 2` or `rollback, not from here`.
pub fn what(update: &Update) -> String {
    let kind = match update.kind {
        UpdateKind::Update => "update",
        UpdateKind::Rollback => "rollback",
    };
    match (update.origin, update.attempt) {
        (UpdateOrigin::Agent, _) => format!("{kind}, not from here"),
        (UpdateOrigin::Operator | UpdateOrigin::Retry | UpdateOrigin::Rollout, ..=1) => {
            kind.to_owned()
        }
        (UpdateOrigin::Operator | UpdateOrigin::Retry | UpdateOrigin::Rollout, attempt) => {
            format!("{kind}, attempt {attempt}")
        }
    }
}

/// When the server tries again by itself, such as `attempt 2 in 4 min`.
pub fn next_attempt(next: &NextAttempt, agent: &Agent, now: Timestamp) -> String {
    let when = match (agent.online, next.at <= now) {
        (false, true) => "when it connects".to_owned(),
        (true | false, _) => ahead(next.at, now),
    };
    format!("attempt {} {when}", next.attempt)
}

/// That somebody at the PC paused its agent, such as `paused at the PC 5 min ago, until ...: a talk`.
pub fn pause(pause: &Pause, now: Timestamp) -> String {
    let since = ago(pause.since, now);
    let until = pause.until.map(|until| format!(", until {}", moment(until)));
    let reason = pause.reason.as_ref().map(|reason| format!(": {}", harmless(reason)));
    format!("paused at the PC {since}{}{}", until.unwrap_or_default(), reason.unwrap_or_default())
}

/// What a PC said, without characters that would steer the operator's terminal.
pub fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_as_people_say_them() {
        let then = Timestamp::UNIX_EPOCH;
        for (seconds, expected) in [
            (-5, "just now"),
            (1, "just now"),
            (59, "59 s ago"),
            (200, "3 min ago"),
            (7300, "2 h ago"),
            (180_000, "2 days ago"),
        ] {
            assert_eq!(ago(then, Timestamp::from_second(seconds).unwrap()), expected);
        }
        for (millis, expected) in [
            (-1, "0.00 s"),
            (426, "0.42 s"),
            (12_345, "12.3 s"),
            (192_000, "3 min 12 s"),
            (7_380_000, "2 h 03 min"),
        ] {
            assert_eq!(duration(SignedDuration::from_millis(millis)), expected);
        }
        for (seconds, expected) in
            [(-5, "now"), (0, "now"), (59, "in 59 s"), (299, "in 4 min"), (21_600, "in 6 h 00 min")]
        {
            assert_eq!(ahead(Timestamp::from_second(seconds).unwrap(), then), expected);
        }
        assert_eq!(moment(then), "1970-01-01 00:00:00Z");
    }

    #[test]
    fn sizes_are_decimal() {
        for (bytes, expected) in
            [(999, "999 B"), (12_345, "12 kB"), (5_312_000, "5.3 MB"), (2_050_000_000, "2.0 GB")]
        {
            assert_eq!(size(bytes), expected);
        }
    }

    #[test]
    fn a_host_name_cannot_steer_the_terminal() {
        assert_eq!(harmless("a\u{1b}[2Jb\nc"), "a\u{fffd}[2Jb\u{fffd}c");
    }
}
