//! Why an operator's action was refused or did not work out: a stable code, a status, and what to do.

use jiff::Timestamp;
use kenny_proto::api::{Hold, Problem};
use kenny_proto::tools::ArgError;
use kenny_proto::{AccountNameError, AgentIdError, Role, Sha256Digest, UpdateId};

use super::RolloutError;
use crate::accounts::{Busy, LoginError, TokenError, WeakPassword, seconds};
use crate::invite::SetupError;
use crate::releases::ReceiveError;
use crate::store::StoreError;
use crate::trust::{PublishError, Refusal};
use crate::tunnel::CallError;

const DATABASE: (&str, u16, &str) = ("database_unavailable", 503, "The database is not available");

/// Seconds in which the passwords that wait are checked.
const BUSY_FOR_S: u64 = 5;
const BUSY: (&str, u16, &str) = ("busy", 503, "Too much at a time");

/// Why an operator's action was refused or did not work out.
#[derive(Debug, thiserror::Error)]
pub enum OpsError {
    /// No token came.
    #[error("this needs an API token: send `Authorization: Bearer kenny_op_...`")]
    NoToken,
    /// Another token came, or one that was revoked.
    #[error(
        "the token is not, or no longer, accepted; `kenny login URL --account NAME` makes a new one, and so does \
         `kenny-server reset-token` where nobody can log in any more"
    )]
    WrongToken,
    /// The token's time is over.
    #[error(
        "the token ended at {}; `kenny login URL --account NAME` makes a new one", .0.strftime("%Y-%m-%d %H:%M:%SZ")
    )]
    TokenExpired(Timestamp),
    /// The role does not include it.
    #[error(
        "this needs the role {needed}, and {account} acts as {role} here; ask an owner, or use a token or an account that \
         has the role"
    )]
    Forbidden {
        /// What it takes.
        needed: Role,
        /// What is there.
        role: Role,
        /// Whose it is.
        account: String,
    },
    /// The link of the first start is worth nothing any more.
    #[error(
        "the setup is over: its link is good once, for an hour after the server's start, and only while no account has a \
         password. Sign in instead; where nobody can, `kenny-server account reset NAME` on the server helps, while it is stopped"
    )]
    SetupOver,
    /// Not an account's name.
    #[error(transparent)]
    AccountName(#[from] AccountNameError),
    /// No such account.
    #[error("there is no account `{0}`; `kenny account list` names them")]
    UnknownAccount(String),
    /// The name is taken.
    #[error("an account `{0}` exists already; choose another name")]
    AccountExists(String),
    /// Nobody could decide anything any more.
    #[error(
        "no owner could act on this server afterwards: make another account an owner first, or give this one a password \
         (`kenny account password`)"
    )]
    LastOwner,
    /// Not a password.
    #[error(transparent)]
    WeakPassword(#[from] WeakPassword),
    /// A second factor without a first.
    #[error("the account has no password yet; set one first (`kenny account password`)")]
    NoPassword,
    /// Replacing would be disabling without saying so.
    #[error(
        "the account has a second factor already; disable it first (`kenny account totp disable`)"
    )]
    TotpThere,
    /// Nothing to confirm, or to have codes for.
    #[error(
        "there is no second factor that this could be for; begin with `kenny account totp enable`"
    )]
    TotpNotBegun,
    /// No such token, or not this account's.
    #[error("there is no token {0} that you could revoke; `kenny token list` shows them")]
    UnknownToken(i64),
    /// A session asked.
    #[error("this request came without an API token, so that there is none to revoke")]
    NoTokenToRevoke,
    /// Not what a token is for.
    #[error(
        "a token's name has 1 to 100 characters and says what it is for, such as `backup script`"
    )]
    BadTokenName,
    /// Over before it began.
    #[error("a token that ends at {} would not work; name a time in the future", .0.strftime("%Y-%m-%d %H:%M:%SZ"))]
    EndsInThePast(Timestamp),
    /// The account's share is used up.
    #[error(
        "the account has 100 tokens, which is the most; revoke some first (`kenny token list`)"
    )]
    TooManyTokens,
    /// Too many passwords at a time.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// Nobody was logged in.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// Not an access token for this address, or not any more.
    #[error(
        "the access token is not, or no longer, accepted at this address: the program refreshes it, or asks the person again"
    )]
    WrongAccess,
    /// The token was revoked, or the session ended, while the answer was waited for.
    #[error(
        "what this request came with (a token, a session or a permission) ended while the call ran; whether the tool ran is \
         not known"
    )]
    OverMeanwhile,
    /// The program was not permitted so much.
    #[error(
        "this needs the scope `{needed}`, and the program was permitted `{has}`: it can ask the person for more"
    )]
    ScopeNeeded {
        /// What it takes.
        needed: &'static str,
        /// What is there.
        has: &'static str,
    },
    /// No such agent.
    #[error("there is no agent `{0}`")]
    UnknownAgent(String),
    /// No such target in the signed metadata.
    #[error("the signed metadata has no target {0}; GET /api/v1/trust lists them")]
    UnknownTarget(String),
    /// What was published is not taken.
    #[error(transparent)]
    Trust(#[from] Refusal),
    /// An artifact that is not the one that was announced.
    #[error("the uploaded file has the sha256 {found}, not {announced}")]
    OtherArtifact {
        /// What came.
        found: Sha256Digest,
        /// What the address says.
        announced: Sha256Digest,
    },
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
    /// Nobody's keys authorised it, and the agent may ask for that.
    #[error(
        "{version} for {platform} is not signed, and {agent} {why}: sign it with `kenny release sign FILE` and send it with \
         `kenny release publish`, then ask again"
    )]
    NotSigned {
        /// The version.
        version: String,
        /// Operating system and architecture.
        platform: String,
        /// The agent.
        agent: String,
        /// Why the agent would not take it.
        why: &'static str,
    },
    /// It was signed, and was taken back.
    #[error(
        "release {version} was withdrawn at {}: no agent is sent to it any more. Ask for another version, or sign it again \
         (`kenny release sign FILE`, then `kenny release publish`)",
        .at.strftime("%Y-%m-%d %H:%M:%SZ")
    )]
    Withdrawn {
        /// The version.
        version: String,
        /// When.
        at: Timestamp,
    },
    /// The signed metadata names it.
    #[error(
        "release {0} is signed; take it out of the signed metadata first (`kenny release sign --withdraw {0}`, then \
         `kenny release publish`)"
    )]
    StillSigned(String),
    /// An agent is on its way to it.
    #[error(
        "{agent} is to run {version}; ask for another version first, or say `kenny update {agent} --cancel`"
    )]
    StillWanted {
        /// The agent.
        agent: String,
        /// The version.
        version: String,
    },
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
    /// About rollouts, and what agents say of themselves for them.
    #[error(transparent)]
    Rollout(#[from] RolloutError),
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

impl From<PublishError> for OpsError {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Refused(refusal) => Self::Trust(refusal),
            PublishError::Store(error) => Self::Store(error),
        }
    }
}

