//! The rate cap of a download: a token bucket, kept as the time at which it is full enough again.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// What may come at once after a pause, in time: little enough to keep the flow even.
const BUCKET: Duration = Duration::from_millis(100);
/// Pieces of a bucket's size, so many to a second.
const PIECES_PER_SECOND: u64 = 10;

/// Lets so many bytes per second through, or all of them.
#[derive(Debug)]
pub struct RateCap {
    bucket: Option<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    bytes_per_second: u64,
    /// When everything that was taken so far has had its time.
    paid_until: Instant,
}

impl RateCap {
    /// A cap at this rate; none lets everything through.
    pub fn new(max_bytes_per_second: Option<u64>) -> Self {
        let bucket = max_bytes_per_second
            .map(|rate| Bucket { bytes_per_second: rate.max(1), paid_until: Instant::now() });
        Self { bucket }
    }

    /// The most that should be taken at once; anything where there is no cap.
    pub fn piece_bytes(&self) -> usize {
        self.bucket.as_ref().map_or(usize::MAX, |bucket| {
            let piece = (bucket.bytes_per_second / PIECES_PER_SECOND).max(1);
            usize::try_from(piece).unwrap_or(usize::MAX)
        })
    }

    /// Waits until so many bytes may pass.
    pub async fn take(&mut self, bytes: usize) {
        let Some(bucket) = &mut self.bucket else { return };
        let wait = bucket.take(bytes, Instant::now());
        if !wait.is_zero() {
            sleep(wait).await;
        }
    }
}

impl Bucket {
    fn take(&mut self, bytes: usize, now: Instant) -> Duration {
        let nanos = bytes as u128 * 1_000_000_000 / u128::from(self.bytes_per_second);
        let price = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let full_since = now.checked_sub(BUCKET).unwrap_or(now);
        self.paid_until = self.paid_until.max(full_since) + price;
        self.paid_until.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many bytes pass in each second when pieces of these sizes are taken in turn.
    async fn per_second(rate: u64, sizes: &[usize], seconds: usize) -> Vec<usize> {
        let mut cap = RateCap::new(Some(rate));
        let began = Instant::now();
        let mut passed = vec![0; seconds];
        for size in sizes.iter().cycle() {
            cap.take(*size).await;
            let second = usize::try_from(began.elapsed().as_secs()).unwrap();
            let Some(passed) = passed.get_mut(second) else { break };
            *passed += size;
        }
        passed
    }

    #[tokio::test(start_paused = true)]
    async fn no_second_has_more_than_the_rate_and_none_much_less() {
        for (rate, sizes) in [
            (16 * 1024, [1638, 1000, 7].as_slice()),
            (100_000, &[10_000]),
            (1_000_000, &[1, 100_000, 4096]),
        ] {
            for bytes in per_second(rate, sizes, 20).await {
                let rate = usize::try_from(rate).unwrap();
                assert!(bytes <= rate + rate / 10, "{bytes} of {rate}");
                assert!(bytes >= rate - rate / 5, "{bytes} of {rate}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_not_made_up_for() {
        let mut cap = RateCap::new(Some(1000));
        tokio::time::advance(Duration::from_mins(10)).await;
        let began = Instant::now();
        for _ in 0..30 {
            cap.take(100).await;
        }
        // The bucket holds 100 of the 3000.
        assert!(began.elapsed() >= Duration::from_millis(2900), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_cap_nothing_waits() {
        let mut cap = RateCap::new(None);
        let began = Instant::now();
        cap.take(usize::MAX).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert_eq!(cap.piece_bytes(), usize::MAX);
    }
}
