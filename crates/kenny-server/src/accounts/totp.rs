//! The second factor: time-based one-time passwords of RFC 6238, as every authenticator app has them (SHA-1, six digits,
//! 30 s).

use aws_lc_rs::rand;
use kenny_proto::{AccountName, Secret};
use totp_rs::{Builder, Totp};

/// As RFC 4226 recommends: 160 bits.
const SECRET_BYTES: usize = 20;
/// What authenticators show above the account's name.
const ISSUER: &str = "kenny";

/// A new secret.
pub fn new_secret() -> Vec<u8> {
    let mut secret = vec![0; SECRET_BYTES];
    rand::fill(&mut secret).expect("the operating system gives random bytes");
    secret
}

/// What an authenticator takes: the secret in Base32, and the same as an `otpauth` URI.
pub fn enrolment(secret: &[u8], account: &AccountName) -> (Secret, Secret) {
    let totp = Builder::new()
        .with_secret(secret.to_vec())
        .with_issuer(Some(ISSUER))
        .with_account_name(account.as_str())
        .build_noncompliant();
    let uri = totp.to_url().expect("an account's name is not empty and has no colon");
    (Secret(totp.secret().to_base32()), Secret(uri))
}

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

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238, appendix B, SHA-1. Its codes have eight digits; six are the last six of them.
    #[test]
    fn codes_are_those_of_the_rfc() {
        let secret = b"12345678901234567890";
        for (unix_s, eight_digits) in [
            (59, "94287082"),
            (1_111_111_109, "07081804"),
            (1_111_111_111, "14050471"),
            (1_234_567_890, "89005924"),
            (2_000_000_000, "69279037"),
            (20_000_000_000, "65353130"),
        ] {
            let code = &eight_digits[2..];
            assert_eq!(step_of(secret, code, unix_s), Some(unix_s / 30), "{code}");
            assert_eq!(step_of(secret, eight_digits, unix_s), None);
            let eight = Builder::new()
                .with_secret(secret.to_vec())
                .with_digits(8)
                .build_noncompliant()
                .generate(unix_s);
            assert_eq!(eight.to_string(), eight_digits);
        }
    }

    #[test]
    fn a_clock_may_be_one_step_off_and_no_more() {
        let secret = b"12345678901234567890";
        // Valid from 1111111080 to 1111111109.
        let code = "081804";
        for (unix_s, expected) in [
            (1_111_111_049, None),
            (1_111_111_050, Some(37_037_036)),
            (1_111_111_139, Some(37_037_036)),
            (1_111_111_140, None),
        ] {
            assert_eq!(step_of(secret, code, unix_s), expected, "{unix_s}");
        }
    }

    #[test]
    fn authenticators_get_what_they_understand() {
        let (secret, uri) = enrolment(b"12345678901234567890", &"anna@home".parse().unwrap());
        assert_eq!(secret.expose(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        let expected =
            "otpauth://totp/kenny:anna%40home?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=kenny";
        assert_eq!(uri.expose(), expected);
        assert_eq!(new_secret().len(), 20);
        assert_ne!(new_secret(), new_secret());
    }

    #[test]
    fn six_digits_are_a_code_and_all_else_is_none() {
        assert!(looks_like_code("012345"));
        for other in ["12345", "1234567", "12345a", "+12345", "４２４２４２", ""] {
            assert!(!looks_like_code(other), "{other}");
        }
    }
}
