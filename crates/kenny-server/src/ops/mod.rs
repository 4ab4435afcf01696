//! Every operator action, authorised once and recorded once. The faces (`api`, `mcp`) only translate.
//!
//! Each action takes an [`Operator`], which only [`Operator::authorise`] makes: a face cannot forget to ask.

pub mod agents;
mod error;
pub mod events;
pub mod holds;
pub mod invitations;
pub mod releases;
pub mod rollback;
pub mod tools;
pub mod updates;

pub use error::OpsError;

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use kenny_proto::api::ServerInfo;
use kenny_proto::{Role, TUNNEL_PATH};

use crate::app::App;
use crate::fleet::AgentEntry;

/// Through which face an operator acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Face {
    /// The REST API.
    Rest,
    /// The Model Context Protocol.
    Mcp,
}

impl Face {
    /// A word for records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rest => "rest",
            Self::Mcp => "mcp",
        }
    }
}

/// Somebody who may act on the fleet.
#[derive(Debug)]
pub struct Operator {
    account: String,
    role: Role,
    face: Face,
    from: Option<IpAddr>,
}

impl Operator {
    /// Whoever has the operator token. `from` is the peer's address.
    pub fn authorise(
        app: &App,
        token: Option<&str>,
        face: Face,
        from: Option<IpAddr>,
    ) -> Result<Self, OpsError> {
        match token {
            Some(token) if app.operator_token.matches(token) => {
                Ok(Self { account: "owner".to_owned(), role: Role::Owner, face, from })
            }
            Some(_) => Err(OpsError::WrongToken),
            None => Err(OpsError::NoToken),
        }
    }

    /// The account's name.
    pub fn account(&self) -> &str {
        &self.account
    }

    /// What the account may do.
    pub const fn role(&self) -> Role {
        self.role
    }

    /// The address that the request came from.
    pub const fn from(&self) -> Option<IpAddr> {
        self.from
    }

    /// Through which face.
    pub const fn face(&self) -> Face {
        self.face
    }
}

/// The agent of this name.
fn agent(app: &App, id: &str) -> Result<Arc<AgentEntry>, OpsError> {
    app.fleet.find(id).ok_or_else(|| OpsError::UnknownAgent(id.to_owned()))
}

/// The server itself.
pub fn server(app: &App, _operator: &Operator) -> ServerInfo {
    ServerInfo { version: env!("CARGO_PKG_VERSION").to_owned(), server_key: app.identity.public() }
}

/// The tunnel's address, for agents that reach the server as the operator does.
fn tunnel_address(base_url: &str) -> String {
    format!("{}{TUNNEL_PATH}", base_url.replacen("http", "ws", 1))
}

/// A time for people.
fn minute(at: Timestamp) -> impl std::fmt::Display {
    at.strftime("%Y-%m-%d %H:%M Z")
}
