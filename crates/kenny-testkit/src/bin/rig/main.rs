//! The test rig's program: the live suite, the bench of the downtime, and the demo. `cargo xtask` builds what it
//! needs and starts it.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command of the console: results on stdout, progress on stderr"
)]

mod cases;
mod demo;
mod downtime;
mod hostile;
mod kills;
mod live;
mod rollback_times;
mod site;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the live suite.
    Live(live::Options),
    /// Measures how long an update keeps an agent offline.
    Downtime(downtime::Options),
    /// Measures how long it takes until the old version is back after a bad one.
    RollbackTimes(rollback_times::Options),
    /// Attacks a server beside its agents.
    Hostile(hostile::Options),
    /// Shows one update, then stays up.
    Demo(demo::Options),
}

/// What was built for the rig.
#[derive(Debug, Clone, Args)]
pub struct Assets {
    /// Folder for everything that the rig makes.
    #[arg(long)]
    work: PathBuf,
    /// The server's program.
    #[arg(long)]
    server: PathBuf,
    /// The operator's command line.
    #[arg(long)]
    cli: PathBuf,
    /// An agent for Windows.
    #[arg(long)]
    old: PathBuf,
    /// A newer one.
    #[arg(long)]
    new: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse().command).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("rig: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<bool> {
    match command {
        Command::Live(options) => live::run(&options).await,
        Command::Downtime(options) => downtime::run(&options).await,
        Command::RollbackTimes(options) => rollback_times::run(&options).await,
        Command::Hostile(options) => hostile::run(&options).await,
        Command::Demo(options) => demo::run(&options).await,
    }
}

impl Assets {
    /// The version of the older agent; its folder is called so.
    fn old_version(&self) -> String {
        version_of(&self.old)
    }

    /// The version of the newer agent.
    fn new_version(&self) -> String {
        version_of(&self.new)
    }
}

/// `cargo xtask` keeps each build in a folder that is called as its version.
fn version_of(agent: &std::path::Path) -> String {
    agent
        .parent()
        .and_then(|folder| folder.file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}
