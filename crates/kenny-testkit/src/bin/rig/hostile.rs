//! A minute of hostile clients beside a hundred agents, and another one with TLS. It prints, and fails when an agent was
//! dropped.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use kenny_testkit::hostile::{self, Mix};
use kenny_testkit::{Certificate, Server};

/// What to do it with.
#[derive(Debug, Args)]
pub struct Options {
    /// Folder for everything that the rig makes.
    #[arg(long)]
    work: PathBuf,
    /// The server's program.
    #[arg(long)]
    server: PathBuf,
    /// An agent for this machine: the release that slow readers ask for.
    #[arg(long)]
    agent: PathBuf,
    /// Agents that are to stay online.
    #[arg(long, default_value_t = 100)]
    agents: usize,
    /// Attackers of each kind at a time.
    #[arg(long, default_value_t = 40)]
    attackers: usize,
    /// For so long.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

/// Attacks, and prints.
pub async fn run(options: &Options) -> Result<bool> {
    let folder = options.work.join("hostile");
    if folder.exists() {
        fs_err::remove_dir_all(&folder)?;
    }
    let server = Server::start(&options.server, &folder.join("plain")).await?;
    let without_tls = attack(server, options, "without TLS").await?;
    let certificate = Certificate::make(&folder)?;
    let server = Server::start_with_tls(&options.server, &folder.join("tls"), certificate).await?;
    let with_tls = attack(server, options, "with TLS").await?;
    Ok(without_tls && with_tls)
}

async fn attack(server: Server, options: &Options, how: &str) -> Result<bool> {
    let mix = Mix {
        agents: options.agents,
        attackers: options.attackers,
        time: Duration::from_secs(options.seconds),
    };
    let report = hostile::run(&server, &options.agent, mix).await?;
    print!("{report}");
    println!(
        "hostile: {} of {} agents stayed online for {} s {how}",
        report.online, mix.agents, options.seconds
    );
    let is_well = report.online == mix.agents && report.dropped == 0 && report.calls.1 == 0;
    if !is_well {
        eprintln!("{}", server.tail());
    }
    Ok(is_well)
}
