//! What can be typed. Says nothing about how it is done.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use kenny_proto::AgentId;
use semver::Version;
use url::Url;

const EXIT_CODES: &str = "\
Exit codes:
  0  it worked
  1  the operation failed (a tool's error, an update rolled back or failed)
  2  wrong usage or input
  3  the server is not reachable
  4  the token is missing or not accepted
  5  there is no such agent, tool, release or update
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
    /// The operator's token
    #[arg(long, global = true, value_name = "TOKEN", env = "KENNY_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Trust the certificates in this PEM file, besides those that the system trusts
    #[arg(long, global = true, value_name = "PEM", env = "KENNY_CA_FILE")]
    pub ca_file: Option<PathBuf>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Keep a server's address and the operator's token for later calls (the token is asked for, or read from a pipe)
    Login {
        /// The server's address, such as <https://kenny.example.net>
        url: Url,
    },
    /// Show the server's version and health, and what it looks after
    Status,
    /// List all agents
    Agents,
    /// Add, show or remove one agent, or clear what is held for it
    #[command(subcommand)]
    Agent(AgentCommand),
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
}
