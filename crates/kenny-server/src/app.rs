//! What every part of a running server shares.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::http::header::HOST;
use axum::http::uri::Authority;
use axum::http::{Extensions, HeaderMap};
use kenny_core::identity::IdentityKey;
use kenny_core::rollout::Pace;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::accounts::Accounts;
use crate::audit::Audit;
use crate::enrolment::Door;
use crate::events::Events;
use crate::fleet::Fleet;
use crate::limits::{Bounds, Doorkeeper, address};
use crate::metrics::Metrics;
use crate::oauth::client::Seal;
use crate::ops::releases::Releases;
use crate::ops::setup::Setup;
use crate::releases::Uplink;
use crate::rollout::staged::Rollouts;
use crate::store::Restricted;
use crate::trust::Trust;
use crate::tunnel::ProbeNonces;
use crate::web::pending::PendingLogins;

/// What every part of a running server shares.
pub struct App {
    /// Where it listens.
    pub address: SocketAddr,
    /// It speaks TLS itself.
    pub tls: bool,
    /// How others reach it, where the operator said so.
    pub public_url: Option<Url>,
    /// Time between heartbeats.
    pub heartbeat: Duration,
    /// How long updates may take, and how long they rest after a failure.
    pub pace: Pace,
    /// Who may act.
    pub accounts: Arc<Accounts>,
    /// What the server proves itself with to agents.
    pub identity: IdentityKey,
    /// The nonces of the probe.
    pub probe_nonces: ProbeNonces,
    /// What bounds those who want to enrol.
    pub door: Door,
    /// Certificates in PEM that invited PCs trust besides their system's.
    pub agent_ca: Option<String>,
    /// The database, for who has a right to it.
    pub store: Restricted,
    /// Told whenever a signed-in browser or a program's permission ended.
    pub proofs_ended: watch::Sender<()>,
    /// Every agent.
    pub fleet: Fleet,
    /// The cap on all downloads together.
    pub uplink: Uplink,
    /// The rollouts that are not over.
    pub rollouts: Rollouts,
    /// Every release.
    pub releases: Releases,
    /// By whose keys they are authorised.
    pub trust: Trust,
    /// Reads and makes the ids of programs.
    pub clients: Seal,
    /// Logins between password and code.
    pub pending_logins: PendingLogins,
    /// The link of the first start.
    pub setup: Setup,
    /// What happens.
    pub events: Events,
    /// Every socket comes by it.
    pub doorkeeper: Arc<Doorkeeper>,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpAddr>,
    /// What is counted of those who have not proved who they are.
    pub bounds: Bounds,
    /// Who did what.
    pub audit: Audit,
    /// When the database last answered whoever asked for its health.
    pub ready: tokio::sync::Mutex<Option<std::time::Instant>>,
    /// Numbers.
    pub metrics: Arc<Metrics>,
    /// The server goes down: long answers (event streams) end now.
    pub stopping: CancellationToken,
    /// Agents are sent away: those that register now, too.
    pub tunnel_closing: CancellationToken,
    /// An agent's connection ended.
    pub disconnected: Notify,
}

impl App {
    /// The server's address as the sender of these headers reached it, without a slash at its end: links that are
    /// built on it have the same origin from the sender's view.
    pub fn base_url(&self, headers: &HeaderMap) -> String {
        if let Some(url) = &self.public_url {
            return url.as_str().trim_end_matches('/').to_owned();
        }
        let host = headers
            .get(HOST)
            .and_then(|host| host.to_str().ok())
            .and_then(|host| host.parse::<Authority>().ok())
            .filter(|authority| !authority.as_str().contains('@'));
        match host {
            Some(authority) => format!("{}://{authority}", self.scheme()),
            None => self.own_url(),
        }
    }

    /// The address that a request came from.
    pub fn client(&self, extensions: &Extensions, headers: &HeaderMap) -> Option<IpAddr> {
        let ConnectInfo(peer) = extensions.get::<ConnectInfo<SocketAddr>>()?;
        Some(address::client(peer.ip(), headers, &self.trusted_proxies))
    }

    /// People reach it by HTTPS, its own or that of a proxy in front: cookies never go without.
    pub fn is_secure(&self) -> bool {
        self.public_url.as_ref().map_or(self.tls, |url| url.scheme() == "https")
    }

    /// The server's address as it is on this machine.
    pub fn own_url(&self) -> String {
        format!("{}://{}", self.scheme(), self.address)
    }

    const fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }
}
