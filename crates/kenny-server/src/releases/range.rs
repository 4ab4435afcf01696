//! The `Range` header (RFC 9110, section 14): one range of bytes is honoured, all else means the whole.

use std::ops::Range;

/// What part of the artifact is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// All of it: no range, several, another unit, or nonsense.
    Whole,
    /// These bytes.
    Part(Range<usize>),
    /// Bytes that are not there.
    Unsatisfiable,
}

/// Reads the header's value for an artifact of `length` bytes.
pub(super) fn parse(value: &str, length: usize) -> Asked {
    let Some((unit, ranges)) = value.split_once('=') else { return Asked::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Asked::Whole;
    }
    let Some((first, last)) = ranges.trim().split_once('-') else { return Asked::Whole };
    match (position(first), position(last)) {
        (Position::At(first), Position::Absent) => part(first, length, length),
        (Position::At(first), Position::At(last)) if first <= last => {
            part(first, last.saturating_add(1), length)
        }
        (Position::Absent, Position::At(count)) => {
            part(length.saturating_sub(count), length, length)
        }
        (Position::At(_), Position::At(_))
        | (Position::Absent, Position::Absent)
        | (Position::Nonsense, _)
        | (_, Position::Nonsense) => Asked::Whole,
    }
}

enum Position {
    Absent,
    At(usize),
    Nonsense,
}

fn position(text: &str) -> Position {
    let text = text.trim();
    if text.is_empty() {
        Position::Absent
    } else if text.bytes().all(|byte| byte.is_ascii_digit()) {
        // Digits that do not fit name a place far behind any end.
        Position::At(text.parse().unwrap_or(usize::MAX))
    } else {
        Position::Nonsense
    }
}

fn part(first: usize, end: usize, length: usize) -> Asked {
    let end = end.min(length);
    if first < end { Asked::Part(first..end) } else { Asked::Unsatisfiable }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_honoured() {
        for (value, expected) in [
            ("bytes=0-0", 0..1),
            ("bytes=2-5", 2..6),
            ("bytes=5-", 5..10),
            ("bytes=-3", 7..10),
            ("bytes=-99", 0..10),
            ("bytes=3-99999999999999999999999", 3..10),
            ("BYTES= 3-4", 3..5),
        ] {
            assert_eq!(parse(value, 10), Asked::Part(expected), "{value}");
        }
    }

    #[test]
    fn bytes_that_are_not_there_cannot_be_had() {
        for value in ["bytes=10-", "bytes=10-12", "bytes=-0", "bytes=99999999999999999999999-"] {
            assert_eq!(parse(value, 10), Asked::Unsatisfiable, "{value}");
        }
    }

    #[test]
    fn all_else_means_the_whole() {
        for value in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=5-2",
            "bytes=a-b",
            "lines=0-1",
            "bytes=0-1,3-4",
            "bytes=+1-2",
        ] {
            assert_eq!(parse(value, 10), Asked::Whole, "{value}");
        }
    }
}
