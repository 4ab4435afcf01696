//! Who the agent is, as the command line says it, and what that makes of its config.

use std::path::{Path, PathBuf};

use clap::Args;
use kenny_proto::{InvitationCode, PublicKey};
use url::Url;

use crate::config::{self, Config};
use crate::enrolment::Terms;

/// Who the agent is and where its server is.
#[derive(Debug, Clone, Default, Args)]
pub struct Identity {
    /// The tunnel's address, like wss://kenny.example/agent/ws.
    #[arg(long, env = "KENNY_SERVER")]
    pub server: Option<String>,
    /// The agent's name at the server.
    #[arg(long, env = "KENNY_AGENT_ID")]
    pub agent_id: Option<String>,
    /// The agent's secret, where the operator made the agent as `legacy`; others are invited.
    #[arg(long, env = "KENNY_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Seconds between telemetry pushes [default: 900].
    #[arg(long, env = "KENNY_TELEMETRY_INTERVAL_SECS")]
    pub telemetry_interval_secs: Option<u64>,
    /// A PEM file with certificates to trust besides the system's.
    #[arg(long)]
    pub ca_file: Option<PathBuf>,
    /// An origin (https://HOST) besides the server's own from which updates may come; may be given again.
    #[arg(long, value_name = "ORIGIN")]
    pub allow_update_origin: Vec<Url>,
    /// Take new versions only with an Authenticode signature that Windows trusts, besides all else.
    #[arg(long)]
    pub require_authenticode: bool,
    /// Seconds that a new version must stay connected before it counts as proven [default: 60].
    #[arg(long)]
    pub probation_secs: Option<u64>,
    /// Seconds that a new version may take to connect to a server that can be reached [default: 120].
    #[arg(long)]
    pub start_timeout_secs: Option<u64>,
}

/// An invitation: whole, or its parts.
#[derive(Debug, Clone, Default, Args)]
pub struct InvitationArgs {
    /// The invitation of the server's operator: the file, or its text.
    #[arg(long, value_name = "FILE|TEXT", conflicts_with_all = ["server", "agent_id", "token", "code", "server_key"])]
    pub invitation: Option<String>,
    /// The invitation's code, with --server, --agent-id and --server-key.
    #[arg(long, value_name = "CODE", requires = "server_key", conflicts_with = "token")]
    pub code: Option<InvitationCode>,
    /// The server's key, as the invitation has it.
    // One in 64 begins with a hyphen, as base64url has it.
    #[arg(long, value_name = "KEY", requires = "code", allow_hyphen_values = true)]
    pub server_key: Option<PublicKey>,
}

impl Identity {
    /// True where they say who this is.
    pub fn is_given(&self) -> bool {
        self.server.is_some() || self.agent_id.is_some() || self.token.is_some()
    }

    /// The config that these flags make, over what was there before. The error is a sentence.
    pub fn over(&self, before: Option<Config>) -> Result<Config, String> {
        let missing = |flag: &str| {
            format!(
                "--{flag} is missing; give --invitation, or for a legacy agent server, agent id and token"
            )
        };
        let server = self.server.as_deref().map(config::parse_server).transpose();
        let server = server.map_err(|problem| format!("--server: {problem}"))?;
        let agent_id = self.agent_id.as_deref().map(str::parse).transpose();
        let agent_id = agent_id.map_err(|problem| format!("--agent-id: {problem}"))?;
        let mut config = match before {
            Some(before) => before,
            None => Config::new(
                server.clone().ok_or_else(|| missing("server"))?,
                agent_id.clone().ok_or_else(|| missing("agent-id"))?,
                Some(self.token.clone().ok_or_else(|| missing("token"))?),
            ),
        };
        let is_another = agent_id.as_ref().is_some_and(|id| *id != config.agent_id);
        if config.identity.is_some() && (self.token.is_some() || is_another) {
            return Err(
                "this PC has enrolled with a key: another agent id, or a token, is not for it. Give a new --invitation, or \
                 `kenny-agent uninstall --purge` first"
                    .to_owned(),
            );
        }
        config.server = server.unwrap_or(config.server);
        config.agent_id = agent_id.unwrap_or(config.agent_id);
        config.token = self.token.clone().or(config.token);
        self.settings(config)
    }

