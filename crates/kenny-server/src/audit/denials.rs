//! How many denied attempts are written down: each source has its share, and all of them together have theirs, so that
//! nobody fills the disk or drives out what matters. What is left out is counted, and the next row says the count.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The time that the shares are for.
const WINDOW: Duration = Duration::from_mins(10);
/// Rows of one source in that time: enough to see what it was after.
const OF_ONE: u32 = 10;
/// Rows of all sources in that time: under lasting attack some 9,000 a day, about 4 MB.
const OF_ALL: u32 = 60;

/// Counts in windows.
#[derive(Debug, Default)]
pub struct Denials(Mutex<Option<Window>>);

#[derive(Debug)]
struct Window {
    since: Instant,
    of_all: u32,
    /// At most [`OF_ALL`] sources: one that has no row needs no count.
    of_one: HashMap<String, u32>,
    left_out: u64,
}

impl Denials {
    /// Whether an attempt of this source is written down; then how many were not, since the last one that was.
    pub fn admit(&self, source: &str, now: Instant) -> Option<u64> {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left_out_before = window.as_ref().map_or(0, |window| window.left_out);
        let is_over = |it: &Window| now.saturating_duration_since(it.since) >= WINDOW;
        if window.as_ref().is_none_or(is_over) {
            *window = Some(Window {
                since: now,
                of_all: 0,
                of_one: HashMap::new(),
                left_out: left_out_before,
            });
        }
        let window = window.as_mut().expect("made above where there was none");
        let of_one = window.of_one.get(source).copied().unwrap_or(0);
        if of_one >= OF_ONE || window.of_all >= OF_ALL {
            window.left_out += 1;
            return None;
        }
        window.of_one.insert(source.to_owned(), of_one + 1);
        window.of_all += 1;
        Some(std::mem::take(&mut window.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_its_share_and_what_is_left_out_is_counted() {
        let (denials, now) = (Denials::default(), Instant::now());
        for _ in 0..OF_ONE {
            assert_eq!(denials.admit("a", now), Some(0));
        }
        for _ in 0..5 {
            assert_eq!(denials.admit("a", now), None);
        }
        assert_eq!(denials.admit("b", now), Some(5), "another source is still heard");
        assert_eq!(denials.admit("a", now), None);
        assert_eq!(denials.admit("a", now + WINDOW), Some(1), "and the next window tells of it");
    }

    #[test]
    fn a_thousand_sources_do_not_fill_the_log() {
        let (denials, now) = (Denials::default(), Instant::now());
        let admitted = (0..1000).filter(|n| denials.admit(&n.to_string(), now).is_some()).count();
        assert_eq!(admitted, OF_ALL as usize);
    }
}
