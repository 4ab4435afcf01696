//! What can be typed. Says nothing about how it is done.

use std::num::NonZeroU64;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use jiff::Timestamp;
use kenny_proto::audit::AuditAnchor;
use kenny_proto::{AccountName, AgentId, Role};
use semver::{Version, VersionReq};
use url::Url;

use crate::expiry::Expiry;
use crate::rollout_args::{AgentSetArgs, ChannelArgs, RolloutCommand};

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

/// About the audit log.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// List the last rows: every change, every call to an agent, and who was denied
    List(AuditListArgs),
    /// Find out whether a row was changed, is missing, stands elsewhere or was cut off; prints where the log ends
    Verify(AuditVerifyArgs),
    /// Print the whole log, one row per line as JSON
    Export,
}

/// `kenny audit list`.
#[derive(Debug, Args)]
pub struct AuditListArgs {
    /// Only those about this agent
    #[arg(long, value_name = "ID")]
    pub agent: Option<AgentId>,
    /// Only those of this account
    #[arg(long, value_name = "NAME")]
    pub account: Option<String>,
    /// Only those of this action, such as agent.create; `agent.` names all that begin with it
    #[arg(long, value_name = "ACTION")]
    pub action: Option<String>,
    /// Only those from this time on, such as 2026-11-25T10:00:00Z
    #[arg(long, value_name = "TIME")]
    pub since: Option<Timestamp>,
    /// Only those up to this time
    #[arg(long, value_name = "TIME")]
    pub until: Option<Timestamp>,
    /// Only those before this row: what stands further up
    #[arg(long, value_name = "ROW")]
    pub before: Option<u64>,
    /// How many at most
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub last: u32,
}

/// `kenny audit verify`.
#[derive(Debug, Clone, Args)]
pub struct AuditVerifyArgs {
    /// A place that the log had once, as this command printed it then; may be given several times
    #[arg(long, value_name = "ROW:HASH")]
    pub anchor: Vec<AuditAnchor>,
    /// Look at an export instead of the server's log
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
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
    /// Invite a PC to be this agent, which is made where there is none: prints a link and a one-time code
    Invite {
        /// The id that it has or will have
        id: AgentId,
        /// For how long the code is good, such as 90m, 24h or 7d
        #[arg(long, value_name = "TIME", default_value = "24h", value_parser = lifetime)]
        expires: u64,
    },
    /// List the invitations that can still be redeemed
    Invitations,
    /// Withdraw an agent's open invitation: its code is good for nothing then
    Withdraw {
        /// The agent
        id: AgentId,
    },
    /// Make an agent of 0.2, which authenticates by a token (all others are invited): prints the token, this once
    Add {
        /// The id that it will have
        id: AgentId,
        /// Say that it is to be one with a token
        #[arg(long)]
        legacy: bool,
    },
    /// Show all that is known about an agent
    Show {
        /// The agent
        id: AgentId,
    },
    /// Say something of an agent, for whoever chooses among many; an empty text takes away
    Set(AgentSetArgs),
    /// Have a version tried again that failed too often on an agent's PC, or that somebody there went back from
    ClearHold {
        /// The agent
        id: AgentId,
    },
    /// Forget an agent: its key or token is worth nothing from then on
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
    /// Sign releases offline: makes the next targets metadata of a repository folder
    Sign(SignArgs),
    /// Send what was signed, with the executables, to the server
    Publish(RepositoryArgs),
    /// Get what was signed from the server into a repository folder, to sign on top of it
    Fetch(RepositoryArgs),
}

/// Which repository folder.
#[derive(Debug, Args)]
pub struct RepositoryArgs {
    /// The folder that `kenny keys init` made, or a copy of it without the keys
    #[arg(long, value_name = "DIR", env = "KENNY_REPOSITORY", default_value = DEFAULT_REPOSITORY)]
    pub repository: PathBuf,
}

/// Which private keys, and how they are opened.
#[derive(Debug, Args)]
pub struct KeyArgs {
    /// Sign with this private key; may be given several times [default: every *.pem in keys/ of the folder]
    #[arg(long = "key", value_name = "FILE")]
    pub keys: Vec<PathBuf>,
    /// Read the passphrase of the keys from the first line of this file instead of asking; KENNY_KEY_PASSPHRASE does the same
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
}

/// `kenny release sign`.
#[derive(Debug, Args)]
pub struct SignArgs {
    /// The executables; each says itself which version and platform it is
    #[arg(required_unless_present_any = ["add_signature", "renew", "withdraw"], conflicts_with_all = ["add_signature", "renew"])]
    pub files: Vec<PathBuf>,
    /// The folder that `kenny keys init` made, or a copy of it without the keys
    #[command(flatten)]
    pub repository: RepositoryArgs,
    /// The keys
    #[command(flatten)]
    pub keys: KeyArgs,
    /// Which versions may go to these, such as ">=0.3.0, <2.0.0" [default: all]
    #[arg(long, value_name = "REQUIREMENT", requires = "files")]
    pub from: Option<VersionReq>,
    /// Permit agents that run something newer to go down to these
    #[arg(long, requires = "files")]
    pub rollback_to: bool,
    /// Take this version out of the metadata; may be given several times
    #[arg(long, value_name = "VERSION", conflicts_with_all = ["add_signature"])]
    pub withdraw: Vec<Version>,
    /// Change nothing but the end: sign what is there for another while
    #[arg(long, conflicts_with_all = ["add_signature", "withdraw"])]
    pub renew: bool,
    /// Add a signature to what others signed: shows what it is, then signs the newest root and targets metadata with the
    /// keys that are here
    #[arg(long)]
    pub add_signature: bool,
    /// With --add-signature: do not ask
    #[arg(long, requires = "add_signature")]
    pub yes: bool,
    /// Days that the targets metadata holds
    #[arg(long, value_name = "DAYS", default_value_t = TARGETS_DAYS, value_parser = days())]
    pub targets_days: u32,
}

