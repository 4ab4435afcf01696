//! The frames of the tunnel: one JSON object per WebSocket text message, named by its `type`.
//!
//! Unknown types come back as [`Parsed::Unknown`] and unknown fields are ignored, so that an older peer
//! can live with a newer one. What does not parse is an error that the caller logs and drops.

use jiff::Timestamp;
use semver::Version;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::policy::Pause;
use crate::update::{Failure, Phase, UpdateReport};
use crate::{
    AgentId, Arch, Nonce, Os, PublicKey, RequestId, SessionId, Sha256Digest, Signature, UpdateId,
};

/// What a text message turned out to be.
#[derive(Debug, Clone, PartialEq)]
pub enum Parsed<F> {
    /// A frame that this version knows.
    Frame(F),
    /// A frame of a type that this version does not know: ignore it.
    Unknown(String),
}

/// The message is no frame. Drop it, log it, keep the connection.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Not a JSON object with a `type`.
    #[error("the message is not a JSON object with a `type`")]
    NotAFrame(#[source] serde_json::Error),
    /// A known type with missing or wrong fields.
    #[error("the `{kind}` frame is malformed at `{path}`")]
    Malformed {
        /// The frame's type.
        kind: String,
        /// Where in the frame.
        path: String,
        /// What is wrong there.
        source: serde_json::Error,
    },
}

/// The codes with which a server closes a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseCode {
    /// The first frame was not a `register`.
    NotRegistered,
    /// Authentication failed; the agent retries at its longest backoff.
    Unauthorized,
    /// A newer connection of the same agent took over.
    Displaced,
    /// A frame was over its size limit.
    TooBig,
    /// The server goes away (restart).
    GoingAway,
    /// No frame came for three heartbeat intervals, or no `register` in time.
    Silent,
}

impl CloseCode {
    /// The number on the wire. 4400, 4401, 4409 by the contract; 1001 and 1009 by RFC 6455; 4408 is
    /// ours, after HTTP's "request timeout".
    pub const fn as_u16(self) -> u16 {
        match self {
            Self::NotRegistered => 4400,
            Self::Unauthorized => 4401,
            Self::Displaced => 4409,
            Self::TooBig => 1009,
            Self::GoingAway => 1001,
            Self::Silent => 4408,
        }
    }
}

/// What an agent sends.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AgentFrame {
    /// The first frame, within 10 s of connecting.
    Register(Box<Register>),
    /// Proves who it is, after a `challenge` (0.3).
    Auth {
        /// By the key that the agent enrolled with, over the transcript of [`crate::transcript::Purpose::TunnelAgent`].
        signature: Signature,
    },
    /// The answer to one request.
    Response(Response),
    /// A push of facts.
    Telemetry(Telemetry),
    /// Where an update stands (0.3).
    UpdateStatus(UpdateStatus),
    /// Asks for a `pong`.
    Ping,
    /// Answers a `ping`.
    Pong,
}

/// What a server sends.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerFrame {
    /// The server proves who it is and asks the same of the agent (0.3; only to agents that enrolled with a key).
    Challenge(Challenge),
    /// The agent was accepted (0.3; only to agents that announced it).
    Welcome(Welcome),
    /// Carry out a tool.
    Request(Request),
    /// Abandon a running request (0.3).
    Cancel {
        /// Which one.
        id: RequestId,
    },
    /// Asks for a `pong`.
    Ping,
    /// Answers a `ping`.
    Pong,
}

impl AgentFrame {
    /// Reads one text message.
    pub fn parse(text: &str) -> Result<Parsed<Self>, FrameError> {
        #[derive(Deserialize)]
        struct Auth {
            signature: Signature,
        }
        let kind = kind_of(text)?;
        Ok(Parsed::Frame(match kind.as_str() {
            "register" => Self::Register(fields(text, kind)?),
            "auth" => {
                let Auth { signature } = fields(text, kind)?;
                Self::Auth { signature }
            }
            "response" => Self::Response(fields(text, kind)?),
            "telemetry" => Self::Telemetry(fields(text, kind)?),
            "update_status" => Self::UpdateStatus(fields(text, kind)?),
            "ping" => Self::Ping,
            "pong" => Self::Pong,
            _ => return Ok(Parsed::Unknown(kind)),
        }))
    }

