//! Tunnels that have yet to register: few at once, of all and of each source.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::address::source;

/// After how long an agent that found no room should ask again; agents spread themselves by jitter.
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// What a source gets that was wrong too often: enough for those behind it that are right, one after the other.
const OF_FAILING: usize = 16;

/// Counts tunnels that have yet to register.
#[derive(Debug)]
pub struct Tunnels {
    counts: Arc<Mutex<Counts>>,
    most: usize,
    most_of_one: usize,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    of: HashMap<IpAddr, usize>,
}

/// One tunnel that has yet to register; it counts until this is dropped.
#[derive(Debug)]
pub struct Waiting {
    counts: Arc<Mutex<Counts>>,
    source: Option<IpAddr>,
}

impl Tunnels {
    /// At most so many, of all and of one source.
    pub fn new(most: usize, most_of_one: usize) -> Self {
        Self { counts: Arc::default(), most, most_of_one }
    }

    /// One more, or how long to wait. `few` is for a source that was wrong too often.
    pub fn enter(&self, from: Option<IpAddr>, few: bool) -> Result<Waiting, Duration> {
        let source = from.map(source);
        let most_of_one = if few { self.most_of_one.min(OF_FAILING) } else { self.most_of_one };
        let mut counts = lock(&self.counts);
        let of_one = source.map_or(0, |source| counts.of.get(&source).copied().unwrap_or(0));
        if counts.all >= self.most || of_one >= most_of_one {
            return Err(ASK_AGAIN);
        }
        counts.all += 1;
        if let Some(source) = source {
            counts.of.insert(source, of_one + 1);
        }
        Ok(Waiting { counts: Arc::clone(&self.counts), source })
    }

    /// How many there are.
    pub fn waiting(&self) -> usize {
        lock(&self.counts).all
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut counts = lock(&self.counts);
        counts.all -= 1;
        let Some(source) = self.source else { return };
        match counts.of.get_mut(&source) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) | None => drop(counts.of.remove(&source)),
        }
    }
}

fn lock(counts: &Mutex<Counts>) -> MutexGuard<'_, Counts> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_source_and_all_of_them_have_their_bound_and_who_leaves_makes_room() {
        let tunnels = Tunnels::new(5, 3);
        let ip = |last| Some(IpAddr::from([192, 0, 2, last]));
        let mut inside: Vec<Waiting> =
            (0..3).map(|_| tunnels.enter(ip(1), false).unwrap()).collect();
        assert!(tunnels.enter(ip(1), false).is_err(), "the source has its share");
        inside.extend((0..2).map(|_| tunnels.enter(ip(2), false).unwrap()));
        assert!(tunnels.enter(ip(3), false).is_err(), "the house is full");
        inside.remove(0);
        inside.push(tunnels.enter(ip(1), false).unwrap());
        drop(inside);
        assert_eq!((tunnels.waiting(), lock(&tunnels.counts).of.len()), (0, 0));
    }

    #[test]
    fn a_source_that_was_wrong_gets_few_and_not_none() {
        let tunnels = Tunnels::new(1000, 100);
        let inside: Vec<Waiting> =
            std::iter::from_fn(|| tunnels.enter(Some([192, 0, 2, 1].into()), true).ok()).collect();
        assert_eq!(inside.len(), OF_FAILING);
    }
}
