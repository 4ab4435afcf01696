//! Both sides of the tunnel prove who they are: the server signs first, over the nonce of the agent's `register` and one
//! of its own; then the agent does. Nonces are used once, so that nothing of it can be played again.

use kenny_core::identity::{IdentityKey, is_signed_by};
use kenny_proto::frames::Challenge;
use kenny_proto::transcript::{Exchange, Purpose};
use kenny_proto::{AgentId, Nonce, PublicKey, Signature};

/// A challenge that was made, and waits for its answer.
pub struct Pending {
    /// What goes to the agent.
    pub frame: Challenge,
    /// What the agent has to sign.
    expected: Vec<u8>,
    agent_key: PublicKey,
}

impl Pending {
    /// A challenge of this server for an agent that enrolled with this key. `server_nonce` is fresh.
    pub fn new(
        server: &IdentityKey,
        agent_key: PublicKey,
        agent_id: &AgentId,
        protocol: &str,
        client_nonce: Nonce,
        server_nonce: Nonce,
    ) -> Self {
        let server_key = server.public();
        let exchange = Exchange { protocol, agent_id, client_nonce, server_nonce, server_key };
        let server_signature = server.sign(&exchange.transcript(Purpose::TunnelServer));
        let expected = exchange.transcript(Purpose::TunnelAgent);
        Self {
            frame: Challenge { server_nonce, server_key, server_signature },
            expected,
            agent_key,
        }
    }

    /// True when this is the answer of the agent that was challenged.
    pub fn is_answered_by(&self, signature: &Signature) -> bool {
        is_signed_by(&self.agent_key, &self.expected, signature)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    /// What of `fixtures/identity.json` is of the tunnel.
    #[derive(Deserialize)]
    struct Golden {
        server_seed_hex: String,
        agent_key: PublicKey,
        protocol: String,
        agent_id: AgentId,
        client_nonce: Nonce,
        server_nonce: Nonce,
    }

    #[test]
    fn challenge_and_auth_are_those_of_the_golden_frames() {
        let golden: Golden =
            serde_json::from_str(include_str!("../../../kenny-proto/fixtures/identity.json"))
                .unwrap();
        let seed: [u8; 32] = std::array::from_fn(|at| {
            u8::from_str_radix(&golden.server_seed_hex[2 * at..2 * at + 2], 16).unwrap()
        });
        let server = IdentityKey::from_seed(&seed);
        let made = |agent: &str, protocol: &str, client, nonce| {
            Pending::new(
                &server,
                golden.agent_key,
                &agent.parse().unwrap(),
                protocol,
                client,
                nonce,
            )
        };
        let right = made(
            golden.agent_id.as_str(),
            &golden.protocol,
            golden.client_nonce,
            golden.server_nonce,
        );
        let frame = include_str!("../../../kenny-proto/fixtures/server/challenge.json");
        assert_eq!(right.frame, serde_json::from_str(frame).unwrap());
        let frame = include_str!("../../../kenny-proto/fixtures/agent/auth.json");
        let frame: serde_json::Value = serde_json::from_str(frame).unwrap();
        let auth: Signature = frame["signature"].as_str().unwrap().parse().unwrap();
        assert!(right.is_answered_by(&auth));

        // The same answer fits no other agent, protocol, nonce or order of nonces, and nobody's challenge is an answer.
        let (client, nonce) = (golden.client_nonce, golden.server_nonce);
        for other in [
            made("annas-pc2", "0.3", client, nonce),
            made("annas-pc", "0.31", client, nonce),
            made("annas-pc", "0.3", nonce, client),
            made("annas-pc", "0.3", client, client),
            made("annas-pc", "0.3", nonce, nonce),
        ] {
            assert!(!other.is_answered_by(&auth));
        }
        assert!(!right.is_answered_by(&right.frame.server_signature));
    }
}