    /// The config of a PC that is about to enrol, with the other settings of what was there before.
    pub fn enrolling(
        &self,
        terms: &Terms,
        config_file: &Path,
        before: Option<Config>,
    ) -> Result<Config, String> {
        let (server, agent_id) = (terms.server.clone(), terms.agent_id.clone());
        let fresh = Config::new(server.clone(), agent_id.clone(), None);
        let mut config = Config { server, agent_id, token: None, ..before.unwrap_or(fresh) };
        config.identity = Some(terms.identity(config_file));
        config.ca_file = terms.ca_file(config_file).or(config.ca_file);
        self.settings(config)
    }

    /// All but who and where.
    fn settings(&self, mut config: Config) -> Result<Config, String> {
        config.telemetry_interval_secs =
            self.telemetry_interval_secs.unwrap_or(config.telemetry_interval_secs);
        config.ca_file = self.ca_file.clone().or(config.ca_file);
        if !self.allow_update_origin.is_empty() {
            config.update.allowed_origins.clone_from(&self.allow_update_origin);
        }
        config.update.require_authenticode |= self.require_authenticode;
        config.update.probation_secs = self.probation_secs.unwrap_or(config.update.probation_secs);
        config.update.start_timeout_secs =
            self.start_timeout_secs.unwrap_or(config.update.start_timeout_secs);
        config.check().map_err(|(key, problem)| format!("`{key}`: {problem}"))?;
        Ok(config)
    }
}

impl InvitationArgs {
    /// What this PC is to enrol with; none where no invitation was given. The error is a sentence.
    pub fn terms(&self, identity: &Identity) -> Result<Option<Terms>, String> {
        if let Some(invitation) = &self.invitation {
            let terms = Terms::of_invitation(invitation);
            return terms.map(Some).map_err(|error| crate::words(&error));
        }
        let (Some(code), Some(server_key)) = (&self.code, self.server_key) else { return Ok(None) };
        let missing = |flag: &str| format!("--{flag} is missing; --code needs it");
        let server = identity.server.as_deref().ok_or_else(|| missing("server"))?;
        let server =
            config::parse_server(server).map_err(|problem| format!("--server: {problem}"))?;
        let agent_id = identity.agent_id.as_deref().ok_or_else(|| missing("agent-id"))?;
        let agent_id = agent_id.parse().map_err(|problem| format!("--agent-id: {problem}"))?;
        Ok(Some(Terms {
            server,
            agent_id,
            code: code.clone(),
            server_key,
            ca: None,
            tuf_root: None,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::IdentityConfig;

    #[test]
    fn a_pc_that_enrolled_takes_no_token_and_no_other_name_but_other_settings() {
        let server: Url = "ws://127.0.0.1:1/agent/ws".parse().unwrap();
        let mut config = Config::new(server, "annas-pc".parse().unwrap(), None);
        let key_file = PathBuf::from("kenny-agent.0011223344556677.key");
        config.identity = Some(IdentityConfig { key_file, server_key: PublicKey([1; 32]) });
        let over = |identity: Identity| identity.over(Some(config.clone()));
        let token = Identity { token: Some("secret".to_owned()), ..Identity::default() };
        let other = Identity { agent_id: Some("berts-pc".to_owned()), ..Identity::default() };
        for refused in [token, other] {
            let words = over(refused).unwrap_err();
            assert!(words.contains("enrolled with a key"), "{words}");
        }
        let same = Identity {
            agent_id: Some("annas-pc".to_owned()),
            telemetry_interval_secs: Some(77),
            ..Identity::default()
        };
        let config = over(same).unwrap();
        assert_eq!((config.token, config.telemetry_interval_secs), (None, 77));
        assert!(config.identity.is_some());
    }
}