    /// The text message.
    pub fn to_json(&self) -> String {
        to_json(self)
    }
}

impl ServerFrame {
    /// Reads one text message.
    pub fn parse(text: &str) -> Result<Parsed<Self>, FrameError> {
        #[derive(Deserialize)]
        struct Cancel {
            id: RequestId,
        }
        let kind = kind_of(text)?;
        Ok(Parsed::Frame(match kind.as_str() {
            "challenge" => Self::Challenge(fields(text, kind)?),
            "welcome" => Self::Welcome(fields(text, kind)?),
            "request" => Self::Request(fields(text, kind)?),
            "cancel" => {
                let Cancel { id } = fields(text, kind)?;
                Self::Cancel { id }
            }
            "ping" => Self::Ping,
            "pong" => Self::Pong,
            _ => return Ok(Parsed::Unknown(kind)),
        }))
    }

    /// The text message.
    pub fn to_json(&self) -> String {
        to_json(self)
    }
}

fn to_json(frame: &impl Serialize) -> String {
    serde_json::to_string(frame).expect("frames have string keys and no failing serialisers")
}

fn kind_of(text: &str) -> Result<String, FrameError> {
    #[derive(Deserialize)]
    struct Kind {
        #[serde(rename = "type")]
        kind: String,
    }
    let Kind { kind } = serde_json::from_str(text).map_err(FrameError::NotAFrame)?;
    // A derived `Deserialize` takes an array for a struct as well; the contract knows objects only.
    if !text.trim_start().starts_with('{') {
        return Err(FrameError::NotAFrame(serde_json::Error::custom("an array is no frame")));
    }
    Ok(kind)
}

/// Reads a frame of a known type. A derived `Deserialize` for the whole enum would hold the message in memory once more
/// and could not tell at which field it fails.
fn fields<F: DeserializeOwned>(text: &str, kind: String) -> Result<F, FrameError> {
    let mut json = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut json).map_err(|error| FrameError::Malformed {
        kind,
        path: error.path().to_string(),
        source: error.into_inner(),
    })
}

/// Who the agent is.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Register {
    /// The agent's name.
    pub agent_id: AgentId,
    /// Its secret: of an agent that the operator made as `legacy`, and of 0.2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Its nonce, of an agent that enrolled with a key (0.3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<Nonce>,
    /// Facts about the PC and the executable.
    pub meta: Meta,
}

impl std::fmt::Debug for Register {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Register")
            .field("agent_id", &self.agent_id)
            .field("token", &self.token.as_ref().map(|_| "(not printed)"))
            .field("nonce", &self.nonce)
            .field("meta", &self.meta)
            .finish()
    }
}

/// Facts that come with `register`. All but the first three are of 0.3.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    /// The PC's name.
    pub hostname: String,
    /// The operating system.
    pub os: Os,
    /// The agent's version; SemVer where the agent is ours.
    pub version: String,
    /// The protocol that the agent speaks; absent means 0.2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// The machine's native architecture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<Arch>,
    /// Digest of the running executable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256Digest>,
    /// True when the service manager runs the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<bool>,
    /// The last update.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<UpdateReport>,
    /// Somebody at the PC paused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Pause>,
    /// The PC's local time minus UTC now, in seconds: maintenance windows are in local time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utc_offset_s: Option<i32>,
}

/// The section of telemetry that tells of the PC itself.
pub const HOST_SECTION: &str = "host";
/// Its field that has what [`Meta::utc_offset_s`] had: clocks change while a PC stays connected.
pub const UTC_OFFSET_FIELD: &str = "utc_offset_s";

impl Meta {
    /// True when the agent announced 0.3 or later, and so understands `welcome` and `cancel`.
    pub fn speaks_0_3(&self) -> bool {
        let Some(protocol) = &self.protocol else { return false };
        let mut numbers = protocol.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        version >= (0, 3)
    }
}

/// The server proves who it is. The agent goes on only with the key that it pinned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Challenge {
    /// The server's nonce.
    pub server_nonce: Nonce,
    /// The server's key, for the words of an agent that pinned another.
    pub server_key: PublicKey,
    /// By `server_key`, over the transcript of [`crate::transcript::Purpose::TunnelServer`].
    pub server_signature: Signature,
}

