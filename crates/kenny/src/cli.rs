//! What can be typed. Says nothing about how it is done.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use kenny_proto::{AccountName, AgentId, Role};
use semver::Version;
use url::Url;

use crate::expiry::Expiry;

const EXIT_CODES: &str = "\
Exit codes:
  0  it worked
  1  the operation failed (a tool's error, an update rolled back or failed)
  2  wrong usage or input
  3  the server is not reachable
  4  not logged in, or not allowed to
  5  there is no such agent, tool, release, update, account or token
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
    /// Add or list releases
    #[command(subcommand)]
    Release(ReleaseCommand),
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
}

/// `kenny login`.
#[derive(Debug, Args)]
pub struct LoginArgs {
    /// The server's address, such as <https://kenny.example.net>
    pub url: Url,
    /// Log in to this account: its password is asked for (or read from a pipe), and makes a new token for this machine.
    /// Without it a token is asked for
    #[arg(long, value_name = "NAME")]
    pub account: Option<AccountName>,
    /// With --account: what the new token is for [default: this machine's name]
    #[arg(long, value_name = "TEXT", requires = "account")]
    pub name: Option<String>,
    /// With --account: what the new token may do [default: what the account may]
    #[arg(long, requires = "account")]
    pub role: Option<Role>,
    /// With --account: when the new token ends, such as 90d [default: never by itself]
    #[arg(long, value_name = "WHEN", requires = "account")]
    pub expires: Option<Expiry>,
}

/// About accounts.
#[derive(Debug, Subcommand)]
pub enum AccountCommand {
    /// List all accounts
    List,
    /// Make an account: prints a random password, this once
    Create {
        /// The name that it will have
        name: AccountName,
        /// What it may do: viewer, operator or owner
        #[arg(long)]
        role: Role,
    },
    /// Change what an account may do
    SetRole {
        /// The account
        name: AccountName,
        /// What it may do from now on: viewer, operator or owner
        role: Role,
    },
    /// Let nobody in through an account any more: revokes its tokens and ends its sessions
    Disable {
        /// The account
        name: AccountName,
    },
    /// Let somebody in through an account again
    Enable {
        /// The account
        name: AccountName,
    },
    /// Give an account a random password, for who forgot it or lost the second factor; its tokens are revoked
    Reset {
        /// The account
        name: AccountName,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Remove an account and its tokens
    Remove {
        /// The account
        name: AccountName,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Change the own password (asked for, or read from a pipe: the old one, if there is one, then the new one)
    Password,
    /// The own second factor: codes of an authenticator (TOTP)
    #[command(subcommand)]
    Totp(TotpCommand),
}

/// About the own second factor.
#[derive(Debug, Subcommand)]
pub enum TotpCommand {
    /// Set it up: shows a secret for the authenticator and asks for its first code
    Enable,
    /// Have the password be enough
    Disable,
    /// Make new recovery codes; the ones before are worth nothing then
    RecoveryCodes,
}

/// About API tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token of the own account: prints it, this once
    Create {
        /// What it is for, such as the program that will use it
        name: String,
        /// What it may do [default: what the token in use may]
        #[arg(long)]
        role: Option<Role>,
        /// When it ends, such as 90d, 12h or 2027-01-31T00:00:00Z [default: never by itself]
        #[arg(long, value_name = "WHEN")]
        expires: Option<Expiry>,
    },
    /// List the own tokens, or those of another account
    List {
        /// Those of this account (for owners)
        #[arg(long, value_name = "NAME")]
        account: Option<AccountName>,
    },
    /// Revoke a token: an own one, or for owners any
    Revoke {
        /// Its id, as `kenny token list` shows it
        id: i64,
    },
}

/// About one agent.
#[derive(Debug, Subcommand)]
pub enum AgentCommand {
    /// Make an agent: prints its token, this once, and how to install it on the PC
    Add {
        /// The id that it will have
        id: AgentId,
    },
    /// Show all that is known about an agent
    Show {
        /// The agent
        id: AgentId,
    },
    /// Have a version tried again that failed too often on an agent's PC, or that somebody there went back from
    ClearHold {
        /// The agent
        id: AgentId,
    },
    /// Forget an agent: its token is worth nothing from then on
    Remove {
        /// The agent
        id: AgentId,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// About releases.
#[derive(Debug, Subcommand)]
pub enum ReleaseCommand {
    /// Upload agents' executables; each says itself which version and platform it is
    Add {
        /// The executables
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// List what agents can be updated to
    List,
}

/// `kenny update`.
#[derive(Debug, Args)]
pub struct UpdateArgs {
    /// The agent
    pub agent: AgentId,
    /// The version that it should run
    #[arg(long, value_name = "VERSION", required_unless_present = "cancel")]
    pub to: Option<Version>,
    /// Go there even if it is older than what runs
    #[arg(long, requires = "to")]
    pub allow_downgrade: bool,
    /// Stay and show each phase, until the outcome is known
    #[arg(long, requires = "to")]
    pub watch: bool,
    /// With --watch: give up watching (the update goes on) after so many seconds [default: wait for the outcome]
    #[arg(long, value_name = "SECONDS", requires = "watch")]
    pub timeout: Option<u64>,
    /// Want no particular version any more; an update that was not sent yet will not be
    #[arg(long, conflicts_with_all = ["to", "watch", "allow_downgrade"])]
    pub cancel: bool,
}

/// `kenny rollback`.
#[derive(Debug, Args)]
pub struct RollbackArgs {
    /// The agent
    pub agent: AgentId,
    /// Stay and show each phase, until the outcome is known
    #[arg(long)]
    pub watch: bool,
    /// With --watch: give up watching (the rollback goes on) after so many seconds [default: wait for the outcome]
    #[arg(long, value_name = "SECONDS", requires = "watch")]
    pub timeout: Option<u64>,
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
