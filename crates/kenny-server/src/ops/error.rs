//! Why an operator's action was refused or did not work out: a stable code, a status, and what to do.

use kenny_proto::api::{Hold, Problem};
use kenny_proto::tools::ArgError;
use kenny_proto::{AgentIdError, Sha256Digest, UpdateId};

use crate::invite::SetupError;
use crate::releases::ReceiveError;
use crate::store::StoreError;
use crate::tunnel::CallError;

/// Why an operator's action was refused or did not work out.
#[derive(Debug, thiserror::Error)]
pub enum OpsError {
    /// No token came.
    #[error("this needs the operator token: send `Authorization: Bearer kenny_op_...`")]
    NoToken,
    /// Another token came.
    #[error(
        "the token is not the operator's; `kenny-server reset-token` makes a new one when it is lost"
    )]
    WrongToken,
    /// No such agent.
    #[error("there is no agent `{0}`")]
    UnknownAgent(String),
    /// No such update.
    #[error("there is no update `{0}`")]
    UnknownUpdate(String),
    /// No such tool.
    #[error("there is no tool `{0}`; GET /api/v1/tools lists them")]
    UnknownTool(String),
    /// Not an agent id.
    #[error(transparent)]
    AgentId(#[from] AgentIdError),
    /// The id is taken.
    #[error(
        "an agent `{0}` exists already: `kenny agent invite {0}` gives it a key. Remove it first to give it a new token, or choose \
         another id"
    )]
    AgentExists(String),
    /// Agents are invited; tokens are for those of 0.2.
    #[error(
        "agents enrol with a key of their own: `kenny agent invite {0}` (POST /api/v1/agents/{0}/invite) makes the agent and \
         its invitation. A token is for agents of 0.2 alone, and has to be asked for: `kenny agent add {0} --legacy` \
         (`\"legacy\": true`)"
    )]
    InviteInstead(String),
    /// Nothing to withdraw.
    #[error("{0} has no open invitation; `kenny agent invitations` lists those that are")]
    NoInvitation(String),
    /// An invitation that would be good for too long, or not long enough.
    #[error("`expires_s` must be between {min_s} and {max_s}")]
    BadExpiry {
        /// The least.
        min_s: u64,
        /// The most.
        max_s: u64,
    },
    /// Wrong arguments of a tool.
    #[error("{0}")]
    BadArgs(#[from] ArgError),
    /// The timeout is out of bounds.
    #[error("argument `timeout_ms` must be between 1 and {max_ms}")]
    BadTimeout {
        /// The most that it may be.
        max_ms: u64,
    },
    /// Not a semantic version.
    #[error("`{0}` is not a semantic version; it looks like 1.4.0")]
    BadVersion(String),
    /// The agent has no connection.
    #[error("{0} is offline")]
    AgentOffline(String),
    /// The connection ended while a call ran.
    #[error(
        "the connection to {0} ended before its answer came; whether the tool ran is not known"
    )]
    ConnectionLost(String),
    /// No answer in time.
    #[error(
        "{agent} did not answer within {timeout_ms} ms; give the call more `timeout_ms`, or look at the PC"
    )]
    Timeout {
        /// The agent.
        agent: String,
        /// How long was waited.
        timeout_ms: u64,
    },
    /// What runs is newer.
    #[error(
        "the agent runs {running}, which is newer than {wanted}; ask again with `allow_downgrade` if it should go back"
    )]
    DowngradeNotAllowed {
        /// What runs.
        running: String,
        /// What was asked for.
        wanted: String,
    },
    /// Nothing to install.
    #[error("{0}")]
    NoSuchRelease(String),
    /// The agent's version cannot be compared.
    #[error("{0}")]
    VersionUnknown(String),
    /// The agent is in the middle of another update.
    #[error(
        "the agent is in the middle of its update to {version} ({update}); wait for its outcome and ask again"
    )]
    UpdateInProgress {
        /// Where it goes to.
        version: String,
        /// Which update.
        update: UpdateId,
    },
    /// The version failed there too often, or somebody at the PC went back from it.
    #[error(
        "{} is held for {agent} since {} ({}). Look at the reason; `kenny agent clear-hold {agent}` (DELETE \
         /api/v1/agents/{agent}/hold) has it tried again, and another version can be asked for at any time",
        .hold.version, .hold.since.strftime("%Y-%m-%d %H:%M:%SZ"), .hold.reason
    )]
    Held {
        /// The agent.
        agent: String,
        /// What is held.
        hold: Hold,
    },
    /// A rollback needs the agent to be there.
    #[error(
        "{agent} is offline, and going back needs it to be connected: ask again when it is. To have it go back whenever it \
         connects, say `kenny update {agent} --to {to} --allow-downgrade`"
    )]
    RollbackOffline {
        /// The agent.
        agent: String,
        /// Where it would go back to.
        to: String,
    },
    /// An agent of 0.2 cannot go back by itself.
    #[error(
        "{agent} speaks 0.2 and cannot go back by itself; say `kenny update {agent} --to {to} --allow-downgrade` instead, \
         which installs that version"
    )]
    RollbackUnsupported {
        /// The agent.
        agent: String,
        /// Where it would go back to.
        to: String,
    },
    /// The agent has no older version, as far as is known.
    #[error(
        "there is nothing that {agent} could go back to: {why}. Name the version instead: `kenny update {agent} --to VERSION \
         --allow-downgrade`"
    )]
    NothingToGoBackTo {
        /// The agent.
        agent: String,
        /// Why not.
        why: String,
    },
    /// The version is there with other bytes.
    #[error(
        "release {version} for {platform} is there already with other bytes (sha256 {there}); a version never changes, \
         so build it with a new version"
    )]
    ReleaseExists {
        /// The version.
        version: String,
        /// Operating system and architecture.
        platform: String,
        /// What is there.
        there: Sha256Digest,
    },
    /// There is no installer to be had.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The upload was refused.
    #[error(transparent)]
    Receive(#[from] ReceiveError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl OpsError {
    /// Why a call has no outcome.
    pub fn from_call(agent: &str, error: CallError) -> Self {
        match error {
            CallError::Offline => Self::AgentOffline(agent.to_owned()),
            CallError::ConnectionLost => Self::ConnectionLost(agent.to_owned()),
            CallError::Timeout(time) => Self::Timeout {
                agent: agent.to_owned(),
                timeout_ms: u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
            },
        }
    }

    /// What callers decide by, the HTTP status, and a short name.
    pub const fn facts(&self) -> (&'static str, u16, &'static str) {
        match self {
            Self::NoToken | Self::WrongToken => ("unauthorized", 401, "Not authorised"),
            Self::UnknownAgent(_) => ("unknown_agent", 404, "No such agent"),
            Self::UnknownUpdate(_) => ("unknown_update", 404, "No such update"),
            Self::UnknownTool(_) => ("unknown_tool", 404, "No such tool"),
            Self::AgentId(_) => ("bad_agent_id", 400, "Not an agent id"),
            Self::AgentExists(_) => ("agent_exists", 409, "The agent exists"),
            Self::InviteInstead(_) => ("invite_instead", 400, "Invite it instead"),
            Self::NoInvitation(_) => ("no_invitation", 404, "No open invitation"),
            Self::BadArgs(_) | Self::BadTimeout { .. } | Self::BadExpiry { .. } => {
                ("bad_args", 400, "Wrong arguments")
            }
            Self::BadVersion(_) => ("bad_version", 400, "Not a version"),
            Self::AgentOffline(_) | Self::RollbackOffline { .. } => {
                ("agent_offline", 409, "The agent is offline")
            }
            Self::ConnectionLost(_) => ("connection_lost", 502, "The connection was lost"),
            Self::Timeout { .. } => ("timeout", 504, "No answer in time"),
            Self::DowngradeNotAllowed { .. } => {
                ("downgrade_not_allowed", 409, "The agent runs a newer version")
            }
            Self::NoSuchRelease(_) => ("no_such_release", 404, "No such release"),
            Self::VersionUnknown(_) => ("version_unknown", 409, "The agent's version is unknown"),
            Self::UpdateInProgress { .. } => {
                ("update_in_progress", 409, "Another update is under way")
            }
            Self::Held { .. } => ("held", 409, "The version is held"),
            Self::RollbackUnsupported { .. } => {
                ("rollback_unsupported", 409, "The agent cannot go back by itself")
            }
            Self::NothingToGoBackTo { .. } => {
                ("nothing_to_go_back_to", 409, "There is nothing to go back to")
            }
            Self::ReleaseExists { .. } => ("release_exists", 409, "The release exists"),
            Self::Setup(SetupError::Gone(_) | SetupError::Carry { .. }) => {
                ("no_installer", 500, "There is no installer")
            }
            Self::Setup(SetupError::Unreadable(_)) => {
                ("storage", 500, "The server could not read it")
            }
            Self::Receive(error) => match error {
                ReceiveError::NotAnAgent(_) => ("not_an_agent", 422, "Not an agent"),
                ReceiveError::CarriesInvitation => {
                    ("carries_invitation", 422, "It carries an invitation")
                }
                ReceiveError::TooLarge => ("too_large", 413, "Too large"),
                ReceiveError::DiskFull => ("disk_full", 507, "The server's disk is full"),
                ReceiveError::Interrupted(_) => ("interrupted", 400, "The upload ended early"),
                ReceiveError::Storage(_) => ("storage", 500, "The server could not store it"),
            },
            Self::Store(_) => ("database_unavailable", 503, "The database is not available"),
        }
    }

    /// As the REST API says it.
    pub fn problem(&self) -> Problem {
        let (code, status, title) = self.facts();
        Problem { code: code.to_owned(), status, title: title.to_owned(), detail: self.to_string() }
    }
}
