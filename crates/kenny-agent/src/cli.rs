//! The command line.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use kenny_proto::{InvitationCode, PublicKey};
use tokio::sync::watch;
use url::Url;

use crate::config::{self, Config, ConfigError};
use crate::enrolment::{self, EnrolError, Terms};
use crate::layout::{DEFAULT_SERVICE, Layout};
use crate::run::{Mode, RunOptions, run};
use crate::{desktop, first_install, logging, pause, service, update};

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

/// Who the agent is and where its server is.
#[derive(Debug, Clone, Default, Args)]
pub struct Identity {
    /// The tunnel's address, like wss://kenny.example/agent/ws.
    #[arg(long, env = "KENNY_SERVER")]
    pub server: Option<String>,
    /// The agent's name at the server.
    #[arg(long, env = "KENNY_AGENT_ID")]
    pub agent_id: Option<String>,
    /// The agent's secret, where the operator made the agent as `legacy`; others are invited.
    #[arg(long, env = "KENNY_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Seconds between telemetry pushes [default: 900].
    #[arg(long, env = "KENNY_TELEMETRY_INTERVAL_SECS")]
    pub telemetry_interval_secs: Option<u64>,
    /// A PEM file with certificates to trust besides the system's.
    #[arg(long)]
    pub ca_file: Option<PathBuf>,
    /// An origin (https://HOST) besides the server's own from which updates may come; may be given again.
    #[arg(long, value_name = "ORIGIN")]
    pub allow_update_origin: Vec<Url>,
    /// Take new versions only with an Authenticode signature that Windows trusts, besides all else.
    #[arg(long)]
    pub require_authenticode: bool,
    /// Seconds that a new version must stay connected before it counts as proven [default: 60].
    #[arg(long)]
    pub probation_secs: Option<u64>,
    /// Seconds that a new version may take to connect to a server that can be reached [default: 120].
    #[arg(long)]
    pub start_timeout_secs: Option<u64>,
}

/// An invitation: whole, or its parts.
#[derive(Debug, Clone, Default, Args)]
pub struct InvitationArgs {
    /// The invitation of the server's operator: the file, or its text.
    #[arg(long, value_name = "FILE|TEXT", conflicts_with_all = ["server", "agent_id", "token", "code", "server_key"])]
    pub invitation: Option<String>,
    /// The invitation's code, with --server, --agent-id and --server-key.
    #[arg(long, value_name = "CODE", requires = "server_key", conflicts_with = "token")]
    pub code: Option<InvitationCode>,
    /// The server's key, as the invitation has it.
    // One in 64 begins with a hyphen, as base64url has it.
    #[arg(long, value_name = "KEY", requires = "code", allow_hyphen_values = true)]
    pub server_key: Option<PublicKey>,
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

impl Identity {
    /// True where they say who this is.
    pub fn is_given(&self) -> bool {
        self.server.is_some() || self.agent_id.is_some() || self.token.is_some()
    }

    /// The config that these flags make, over what was there before. The error is a sentence.
    pub fn over(&self, before: Option<Config>) -> Result<Config, String> {
        let missing = |flag: &str| {
            format!(
                "--{flag} is missing; give --invitation, or for a legacy agent server, agent id and token"
            )
        };
        let server = self.server.as_deref().map(config::parse_server).transpose();
        let server = server.map_err(|problem| format!("--server: {problem}"))?;
        let agent_id = self.agent_id.as_deref().map(str::parse).transpose();
        let agent_id = agent_id.map_err(|problem| format!("--agent-id: {problem}"))?;
        let mut config = match before {
            Some(before) => before,
            None => Config::new(
                server.clone().ok_or_else(|| missing("server"))?,
                agent_id.clone().ok_or_else(|| missing("agent-id"))?,
                Some(self.token.clone().ok_or_else(|| missing("token"))?),
            ),
        };
        let is_another = agent_id.as_ref().is_some_and(|id| *id != config.agent_id);
        if config.identity.is_some() && (self.token.is_some() || is_another) {
            return Err(
                "this PC has enrolled with a key: another agent id, or a token, is not for it. Give a new --invitation, or \
                 `kenny-agent uninstall --purge` first"
                    .to_owned(),
            );
        }
        config.server = server.unwrap_or(config.server);
        config.agent_id = agent_id.unwrap_or(config.agent_id);
        config.token = self.token.clone().or(config.token);
        self.settings(config)
    }

