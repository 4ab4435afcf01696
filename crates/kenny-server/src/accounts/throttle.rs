//! How fast somebody may try passwords.
//!
//! Failures count for the account's name and for the address, and after a few each one makes the next wait twice as
//! long, to a few minutes. Tries that come too early are refused unlooked at and do not prolong the wait. An address
//! from which somebody logged in to the account counts for itself alone: strangers who try the account's name from
//! elsewhere cannot keep its owner out. Times are arguments.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use kenny_proto::Sha256Digest;

use crate::auth::sha256;

/// The first wait; each further failure doubles it.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait: 300 guesses a day and account, against passwords of 12 characters.
const LONGEST_WAIT: Duration = Duration::from_mins(5);
/// A failure is forgotten when none followed it for so long.
const FORGOTTEN_AFTER: Duration = Duration::from_hours(1);
/// An address is known to an account for so long after its last login from there.
const KNOWN_FOR: Duration = Duration::from_hours(90 * 24);
/// Most counters that are kept: some megabytes.
const COUNTERS: usize = 20_000;

/// What failures count for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    /// The name that was given, whether there is such an account or not.
    Name(Sha256Digest),
    /// The address; of IPv6 the network, which is what one subscriber has.
    Address(IpAddr),
    /// An account, from an address that it knows.
    Known(Sha256Digest, IpAddr),
}

impl Key {
    /// Failures that have no consequence.
    const fn free(self) -> u32 {
        match self {
            Self::Name(_) => 5,
            // A household, or an office, behind one address.
            Self::Address(_) => 20,
            Self::Known(..) => 10,
        }
    }

