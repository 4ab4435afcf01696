//! `kenny status`: the server at a glance.

use kenny_proto::PublicKey;
use kenny_proto::api::{Agent, Health, Release};
use kenny_proto::trust::{Expiry, TrustMode, TrustRole, TrustStatus};
use serde::Serialize;

use crate::client::Client;
use crate::error::CliError;
use crate::output::{self, Output, facts};
use crate::words;

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Status<'a> {
    server: &'a str,
    server_key: PublicKey,
    health: Health,
    agents: usize,
    agents_online: usize,
    updates_open: usize,
    held: Vec<String>,
    releases: usize,
    newest_release: Option<String>,
    trust: TrustStatus,
}

/// Asks and prints; a server that is not ready is a failure.
pub async fn run(client: &Client, output: Output) -> Result<(), CliError> {
    let health = client.health().await?;
    let agents = client.agents().await?.agents;
    let releases = client.releases().await?.releases;
    let server_key = client.server_info().await?.server_key;
    let trust = client.trust().await?;
    let status = Status::new((client.address(), server_key), health, (&agents, &releases), trust);
    if output.json {
        output::document(&status)?;
    } else {
        output::text(&status.render())?;
    }
    if status.health.status == "ok" {
        Ok(())
    } else {
        Err(CliError::Failed(format!("the server is not ready: {}", status.health.status)))
    }
}

impl<'a> Status<'a> {
    fn new(
        (server, server_key): (&'a str, PublicKey),
        health: Health,
        (agents, releases): (&[Agent], &[Release]),
        trust: TrustStatus,
    ) -> Self {
        let is_open =
            |agent: &&Agent| agent.update.as_ref().is_some_and(|update| !update.state.is_final());
        Self {
            server,
            server_key,
            health,
            agents: agents.len(),
            agents_online: agents.iter().filter(|agent| agent.online).count(),
            updates_open: agents.iter().filter(is_open).count(),
            held: agents
                .iter()
                .filter(|agent| agent.hold.is_some())
                .map(|agent| agent.id.to_string())
                .collect(),
            releases: releases.len(),
            newest_release: releases.first().map(|release| release.version.clone()),
            trust,
        }
    }

    fn render(&self) -> String {
        let releases = match &self.newest_release {
            Some(newest) => format!("{}, the newest is {newest}", self.releases),
            None => "none yet; `kenny release add FILE` adds one".to_owned(),
        };
        let trust = self.trust();
        let mut lines = vec![
            ("server", Some(self.server.to_owned())),
            ("health", Some(self.health.status.clone())),
            ("version", Some(self.health.version.clone())),
            ("key", Some(self.server_key.to_string())),
            ("agents", Some(format!("{}, {} online", self.agents, self.agents_online))),
            ("updates", Some(format!("{} open", self.updates_open))),
            (
                "held",
                (!self.held.is_empty()).then(|| {
                    format!("{}; `kenny agent show ID` says what and why", self.held.join(", "))
                }),
            ),
            ("releases", Some(releases)),
            ("signing", Some(trust)),
        ];
        let roles = self.trust.roles.iter();
        let roles = roles.map(|role| (role.role.as_str(), Some(describe(role))));
        lines.extend(roles);
        let keys = [Some(&self.trust.online_key), self.trust.next_online_key.as_ref()];
        let names = ["server key", "its next key"];
        lines.extend(names.into_iter().zip(keys.map(|key| key.map(|key| key.public.clone()))));
        facts(&lines)
    }

    fn trust(&self) -> String {
        match self.trust.mode {
            TrustMode::HashOnly => {
                "none: agents run what the server says, so whoever has the server has the PCs; \
                 `kenny keys init` makes keys that the server does not have"
                    .to_owned()
            }
            TrustMode::Signed => {
                format!("by offline keys; executables signed: {}", self.trust.targets.len())
            }
        }
    }
}

fn describe(role: &TrustRole) -> String {
    let end = words::moment(role.expires);
    let end = match role.expiry {
        Expiry::Far => format!("expires {end}"),
        Expiry::Near => format!("expires soon: {end}"),
        Expiry::Past => format!("EXPIRED {end}: agents that pin the root refuse updates"),
    };
    let keys = role.key_ids.len();
    format!("version {}, {end}, {} of {keys} keys", role.version, role.threshold)
}
