//! The second factor: time-based one-time passwords of RFC 6238, as every authenticator app has them (SHA-1, six digits,
//! 30 s).

use totp_rs::{Builder, Totp};

/// The step that this code is valid for at this time: the current one, or one to each side of it for clocks that differ.
/// Whether it was used before is the caller's to know.
pub fn step_of(secret: &[u8], code: &str, unix_s: u64) -> Option<u64> {
    totp(secret).check(code, unix_s)
}

fn totp(secret: &[u8]) -> Totp {
    Builder::new().with_secret(secret.to_vec()).build_noncompliant()
}

/// True for what an authenticator shows, right or wrong; everything else is meant as a recovery code.
pub fn looks_like_code(text: &str) -> bool {
    text.len() == 6 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A recovery code as it is hashed: people type it with other letter sizes, spaces and dashes.
pub fn plain_recovery_code(text: &str) -> String {
    text.chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|character| character.to_ascii_lowercase())
        .collect()
}