    /// The config of a PC that is about to enrol, with the other settings of what was there before.
    pub fn enrolling(
        &self,
        terms: &Terms,
        config_file: &Path,
        before: Option<Config>,
    ) -> Result<Config, String> {
        let (server, agent_id) = (terms.server.clone(), terms.agent_id.clone());
        let fresh = Config::new(server.clone(), agent_id.clone(), None);
        let mut config = Config { server, agent_id, token: None, ..before.unwrap_or(fresh) };
        config.identity = Some(terms.identity(config_file));
        config.ca_file = terms.ca_file(config_file).or(config.ca_file);
        self.settings(config)
    }

    /// All but who and where.
    fn settings(&self, mut config: Config) -> Result<Config, String> {
        config.telemetry_interval_secs =
            self.telemetry_interval_secs.unwrap_or(config.telemetry_interval_secs);
        config.ca_file = self.ca_file.clone().or(config.ca_file);
        if !self.allow_update_origin.is_empty() {
            config.update.allowed_origins.clone_from(&self.allow_update_origin);
        }
        config.update.require_authenticode |= self.require_authenticode;
        config.update.probation_secs = self.probation_secs.unwrap_or(config.update.probation_secs);
        config.update.start_timeout_secs =
            self.start_timeout_secs.unwrap_or(config.update.start_timeout_secs);
        config.check().map_err(|(key, problem)| format!("`{key}`: {problem}"))?;
        Ok(config)
    }
}

impl InvitationArgs {
    /// What this PC is to enrol with; none where no invitation was given. The error is a sentence.
    pub fn terms(&self, identity: &Identity) -> Result<Option<Terms>, String> {
        if let Some(invitation) = &self.invitation {
            let terms = Terms::of_invitation(invitation);
            return terms.map(Some).map_err(|error| crate::words(&error));
        }
        let (Some(code), Some(server_key)) = (&self.code, self.server_key) else { return Ok(None) };
        let missing = |flag: &str| format!("--{flag} is missing; --code needs it");
        let server = identity.server.as_deref().ok_or_else(|| missing("server"))?;
        let server =
            config::parse_server(server).map_err(|problem| format!("--server: {problem}"))?;
        let agent_id = identity.agent_id.as_deref().ok_or_else(|| missing("agent-id"))?;
        let agent_id = agent_id.parse().map_err(|problem| format!("--agent-id: {problem}"))?;
        Ok(Some(Terms {
            server,
            agent_id,
            code: code.clone(),
            server_key,
            ca: None,
            tuf_root: None,
        }))
    }
}

/// Data for whoever called, on standard output.
#[expect(clippy::print_stdout, reason = "the command's output")]
pub fn print(text: &str) {
    println!("{text}");
}

/// Carries out what the command line says.
pub fn execute(cli: Cli) -> ExitCode {
    match cli.command {
        None if is_double_click(&cli.run) => first_install::open(),
        None => foreground(&cli.run),
        Some(Command::Run(args)) => foreground(&args),
        Some(Command::Install(args)) => {
            logging::to_stderr("info");
            service::install(&args)
        }
        Some(Command::Enroll(args)) => {
            logging::to_stderr("info");
            enroll(&args)
        }
        Some(Command::Uninstall(args)) => {
            logging::to_stderr("info");
            service::uninstall(&args)
        }
        Some(Command::RunService(args)) => service::run_service(&args),
        Some(Command::RunUpdater(args)) => update::run_updater(&args.service_name),
        Some(Command::Status(args)) => {
            logging::to_stderr("warn");
            service::status(&args)
        }
        Some(Command::Preflight(args)) => preflight(&args),
        Some(Command::Rollback(args)) => {
            logging::to_stderr("warn");
            update::roll_back(&args.service_name)
        }
        Some(Command::Pause(args)) => {
            logging::to_stderr("warn");
            pause::pause(&args)
        }
        Some(Command::Resume(args)) => {
            logging::to_stderr("warn");
            pause::resume(&args.service_name)
        }
        Some(Command::Version { json }) => {
            if json {
                let os = crate::platform::OS;
                let arch = crate::platform::native_arch();
                let facts = serde_json::json!({"version": crate::VERSION, "os": os, "arch": arch, "protocol": kenny_proto::PROTOCOL});
                print(&facts.to_string());
            } else {
                print(&format!("kenny-agent {}", crate::VERSION));
            }
            ExitCode::SUCCESS
        }
    }
}

fn enroll(args: &EnrollArgs) -> ExitCode {
    match try_enroll(args) {
        Ok(config) => {
            print(&format!("this PC is {} at {}", config.agent_id, config.server));
            ExitCode::SUCCESS
        }
        Err(words) => {
            tracing::error!("not enrolled: {words}");
            ExitCode::FAILURE
        }
    }
}

fn try_enroll(args: &EnrollArgs) -> Result<Config, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let layout = Layout::new(DEFAULT_SERVICE, own).map_err(|error| format!("{error:#}"))?;
    let file = args.config.clone().unwrap_or(layout.config_file);
    let file = std::path::absolute(&file).map_err(|error| error.to_string())?;
    let terms = args.invitation.terms(&args.identity)?;
    let terms =
        terms.ok_or("give --invitation, or --server, --agent-id, --code and --server-key")?;
    let before = match Config::load(&file) {
        Ok(config) => Some(config),
        Err(ConfigError::Missing(_)) => None,
        Err(error) => return Err(crate::words(&error)),
    };
    let config = args.identity.enrolling(&terms, &file, before)?;
    enrolment::enrol(&terms, &config).map_err(|error: EnrolError| crate::words(&error))?;
    config.save(&file).map_err(|error| crate::words(&error))?;
    Ok(config)
}

