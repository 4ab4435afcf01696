//! The audit log as it leaves the server: rows in a chain of hashes, and the bytes that each hash is of.
//!
//! Whoever has the rows can check the chain without trusting who gave them; `kenny_core::audit` does it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Role, Sha256Digest};

/// Begins the bytes of every row, so that its hash is the hash of nothing else.
const DOMAIN: &[u8] = b"kenny audit row v1";

/// What the first row has as `previous`.
pub const GENESIS: Sha256Digest = Sha256Digest([0; 32]);

/// What became of what somebody did or wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum AuditOutcome {
    /// The change was made; it stands in the same transaction as this row.
    Done,
    /// A call is about to be sent to an agent. A later row with the same `call` has its outcome; where there is none, it
    /// is not known: the server ended in between.
    Sent,
    /// The agent carried the call out.
    Ok,
    /// The agent answered with an error.
    Error,
    /// No answer came: it is not known whether the agent carried it out.
    Unknown,
    /// The server refused what an authorised account asked for.
    Refused,
    /// Whoever asked may not: no or wrong credentials, or a role that does not reach.
    Denied,
}

impl AuditOutcome {
    /// The word on the wire and in the hashed bytes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Sent => "sent",
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Unknown => "unknown",
            Self::Refused => "refused",
            Self::Denied => "denied",
        }
    }
}

impl fmt::Display for AuditOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One row of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditRow {
    /// Its place, from 1, without gaps.
    pub sequence: u64,
    /// When, by the server's clock.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
    /// Who; none where nobody was recognised.
    pub account: Option<String>,
    /// The account's role at that time.
    pub role: Option<Role>,
    /// Through which face: `rest`, `mcp`, `web`, `oauth`, `console` (at the server itself) or `tunnel`.
    pub face: String,
    /// The address that it came from.
    pub from: Option<String>,
    /// What, such as `agent.create` or `tool.call`.
    pub action: String,
    /// Which agent.
    pub agent_id: Option<String>,
    /// What else it was about: a tool, a version, an account.
    pub subject: Option<String>,
    /// What became of it.
    pub outcome: AuditOutcome,
    /// Joins the row that a call was sent with and the row of its outcome.
    pub call: Option<String>,
    /// More, by name. Arguments of tools are `arg.NAME`, or `arg.NAME.sha256` with `arg.NAME.bytes` where only the hash is
    /// kept.
    pub facts: BTreeMap<String, String>,
    /// The hash of the row before; 64 zeros for the first.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub previous: Sha256Digest,
    /// SHA-256 of this row's bytes, `previous` among them.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub hash: Sha256Digest,
}

impl AuditRow {
    /// The bytes that the hash is of: every field but the hash, each with its length before it, so that nothing can move
    /// from one field to the next.
    pub fn hashed_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(512);
        put(&mut bytes, DOMAIN);
        put(&mut bytes, &self.previous.0);
        put(&mut bytes, &self.sequence.to_be_bytes());
        put(&mut bytes, self.at.to_string().as_bytes());
        put_option(&mut bytes, self.account.as_deref());
        put_option(&mut bytes, self.role.map(Role::as_str));
        put(&mut bytes, self.face.as_bytes());
        put_option(&mut bytes, self.from.as_deref());
        put(&mut bytes, self.action.as_bytes());
        put_option(&mut bytes, self.agent_id.as_deref());
        put_option(&mut bytes, self.subject.as_deref());
        put(&mut bytes, self.outcome.as_str().as_bytes());
        put_option(&mut bytes, self.call.as_deref());
        put(&mut bytes, &(self.facts.len() as u64).to_be_bytes());
        for (name, value) in &self.facts {
            put(&mut bytes, name.as_bytes());
            put(&mut bytes, value.as_bytes());
        }
        bytes
    }

    /// Where the chain stands with this row.
    pub const fn anchor(&self) -> AuditAnchor {
        AuditAnchor { sequence: self.sequence, hash: self.hash }
    }
}

fn put(bytes: &mut Vec<u8>, field: &[u8]) {
    bytes.extend_from_slice(&(field.len() as u64).to_be_bytes());
    bytes.extend_from_slice(field);
}

