//! Rules that turn facts of a PC into `ok`, `warn` or `crit`.

use kenny_proto::frames::Status;

/// How a volume looks: crit below 3 % free, warn below 10 %. The numbers are those at which Windows itself
/// starts to fail updates (a few GiB on a common 128 GiB disk) and at which it begins to warn.
#[expect(
    clippy::cast_possible_truncation,
    reason = "at most 1000 by the division, or every byte is free"
)]
pub const fn volume(free_bytes: u64, total_bytes: u64) -> Status {
    if total_bytes == 0 {
        return Status::Ok;
    }
    let free_per_mille = (free_bytes as u128 * 1000 / total_bytes as u128) as u64;
    match free_per_mille {
        0..30 => Status::Crit,
        30..100 => Status::Warn,
        100.. => Status::Ok,
    }
}

/// How memory looks: crit from 97 % used, warn from 90 %.
#[expect(clippy::cast_possible_truncation, reason = "a percentage")]
pub const fn memory(used_bytes: u64, total_bytes: u64) -> Status {
    if total_bytes == 0 {
        return Status::Ok;
    }
    match (used_bytes as u128 * 100 / total_bytes as u128) as u64 {
        0..90 => Status::Ok,
        90..97 => Status::Warn,
        97.. => Status::Crit,
    }
}

/// How the time since the last boot looks: warn from 60 days, when pending Windows updates have piled up.
pub const fn uptime(uptime_s: u64) -> Status {
    if uptime_s >= 60 * 24 * 60 * 60 { Status::Warn } else { Status::Ok }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_where_they_are_said_to_be() {
        assert_eq!(volume(29, 1000), Status::Crit);
        assert_eq!(volume(30, 1000), Status::Warn);
        assert_eq!(volume(99, 1000), Status::Warn);
        assert_eq!(volume(100, 1000), Status::Ok);
        assert_eq!(volume(0, 0), Status::Ok);
        assert_eq!(memory(89, 100), Status::Ok);
        assert_eq!(memory(90, 100), Status::Warn);
        assert_eq!(memory(97, 100), Status::Crit);
        assert_eq!(uptime(60 * 86_400 - 1), Status::Ok);
        assert_eq!(uptime(60 * 86_400), Status::Warn);
    }
}
