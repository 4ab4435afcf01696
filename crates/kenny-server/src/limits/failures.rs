//! Who was wrong about who it is, how often, and how long it has to wait.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::address::source;

/// The first wait; each further failure doubles it.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_mins(5);
/// One failure is forgotten in so much time: a PC that tries with a wrong token once a minute for ever, as the contract has
/// it, costs its neighbours nothing.
const FORGOTTEN: Duration = Duration::from_secs(30);
/// Sources that are remembered; the one that was wrong longest ago is forgotten for a new one.
const REMEMBERED: usize = 4096;

/// Counts failures by source.
#[derive(Debug)]
pub struct Failures {
    /// So many cost nothing.
    free: u32,
    records: Mutex<HashMap<IpAddr, Record>>,
}

#[derive(Debug, Clone, Copy)]
struct Record {
    count: u32,
    last: Instant,
    until: Instant,
}

impl Failures {
    /// Nobody was wrong yet; so many failures will cost nothing.
    pub fn new(free: u32) -> Self {
        Self { free, records: Mutex::default() }
    }

    /// One more failure. The time that is left where the source has to wait already.
    pub fn failed(&self, from: Option<IpAddr>, now: Instant) -> Option<Duration> {
        let from = source(from?);
        let mut records = self.records();
        if records.len() >= REMEMBERED && !records.contains_key(&from) {
            let oldest = records.iter().min_by_key(|(_, record)| record.last);
            if let Some(oldest) = oldest.map(|(source, _)| *source) {
                records.remove(&oldest);
            }
        }
        let record = records.entry(from).or_insert(Record { count: 0, last: now, until: now });
        let left = record.until.saturating_duration_since(now);
        let passed = now.saturating_duration_since(record.last).as_secs() / FORGOTTEN.as_secs();
        record.count = record
            .count
            .saturating_sub(u32::try_from(passed).unwrap_or(u32::MAX))
            .saturating_add(1);
        record.last = now;
        if !left.is_zero() {
            return Some(left);
        }
        if let Some(over) = record.count.checked_sub(self.free.saturating_add(1)) {
            let wait = FIRST_WAIT.saturating_mul(1 << over.min(16)).min(LONGEST_WAIT);
            record.until = now + wait;
        }
        None
    }

    /// How long the source has to wait yet.
    pub fn wait(&self, from: Option<IpAddr>, now: Instant) -> Option<Duration> {
        let record = *self.records().get(&source(from?))?;
        let left = record.until.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }

    fn records(&self) -> MutexGuard<'_, HashMap<IpAddr, Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const FREE: u32 = 10;

    const ONE: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
    const OTHER: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)));

    #[test]
    fn a_few_mistakes_are_free_and_more_of_them_cost_longer_and_longer() {
        let (failures, start) = (Failures::new(FREE), Instant::now());
        for _ in 0..=FREE {
            assert_eq!(failures.failed(ONE, start), None);
        }
        assert_eq!(failures.wait(ONE, start), Some(FIRST_WAIT));
        assert_eq!(failures.failed(ONE, start), Some(FIRST_WAIT), "within the wait");
        assert_eq!(failures.wait(OTHER, start), None, "nobody else waits");
        for _ in 0..50 {
            assert!(failures.failed(ONE, start).is_some(), "who goes on is counted");
        }
        let mut now = start + FIRST_WAIT;
        assert_eq!(failures.failed(ONE, now), None, "the wait is over");
        assert_eq!(failures.wait(ONE, now), Some(LONGEST_WAIT), "and the next one is long");
        now += LONGEST_WAIT + FORGOTTEN * 100;
        assert_eq!(failures.failed(ONE, now), None);
        assert_eq!(failures.wait(ONE, now), None, "old mistakes are forgotten");
    }

    #[test]
    fn one_pc_that_is_wrong_for_ever_at_the_contracts_pace_never_makes_its_address_wait() {
        let (failures, mut now) = (Failures::new(FREE), Instant::now());
        for _ in 0..10_000 {
            assert_eq!(failures.failed(ONE, now), None);
            assert_eq!(failures.wait(ONE, now), None);
            now += Duration::from_secs(30);
        }
    }

    #[test]
    fn a_crowd_of_sources_takes_bounded_memory() {
        let (failures, now) = (Failures::new(FREE), Instant::now());
        let crowd = u32::try_from(2 * REMEMBERED).unwrap();
        for n in 0..crowd {
            let from = IpAddr::from(n.to_be_bytes());
            failures.failed(Some(from), now + Duration::from_millis(n.into()));
        }
        assert_eq!(failures.records().len(), REMEMBERED);
    }
}
