//! Local time: what `/etc/localtime` says, which is UTC where it is not there.

use std::path::Path;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Local time minus UTC now, in seconds; none where that cannot be known.
pub fn utc_offset_s() -> Option<i32> {
    offset_by(Path::new("/etc/localtime"), Timestamp::now())
}

fn offset_by(rules: &Path, now: Timestamp) -> Option<i32> {
    let zone = match fs_err::read(rules) {
        Ok(bytes) => TimeZone::tzif("local", &bytes).ok()?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => TimeZone::UTC,
        Err(_) => return None,
    };
    Some(zone.to_offset(now).seconds())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_is_the_one_of_the_day_and_without_rules_it_is_utc() {
        let folder = tempfile::tempdir().unwrap();
        let rules = folder.path().join("localtime");
        let now: Timestamp = "2026-07-01T12:00:00Z".parse().unwrap();
        assert_eq!(offset_by(&rules, now), Some(0));
        fs_err::write(&rules, "no rules").unwrap();
        assert_eq!(offset_by(&rules, now), None);
        // Version 2 with nothing but a rule for all times, as Berlin has it.
        let head = |version: u8| {
            let mut bytes = b"TZif".to_vec();
            bytes.push(version);
            bytes.extend([0; 15]);
            for count in [0_u32, 0, 0, 0, 1, 4] {
                bytes.extend(count.to_be_bytes());
            }
            bytes.extend([0, 0, 0, 0, 0, 0]);
            bytes.extend(b"CET\0");
            bytes
        };
        let mut bytes = head(b'2');
        bytes.extend(head(b'2'));
        bytes.extend(b"\nCET-1CEST,M3.5.0,M10.5.0/3\n");
        fs_err::write(&rules, bytes).unwrap();
        assert_eq!(offset_by(&rules, now), Some(7200));
        assert_eq!(offset_by(&rules, "2026-01-01T12:00:00Z".parse().unwrap()), Some(3600));
    }
}
