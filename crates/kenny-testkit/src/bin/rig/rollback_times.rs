//! How long it takes until the old version is back after a bad one: one that crashes at once, one that hangs, one that
//! cannot connect. It prints and never judges.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;
use kenny_proto::api::UpdateState;
use kenny_testkit::client::pretty;

use crate::Assets;
use crate::cases::updates::updater_is_gone;
use crate::downtime::{at, line};
use crate::site::{SOON, Site};

/// A version that fails three times on a PC is held.
const UPDATES: usize = 3;
/// Seconds that a version may take to be accepted. Operators' agents have 120, and a version that hangs or cannot
/// connect costs them that: the rest of the time is what is measured.
const START_TIMEOUT_S: &str = "4";

/// What to measure with.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    pub assets: Assets,
    /// A candidate that fails; may be given again.
    #[arg(long)]
    pub bad: Vec<PathBuf>,
}

/// Measures and prints.
pub async fn run(options: &Options) -> Result<bool> {
    for bad in &options.bad {
        let failing = bad
            .parent()
            .and_then(|folder| folder.file_name())
            .context("it lies in a folder")?
            .to_string_lossy();
        let site = Site::create(&options.assets, "rollback-times").await?;
        let (mut offline, mut request_to_outcome) = (Vec::new(), Vec::new());
        site.install_with(&["--start-timeout-secs", START_TIMEOUT_S]).await?;
        let version = site.client().add_release(bad).await?.release.version;
        for _ in 0..UPDATES {
            let update = site.client().update(&site.agent, &version, false).await?;
            let update = site.client().finished(update.id, SOON).await?;
            ensure!(update.state == UpdateState::RolledBack, "otherwise:\n{}", pretty(&update));
            let back = update.finished_at.context("it is over")?.as_millisecond();
            offline.push(back - at(&update, "stopped")?);
            request_to_outcome.push(back - at(&update, "requested")?);
            updater_is_gone(&site).await?;
        }
        println!("{failing} (accepted within {START_TIMEOUT_S} s or given up)");
        println!("  {}", line("stop to old online", &offline));
        println!("  {}", line("request to outcome", &request_to_outcome));
        site.close().await?;
    }
    Ok(true)
}
