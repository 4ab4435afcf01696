//! Notices that the PC was asleep: the other end has long given this connection up, and nothing may ever say so.

use std::time::Duration;

/// What the clock may run ahead of the heartbeat before it counts as sleep: a busy PC delays a tick by seconds.
const SLACK: Duration = Duration::from_mins(1);

/// Compares a clock that runs on while the PC sleeps with ticks that do not come meanwhile.
#[derive(Debug)]
pub struct SleepWatch {
    every: Duration,
    last: Option<Duration>,
}

impl SleepWatch {
    /// A watch that is asked once per `every`, the first time that long after `now`. The clock is the PC's time since
    /// boot, sleep included; None where it cannot be read.
    pub fn new(every: Duration, now: Option<Duration>) -> Self {
        Self { every, last: now }
    }

    /// True when far more time passed since the last question than between two of them.
    pub fn has_slept(&mut self, now: Option<Duration>) -> bool {
        let last = std::mem::replace(&mut self.last, now);
        let (Some(last), Some(now)) = (last, now) else { return false };
        now.saturating_sub(last) > self.every + SLACK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_of_the_clock_is_sleep_and_a_late_tick_is_not() {
        let at = |seconds| Some(Duration::from_secs(seconds));
        let mut watch = SleepWatch::new(Duration::from_secs(30), at(1000));
        assert!(!watch.has_slept(at(1030)));
        assert!(!watch.has_slept(at(1100)));
        assert!(watch.has_slept(at(4000)));
        assert!(!watch.has_slept(at(4030)));
        assert!(!watch.has_slept(None));
        assert!(!watch.has_slept(at(9000)));
        assert!(!watch.has_slept(at(8000)));
    }
}
