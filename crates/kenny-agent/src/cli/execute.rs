//! Carries out what the command line says.

use std::process::ExitCode;

use tokio::sync::watch;

use super::{Cli, Command, EnrollArgs, PreflightArgs, RunArgs};
use crate::config::{Config, ConfigError};
use crate::enrolment::{self, EnrolError};
use crate::layout::{DEFAULT_SERVICE, Layout};
use crate::run::{Mode, RunOptions, run};
use crate::{desktop, first_install, logging, pause, service, update};

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

/// Data for whoever called, on standard output.
#[expect(clippy::print_stdout, reason = "the command's output")]
pub fn print(text: &str) {
    println!("{text}");
}
