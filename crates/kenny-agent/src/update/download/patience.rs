//! When to try again, and when to give up: decided by what has been reached, not by how often something went wrong.

use std::time::Duration;

use tokio::time::Instant;

use super::Limits;

/// However long the PC slept, so many attempts without progress belong to giving up: the clock alone is no witness.
const LEAST_ATTEMPTS: u32 = 5;
/// How often a download may begin again from nothing. More often means that the line breaks before the end each time
/// and the server cannot go on in the middle: it costs the line, and comes to nothing.
const MAX_RESTARTS: u32 = 5;

/// What is left of the patience with one download.
#[derive(Debug)]
pub struct Patience {
    limits: Limits,
    furthest: u64,
    progress_at: Instant,
    /// True where the attempt that runs has brought something.
    progressed: bool,
    in_vain: u32,
    restarts: u32,
}

/// It is over.
#[derive(Debug, PartialEq, Eq)]
pub struct OutOfPatience {
    /// Attempts since the last progress.
    pub attempts: u32,
    /// Time since the last progress.
    pub time: Duration,
}

impl Patience {
    /// Patience at the beginning of a download of which so many bytes are there.
    pub fn new(limits: &Limits, there: u64) -> Self {
        Self {
            limits: limits.clone(),
            furthest: there,
            progress_at: Instant::now(),
            progressed: false,
            in_vain: 0,
            restarts: 0,
        }
    }

    /// So many bytes are there now. Only what was never reached before is progress: a file that begins again and again
    /// makes none.
    pub fn reached(&mut self, bytes: u64) {
        if bytes > self.furthest {
            self.furthest = bytes;
            self.progress_at = Instant::now();
            self.progressed = true;
            self.in_vain = 0;
        }
    }

    /// The file comes from its beginning. The error says how often it did so again, once that is too often.
    pub fn begin(&mut self) -> Result<(), u32> {
        if self.furthest > 0 {
            if self.restarts == MAX_RESTARTS {
                return Err(self.restarts);
            }
            self.restarts += 1;
        }
        Ok(())
    }

    /// An attempt ended before its time: how long to wait before the next. `asked` is what the server wants; `random` is in 0 to 1.
    pub fn next(
        &mut self,
        asked: Option<Duration>,
        random: f64,
    ) -> Result<Duration, OutOfPatience> {
        // Full jitter, as many agents may wait for the same server.
        let ceiling = self.limits.first_wait * 2_u32.saturating_pow(self.in_vain.min(16));
        let jitter = ceiling.min(self.limits.longest_wait).mul_f64(random.clamp(0.0, 1.0));
        let wait = asked.unwrap_or_default().min(self.limits.longest_retry_after) + jitter;
        if !std::mem::take(&mut self.progressed) {
            self.in_vain += 1;
        }
        let time = self.progress_at.elapsed();
        if self.in_vain >= LEAST_ATTEMPTS && time + wait > self.limits.patience {
            return Err(OutOfPatience { attempts: self.in_vain, time });
        }
        Ok(wait)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_double_up_to_a_minute_and_the_patience_ends_after_half_an_hour() {
        let mut patience = Patience::new(&Limits::default(), 0);
        let began = Instant::now();
        let mut waits = Vec::new();
        let over = loop {
            match patience.next(None, 1.0) {
                Ok(wait) => {
                    waits.push(wait.as_secs());
                    advance(wait).await;
                }
                Err(over) => break over,
            }
        };
        assert_eq!(waits[..8], [1, 2, 4, 8, 16, 32, 60, 60]);
        let minutes = began.elapsed().as_secs() / 60;
        assert!((28..=30).contains(&minutes), "{minutes}");
        assert_eq!(over.attempts as usize, waits.len() + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_server_asks_for_is_granted_up_to_five_minutes() {
        let mut patience = Patience::new(&Limits::default(), 0);
        let second = Duration::from_secs(1);
        assert_eq!(patience.next(Some(second * 30), 0.0), Ok(second * 30));
        assert_eq!(patience.next(Some(second * 30), 1.0), Ok(second * 32));
        assert_eq!(patience.next(Some(second * 86_400), 0.0), Ok(second * 300));
    }

    #[tokio::test(start_paused = true)]
    async fn progress_alone_gives_patience_back() {
        let mut patience = Patience::new(&Limits::default(), 100);
        for there in [50, 100] {
            advance(Duration::from_mins(40)).await;
            patience.reached(there);
        }
        for _ in 1..LEAST_ATTEMPTS {
            patience.next(None, 0.0).unwrap();
        }
        let over = patience.next(None, 0.0).unwrap_err();
        assert_eq!(over, OutOfPatience { attempts: 5, time: Duration::from_mins(80) });
        patience.reached(101);
        assert_eq!(patience.next(None, 1.0), Ok(Duration::from_secs(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pc_that_slept_still_gets_its_attempts() {
        let mut patience = Patience::new(&Limits::default(), 0);
        advance(Duration::from_hours(9)).await;
        for _ in 1..LEAST_ATTEMPTS {
            patience.next(None, 0.0).unwrap();
        }
        patience.next(None, 0.0).unwrap_err();
    }

    #[tokio::test(start_paused = true)]
    async fn beginning_again_has_an_end() {
        let mut patience = Patience::new(&Limits::default(), 0);
        for _ in 0..20 {
            patience.begin().unwrap();
        }
        patience.reached(1);
        for _ in 0..MAX_RESTARTS {
            patience.begin().unwrap();
        }
        assert_eq!(patience.begin(), Err(MAX_RESTARTS));
    }
}
