//! Every operator action, authorised once and recorded once. The faces (`api`, `mcp`) only translate.
//!
//! Each op takes an [`Operator`], which only [`Operator::authorise`] makes: a face cannot forget to ask. With it an op asks
//! for a [`Permit`] to its [`Action`] first, and has agents, changes and calls only through that.

mod action;
pub mod agents;
pub mod audit;
mod error;
pub mod events;
pub mod holds;
mod permit;
pub mod releases;
pub mod rollback;
pub mod tools;
pub mod updates;

pub use action::Action;
pub use error::OpsError;
pub use permit::Permit;

use std::net::IpAddr;

use kenny_proto::Role;

use crate::app::App;

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
