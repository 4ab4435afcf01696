//! Who the agent is to its server: by a key that never leaves this PC, or by the token of 0.2.

mod key_file;
#[cfg_attr(windows, path = "identity/protect_windows.rs")]
#[cfg_attr(not(windows), path = "identity/protect_elsewhere.rs")]
mod protect;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use kenny_core::identity::{IdentityKey, is_signed_by};
use kenny_proto::frames::Challenge;
use kenny_proto::transcript::{Exchange, Purpose};
use kenny_proto::{AgentId, Nonce, PROTOCOL, PublicKey, Signature};

use crate::config::Config;

pub use key_file::{KeptKey, KeyFileError, load_or_make, path_for, remove_others};

/// What the agent proves itself with.
#[derive(Clone)]
pub enum Credential {
    /// A token, as 0.2 has it.
    Token(String),
    /// A key, and the server's that was pinned with it.
    Key(Arc<Pinned>),
}

/// An agent's key, and the only server that it is for.
#[derive(Debug)]
pub struct Pinned {
    key: IdentityKey,
    server_key: PublicKey,
    agent_id: AgentId,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(_) => f.write_str("Token(not printed)"),
            Self::Key(pinned) => write!(f, "Key({pinned:?})"),
        }
    }
}

impl Credential {
    /// What this config says; a key is read from its file.
    pub fn load(config: &Config) -> Result<Self, KeyFileError> {
        match (&config.identity, &config.token) {
            (Some(identity), _) => {
                let key = key_file::load(&identity.key_file)?;
                let (server_key, agent_id) = (identity.server_key, config.agent_id.clone());
                Ok(Self::Key(Arc::new(Pinned { key, server_key, agent_id })))
            }
            (None, token) => Ok(Self::Token(token.clone().unwrap_or_default())),
        }
    }
}

/// The server could not prove that it is the one whose key was pinned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServerProblem {
    /// It names another key.
    #[error(
        "the server has the key {there} and this agent trusts {pinned} alone: it is another server, or one that lost its key. If \
         that is meant, install with a new invitation of it"
    )]
    OtherKey {
        /// What it says that it has.
        there: PublicKey,
        /// What was pinned.
        pinned: PublicKey,
    },
    /// It has not the key that it names.
    #[error(
        "the server does not prove that it has its key: somebody stands in between, or it is not the server"
    )]
    NotProven,
}

impl Pinned {
    /// A key of an agent for one server.
    pub fn new(key: IdentityKey, server_key: PublicKey, agent_id: AgentId) -> Self {
        Self { key, server_key, agent_id }
    }

    /// The agent's name.
    pub fn agent_id(&self) -> &AgentId {
        &self.agent_id
    }

    /// The answer to a server's challenge, once it proved itself. `nonce` went out with `register`.
    pub fn answer(&self, nonce: Nonce, challenge: &Challenge) -> Result<Signature, ServerProblem> {
        let Challenge { server_nonce, server_key, server_signature } = challenge;
        if *server_key != self.server_key {
            return Err(ServerProblem::OtherKey { there: *server_key, pinned: self.server_key });
        }
        self.answer_to(
            (Purpose::TunnelServer, Purpose::TunnelAgent),
            nonce,
            *server_nonce,
            server_signature,
        )
    }

    /// The answer to what a server said to the first request of the probe.
    pub fn answer_probe(
        &self,
        nonce: Nonce,
        server_nonce: Nonce,
        signature: &Signature,
    ) -> Result<Signature, ServerProblem> {
        let purposes = (Purpose::ProbeServer, Purpose::ProbeAgent);
        self.answer_to(purposes, nonce, server_nonce, signature)
    }

    /// True when the server signed that it would accept this agent.
    pub fn is_accepted(&self, nonce: Nonce, server_nonce: Nonce, signature: &Signature) -> bool {
        let transcript = self.exchange(nonce, server_nonce).transcript(Purpose::ProbeAccepted);
        is_signed_by(&self.server_key, &transcript, signature)
    }

    fn answer_to(
        &self,
        (theirs, ours): (Purpose, Purpose),
        nonce: Nonce,
        server_nonce: Nonce,
        signature: &Signature,
    ) -> Result<Signature, ServerProblem> {
        let exchange = self.exchange(nonce, server_nonce);
        if !is_signed_by(&self.server_key, &exchange.transcript(theirs), signature) {
            return Err(ServerProblem::NotProven);
        }
        Ok(self.key.sign(&exchange.transcript(ours)))
    }

    fn exchange(&self, client_nonce: Nonce, server_nonce: Nonce) -> Exchange<'_> {
        Exchange {
            protocol: PROTOCOL,
            agent_id: &self.agent_id,
            client_nonce,
            server_nonce,
            server_key: self.server_key,
        }
    }
}

