//! A minute of hostile clients beside a hundred agents. It prints, and fails when an agent was dropped.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use kenny_testkit::Server;
use kenny_testkit::hostile::{self, Mix};

/// What to do it with.
#[derive(Debug, Args)]
pub struct Options {
    /// Folder for everything that the rig makes.
    #[arg(long)]
    work: PathBuf,
    /// The server's program.
    #[arg(long)]
    server: PathBuf,
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
    let server = Server::start(&options.server, &folder).await?;
    let mix = Mix {
        agents: options.agents,
        attackers: options.attackers,
        time: Duration::from_secs(options.seconds),
    };
    let report = hostile::run(&server, mix).await?;
    print!("{report}");
    let is_well = report.online == mix.agents && report.dropped == 0 && report.calls.1 == 0;
    println!(
        "hostile: {} of {} agents stayed online for {} s",
        report.online, mix.agents, options.seconds
    );
    if !is_well {
        eprintln!("{}", server.tail());
    }
    Ok(is_well)
}
