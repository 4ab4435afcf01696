//! How long an update keeps an agent offline, measured by the server's clock over many updates of one machine.
//!
//! It prints and never judges: times of a machine that does other things prove nothing.

use std::fmt;

use anyhow::{Context, Result, ensure};
use clap::Args;
use kenny_proto::api::{Update, UpdateState};
use kenny_testkit::client::pretty;

use crate::Assets;
use crate::site::{SOON, Site};

/// What to measure with.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    pub assets: Assets,
    /// Over how many updates.
    #[arg(long, default_value_t = 30)]
    pub updates: usize,
}

/// What was measured, milliseconds each.
pub struct Measured {
    /// From the end of the old version's connection to the accepted one of the new version.
    offline: Vec<i64>,
    /// From the operator's request to the accepted connection of the new version.
    request_to_online: Vec<i64>,
}

/// Measures and prints.
pub async fn run(options: &Options) -> Result<bool> {
    println!("{}", measure(&options.assets, options.updates).await?);
    Ok(true)
}

/// Updates one agent to and fro.
pub async fn measure(assets: &Assets, updates: usize) -> Result<Measured> {
    let site = Site::create(assets, "downtime").await?;
    let measured = alternate(&site, updates).await.map_err(|error| {
        let evidence = site.evidence();
        error.context(evidence)
    })?;
    site.close().await?;
    Ok(measured)
}

async fn alternate(site: &Site, updates: usize) -> Result<Measured> {
    site.install().await?;
    for agent in [&site.assets.old, &site.assets.new] {
        site.client().add_release(agent).await?;
    }
    let versions = [site.assets.new_version(), site.assets.old_version()];
    let mut measured = Measured { offline: Vec::new(), request_to_online: Vec::new() };
    for version in versions.iter().cycle().take(updates) {
        let update = site.client().update(&site.agent, version, true).await?;
        let update = site.client().finished(update.id, SOON).await?;
        ensure!(
            update.state == UpdateState::Succeeded,
            "an update did not succeed:\n{}",
            pretty(&update)
        );
        let online = at(&update, "online")?;
        measured.offline.push(online - at(&update, "stopped")?);
        measured.request_to_online.push(online - at(&update, "requested")?);
    }
    Ok(measured)
}

/// When the server learnt of a step, in milliseconds.
pub fn at(update: &Update, step: &str) -> Result<i64> {
    update
        .timeline
        .iter()
        .find(|entry| entry.step == step)
        .map(|entry| entry.at.as_millisecond())
        .with_context(|| format!("the timeline has no `{step}`:\n{}", pretty(update)))
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", line("offline", &self.offline))?;
        write!(f, "{}", line("request to online", &self.request_to_online))
    }
}

/// One measure in words.
pub fn line(name: &str, milliseconds: &[i64]) -> String {
    let mut sorted = milliseconds.to_vec();
    sorted.sort_unstable();
    // The nearest rank: of 20 values, the 18th is at most 90 percent.
    let at = |percent: usize| {
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        sorted.get(rank - 1).copied().unwrap_or_default()
    };
    let max = sorted.last().copied().unwrap_or_default();
    format!(
        "{name:18} median {:5} ms, p90 {:5} ms, p99 {:5} ms, max {max:5} ms ({} updates)",
        at(50),
        at(90),
        at(99),
        sorted.len()
    )
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values: Vec<i64> = (1..=20).collect();
        assert_eq!(
            line("x", &values),
            format!(
                "{:18} median    10 ms, p90    18 ms, p99    20 ms, max    20 ms (20 updates)",
                "x"
            )
        );
        assert_eq!(
            line("x", &[7]),
            format!(
                "{:18} median     7 ms, p90     7 ms, p99     7 ms, max     7 ms (1 updates)",
                "x"
            )
        );
    }
}
