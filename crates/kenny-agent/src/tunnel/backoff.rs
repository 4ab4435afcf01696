//! How long to wait before the next connection.

use std::time::Duration;

/// Shortest and longest ceiling (contract 0.2).
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(1);

/// Exponential with full jitter: anywhere between nothing and a ceiling that doubles.
#[derive(Debug, Clone)]
pub struct Backoff {
    ceiling: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { ceiling: FIRST }
    }
}

impl Backoff {
    /// The session was accepted: the next wait is a short one.
    pub fn reset(&mut self) {
        self.ceiling = FIRST;
    }

    /// The server said that trying often is of no use.
    pub fn longest(&mut self) {
        self.ceiling = LONGEST;
    }

    /// The next wait; `random` is in 0 to 1.
    pub fn next(&mut self, random: f64) -> Duration {
        let wait = self.ceiling.mul_f64(random.clamp(0.0, 1.0));
        self.ceiling = (self.ceiling * 2).min(LONGEST);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ceilings_double_from_one_second_to_a_minute() {
        let mut backoff = Backoff::default();
        let seconds: Vec<u64> = (0..8).map(|_| backoff.next(1.0).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
        backoff.reset();
        assert_eq!(backoff.next(0.25), Duration::from_millis(250));
        backoff.longest();
        assert_eq!(backoff.next(1.0), LONGEST);
    }
}
