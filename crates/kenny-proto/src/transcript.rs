//! What is signed where agent and server prove who they are: the bytes, and nothing of how they are signed.
//!
//! A transcript is a label and fields, each behind its length (two bytes, the most significant first), so that no two
//! different exchanges have the same bytes, and a signature for one purpose is worth nothing for another.

use crate::{AgentId, InvitationCode, Nonce, PublicKey};

/// What a signature is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The server's, in `challenge`.
    TunnelServer,
    /// The agent's, in `auth`.
    TunnelAgent,
    /// The server's, in the first answer of the probe.
    ProbeServer,
    /// The agent's, in the second request of the probe.
    ProbeAgent,
    /// The server's, in the second answer of the probe: it would accept this agent.
    ProbeAccepted,
}

impl Purpose {
    /// Every one.
    pub const ALL: [Self; 5] = [
        Self::TunnelServer,
        Self::TunnelAgent,
        Self::ProbeServer,
        Self::ProbeAgent,
        Self::ProbeAccepted,
    ];

    /// The label that its transcripts begin with.
    pub const fn label(self) -> &'static str {
        match self {
            Self::TunnelServer => "kenny v1 tunnel server",
            Self::TunnelAgent => "kenny v1 tunnel agent",
            Self::ProbeServer => "kenny v1 probe server",
            Self::ProbeAgent => "kenny v1 probe agent",
            Self::ProbeAccepted => "kenny v1 probe accepted",
        }
    }
}

/// Label of the proof that an agent has the key that it enrols with.
const ENROLMENT_AGENT: &str = "kenny v1 enrolment agent";
/// Label of the server's answer to that.
const ENROLMENT_SERVER: &str = "kenny v1 enrolment server";

/// One exchange between an agent and its server, as both see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange<'a> {
    /// The protocol that the agent announced.
    pub protocol: &'a str,
    /// The agent.
    pub agent_id: &'a AgentId,
    /// The agent's nonce.
    pub client_nonce: Nonce,
    /// The server's nonce.
    pub server_nonce: Nonce,
    /// The server's key: the one that the agent pinned, the one that the server has.
    pub server_key: PublicKey,
}

impl Exchange<'_> {
    /// The bytes that are signed for this purpose.
    pub fn transcript(&self, purpose: Purpose) -> Vec<u8> {
        transcript(
            purpose.label(),
            &[
                self.protocol.as_bytes(),
                self.agent_id.as_str().as_bytes(),
                &self.client_nonce.0,
                &self.server_nonce.0,
                &self.server_key.0,
            ],
        )
    }
}

/// One enrolment, as both sides see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolment<'a> {
    /// The one-time code.
    pub code: &'a InvitationCode,
    /// The agent.
    pub agent_id: &'a AgentId,
    /// The key that enrols.
    pub public_key: PublicKey,
    /// The agent's nonce.
    pub nonce: Nonce,
    /// The server's key.
    pub server_key: PublicKey,
}

impl Enrolment<'_> {
    /// What the agent signs, with the key that it enrols.
    pub fn agent_transcript(&self) -> Vec<u8> {
        self.transcript(ENROLMENT_AGENT)
    }

    /// What the server signs once the agent is enrolled.
    pub fn server_transcript(&self) -> Vec<u8> {
        self.transcript(ENROLMENT_SERVER)
    }

    fn transcript(&self, label: &str) -> Vec<u8> {
        transcript(
            label,
            &[
                self.code.as_bytes(),
                self.agent_id.as_str().as_bytes(),
                &self.public_key.0,
                &self.nonce.0,
                &self.server_key.0,
            ],
        )
    }
}

/// A field that is longer than its length can say is cut to that: of the fields only the protocol has no limit of its
/// own, and both sides cut it alike.
fn transcript(label: &str, fields: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    for field in std::iter::once(label.as_bytes()).chain(fields.iter().copied()) {
        let length = u16::try_from(field.len()).unwrap_or(u16::MAX);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&field[..usize::from(length)]);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_exchanges_and_no_two_purposes_have_the_same_bytes() {
        let ids: Vec<AgentId> = ["pc", "pc-1", "c"].iter().map(|id| id.parse().unwrap()).collect();
        let mut seen = HashSet::new();
        let mut count = 0;
        // `0.3p` with `c` and `0.3` with `pc` are the same letters.
        for protocol in ["0.3", "0.3p", "0.4", ""] {
            for agent_id in &ids {
                for (client, server, key) in
                    [(1, 2, 3), (2, 1, 3), (1, 3, 2), (3, 2, 1), (1, 1, 1), (1, 2, 2)]
                {
                    for purpose in Purpose::ALL {
                        let exchange = Exchange {
                            protocol,
                            agent_id,
                            client_nonce: Nonce([client; 32]),
                            server_nonce: Nonce([server; 32]),
                            server_key: PublicKey([key; 32]),
                        };
                        count += 1;
                        assert!(
                            seen.insert(exchange.transcript(purpose)),
                            "{exchange:?} {purpose:?}"
                        );
                    }
                }
            }
        }
        assert_eq!(seen.len(), count);
    }

    #[test]
    fn a_protocol_without_end_is_cut_alike() {
        let exchange = |protocol: String| {
            let agent_id = "pc".parse().unwrap();
            let exchange = Exchange {
                protocol: &protocol,
                agent_id: &agent_id,
                client_nonce: Nonce([1; 32]),
                server_nonce: Nonce([2; 32]),
                server_key: PublicKey([3; 32]),
            };
            exchange.transcript(Purpose::TunnelAgent)
        };
        assert_eq!(exchange("x".repeat(70_000)), exchange("x".repeat(80_000)));
        assert_ne!(exchange("x".repeat(70_000)), exchange("y".repeat(70_000)));
    }
}
