//! Candidates that fail: the old version is back, runs as a service, and the server knows why.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kenny_proto::FailureKind;
use kenny_proto::api::{Update, UpdateState};
use kenny_testkit::client::pretty;

use super::Outcome;
use super::updates::updater_is_gone;
use crate::live::Options;
use crate::site::{SOON, Site};

pub async fn a_candidate_that_exits_is_rolled_back(
    site: &Site,
    options: &Options,
) -> Result<Outcome> {
    site.install().await?;
    rolls_back(site, options, "exits", FailureKind::CandidateDied, SOON).await
}

pub async fn a_candidate_that_hangs_is_rolled_back(
    site: &Site,
    options: &Options,
) -> Result<Outcome> {
    site.install_with(&["--start-timeout-secs", "3"]).await?;
    rolls_back(site, options, "hangs", FailureKind::CandidateDied, SOON).await
}

pub async fn a_candidate_that_never_connects_is_rolled_back(
    site: &Site,
    options: &Options,
) -> Result<Outcome> {
    site.install_with(&["--start-timeout-secs", "3"]).await?;
    rolls_back(site, options, "never-connects", FailureKind::CandidateOffline, SOON).await
}

pub async fn a_candidate_that_crashes_on_probation_is_rolled_back(
    site: &Site,
    options: &Options,
) -> Result<Outcome> {
    // It would be given up for not connecting after a minute, and dies twice before that.
    site.install_with(&["--start-timeout-secs", "60"]).await?;
    rolls_back(site, options, "crashes-after-5", FailureKind::CandidateDied, SOON).await
}

pub async fn a_candidate_that_crashes_late_on_probation_is_rolled_back(
    site: &Site,
    options: &Options,
) -> Result<Outcome> {
    site.install_with(&["--start-timeout-secs", "90"]).await?;
    // It dies twice, after half a minute each.
    let within = Duration::from_mins(3);
    rolls_back(site, options, "crashes-after-30", FailureKind::CandidateDied, within).await
}

pub async fn a_broken_config_is_restored(site: &Site, options: &Options) -> Result<Outcome> {
    site.install().await?;
    let before = fs_err::read(site.config())?;
    let outcome =
        rolls_back(site, options, "breaks-config", FailureKind::CandidateDied, SOON).await?;
    let after = fs_err::read(site.config())?;
    ensure!(after == before, "the config is now {}", String::from_utf8_lossy(&after));
    Ok(outcome)
}

pub async fn a_candidate_that_fails_its_preflight_stops_nothing(
    site: &Site,
    options: &Options,
) -> Result<Outcome> {
    site.install().await?;
    let pid = site.service_pid()?;
    let connected = site.client().agent(&site.agent).await?.agent.connected_at;
    let update = push(site, options, "fails-preflight", SOON).await?;
    ensure!(update.state == UpdateState::Failed, "it ended otherwise:\n{}", pretty(&update));
    let failure = update.failure.as_ref().context("the server does not show why")?;
    ensure!(failure.kind == FailureKind::Preflight, "the server shows {failure:?}");
    // Its own last words.
    ensure!(failure.detail.contains("a library is missing"), "the server shows {failure:?}");

    ensure!(site.service_pid()? == pid, "the service was restarted");
    let agent = site.client().agent(&site.agent).await?.agent;
    ensure!(agent.connected_at == connected, "the connection was made anew");
    updater_is_gone(site).await?;
    Ok(Outcome::Passed)
}

async fn push(site: &Site, options: &Options, failing: &str, within: Duration) -> Result<Update> {
    let added = site.client().add_release(options.bad(failing)?).await?;
    let update = site.client().update(&site.agent, &added.release.version, false).await?;
    site.client().finished(update.id, within).await
}

async fn rolls_back(
    site: &Site,
    options: &Options,
    failing: &str,
    kind: FailureKind,
    within: Duration,
) -> Result<Outcome> {
    let before = fs_err::read(site.active())?;
    let update = push(site, options, failing, within).await?;
    ensure!(update.state == UpdateState::RolledBack, "it ended otherwise:\n{}", pretty(&update));
    let failure = update.failure.as_ref().context("the server does not show why")?;
    ensure!(failure.kind == kind, "the server shows {failure:?}");
    ensure!(!failure.detail.is_empty(), "no words on why");

    let old = options.assets.old_version();
    let agent = site.client().online(&site.agent, Some(&old), SOON).await?;
    ensure!(agent.service == Some(true), "it is online, and not as a service");
    let said = site.installed(&["version"]).await?.success()?.stdout;
    ensure!(said.contains(&old), "the executable at the image path says {said}");
    ensure!(fs_err::read(site.active())? == before, "the executable is not the one of before");
    updater_is_gone(site).await?;

    // At the PC itself it can be read too.
    let status = site.installed(&["status"]).await?.success()?.stdout;
    for word in [failure.detail.as_str(), "the old version runs again", failing] {
        ensure!(status.contains(word), "`status` does not say \"{word}\":\n{status}");
    }
    Ok(Outcome::Passed)
}
