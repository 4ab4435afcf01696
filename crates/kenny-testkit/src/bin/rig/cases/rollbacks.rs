//! Back to the version that ran before: asked for by an operator, and by hand at the PC.

use anyhow::{Context, Result, ensure};
use kenny_proto::api::UpdateState;
use kenny_testkit::client::pretty;
use kenny_testkit::machine::ServiceState;
use serde_json::json;

use super::Outcome;
use super::updates::updater_is_gone;
use crate::live::Options;
use crate::site::{SOON, Site};

pub async fn an_operator_goes_back_by_a_tool_call(
    site: &Site,
    options: &Options,
) -> Result<Outcome> {
    site.install().await?;
    let old = options.assets.old_version();
    // Nothing is kept yet. The server may know that as well as the agent.
    let none = site.client().call(&site.agent, "agent.rollback", json!({})).await;
    ensure!(none.as_ref().is_ok_and(|outcome| !outcome.ok) || none.is_err(), "it said {none:?}");

    update_to_new(site, options).await?;
    let outcome = site.client().call(&site.agent, "agent.rollback", json!({})).await?;
    let result = outcome.result.with_context(|| format!("it says {:?}", outcome.error))?;
    ensure!(result["staged_version"] == old.as_str(), "it says {result:?}");
    let agent = site.client().online(&site.agent, Some(&old), SOON).await?;
    ensure!(agent.service == Some(true), "it is online, and not as a service");
    let said = site.installed(&["version"]).await?.success()?.stdout;
    ensure!(said.contains(&old), "the executable at the image path says {said}");
    updater_is_gone(site).await?;
    Ok(Outcome::Passed)
}

pub async fn somebody_at_the_pc_goes_back(site: &Site, options: &Options) -> Result<Outcome> {
    site.install().await?;
    let (old, new) = (options.assets.old_version(), options.assets.new_version());
    let none = site.installed(&["rollback"]).await?.exited_with(1)?;
    ensure!(none.text().contains("no version to go back to"), "it says:\n{}", none.text());

    update_to_new(site, options).await?;
    let back = site.installed(&["rollback"]).await?.success()?.stdout;
    for word in [old.as_str(), "the agent is being stopped", "done"] {
        ensure!(back.contains(word), "it does not say \"{word}\":\n{back}");
    }
    site.client().online(&site.agent, Some(&old), SOON).await?;
    updater_is_gone(site).await?;

    // What was left is kept now. A service that does not run is no obstacle.
    let name = site.machine.service_name();
    site.machine.stop_service(name).await?.success()?;
    site.service_is(ServiceState::Stopped).await?;
    site.installed(&["rollback"]).await?.success()?;
    site.client().online(&site.agent, Some(&new), SOON).await?;
    let said = site.installed(&["version"]).await?.success()?.stdout;
    ensure!(said.contains(&new), "the executable at the image path says {said}");
    updater_is_gone(site).await?;
    Ok(Outcome::Passed)
}

async fn update_to_new(site: &Site, options: &Options) -> Result<()> {
    site.client().add_release(&options.assets.new).await?;
    let wanted = options.assets.new_version();
    let update = site.client().update(&site.agent, &wanted, false).await?;
    let update = site.client().finished(update.id, SOON).await?;
    ensure!(update.state == UpdateState::Succeeded, "it ended otherwise:\n{}", pretty(&update));
    updater_is_gone(site).await
}
