//! Every operator action, authorised once and recorded once. The faces (`api`, `mcp`) only translate.
//!
//! Each op takes an [`Operator`], which only [`Operator::authorise`] makes: a face cannot forget to ask. With it an op asks
//! for a [`Permit`] to its [`Action`] first, and has agents, changes and calls only through that.

pub mod accounts;
mod action;
pub mod agent_settings;
pub mod agents;
pub mod audit;
mod error;
pub mod events;
pub mod holds;
pub mod invitations;
pub mod me;
mod permit;
pub mod programs;
pub mod releases;
pub mod rollback;
mod rollout_error;
pub mod rollouts;
pub mod sessions;
pub mod setup;
pub mod tokens;
pub mod tools;
pub mod trust;
pub mod updates;

pub use action::Action;
pub use error::OpsError;
pub use permit::Permit;
pub use rollout_error::RolloutError;

use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use kenny_proto::api::ServerInfo;
use kenny_proto::{Role, TUNNEL_PATH};

use crate::accounts::{Account, AccountId, TokenId};
use crate::app::App;
use crate::audit::Subject;
use crate::oauth::grants;
use crate::web::session;

/// The longest that a look at the clock lasts: a clock that is set does not keep an ended token alive for long.
const LOOK_AGAIN: Duration = Duration::from_mins(5);

/// Through which face an operator acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Face {
    /// The REST API.
    Rest,
    /// The Model Context Protocol.
    Mcp,
    /// A browser.
    Web,
}

impl Face {
    /// A word for records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rest => "rest",
            Self::Mcp => "mcp",
            Self::Web => "web",
        }
    }
}

/// Somebody who may act, through one request.
#[derive(Debug, Clone)]
pub struct Operator {
    account_id: AccountId,
    account: String,
    role: Role,
    face: Face,
    from: Option<IpAddr>,
    proof: Proof,
    /// Of the account, when the request came.
    generation: i64,
}

/// What a request came with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Proof {
    /// An API token.
    Token(TokenId),
    /// The session of a signed-in browser.
    Session(String),
    /// The permission that a person gave a program.
    Permission(String),
}

impl Operator {
    /// Whoever has this token. `from` is the peer's address.
    pub fn authorise(
        app: &App,
        token: Option<&str>,
        face: Face,
        from: Option<IpAddr>,
    ) -> Result<Self, OpsError> {
        let token = token.ok_or(OpsError::NoToken)?;
        let (account, token) = app.accounts.token(token, Timestamp::now())?;
        Ok(Self::of_account(&account, Proof::Token(token.id), face, from).limited_to(token.role))
    }

    /// Whoever proved to be this account. The caller has looked whether the account is
    /// enabled, and whether the proof is of its current generation.
    pub(crate) fn of_account(
        account: &Account,
        proof: Proof,
        face: Face,
        from: Option<IpAddr>,
    ) -> Self {
        Self {
            account_id: account.id,
            account: account.name.to_string(),
            role: account.role,
            face,
            from,
            proof,
            generation: account.generation,
        }
    }

    /// The same, who may do no more than `role`.
    pub(crate) fn limited_to(self, role: Role) -> Self {
        Self { role: self.role.min(role), ..self }
    }

    /// Refuses what the role does not include.
    pub fn require(&self, needed: Role) -> Result<(), OpsError> {
        if self.role >= needed {
            Ok(())
        } else {
            Err(OpsError::Forbidden { needed, role: self.role, account: self.account().to_owned() })
        }
    }

    /// Ready once a request like this one would be refused: its token was revoked or ended, its browser was signed out or
    /// its program's permission ended, its account was disabled or removed or may do less. For answers that go on and on.
    pub async fn until_over(&self, app: &App) {
        let mut accounts = app.accounts.changes();
        let mut proofs = app.proofs_ended.subscribe();
        loop {
            accounts.mark_unchanged();
            proofs.mark_unchanged();
            let Some(end) = self.holds_for(app, Timestamp::now()).await else { return };
            let is_gone = tokio::select! {
                changed = accounts.changed() => changed.is_err(),
                changed = proofs.changed() => changed.is_err(),
                () = tokio::time::sleep(end) => false,
            };
            if is_gone {
                return;
            }
        }
    }

    /// For how long this would still be accepted, as far as is known now.
    async fn holds_for(&self, app: &App, now: Timestamp) -> Option<Duration> {
        let account = app.accounts.get(self.account_id).filter(|account| !account.disabled)?;
        let end = match &self.proof {
            Proof::Token(token) => {
                let token = app.accounts.token_of_id(*token)?;
                if token.role.min(account.role) < self.role {
                    return None;
                }
                token.expires_at
            }
            Proof::Session(_) | Proof::Permission(_)
                if account.generation != self.generation || account.role < self.role =>
            {
                return None;
            }
            Proof::Session(id) => Some(session::end_of(app, account.id, id).await?),
            Proof::Permission(id) => grants::stands(app, account.id, id).await.then_some(None)?,
        };
        let Some(end) = end else { return Some(LOOK_AGAIN) };
        let left = Duration::try_from(end.duration_since(now)).ok()?;
        (!left.is_zero()).then(|| left.min(LOOK_AGAIN))
    }

    /// The account's name.
    pub fn account(&self) -> &str {
        &self.account
    }

    /// The account.
    pub const fn account_id(&self) -> AccountId {
        self.account_id
    }

    /// The token that this request came with; none when it was something else that proved the account.
    pub const fn token(&self) -> Option<TokenId> {
        match self.proof {
            Proof::Token(token) => Some(token),
            Proof::Session(_) | Proof::Permission(_) => None,
        }
    }

    /// What this request may do: what the account may, or less.
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

/// The server itself.
pub fn server(app: &App, operator: &Operator) -> Result<ServerInfo, OpsError> {
    operator.may(app, Action::ShowServer, Subject::default())?;
    let version = env!("CARGO_PKG_VERSION").to_owned();
    Ok(ServerInfo { version, server_key: app.identity.public() })
}

/// The tunnel's address, for agents that reach the server as the operator does.
fn tunnel_address(base_url: &str) -> String {
    format!("{}{TUNNEL_PATH}", base_url.replacen("http", "ws", 1))
}

/// A time for people.
fn minute(at: Timestamp) -> impl std::fmt::Display {
    at.strftime("%Y-%m-%d %H:%M Z")
}