/// 32 bytes from the operating system's random source. Asked directly: that of aws-lc first measures the processor's jitter
/// for as long as all else takes that a new version needs to be online.
pub fn random_bytes() -> [u8; 32] {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// The folder that a config lies in: its key lies there too.
pub fn folder_of(config_file: &Path) -> &Path {
    config_file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
pub(crate) mod testing {
    //! The keys of the golden file.

    use serde::Deserialize;

    use super::*;

    /// What of `fixtures/identity.json` is of the tunnel.
    #[derive(Deserialize)]
    pub struct Golden {
        agent_seed_hex: String,
        server_seed_hex: String,
        pub agent_key: PublicKey,
        pub server_key: PublicKey,
        pub protocol: String,
        pub agent_id: AgentId,
        pub client_nonce: Nonce,
        pub server_nonce: Nonce,
    }

    impl Golden {
        pub fn read() -> Self {
            let text = include_str!("../../kenny-proto/fixtures/identity.json");
            serde_json::from_str(text).unwrap()
        }

        pub fn agent(&self) -> Pinned {
            let key = IdentityKey::from_seed(&seed(&self.agent_seed_hex));
            Pinned::new(key, self.server_key, self.agent_id.clone())
        }

        pub fn server(&self) -> IdentityKey {
            IdentityKey::from_seed(&seed(&self.server_seed_hex))
        }
    }

    fn seed(hex: &str) -> [u8; 32] {
        std::array::from_fn(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
    }
}

#[cfg(test)]
mod tests {
    use super::testing::Golden;
    use super::*;
    use crate::config::IdentityConfig;

    fn golden_challenge() -> Challenge {
        let text = include_str!("../../kenny-proto/fixtures/server/challenge.json");
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn the_golden_challenge_is_answered_with_the_golden_auth() {
        let golden = Golden::read();
        assert_eq!(golden.protocol, PROTOCOL);
        let answer = golden.agent().answer(golden.client_nonce, &golden_challenge()).unwrap();
        let frame = include_str!("../../kenny-proto/fixtures/agent/auth.json");
        let frame: serde_json::Value = serde_json::from_str(frame).unwrap();
        assert_eq!(frame["signature"], answer.to_string());
    }

    #[test]
    fn nothing_is_signed_for_a_server_that_does_not_prove_itself() {
        let golden = Golden::read();
        let good = golden_challenge();
        let agent = golden.agent();
        let not_proven = Err(ServerProblem::NotProven);
        for bit in 0..512 {
            let mut challenge = good.clone();
            challenge.server_signature.0[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(agent.answer(golden.client_nonce, &challenge), not_proven, "{bit}");
        }
        for bit in 0..256 {
            let mut challenge = good.clone();
            challenge.server_nonce.0[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(agent.answer(golden.client_nonce, &challenge), not_proven, "{bit}");
        }
        // Played again to a later register, and turned round.
        assert_eq!(agent.answer(Nonce([1; 32]), &good), not_proven);
        let turned = Challenge { server_nonce: golden.client_nonce, ..good.clone() };
        assert_eq!(agent.answer(golden.server_nonce, &turned), not_proven);
        // Signed for another agent.
        let other = Pinned { agent_id: "annas-pc2".parse().unwrap(), ..golden.agent() };
        assert_eq!(other.answer(golden.client_nonce, &good), not_proven);
        // By another server, which names its own key or the pinned one.
        let impostor = IdentityKey::from_seed(&[9; 32]);
        let exchange = agent.exchange(golden.client_nonce, golden.server_nonce);
        let signature = impostor.sign(&exchange.transcript(Purpose::TunnelServer));
        let mut challenge = Challenge { server_signature: signature, ..good };
        assert_eq!(agent.answer(golden.client_nonce, &challenge), not_proven);
        challenge.server_key = impostor.public();
        let error = agent.answer(golden.client_nonce, &challenge).unwrap_err();
        assert!(matches!(error, ServerProblem::OtherKey { .. }), "{error}");
        assert!(error.to_string().contains("new invitation"), "{error}");
    }
    #[test]
    fn a_pc_that_enrolled_has_no_token_to_fall_back_to() {
        let folder = tempfile::tempdir().unwrap();
        let key_file = folder.path().join("kenny-agent.0011223344556677.key");
        let golden = Golden::read();
        let server = "ws://127.0.0.1:1/agent/ws".parse().unwrap();
        let mut config = Config::new(server, golden.agent_id.clone(), Some("secret".to_owned()));
        config.identity =
            Some(IdentityConfig { key_file: key_file.clone(), server_key: golden.server_key });
        // Missing, then damaged.
        assert!(matches!(Credential::load(&config), Err(KeyFileError::Io { .. })));
        fs_err::write(&key_file, "{}").unwrap();
        assert!(matches!(Credential::load(&config), Err(KeyFileError::Damaged { .. })));
        fs_err::remove_file(&key_file).unwrap();
        let made = load_or_make(&key_file).unwrap().public();
        let Ok(Credential::Key(pinned)) = Credential::load(&config) else { panic!("no key") };
        assert_eq!((pinned.key.public(), pinned.server_key), (made, golden.server_key));
        config.identity = None;
        assert!(
            matches!(Credential::load(&config), Ok(Credential::Token(token)) if token == "secret")
        );
    }
}
