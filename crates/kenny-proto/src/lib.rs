//! The wire contract of kenny: the frames between agent and server, the tool catalogue, and the
//! types of the REST API. `docs/protocol.md` is its prose.
//!
//! This crate does no IO and takes no decisions; both ends and the command line share it.

pub mod accounts;
pub mod api;
pub mod audit;
pub mod channels;
mod digest;
pub mod enrolment;
pub mod frames;
mod ids;
pub mod invitation;
mod keys;
pub mod policy;
pub mod rollout;
pub mod tools;
pub mod transcript;
pub mod trust;
pub mod update;

pub use accounts::{AccountName, AccountNameError, Role, Secret};
pub use digest::{DigestError, Sha256Digest};
pub use frames::{AgentFrame, CloseCode, FrameError, Parsed, ServerFrame};
pub use ids::{
    AgentId, AgentIdError, Arch, Os, RequestId, RolloutId, SessionId, UnknownName, UpdateId,
};
pub use invitation::{Invitation, InvitationCode};
pub use keys::{BytesError, Nonce, PublicKey, Signature};
pub use update::{FailureKind, Phase, PhaseAt, UpdateReport};

/// The protocol version that this code announces in `register.meta.protocol`.
pub const PROTOCOL: &str = "0.3";

/// The path at which a server accepts agents.
pub const TUNNEL_PATH: &str = "/agent/ws";

/// Largest frame of any kind, in bytes (contract 0.2). A larger one closes the connection with 1009.
pub const MAX_FRAME_BYTES: usize = 8 * 1024 * 1024;

/// Largest push (`telemetry`, `update_status`) in bytes (contract 0.2).
pub const MAX_PUSH_BYTES: usize = 256 * 1024;

/// Largest artifact of a release in bytes (contract 0.2).
pub const MAX_ARTIFACT_BYTES: u64 = 256 * 1024 * 1024;

/// Seconds between heartbeats (contract 0.2); three without any frame mean offline.
pub const HEARTBEAT_S: u32 = 30;

/// Seconds that a server waits for the `register` frame (contract 0.2).
pub const REGISTER_TIMEOUT_S: u32 = 10;