impl From<TokenError> for OpsError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Unknown => Self::WrongToken,
            TokenError::Expired(end) => Self::TokenExpired(end),
        }
    }
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
            Self::NoToken | Self::WrongToken | Self::WrongAccess | Self::OverMeanwhile => {
                ("unauthorized", 401, "Not authorised")
            }
            Self::TokenExpired(_) => ("token_expired", 401, "The token has ended"),
            Self::Forbidden { .. } => ("forbidden", 403, "Not with this role"),
            Self::UnknownAccount(_) => ("unknown_account", 404, "No such account"),
            Self::AccountExists(_) => ("account_exists", 409, "The account exists"),
            Self::LastOwner => ("last_owner", 409, "The last owner stays"),
            Self::WeakPassword(_) => ("weak_password", 400, "Not a good password"),
            Self::NoPassword => ("no_password", 409, "No password yet"),
            Self::TotpThere => ("totp_there", 409, "There is a second factor already"),
            Self::TotpNotBegun => ("totp_not_begun", 409, "There is no second factor"),
            Self::UnknownToken(_) => ("unknown_token", 404, "No such token"),
            Self::NoTokenToRevoke => ("no_token", 409, "There is no token to revoke"),
            Self::BadTokenName => ("bad_token_name", 400, "Not a token's name"),
            Self::EndsInThePast(_) => ("bad_expiry", 400, "Not a time in the future"),
            Self::TooManyTokens => ("too_many_tokens", 409, "Too many tokens"),
            Self::Busy(_) => BUSY,
            Self::Login(error) => match error {
                LoginError::Wrong => ("wrong_login", 401, "Not logged in"),
                LoginError::CodeNeeded => ("code_needed", 401, "A second factor is needed"),
                LoginError::WrongCode => ("wrong_code", 401, "Not the right code"),
                LoginError::Throttled(_) => ("too_many_logins", 429, "Too many failed logins"),
                LoginError::Disabled => ("account_disabled", 403, "The account is disabled"),
                LoginError::PasswordNeeded => ("password_needed", 400, "The password is needed"),
                LoginError::Busy(_) => BUSY,
                LoginError::Store(_) => DATABASE,
            },
            Self::ScopeNeeded { .. } => ("scope_needed", 403, "Not permitted"),
            Self::SetupOver => ("setup_over", 410, "The setup is over"),
            Self::AccountName(_) => ("bad_account_name", 400, "Not an account's name"),
            Self::UnknownAgent(_) => ("unknown_agent", 404, "No such agent"),
            Self::UnknownTarget(_) => ("unknown_target", 404, "No such target"),
            Self::Trust(_) => ("untrusted", 422, "Not authorised by the keys"),
            Self::OtherArtifact { .. } => ("other_artifact", 422, "Another artifact"),
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
            Self::NotSigned { .. } => ("not_signed", 409, "The release is not signed"),
            Self::Withdrawn { .. } => ("release_withdrawn", 409, "The release was withdrawn"),
            Self::StillSigned(_) => ("release_signed", 409, "The release is signed"),
            Self::StillWanted { .. } => ("release_wanted", 409, "An agent is to run it"),
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
            Self::Rollout(error) => error.facts(),
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
            Self::Store(_) => DATABASE,
        }
    }

    /// Seconds after which the same may be asked again, where that is known.
    pub fn retry_after_s(&self) -> Option<u64> {
        if let Self::Login(LoginError::Throttled(wait)) = self {
            return Some(seconds(*wait));
        }
        matches!(self, Self::Busy(_) | Self::Login(LoginError::Busy(_))).then_some(BUSY_FOR_S)
    }

    /// As the REST API says it.
    pub fn problem(&self) -> Problem {
        let (code, status, title) = self.facts();
        Problem { code: code.to_owned(), status, title: title.to_owned(), detail: self.to_string() }
    }
}