fn put_option(bytes: &mut Vec<u8>, field: Option<&str>) {
    bytes.push(u8::from(field.is_some()));
    put(bytes, field.unwrap_or_default().as_bytes());
}

/// A place in the chain and the hash that it has there, written `SEQUENCE:HASH`. Kept away from the server it shows
/// that nothing up to it was changed or cut off since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditAnchor {
    /// The row; 0 before the first.
    pub sequence: u64,
    /// Its hash.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub hash: Sha256Digest,
}

impl AuditAnchor {
    /// Before the first row.
    pub const START: Self = Self { sequence: 0, hash: GENESIS };
}

impl fmt::Display for AuditAnchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.sequence, self.hash)
    }
}

/// Not an anchor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not an anchor; it looks like 1042:9f86d081..., as `kenny audit verify` prints it"
)]
pub struct NotAnAnchor(String);

impl FromStr for AuditAnchor {
    type Err = NotAnAnchor;

    fn from_str(text: &str) -> Result<Self, NotAnAnchor> {
        let parts = text.trim().split_once(':');
        let parsed = parts.and_then(|(sequence, hash)| {
            Some(Self { sequence: sequence.parse().ok()?, hash: hash.parse().ok()? })
        });
        parsed.ok_or_else(|| NotAnAnchor(text.to_owned()))
    }
}

/// `GET /audit`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditPage {
    /// Rows, newest first; oldest first where `after` was given.
    pub rows: Vec<AuditRow>,
    /// Where the log ends, as the server keeps it apart from the rows.
    pub head: AuditAnchor,
}

/// Most rows of one [`AuditPage`].
pub const AUDIT_PAGE_ROWS: u32 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> AuditRow {
        AuditRow {
            sequence: 1,
            at: Timestamp::UNIX_EPOCH,
            account: Some("anna".to_owned()),
            role: Some(Role::Owner),
            face: "rest".to_owned(),
            from: None,
            action: "agent.create".to_owned(),
            agent_id: Some("pc-1".to_owned()),
            subject: None,
            outcome: AuditOutcome::Done,
            call: None,
            facts: BTreeMap::from([("a".to_owned(), "bc".to_owned())]),
            previous: GENESIS,
            hash: GENESIS,
        }
    }

    #[test]
    fn every_field_stands_in_the_bytes_and_none_runs_into_the_next() {
        let original = row().hashed_bytes();
        let changes: [fn(&mut AuditRow); 14] = [
            |row| row.sequence = 2,
            |row| row.at = Timestamp::from_second(1).unwrap(),
            |row| row.account = None,
            |row| row.account = Some(String::new()),
            |row| row.role = None,
            |row| row.face = "mcp".to_owned(),
            |row| row.from = Some("::1".to_owned()),
            |row| row.action = "agent.remove".to_owned(),
            |row| row.agent_id = Some("pc-2".to_owned()),
            |row| row.subject = Some(String::new()),
            |row| row.outcome = AuditOutcome::Denied,
            |row| row.call = Some("x".to_owned()),
            |row| row.facts = BTreeMap::from([("ab".to_owned(), "c".to_owned())]),
            |row| row.previous = Sha256Digest([1; 32]),
        ];
        let mut seen = vec![original];
        for change in changes {
            let mut changed = row();
            change(&mut changed);
            let bytes = changed.hashed_bytes();
            assert!(!seen.contains(&bytes), "{changed:?}");
            seen.push(bytes);
        }
        let json = serde_json::to_string(&row()).unwrap();
        let back: AuditRow = serde_json::from_str(&json).unwrap();
        assert_eq!(
            back.hashed_bytes(),
            row().hashed_bytes(),
            "the way through JSON changes nothing"
        );
    }

    #[test]
    fn an_anchor_is_read_as_it_is_written() {
        let anchor = AuditAnchor { sequence: 42, hash: Sha256Digest([7; 32]) };
        assert_eq!(anchor.to_string().parse(), Ok(anchor));
        for bad in ["", "42", "42:", ":00", "x:0707"] {
            assert!(bad.parse::<AuditAnchor>().is_err(), "{bad}");
        }
    }
}
