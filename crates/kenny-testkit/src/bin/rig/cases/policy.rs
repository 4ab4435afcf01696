//! What somebody at the PC decided for it.

use anyhow::{Context, Result, ensure};
use kenny_proto::api::UpdateState;
use kenny_proto::frames::ErrorCode;
use kenny_testkit::eventually;
use serde_json::{Value, json};

use super::Outcome;
use crate::live::Options;
use crate::site::{SOON, Site};

pub async fn a_paused_pc_refuses_changes_and_updates_wait(
    site: &Site,
    options: &Options,
) -> Result<Outcome> {
    site.install().await?;
    let (client, agent) = (site.client(), &site.agent);
    let service = site.machine.service_name().to_owned();
    let said = site.installed(&["pause", "--reason", "a talk"]).await?.success()?;
    ensure!(said.stdout.contains("a talk"), "`pause` says nothing:\n{}", said.text());
    eventually("the pause at the server", SOON, async || {
        let paused = client.agent(agent).await?.agent.paused;
        Ok(paused.filter(|pause| pause.reason.as_deref() == Some("a talk")).map(drop))
    })
    .await?;
    refused(site).await?;
    let telemetry = client.call(agent, "telemetry.collect", json!({})).await?;
    let result = telemetry.result.context("telemetry does not go on")?;
    ensure!(result["policy"]["paused"]["reason"] == "a talk", "no pause in {result:?}");

    // It survives a restart of the service, and an update waits for its end without an attempt.
    client.add_release(&options.assets.new).await?;
    let wanted = options.assets.new_version();
    let update = client.update(agent, &wanted, false).await?;
    site.machine.stop_service(&service).await?.success()?;
    site.machine.start_service(&service).await?.success()?;
    client.online(agent, Some(&options.assets.old_version()), SOON).await?;
    refused(site).await?;
    let status = site.installed(&["status"]).await?;
    ensure!(status.stdout.contains("(a talk)"), "`status` does not say it:\n{}", status.text());
    let detail = client.agent(agent).await?;
    let waits = detail.agent.update.context("no update")?;
    ensure!(waits.id == update.id && waits.state == UpdateState::Waiting, "it went on: {waits:?}");
    ensure!(waits.attempt == 1, "an attempt was used up: {waits:?}");

    site.installed(&["resume"]).await?.success()?;
    client.online(agent, Some(&wanted), SOON).await?;
    Ok(Outcome::Passed)
}

async fn refused(site: &Site) -> Result<()> {
    let script: Value = json!({ "script": "Write-Output 1" });
    let outcome = site.client().call(&site.agent, "powershell.exec", script).await?;
    let error = outcome.error.context("a script ran on a paused PC")?;
    ensure!(error.code == ErrorCode::Paused, "refused with {error}");
    ensure!(error.message.contains("resume"), "the way out is not named: {error}");
    Ok(())
}