fn preflight(args: &PreflightArgs) -> ExitCode {
    logging::to_stderr("warn");
    let prepared = std::env::current_exe()
        .map_err(anyhow::Error::from)
        .and_then(|own| Layout::new(DEFAULT_SERVICE, own))
        .and_then(|layout| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            Ok((layout, runtime))
        });
    let (layout, runtime) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            tracing::error!("{error:#}");
            return ExitCode::FAILURE;
        }
    };
    let config_file = args.config.as_ref().unwrap_or(&layout.config_file);
    let said = runtime.block_on(update::Said::of_this(config_file));
    if args.json {
        print(&serde_json::to_string(&said).expect("it has string keys only"));
    } else {
        print(&said.in_words());
    }
    ExitCode::from(said.exit_code())
}

/// True where nothing was said and Explorer started this. An agent that has its config beside it runs.
fn is_double_click(args: &RunArgs) -> bool {
    if !desktop::started_by_double_click()
        || std::env::args_os().len() > 1
        || args.identity.is_given()
    {
        return false;
    }
    let layout = std::env::current_exe()
        .map_err(anyhow::Error::from)
        .and_then(|own| Layout::new(DEFAULT_SERVICE, own));
    layout.is_ok_and(|layout| !layout.config_file.exists())
}

fn foreground(args: &RunArgs) -> ExitCode {
    logging::to_stderr("info");
    let prepared = prepare(args).and_then(|(config, layout)| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map(|runtime| (config, layout, runtime)).map_err(|error| error.to_string())
    });
    let (config, layout, runtime) = match prepared {
        Ok(prepared) => prepared,
        Err(words) => {
            tracing::error!("{words}");
            return ExitCode::from(2);
        }
    };
    let (sender, stop) = watch::channel(false);
    runtime.block_on(async move {
        tokio::spawn(async move {
            crate::platform::interrupted().await;
            sender.send_replace(true);
        });
        run(RunOptions { config, layout, mode: Mode::Foreground, stop }).await;
    });
    runtime.shutdown_background();
    ExitCode::SUCCESS
}

fn prepare(args: &RunArgs) -> Result<(Config, Layout), String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let layout = Layout::new(DEFAULT_SERVICE, own).map_err(|error| format!("{error:#}"))?;
    let file = args.config.as_ref().unwrap_or(&layout.config_file);
    let before = match Config::load(file) {
        Ok(config) => Some(config),
        Err(ConfigError::Missing(_)) if args.config.is_none() && args.identity.is_given() => None,
        Err(error) => return Err(crate::words(&error)),
    };
    Ok((args.identity.over(before)?, layout))
}

#[cfg(test)]
mod tests {
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
