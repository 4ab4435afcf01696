//! Ed25519 keys, signatures and nonces as they stand on the wire: base64url without padding. Nothing here signs.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The text is not base64url of the right length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not the base64url of {bytes} bytes (without padding)")]
pub struct BytesError {
    /// How many it has to be.
    pub bytes: usize,
}

macro_rules! wire_bytes {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        #[serde(into = "String", try_from = "String")]
        pub struct $name(pub [u8; $bytes]);

        impl FromStr for $name {
            type Err = BytesError;

            fn from_str(text: &str) -> Result<Self, BytesError> {
                let mut bytes = [0; $bytes];
                match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
                    Ok($bytes) => Ok(Self(bytes)),
                    Ok(_) | Err(_) => Err(BytesError { bytes: $bytes }),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = BytesError;

            fn try_from(text: String) -> Result<Self, BytesError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

wire_bytes! {
    /// An Ed25519 public key (RFC 8032).
    PublicKey, 32
}
wire_bytes! {
    /// An Ed25519 signature (RFC 8032).
    Signature, 64
}
wire_bytes! {
    /// 256 random bits, used once.
    Nonce, 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_base64url_of_exactly_their_length() {
        let key = PublicKey(std::array::from_fn(|_| 0xfb));
        let text = key.to_string();
        assert_eq!(text, "-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s");
        assert_eq!(text.parse(), Ok(key));
        // The last character of 32 bytes has two bits that count for nothing: only zeros are taken for them.
        for bad in [
            "",
            "AA",
            &text[1..],
            &format!("{text}="),
            &format!("{text}A"),
            &text.replace("-_s", "-_t"),
            &text.replace('-', "+"),
        ] {
            assert_eq!(bad.parse::<PublicKey>(), Err(BytesError { bytes: 32 }), "{bad}");
        }
    }
}