/// Tells the agent that it was accepted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Welcome {
    /// The protocol that the server speaks.
    pub protocol: String,
    /// This connection.
    pub session: SessionId,
    /// Seconds between heartbeats.
    pub heartbeat_s: u32,
    /// The server's clock.
    pub server_time: Timestamp,
}

/// Asks the agent to carry out a tool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Names the request in its response.
    pub id: RequestId,
    /// The tool's dotted name.
    pub tool: String,
    /// The tool's arguments.
    #[serde(default)]
    pub args: Map<String, Value>,
    /// Milliseconds after which the server no longer waits (0.3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(into = "ResponseWire", try_from = "ResponseWire")]
pub struct Response {
    /// The request.
    pub id: RequestId,
    /// Its result, or why there is none.
    pub outcome: Result<Map<String, Value>, ToolError>,
}

#[derive(Serialize, Deserialize)]
struct ResponseWire {
    id: RequestId,
    ok: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    result: Option<Map<String, Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<ToolError>,
}

impl From<Response> for ResponseWire {
    fn from(Response { id, outcome }: Response) -> Self {
        match outcome {
            Ok(result) => Self { id, ok: true, result: Some(result), error: None },
            Err(error) => Self { id, ok: false, result: None, error: Some(error) },
        }
    }
}

impl TryFrom<ResponseWire> for Response {
    type Error = &'static str;

    fn try_from(wire: ResponseWire) -> Result<Self, &'static str> {
        let outcome = match (wire.ok, wire.result, wire.error) {
            (true, result, _) => Ok(result.unwrap_or_default()),
            (false, _, Some(error)) => Err(error),
            (false, _, None) => return Err("a response that is not `ok` needs an `error`"),
        };
        Ok(Self { id: wire.id, outcome })
    }
}

/// Why a tool gave no result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[error("{code}: {message}")]
pub struct ToolError {
    /// What callers decide by.
    pub code: ErrorCode,
    /// What happened, in words.
    pub message: String,
}

impl ToolError {
    /// An error of this code with these words.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// The error codes of contract 0.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// It took too long and was ended.
    Timeout,
    /// No such tool, file or thing.
    NotFound,
    /// It was tried and did not work.
    ExecFailed,
    /// Not on this platform or not in this way of running.
    Unsupported,
    /// An argument is missing or wrong; the message names it.
    BadArgs,
    /// This PC's own policy never allows the tool (0.3; a 0.2 server gets `unsupported`).
    Refused,
    /// Somebody at the PC paused it, and the tool changes something (0.3; a 0.2 server gets `unsupported`).
    Paused,
    /// A defect, or a code that a newer peer names.
    #[serde(other)]
    Internal,
}

impl ErrorCode {
    /// The wire name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::NotFound => "not_found",
            Self::ExecFailed => "exec_failed",
            Self::Unsupported => "unsupported",
            Self::BadArgs => "bad_args",
            Self::Refused => "refused",
            Self::Paused => "paused",
            Self::Internal => "internal",
        }
    }
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A push of facts about the PC.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Telemetry {
    /// The agent; a server goes by the connection, not by this.
    pub agent_id: AgentId,
    /// When the facts were read, by the PC's clock.
    pub collected_at: Timestamp,
    /// Section name to `{status, summary, ...}`.
    pub snapshot: Snapshot,
}

/// Section name to section.
pub type Snapshot = std::collections::BTreeMap<String, Section>;

/// One section of telemetry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Section {
    /// How it looks.
    pub status: Status,
    /// One sentence for people.
    pub summary: String,
    /// Whatever else the section says.
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub fields: Map<String, Value>,
}

/// How a section of telemetry looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Nothing to do.
    Ok,
    /// Somebody should look.
    Warn,
    /// Somebody must look.
    Crit,
}

/// Where an update stands. Sent at least once per change; idempotent by `update_id` and `phase`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UpdateStatus {
    /// The update.
    pub update_id: UpdateId,
    /// The version that is being installed.
    pub version: Version,
    /// Where it stands.
    pub phase: Phase,
    /// How much of the phase is done, 0 to 100, where that can be said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
    /// More, in words: bytes, or the reason of a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Why the update did not work out, with `failed` and `rolled_back`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// When, by the PC's clock.
    pub at: Timestamp,
}
