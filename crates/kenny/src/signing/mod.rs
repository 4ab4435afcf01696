//! Signing releases with keys that no server has: key files, the repository folder, signatures.
//!
//! Nothing here talks to a server; the commands that do read the folder and send what is public.

pub mod folder;
pub mod keyfile;
pub mod keyring;
pub mod passphrase;
pub mod roles;

use jiff::Timestamp;

/// Days that signed metadata holds from now on, as text: tough has another version of the crate of its times.
pub fn in_days(days: u32, now: Timestamp) -> String {
    let second = now.as_second().saturating_add(i64::from(days) * 24 * 60 * 60);
    let end = Timestamp::from_second(second).unwrap_or(Timestamp::MAX);
    end.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Hexadecimal digits, lower case.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