    const fn forgotten_after(self) -> Duration {
        match self {
            Self::Name(_) | Self::Address(_) => FORGOTTEN_AFTER,
            Self::Known(..) => KNOWN_FOR,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Counter {
    failures: u32,
    last: Instant,
    closed_until: Option<Instant>,
}

impl Counter {
    const fn new(now: Instant) -> Self {
        Self { failures: 0, last: now, closed_until: None }
    }
}

/// A try that was let through and counts as a failure until it is known to be none.
#[derive(Debug)]
pub struct Try {
    name: Sha256Digest,
    from: Option<IpAddr>,
    keys: Vec<Key>,
}

/// Counts failures.
#[derive(Debug, Default)]
pub struct Throttle {
    counters: HashMap<Key, Counter>,
}

impl Throttle {
    /// Lets a try through, or says how long to wait. Many at the same time are not more than one after the other: each
    /// counts as a failure from here on, unless [`Self::took_back`] or [`Self::succeeded`] says otherwise.
    pub fn begin(
        &mut self,
        name: &str,
        from: Option<IpAddr>,
        now: Instant,
    ) -> Result<Try, Duration> {
        let name = sha256(name.as_bytes());
        let from = from.map(network);
        let known = from
            .map(|from| Key::Known(name, from))
            .filter(|known| self.counter(*known, now).is_some());
        let keys: Vec<Key> = match known {
            Some(known) => vec![known],
            None => std::iter::once(Key::Name(name)).chain(from.map(Key::Address)).collect(),
        };
        let wait = keys
            .iter()
            .filter_map(|key| self.counter(*key, now)?.closed_until)
            .map(|until| until.saturating_duration_since(now))
            .max()
            .unwrap_or_default();
        if !wait.is_zero() {
            return Err(wait);
        }
        for key in &keys {
            self.make_room(*key, now);
            let counter = self.counters.entry(*key).or_insert(Counter::new(now));
            if now.saturating_duration_since(counter.last) >= FORGOTTEN_AFTER {
                counter.failures = 0;
            }
            counter.failures = counter.failures.saturating_add(1);
            counter.last = now;
            counter.closed_until =
                wait_after(counter.failures, key.free()).and_then(|wait| now.checked_add(wait));
        }
        Ok(Try { name, from, keys })
    }

    /// The try was no guess: it does not count.
    pub fn took_back(&mut self, attempt: &Try) {
        for key in &attempt.keys {
            if let Some(counter) = self.counters.get_mut(key) {
                counter.failures = counter.failures.saturating_sub(1);
                if counter.failures <= key.free() {
                    counter.closed_until = None;
                }
            }
        }
    }

    /// The try was right: the account knows the address from now on.
    pub fn succeeded(&mut self, attempt: &Try, now: Instant) {
        self.took_back(attempt);
        if let Some(from) = attempt.from {
            let key = Key::Known(attempt.name, from);
            self.make_room(key, now);
            self.counters.insert(key, Counter::new(now));
        }
    }

    fn counter(&self, key: Key, now: Instant) -> Option<&Counter> {
        self.counters
            .get(&key)
            .filter(|counter| now.saturating_duration_since(counter.last) < key.forgotten_after())
    }

    /// Forgets what is old, and where that is not enough, what was not heard of for longest.
    fn make_room(&mut self, key: Key, now: Instant) {
        if self.counters.len() < COUNTERS || self.counters.contains_key(&key) {
            return;
        }
        self.counters.retain(|key, counter| {
            now.saturating_duration_since(counter.last) < key.forgotten_after()
        });
        if self.counters.len() < COUNTERS {
            return;
        }
        let oldest = self
            .counters
            .iter()
            .filter(|(key, _)| !matches!(key, Key::Known(..)))
            .min_by_key(|(_, counter)| counter.last)
            .or_else(|| self.counters.iter().min_by_key(|(_, counter)| counter.last))
            .map(|(key, _)| *key);
        if let Some(oldest) = oldest {
            self.counters.remove(&oldest);
        }
    }
}

/// How long after so many failures, of which some are free.
fn wait_after(failures: u32, free: u32) -> Option<Duration> {
    let doublings = failures.checked_sub(free)?.checked_sub(1)?;
    let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
    Some(FIRST_WAIT.checked_mul(factor).unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT))
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// The waits after each of so many failures, in seconds.
    fn waits(throttle: &mut Throttle, failures: u8) -> Vec<u64> {
        let mut now = Instant::now();
        (0..failures)
            .map(|number| {
                throttle.begin("anna", Some(IpAddr::from([10, 0, 0, number])), now).unwrap();
                let until = throttle.counters[&Key::Name(sha256(b"anna"))].closed_until;
                let wait = until.map_or(Duration::ZERO, |until| until - now);
                now += wait;
                wait.as_secs()
            })
            .collect()
    }

    #[test]
    fn each_failure_after_the_free_ones_doubles_the_wait_and_none_lasts_for_ever() {
        let mut throttle = Throttle::default();
        let expected = [0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300, 300];
        assert_eq!(waits(&mut throttle, 18), expected);
        assert_eq!(wait_after(u32::MAX, 5), Some(LONGEST_WAIT));
    }

    #[test]
    fn tries_that_come_too_early_do_not_prolong_the_wait() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        for _ in 0..6 {
            throttle.begin("anna", None, now).unwrap();
        }
        for _ in 0..1000 {
            assert_eq!(throttle.begin("anna", None, now).unwrap_err(), SECOND);
        }
        assert_eq!(throttle.begin("anna", None, now + SECOND / 2).unwrap_err(), SECOND / 2);
        throttle.begin("anna", None, now + SECOND).unwrap();
        assert_eq!(throttle.begin("anna", None, now + SECOND).unwrap_err(), SECOND * 2);
    }

    #[test]
    fn an_address_that_tries_many_names_is_slowed_down_as_a_whole() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        let from = |host: u16| Some(IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, host]));
        for number in 0..21 {
            throttle.begin(&format!("name-{number}"), from(number), now).unwrap();
        }
        assert_eq!(throttle.begin("another", from(99), now).unwrap_err(), SECOND);
        throttle.begin("another", Some(address("2001:db8:0:1::1")), now).unwrap();
        throttle.begin("another", None, now).unwrap();
    }

    #[test]
    fn strangers_do_not_keep_somebody_out_of_the_own_home() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        let home = Some(address("192.0.2.1"));
        let entered = throttle.begin("anna", home, now).unwrap();
        throttle.succeeded(&entered, now);
        for number in 0..6 {
            throttle.begin("anna", Some(IpAddr::from([10, 0, 0, number])), now).unwrap();
        }
        throttle.begin("anna", Some(address("10.9.9.9")), now).unwrap_err();
        for _ in 0..11 {
            throttle.begin("anna", home, now).unwrap();
        }
        // It is no free pass: what fails at home counts there.
        assert_eq!(throttle.begin("anna", home, now).unwrap_err(), SECOND);
        throttle.begin("anna", home, now + SECOND).unwrap();
        // Another account does not know the address.
        throttle.begin("bert", home, now).unwrap();
        assert!(throttle.counters.contains_key(&Key::Name(sha256(b"bert"))));
    }

    #[test]
    fn what_was_no_guess_does_not_count_and_what_is_old_is_forgotten() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        for _ in 0..50 {
            let attempt = throttle.begin("anna", None, now).unwrap();
            throttle.took_back(&attempt);
        }
        for _ in 0..6 {
            throttle.begin("anna", None, now).unwrap();
        }
        throttle.begin("anna", None, now).unwrap_err();
        let later = now + FORGOTTEN_AFTER;
        for _ in 0..6 {
            throttle.begin("anna", None, later).unwrap();
        }
        throttle.begin("anna", None, later).unwrap_err();
    }

    #[test]
    fn counters_do_not_grow_without_end() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        let entered = throttle.begin("anna", Some(address("192.0.2.1")), now).unwrap();
        throttle.succeeded(&entered, now);
        // Two counters each.
        for number in 0..u32::try_from(COUNTERS).unwrap() / 2 + 20 {
            let from = Some(IpAddr::from(number.to_be_bytes()));
            let now = now + Duration::from_millis(number.into());
            throttle.begin(&format!("name-{number}"), from, now).unwrap();
        }
        assert_eq!(throttle.counters.len(), COUNTERS);
        let known = Key::Known(sha256(b"anna"), address("192.0.2.1"));
        assert!(throttle.counters.contains_key(&known));
    }
}
