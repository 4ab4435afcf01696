//! Tokens: made from 256 random bits, kept as their SHA-256, compared in constant time.
//!
//! A fast hash is enough because a token is not a password: nobody can try 2^256 of them.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kenny_proto::Sha256Digest;

const OPERATOR_PREFIX: &str = "kenny_op_";
const AGENT_PREFIX: &str = "kenny_agent_";

/// SHA-256 of the bytes.
pub fn sha256(bytes: &[u8]) -> Sha256Digest {
    let hash = digest::digest(&digest::SHA256, bytes);
    Sha256Digest(hash.as_ref().try_into().expect("SHA-256 has 32 bytes"))
}

/// 32 bytes from the operating system's random source.
pub fn random_bytes() -> [u8; 32] {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// What is kept of a token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenHash(pub Sha256Digest);

impl TokenHash {
    /// The hash of this token.
    pub fn of(token: &str) -> Self {
        Self(sha256(token.as_bytes()))
    }

    /// True when it is the token that this was made of.
    pub fn matches(&self, token: &str) -> bool {
        verify_slices_are_equal(&self.0.0, &sha256(token.as_bytes()).0).is_ok()
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(not printed)")
    }
}

/// A new token for the operator.
pub fn new_operator_token() -> String {
    new_token(OPERATOR_PREFIX)
}

/// A new token for an agent.
pub fn new_agent_token() -> String {
    new_token(AGENT_PREFIX)
}

/// A new secret behind this prefix.
pub fn new_token(prefix: &str) -> String {
    format!("{prefix}{}", URL_SAFE_NO_PAD.encode(random_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_matches_its_own_hash_only() {
        let token = new_operator_token();
        assert_eq!(token.len(), OPERATOR_PREFIX.len() + 43);
        let hash = TokenHash::of(&token);
        assert!(hash.matches(&token));
        assert!(!hash.matches(&new_operator_token()));
        assert!(!hash.matches(""));
        assert!(new_agent_token().starts_with("kenny_agent_"));
    }
}
