//! When something ends, as people type it.

use std::str::FromStr;

use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};

/// After a time, or at one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// After so long.
    After(SignedDuration),
    /// At a moment.
    At(Timestamp),
}

/// The text is neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it looks like 90d, 12h or 2027-01-31T00:00:00Z, and is in the future")]
pub struct ExpiryError;

impl Expiry {
    /// The moment, said now.
    pub fn moment(self, now: Timestamp) -> Timestamp {
        match self {
            Self::After(time) => now.saturating_add(time).unwrap_or(Timestamp::MAX),
            Self::At(moment) => moment,
        }
    }
}

impl FromStr for Expiry {
    type Err = ExpiryError;

    fn from_str(text: &str) -> Result<Self, ExpiryError> {
        if let Ok(moment) = text.parse::<Timestamp>() {
            return Ok(Self::At(moment));
        }
        let span: Span = text.parse().map_err(|_| ExpiryError)?;
        // Months and years would need a calendar.
        let time =
            span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| ExpiryError)?;
        if time.is_positive() { Ok(Self::After(time)) } else { Err(ExpiryError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_typed_in_days_hours_or_as_a_moment() {
        let now: Timestamp = "2026-11-20T10:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("90d", "2027-02-18T10:00:00Z"),
            ("12h", "2026-11-20T22:00:00Z"),
            ("1d 6h", "2026-11-21T16:00:00Z"),
            ("2w", "2026-12-04T10:00:00Z"),
            ("2027-01-31T00:00:00Z", "2027-01-31T00:00:00Z"),
            ("2027-01-31T02:00:00+02:00", "2027-01-31T00:00:00Z"),
        ] {
            let expiry: Expiry = text.parse().unwrap();
            assert_eq!(expiry.moment(now).to_string(), expected, "{text}");
        }
        for bad in ["", "soon", "-1d", "0h", "3", "1 month", "2027-01-31"] {
            assert_eq!(bad.parse::<Expiry>(), Err(ExpiryError), "{bad}");
        }
    }
}