/// About the keys that sign releases.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make one key: a private half under a passphrase, and a public half in a file with .pub
    New {
        /// Where the private half goes, such as anna.pem
        file: PathBuf,
        /// Read the passphrase from the first line of this file instead of asking; KENNY_KEY_PASSPHRASE does the same
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
    /// Make keys and a repository folder: root and targets metadata, signed
    Init(InitArgs),
    /// Show the keys of a repository folder, its metadata, and which signatures are missing
    Show {
        /// The folder
        #[arg(default_value = DEFAULT_REPOSITORY)]
        dir: PathBuf,
    },
    /// Make the next root metadata: with other keys, or with the same for another while
    Rotate(RotateArgs),
}

/// `kenny keys init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The folder; made where it is not there
    pub dir: PathBuf,
    /// How many root keys to make here
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u32).range(0..=16))]
    pub root_keys: u32,
    /// How many root keys have to sign the next root
    #[arg(long, value_name = "COUNT", default_value = "2")]
    pub root_threshold: NonZeroU64,
    /// How many targets keys to make here
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=16))]
    pub targets_keys: u32,
    /// How many targets keys have to sign releases
    #[arg(long, value_name = "COUNT", default_value = "1")]
    pub targets_threshold: NonZeroU64,
    /// A root key that was made elsewhere (`kenny keys new`): its public half
    #[arg(long, value_name = "FILE")]
    pub add_root: Vec<String>,
    /// A targets key that was made elsewhere: its public half
    #[arg(long, value_name = "FILE")]
    pub add_targets: Vec<String>,
    /// The server's public key, as `kenny status` shows it [default: asked of the server]
    #[arg(long, value_name = "HEX")]
    pub online_key: Option<String>,
    /// The passphrase
    #[command(flatten)]
    pub keys: KeyArgs,
    /// For how long
    #[command(flatten)]
    pub lifetimes: LifetimeArgs,
}

/// `kenny keys rotate`.
#[derive(Debug, Args)]
pub struct RotateArgs {
    /// The folder
    #[arg(default_value = DEFAULT_REPOSITORY)]
    pub dir: PathBuf,
    /// Take this key out: its id, or the beginning of it; may be given several times
    #[arg(long, value_name = "KEY_ID")]
    pub remove: Vec<String>,
    /// How many root keys to make here
    #[arg(long, value_name = "COUNT", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=16))]
    pub new_root_keys: u32,
    /// How many targets keys to make here
    #[arg(long, value_name = "COUNT", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=16))]
    pub new_targets_keys: u32,
    /// A root key that was made elsewhere (`kenny keys new`): its public half
    #[arg(long, value_name = "FILE")]
    pub add_root: Vec<String>,
    /// A targets key that was made elsewhere: its public half
    #[arg(long, value_name = "FILE")]
    pub add_targets: Vec<String>,
    /// How many root keys have to sign from now on [default: as before]
    #[arg(long, value_name = "COUNT")]
    pub root_threshold: Option<NonZeroU64>,
    /// How many targets keys have to sign from now on [default: as before]
    #[arg(long, value_name = "COUNT")]
    pub targets_threshold: Option<NonZeroU64>,
    /// Have the server make a new key for snapshot and timestamp, and name it
    #[arg(long, conflicts_with = "online_key")]
    pub new_online_key: bool,
    /// Name this key of a server, such as one that took the place of another
    #[arg(long, value_name = "HEX")]
    pub online_key: Option<String>,
    /// The keys
    #[command(flatten)]
    pub keys: KeyArgs,
    /// For how long
    #[command(flatten)]
    pub lifetimes: LifetimeArgs,
}

/// For how long signatures hold.
#[derive(Debug, Args)]
pub struct LifetimeArgs {
    /// Days that the root metadata holds
    #[arg(long, value_name = "DAYS", default_value_t = ROOT_DAYS, value_parser = days())]
    pub root_days: u32,
    /// Days that the targets metadata holds
    #[arg(long, value_name = "DAYS", default_value_t = TARGETS_DAYS, value_parser = days())]
    pub targets_days: u32,
}

/// Where a repository is unless told otherwise.
const DEFAULT_REPOSITORY: &str = "kenny-repository";

/// A year: keys that lie in a safe are looked for once a year.
const ROOT_DAYS: u32 = 365;

/// Half a year: whoever releases nothing for so long is reminded a month before, and a PC that was off for as long
/// still learns of it.
const TARGETS_DAYS: u32 = 180;

fn days() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=3650)
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

/// Seconds of a time such as `90m`, `24h` or `7d`.
fn lifetime(text: &str) -> Result<u64, String> {
    let wrong =
        || format!("`{text}` is no time; give minutes, hours or days, such as 90m, 24h or 7d");
    let unit_s = match text.chars().last() {
        Some('m') => 60,
        Some('h') => 60 * 60,
        Some('d') => 24 * 60 * 60,
        Some(_) | None => return Err(wrong()),
    };
    let count: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    count.checked_mul(unit_s).ok_or_else(wrong)
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
        for (text, seconds) in [("1m", 60), ("24h", 86_400), ("7d", 604_800)] {
            assert_eq!(lifetime(text), Ok(seconds));
        }
        for bad in [
            "",
            "h",
            "-1h",
            "1.5h",
            "1 h",
            "1w",
            "99999999999999999999d",
            "9999999999999999d",
            "1ä",
        ] {
            assert!(lifetime(bad).unwrap_err().contains("24h"), "{bad}");
        }
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
