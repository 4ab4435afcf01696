//! The invitation: what a PC needs to become an agent, and the one-time code in it.
//!
//! It travels as JSON of at most [`MAX_INVITATION_BYTES`]: in a file, pasted, or inside a downloaded executable.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{AgentId, PublicKey};

/// Largest invitation as JSON, in bytes.
pub const MAX_INVITATION_BYTES: usize = 8 * 1024;

/// The shape that this code writes and reads.
pub const INVITATION_VERSION: u32 = 1;

/// Where a server has the page of an invitation: this, a slash and the code.
pub const INVITE_PATH: &str = "/invite";

/// What a PC needs to become an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Invitation {
    /// Of the shape: [`INVITATION_VERSION`].
    pub v: u32,
    /// The tunnel's address, like `wss://kenny.example/agent/ws`.
    pub server: String,
    /// The name that the PC gets.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub agent_id: AgentId,
    /// Good for one enrolment.
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "7K2M-9QXT-4HBC-W0ZD-3NVR-8JFP-6SYA"))]
    pub code: InvitationCode,
    /// The server's Ed25519 public key, which the PC pins.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub server_key: PublicKey,
    /// The `root.json` of the releases' signatures, which the PC pins; absent where releases are not signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub tuf_root: Option<Value>,
    /// Certificates in PEM to trust besides the system's; absent where the system's suffice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// Until when the code is good.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub expires_at: Timestamp,
}

/// The text is no invitation.
#[derive(Debug, thiserror::Error)]
pub enum InvitationError {
    /// Too long to be one.
    #[error(
        "it has more than {MAX_INVITATION_BYTES} bytes; is it the file that `kenny agent invite` wrote?"
    )]
    TooLong,
    /// Not the JSON of one.
    #[error("it is not the JSON that `kenny agent invite --json` prints")]
    Malformed(#[source] serde_path_to_error::Error<serde_json::Error>),
    /// Of a later shape.
    #[error(
        "it has the version {0}, this agent knows {INVITATION_VERSION}: take a newer kenny-agent"
    )]
    Newer(u32),
}

impl Invitation {
    /// Reads one. White space and a byte order mark around it are tolerated, unknown fields ignored.
    pub fn parse(text: &str) -> Result<Self, InvitationError> {
        let text = text.trim_start_matches('\u{feff}').trim();
        if text.len() > MAX_INVITATION_BYTES {
            return Err(InvitationError::TooLong);
        }
        let mut json = serde_json::Deserializer::from_str(text);
        let invitation: Self =
            serde_path_to_error::deserialize(&mut json).map_err(InvitationError::Malformed)?;
        if invitation.v > INVITATION_VERSION {
            return Err(InvitationError::Newer(invitation.v));
        }
        Ok(invitation)
    }

    /// As JSON, in one line.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("it has string keys and no failing serialisers")
    }
}

/// A one-time code: 140 random bits as seven groups of four characters, without those that look like others
/// (Crockford's base 32). Reading it forgives case, dashes, spaces, and `O` for `0`, `I` and `L` for `1`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct InvitationCode([u8; InvitationCode::CHARACTERS]);

/// The text is no code. It is not repeated: it may be one with a typing error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a code has {} letters and digits in groups of {}, like 7K2M-9QXT-...; look at it once more",
    InvitationCode::CHARACTERS,
    InvitationCode::GROUP
)]
pub struct InvitationCodeError;

impl InvitationCode {
    const CHARACTERS: usize = 28;
    const GROUP: usize = 4;
    const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

    /// The code of these random bytes; five bits of each count.
    pub fn from_random(bytes: [u8; Self::CHARACTERS]) -> Self {
        Self(bytes.map(|byte| Self::ALPHABET[usize::from(byte & 31)]))
    }

    /// Its characters without dashes: what is hashed and signed.
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl FromStr for InvitationCode {
    type Err = InvitationCodeError;

    fn from_str(text: &str) -> Result<Self, InvitationCodeError> {
        let mut code = [0; Self::CHARACTERS];
        let mut length = 0;
        for character in text.bytes().filter(|byte| !b"- ".contains(byte)) {
            let character = match character.to_ascii_uppercase() {
                b'O' => b'0',
                b'I' | b'L' => b'1',
                other => other,
            };
            if length == code.len() || !Self::ALPHABET.contains(&character) {
                return Err(InvitationCodeError);
            }
            code[length] = character;
            length += 1;
        }
        if length == code.len() { Ok(Self(code)) } else { Err(InvitationCodeError) }
    }
}

impl TryFrom<String> for InvitationCode {
    type Error = InvitationCodeError;

    fn try_from(text: String) -> Result<Self, InvitationCodeError> {
        text.parse()
    }
}

impl From<InvitationCode> for String {
    fn from(code: InvitationCode) -> Self {
        code.to_string()
    }
}

impl fmt::Display for InvitationCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, character) in self.0.iter().enumerate() {
            if index > 0 && index % Self::GROUP == 0 {
                f.write_str("-")?;
            }
            fmt::Write::write_char(f, char::from(*character))?;
        }
        Ok(())
    }
}

impl fmt::Debug for InvitationCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InvitationCode(not printed)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{"v":1,"server":"wss://kenny.example/agent/ws","agent_id":"annas-pc",
        "code":"7K2M-9QXT-4HBC-W0ZD-3NVR-8JFP-6SYA","server_key":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",
        "expires_at":"2026-11-26T10:00:00Z","added_later":1}"#;

    #[test]
    fn an_invitation_survives_json_and_never_prints_its_code() {
        let invitation = Invitation::parse(&format!("\u{feff}\r\n{TEXT}\n")).unwrap();
        assert_eq!(Invitation::parse(&invitation.to_json()).unwrap(), invitation);
        assert_eq!(invitation.server_key, PublicKey([1; 32]));
        assert!(!format!("{invitation:?}").contains("7K2M"));
        assert!(!invitation.to_json().contains("tuf_root"));
    }

    #[test]
    fn what_is_no_invitation_says_why() {
        assert!(matches!(Invitation::parse("{}"), Err(InvitationError::Malformed(_))));
        let newer = TEXT.replacen("\"v\":1", "\"v\":2", 1);
        assert!(matches!(Invitation::parse(&newer), Err(InvitationError::Newer(2))));
        let long = TEXT.replace("annas-pc", &"x".repeat(MAX_INVITATION_BYTES));
        assert!(matches!(Invitation::parse(&long), Err(InvitationError::TooLong)));
        let bad = TEXT.replace("6SYA", "6SY");
        let Err(InvitationError::Malformed(error)) = Invitation::parse(&bad) else {
            panic!("{bad}")
        };
        assert_eq!(error.path().to_string(), "code");
    }

    #[test]
    fn codes_are_read_as_people_type_them() {
        let code = InvitationCode::from_random(std::array::from_fn(|index| {
            u8::try_from(index).unwrap() + 0xe0
        }));
        assert_eq!(code.to_string(), "0123-4567-89AB-CDEF-GHJK-MNPQ-RSTV");
        for typed in ["oi23456789abcdefghjkmnpqrstv", " 0l23 4567 89AB cdef-GHJK--MNPQ-RSTV "] {
            assert_eq!(typed.parse::<InvitationCode>().unwrap(), code, "{typed}");
        }
        for bad in [
            "",
            "0123",
            "U123-4567-89AB-CDEF-GHJK-MNPQ-RSTV",
            "0123-4567-89AB-CDEF-GHJK-MNPQ-RSTV0",
        ] {
            assert_eq!(bad.parse::<InvitationCode>(), Err(InvitationCodeError), "{bad}");
        }
    }
}
