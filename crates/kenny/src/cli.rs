//! What can be typed. Says nothing about how it is done.

mod accounts;
mod agents;
mod audit;
pub mod rollouts;
mod signing;
mod updates;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use kenny_proto::AgentId;
use url::Url;

pub use accounts::{AccountCommand, LoginArgs, TokenCommand, TotpCommand};
pub use agents::AgentCommand;
pub use audit::{AuditCommand, AuditListArgs, AuditVerifyArgs};
pub use rollouts::{ChannelArgs, RolloutCommand};
pub use signing::{InitArgs, KeyArgs, KeysCommand, ReleaseCommand, RotateArgs, SignArgs};
pub use updates::{RollbackArgs, UpdateArgs, WatchArgs};

const EXIT_CODES: &str = "\
Exit codes:
  0  it worked
  1  the operation failed (a tool's error, an update rolled back or failed, a rollout halted
     or cancelled)
  2  wrong usage or input
  3  the server is not reachable
  4  not logged in, or not allowed to
  5  there is no such agent, tool, release, update, rollout, account or token
  6  the agent is offline
  7  timed out while waiting

The server and the token come from --server and --token, from KENNY_SERVER_URL and KENNY_TOKEN,
or from what `kenny login` kept. Colours are left out when NO_COLOR is set.";

/// Looks after agents: who is there, which version they run, and what they are told to do.
#[derive(Debug, Parser)]
#[command(name = "kenny", version, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    /// Where the server is, and who asks.
    #[command(flatten)]
    pub connection: Connection,
    /// Print JSON for scripts: one document, or one line each where things happen over time
    #[arg(long, global = true, help_heading = "Options")]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Where the server is, and who asks.
#[derive(Debug, Args)]
#[command(next_help_heading = "Connection")]
pub struct Connection {
    /// The server's address [default: what `kenny login` kept, or http://127.0.0.1:7741]
    #[arg(long, global = true, value_name = "URL", env = "KENNY_SERVER_URL")]
    pub server: Option<Url>,
    /// An API token
    #[arg(long, global = true, value_name = "TOKEN", env = "KENNY_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Trust the certificates in this PEM file, besides those that the system trusts
    #[arg(long, global = true, value_name = "PEM", env = "KENNY_CA_FILE")]
    pub ca_file: Option<PathBuf>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Keep a server's address and a token for later calls: a new one by name and password, or one that is given
    Login(LoginArgs),
    /// Revoke the token that `kenny login` kept, and forget it
    Logout,
    /// Show as whom this machine acts, and what that allows
    Whoami,
    /// Show the server's version and health, and what it looks after
    Status,
    /// List all agents
    Agents,
    /// Add, show or remove one agent, or clear what is held for it
    #[command(subcommand)]
    Agent(AgentCommand),
    /// Look after accounts, and after the own password and second factor
    #[command(subcommand)]
    Account(AccountCommand),
    /// Make, list or revoke API tokens
    #[command(subcommand)]
    Token(TokenCommand),
    /// Add, sign, publish or list releases
    #[command(subcommand)]
    Release(ReleaseCommand),
    /// Make and replace the keys that sign releases; no server ever gets their private halves
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Bring a version to many agents, in stages that stop by themselves
    #[command(subcommand)]
    Rollout(RolloutCommand),
    /// Show or set what publishing a release begins by itself
    Channel(ChannelArgs),
    /// Have an agent run another version
    Update(UpdateArgs),
    /// Have an agent go back to the version that it ran before its last update
    Rollback(RollbackArgs),
    /// List an agent's updates, newest first
    Updates {
        /// The agent
        agent: AgentId,
    },
    /// Call a tool on an agent and print its result
    Call(CallArgs),
    /// List the tools and their arguments
    Tools,
    /// Show what happened
    Events(EventsArgs),
    /// Show who did what, and find out whether that record was tampered with
    #[command(subcommand)]
    Audit(AuditCommand),
}

/// `kenny call`.
#[derive(Debug, Args)]
pub struct CallArgs {
    /// The agent
    pub agent: AgentId,
    /// The tool, such as telemetry.collect; `kenny tools` lists them
    pub tool: String,
    /// The arguments as a JSON object, or @FILE to read it from (@- for standard input)
    #[arg(long, value_name = "JSON")]
    pub args: Option<String>,
    /// One argument; may be given several times, and wins over --args
    #[arg(long = "arg", value_name = "NAME=VALUE")]
    pub arg: Vec<String>,
    /// Wait so many seconds for the answer [default: the server's]
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
}

/// `kenny events`.
#[derive(Debug, Args)]
pub struct EventsArgs {
    /// Only those of this agent
    #[arg(long, value_name = "ID")]
    pub agent: Option<AgentId>,
    /// Stay and show events as they happen
    #[arg(long, short)]
    pub follow: bool,
    /// How many past events to show at most
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    pub last: usize,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn accepted(line: &str) -> bool {
        Cli::try_parse_from(line.split(' ')).is_ok()
    }

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_update_needs_a_version_or_a_cancel_and_not_both() {
        assert!(accepted("kenny update pc-1 --to 1.2.3 --watch --timeout 5 --json"));
        assert!(accepted("kenny update pc-1 --cancel"));
        assert!(!accepted("kenny update pc-1"));
        assert!(!accepted("kenny update pc-1 --to 1.2.3 --cancel"));
        assert!(!accepted("kenny update pc-1 --to 1.2"));
        assert!(!accepted("kenny update pc-1 --cancel --watch"));
        assert!(!accepted("kenny update a/b --to 1.2.3"));
        assert!(accepted("kenny rollback pc-1 --watch --timeout 5"));
        assert!(!accepted("kenny rollback pc-1 --timeout 5"));
        assert!(accepted("kenny agent clear-hold pc-1"));
    }

    #[test]
    fn an_invitation_ends_after_a_time_that_has_a_unit() {
        assert!(accepted("kenny agent invite pc-1 --expires 90m"));
        assert!(!accepted("kenny agent invite pc-1 --expires 90"));
    }

    #[test]
    fn names_and_roles_are_checked_where_they_are_typed() {
        assert!(accepted("kenny login http://h --account anna --role viewer --expires 90d"));
        assert!(!accepted("kenny login http://h --role viewer"));
        assert!(accepted("kenny account create anna@home --role operator"));
        assert!(!accepted("kenny account create anna"));
        assert!(!accepted("kenny account create Anna --role operator"));
        assert!(!accepted("kenny account set-role anna root"));
        assert!(accepted("kenny account totp recovery-codes"));
        assert!(accepted("kenny token create backup --role viewer --expires 2027-01-31T00:00:00Z"));
        assert!(!accepted("kenny token create backup --expires soon"));
        assert!(!accepted("kenny token revoke backup"));
    }
}
