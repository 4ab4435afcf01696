//! The cap on all downloads together: many agents that fetch at once do not take the whole line.

use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// What is handed to a connection at a time where nothing is capped: enough to fill a socket's buffer, little enough to
/// count progress.
const SLICE_BYTES: usize = 256 * 1024;
/// Slices in a second of all downloads together. An agent gives a download up that stands still for half a minute: with so
/// many, two thousand can take turns.
const SLICES_PER_S: u64 = 64;

/// A cap in bytes per second, shared by all its clones; without one nothing waits.
#[derive(Debug, Clone, Default)]
pub struct Uplink(Option<Arc<Line>>);

#[derive(Debug)]
struct Line {
    bytes_per_s: NonZeroU64,
    /// When all that was handed out is through.
    free_at: Mutex<Instant>,
}

impl Uplink {
    /// A cap, or none.
    pub fn new(bytes_per_s: Option<NonZeroU64>) -> Self {
        let line = |bytes_per_s| Line { bytes_per_s, free_at: Mutex::new(Instant::now()) };
        Self(bytes_per_s.map(|bytes_per_s| Arc::new(line(bytes_per_s))))
    }

    /// How many bytes are handed to a connection at a time.
    pub fn slice_bytes(&self) -> usize {
        let Some(line) = &self.0 else { return SLICE_BYTES };
        let slice = line.bytes_per_s.get() / SLICES_PER_S;
        usize::try_from(slice).unwrap_or(SLICE_BYTES).clamp(1024, SLICE_BYTES)
    }

    /// Waits for the turn of so many bytes: who asks first is served first.
    pub async fn turn(&self, bytes: usize) {
        let Some(line) = &self.0 else { return };
        let turn = {
            let mut free_at = line.free_at.lock().unwrap_or_else(PoisonError::into_inner);
            let turn = (*free_at).max(Instant::now());
            let nanos = u128::try_from(bytes).unwrap_or(u128::MAX) * 1_000_000_000;
            let takes = nanos / u128::from(line.bytes_per_s.get());
            *free_at = turn + Duration::from_nanos(u64::try_from(takes).unwrap_or(u64::MAX));
            turn
        };
        sleep_until(turn).await;
    }
}

/// Bytes per second as people write them: `500k`, `2M`, or a plain number.
pub fn bytes_per_s(text: &str) -> Result<NonZeroU64, String> {
    let wrong = || format!("`{text}` is no cap; give bytes per second, such as 500k or 2M");
    let (number, unit) = match text.chars().last() {
        Some('k') => (&text[..text.len() - 1], 1000),
        Some('M') => (&text[..text.len() - 1], 1_000_000),
        Some(_) | None => (text, 1),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(unit).and_then(NonZeroU64::new).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn all_downloads_together_keep_to_the_cap_and_take_turns() {
        let uplink = Uplink::new(NonZeroU64::new(64_000));
        assert_eq!(uplink.slice_bytes(), 1024);
        let began = Instant::now();
        let download = |uplink: Uplink| async move {
            for _ in 0..32 {
                uplink.turn(1000).await;
            }
            began.elapsed()
        };
        let (one, other) = tokio::join!(download(uplink.clone()), download(uplink));
        // 64 kB at 64 kB/s, less the last slice, whose time is nobody's to wait for.
        let expected = Duration::from_secs(1) - Duration::from_micros(15_625);
        assert_eq!(one.max(other).as_millis(), expected.as_millis() + 1);
        assert!(one.abs_diff(other) < Duration::from_millis(50), "neither starves");
        let began = Instant::now();
        Uplink::default().turn(usize::MAX).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[test]
    fn a_cap_has_a_unit_or_none() {
        for (text, bytes) in [("1500", 1500), ("500k", 500_000), ("2M", 2_000_000)] {
            assert_eq!(bytes_per_s(text).unwrap().get(), bytes);
        }
        for bad in ["", "0", "k", "2G", "-1", "1.5M", "99999999999999999M"] {
            assert!(bytes_per_s(bad).is_err(), "{bad}");
        }
    }
}
