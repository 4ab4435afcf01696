//! How often one address may ask for what anybody may ask: so many at once, and then one after the other.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::address::source;

/// One more is free after so much time: a person reads a page for longer.
const REFILLED: Duration = Duration::from_secs(1);
/// Sources that are remembered. Of those above it, whoever has the most left is forgotten, which gives it little.
const REMEMBERED: usize = 4096;

/// Counts visits by source.
#[derive(Debug)]
pub struct Visits {
    /// So many at once.
    most: u32,
    buckets: Mutex<HashMap<IpAddr, Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: u32,
    /// When the last one was refilled.
    since: Instant,
}

impl Bucket {
    fn refill(&mut self, most: u32, now: Instant) {
        let passed = now.saturating_duration_since(self.since).as_secs() / REFILLED.as_secs();
        self.left = self.left.saturating_add(u32::try_from(passed).unwrap_or(u32::MAX)).min(most);
        if passed > 0 {
            self.since = now;
        }
    }
}

impl Visits {
    /// Nobody came yet.
    pub fn new(most: u32) -> Self {
        Self { most, buckets: Mutex::default() }
    }

    /// One more visit, or how long to wait.
    pub fn enter(&self, from: Option<IpAddr>, now: Instant) -> Result<(), Duration> {
        let Some(from) = from.map(source) else { return Ok(()) };
        let mut buckets = self.buckets();
        if buckets.len() >= REMEMBERED && !buckets.contains_key(&from) {
            buckets.values_mut().for_each(|bucket| bucket.refill(self.most, now));
            let fullest = buckets.iter().max_by_key(|(_, bucket)| bucket.left);
            if let Some(fullest) = fullest.map(|(source, _)| *source) {
                buckets.remove(&fullest);
            }
        }
        let bucket = buckets.entry(from).or_insert(Bucket { left: self.most, since: now });
        bucket.refill(self.most, now);
        match bucket.left.checked_sub(1) {
            Some(left) => {
                bucket.left = left;
                Ok(())
            }
            None => Err(REFILLED),
        }
    }

    fn buckets(&self) -> MutexGuard<'_, HashMap<IpAddr, Bucket>> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const ONE: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
    const OTHER: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)));

    #[test]
    fn a_source_has_so_many_at_once_and_then_one_a_second() {
        let (visits, start) = (Visits::new(3), Instant::now());
        for _ in 0..3 {
            assert_eq!(visits.enter(ONE, start), Ok(()));
        }
        assert_eq!(visits.enter(ONE, start), Err(REFILLED));
        assert_eq!(visits.enter(OTHER, start), Ok(()), "nobody else waits");
        assert_eq!(visits.enter(ONE, start + REFILLED), Ok(()));
        assert_eq!(visits.enter(ONE, start + REFILLED), Err(REFILLED));
        let later = start + 100 * REFILLED;
        assert_eq!((0..10).filter(|_| visits.enter(ONE, later).is_ok()).count(), 3);
    }

    #[test]
    fn a_crowd_of_sources_takes_bounded_memory_and_forgets_nobody_who_waits() {
        let (visits, now) = (Visits::new(2), Instant::now());
        while visits.enter(ONE, now).is_ok() {}
        for n in 0..u32::try_from(2 * REMEMBERED).unwrap() {
            let _ = visits.enter(Some(IpAddr::from((n + 1_000_000).to_be_bytes())), now);
        }
        assert_eq!(visits.buckets().len(), REMEMBERED);
        assert!(visits.enter(ONE, now).is_err());
    }
}
