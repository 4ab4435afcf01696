//! `POST /agent/enroll` and the headers of the probe: what agents say over HTTP beside the tunnel.

use serde::{Deserialize, Serialize};

use crate::{AgentId, InvitationCode, Nonce, PublicKey, Signature};

/// Where an agent redeems its invitation.
pub const ENROL_PATH: &str = "/agent/enroll";

/// The most that a request or an answer of it may have, in bytes.
pub const MAX_ENROL_BYTES: usize = 8 * 1024;

/// Where an agent asks whether it would be accepted.
pub const PROBE_PATH: &str = "/agent/probe";

/// Header of the probe: the agent's id.
pub const AGENT_ID_HEADER: &str = "x-kenny-agent-id";
/// Header of the probe: the protocol that the agent speaks.
pub const PROTOCOL_HEADER: &str = "x-kenny-protocol";
/// Header of the probe: the agent's nonce.
pub const NONCE_HEADER: &str = "x-kenny-nonce";
/// Header of the probe: the server's nonce.
pub const SERVER_NONCE_HEADER: &str = "x-kenny-server-nonce";
/// Header of the probe: the signature of whoever sends it.
pub const SIGNATURE_HEADER: &str = "x-kenny-signature";

/// A PC redeems its invitation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrolRequest {
    /// The one-time code.
    pub code: InvitationCode,
    /// The agent that it is for.
    pub agent_id: AgentId,
    /// The agent's key from now on.
    pub public_key: PublicKey,
    /// Makes the answer one to this request.
    pub nonce: Nonce,
    /// By `public_key`, over [`crate::transcript::Enrolment::agent_transcript`].
    pub signature: Signature,
}

/// What a server answers to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Enrolled {
    /// The agent.
    pub agent_id: AgentId,
    /// The server's key.
    pub server_key: PublicKey,
    /// By `server_key`, over [`crate::transcript::Enrolment::server_transcript`].
    pub server_signature: Signature,
}
