//! The command line: what may be said. `execute` carries it out.

mod execute;
mod identity;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::layout::DEFAULT_SERVICE;
use crate::pause;

pub use execute::{execute, print};
pub use identity::{Identity, InvitationArgs};

/// The agent of kenny.
///
/// Exit codes: 0 done; 1 it failed; 2 wrong usage or config, or not on this system; 3 not installed;
/// 4 installed and not running; 5 the server cannot be reached (`preflight`).
#[derive(Debug, Parser)]
#[command(name = "kenny-agent", version = crate::VERSION, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// Without a command: `run`.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// For `run`.
    #[command(flatten)]
    pub run: RunArgs,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run in the foreground until Ctrl-C.
    Run(RunArgs),
    /// Install, or bring an installation up to date, as a Windows service, and start it.
    Install(InstallArgs),
    /// Enrol this PC with an invitation, without installing a service: for an agent that runs in the foreground.
    Enroll(EnrollArgs),
    /// Stop and remove the service and what install put there.
    Uninstall(UninstallArgs),
    /// What the service manager starts.
    RunService(ServiceArgs),
    /// What the service manager starts to finish an update.
    #[command(hide = true)]
    RunUpdater(ServiceArgs),
    /// What is installed and how it is.
    Status(StatusArgs),
    /// Say whether this executable would work on this PC: it reads the config and asks the server, and changes nothing.
    ///
    /// Exit codes: 0 it would; 2 executable or config are of no use; 5 both are fine, and the server did not answer or
    /// refuses this agent.
    Preflight(PreflightArgs),
    /// Go back to the version that ran before the last update, without a download.
    ///
    /// Exit codes: 0 it runs and proved itself; 1 it does not, and the words say why; 3 not installed.
    Rollback(ServiceArgs),
    /// Have the agent refuse whatever changes this PC, updates too, until `resume`; it goes on telling how the PC is.
    ///
    /// Needs an administrator. Exit codes: 0 it is paused; 1 it is not, and the words say why; 3 not installed.
    Pause(PauseArgs),
    /// End a pause.
    ///
    /// Needs an administrator. Exit codes: 0 it is not paused any more; 1 it is, and the words say why; 3 not installed.
    Resume(ServiceArgs),
    /// The version.
    Version {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Arguments of `enroll`.
#[derive(Debug, Clone, Args)]
pub struct EnrollArgs {
    /// Who and where.
    #[command(flatten)]
    pub identity: Identity,
    /// The invitation.
    #[command(flatten)]
    pub invitation: InvitationArgs,
    /// The config file to write, instead of the one next to the executable; the key lies beside it.
    #[arg(long)]
    pub config: Option<PathBuf>,
}

/// Arguments of `run`.
#[derive(Debug, Clone, Default, Args)]
pub struct RunArgs {
    /// Who and where.
    #[command(flatten)]
    pub identity: Identity,
    /// A config file instead of the one next to the executable.
    #[arg(long)]
    pub config: Option<PathBuf>,
}

/// Arguments of `install`.
#[derive(Debug, Clone, Args)]
pub struct InstallArgs {
    /// Who and where; an installation that is there keeps what is not given.
    #[command(flatten)]
    pub identity: Identity,
    /// The invitation, where this PC is to enrol.
    #[command(flatten)]
    pub invitation: InvitationArgs,
    /// The service's name.
    #[arg(long, default_value = DEFAULT_SERVICE)]
    pub service_name: String,
    /// Leave the executable where it is.
    #[arg(long)]
    pub in_place: bool,
    /// The root.json of `kenny keys init`: from then on only versions run that its keys signed. It stays pinned however
    /// often this PC is installed again, until another one is given here.
    #[arg(long, value_name = "FILE")]
    pub trust_root: Option<PathBuf>,
    /// Also where ordinary accounts can replace it, although it runs as SYSTEM.
    #[arg(long, requires = "in_place")]
    pub yes_i_know: bool,
    /// Say in a message how it went: a double click began it.
    #[arg(long, hide = true)]
    pub dialog: bool,
}

/// Arguments of `uninstall`.
#[derive(Debug, Clone, Args)]
pub struct UninstallArgs {
    /// The service's name.
    #[arg(long, default_value = DEFAULT_SERVICE)]
    pub service_name: String,
    /// Remove config, state and logs too.
    #[arg(long)]
    pub purge: bool,
    /// Say nothing; Windows asks for an administrator where that is needed.
    #[arg(long)]
    pub quiet: bool,
    /// Say in a message what went wrong: Installed apps began it.
    #[arg(long, hide = true, conflicts_with = "quiet")]
    pub dialog: bool,
}

/// Arguments of `preflight`.
#[derive(Debug, Clone, Args)]
pub struct PreflightArgs {
    /// A config file instead of the one next to the executable.
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// As one line of JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of what works on an installed service.
#[derive(Debug, Clone, Args)]
pub struct ServiceArgs {
    /// The agent's service name.
    #[arg(long, default_value = DEFAULT_SERVICE)]
    pub service_name: String,
}

/// Arguments of `pause`.
#[derive(Debug, Clone, Args)]
pub struct PauseArgs {
    /// For how long, such as 45m, 2h or 1d12h; until `resume` when it is not given.
    #[arg(long = "for", value_name = "DURATION", value_parser = pause::parse_duration)]
    pub duration: Option<std::time::Duration>,
    /// Why; the server's operator sees it.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// The agent's service name.
    #[arg(long, default_value = DEFAULT_SERVICE)]
    pub service_name: String,
}

/// Arguments of `status`.
#[derive(Debug, Clone, Args)]
pub struct StatusArgs {
    /// The service's name.
    #[arg(long, default_value = DEFAULT_SERVICE)]
    pub service_name: String,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use kenny_proto::PublicKey;

    use super::*;

    #[test]
    fn a_server_key_may_begin_with_a_hyphen() {
        let mut bytes = [7; 32];
        bytes[0] = 0xf8;
        let key = PublicKey(bytes);
        assert!(key.to_string().starts_with('-'), "{key}");
        let code = "7K2M-9QXT-4HBC-W0ZD-3NVR-8JFP-6SYA";
        let typed = ["kenny-agent", "install", "--code", code, "--server-key", &key.to_string()];
        let Some(Command::Install(args)) = Cli::try_parse_from(typed).unwrap().command else {
            panic!("it is another command")
        };
        assert_eq!(args.invitation.server_key, Some(key));
    }
}
