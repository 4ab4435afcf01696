//! Every operator action, authorised once and recorded once. The faces (`api`, `mcp`) only translate.
//!
//! Each action takes an [`Operator`], which only [`Operator::authorise`] makes: a face cannot forget to ask.

pub mod agents;
mod error;
pub mod events;
pub mod holds;
pub mod releases;
pub mod rollback;
pub mod tools;
pub mod updates;

pub use error::OpsError;

use std::sync::Arc;

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
    face: Face,
}

impl Operator {
    /// Whoever has the operator token.
    pub fn authorise(app: &App, token: Option<&str>, face: Face) -> Result<Self, OpsError> {
        match token {
            Some(token) if app.operator_token.matches(token) => Ok(Self { face }),
            Some(_) => Err(OpsError::WrongToken),
            None => Err(OpsError::NoToken),
        }
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
