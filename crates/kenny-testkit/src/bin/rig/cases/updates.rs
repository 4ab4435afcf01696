//! The main job: a server pushes a version to an agent that is its own service.

use anyhow::{Context, Result, ensure};
use kenny_proto::api::{Update, UpdateState};
use kenny_testkit::client::pretty;
use kenny_testkit::{Machine, eventually};
use serde_json::{Value, json};

use super::Outcome;
use crate::live::Options;
use crate::site::{SOON, Site};

pub async fn a_newer_version_is_installed(site: &Site, options: &Options) -> Result<Outcome> {
    site.install().await?;
    let wanted = options.assets.new_version();
    let added = site.client().add_release(&options.assets.new).await?;
    ensure!(added.created && added.release.version == wanted, "the server read {added:?}");
    let pid = site.service_pid()?;

    let update = site.client().update(&site.agent, &wanted, false).await?;
    let update = site.client().finished(update.id, SOON).await?;
    ensure!(update.state == UpdateState::Succeeded, "it ended otherwise:\n{}", pretty(&update));
    ensure!(
        update.from_version == Some(options.assets.old_version()),
        "from {:?}",
        update.from_version
    );
    in_order(&update, &["requested", "sent", "stopped", "online"])?;

    let agent = site.client().online(&site.agent, Some(&wanted), SOON).await?;
    ensure!(
        agent.sha256 == Some(added.release.sha256),
        "the agent runs other bytes than the release has"
    );
    ensure!(site.service_pid()? != pid, "the process is still the old one");
    let said = site.installed(&["version"]).await?.success()?.stdout;
    ensure!(said.contains(&wanted), "the executable at the image path says {said}");
    updater_is_gone(site).await?;
    Ok(Outcome::Passed)
}

pub async fn the_same_version_changes_nothing(site: &Site, options: &Options) -> Result<Outcome> {
    site.install().await?;
    let version = options.assets.old_version();
    let added = site.client().add_release(&options.assets.old).await?;
    let pid = site.service_pid()?;
    let before = site.client().agent(&site.agent).await?.agent.connected_at;

    let update = site.client().update(&site.agent, &version, false).await?;
    ensure!(update.state == UpdateState::Succeeded, "not finished at once:\n{}", pretty(&update));
    // The agent itself, asked directly, does not restart either.
    let outcome =
        site.client().call(&site.agent, "agent.update", json!({ "version": version })).await?;
    let ok = outcome.ok || outcome.error.is_some();
    ensure!(ok, "no answer: {outcome:?}");

    ensure!(site.service_pid()? == pid, "the service was restarted");
    let agent = site.client().online(&site.agent, Some(&version), SOON).await?;
    ensure!(agent.connected_at == before, "the connection was made anew");
    ensure!(
        agent.sha256 == Some(added.release.sha256),
        "the agent runs other bytes than the release has"
    );
    Ok(Outcome::Passed)
}

pub async fn a_wrong_hash_is_refused(site: &Site, options: &Options) -> Result<Outcome> {
    site.install().await?;
    let running = options.assets.new_version();
    site.client().add_release(&options.assets.new).await?;
    let other = site.client().add_release(options.bad("exits")?).await?;
    let update = site.client().update(&site.agent, &running, false).await?;
    let update = site.client().finished(update.id, SOON).await?;
    ensure!(update.state == UpdateState::Succeeded, "it ended otherwise:\n{}", pretty(&update));
    updater_is_gone(site).await?;
    let pid = site.service_pid()?;

    // A link of the server's own, which the agent accepts, with the version and the digest of something else.
    let journal = fs_err::read_to_string(site.machine.state_dir().join("journal.json"))?;
    // The first line is the journal, the second its checksum.
    let journal: Value = serde_json::from_str(journal.lines().next().unwrap_or_default())?;
    let args = json!({
        "version": other.release.version,
        "url": journal["url"],
        "sha256": other.release.sha256,
    });
    let outcome = site.client().call(&site.agent, "agent.update", args).await?;
    let error = outcome.error.with_context(|| format!("it was taken: {:?}", outcome.result))?;
    let said = error.message.to_lowercase();
    ensure!(said.contains("sha-256") || said.contains("hash"), "it says: {error}");

    ensure!(site.service_pid()? == pid, "the service was restarted");
    site.client().online(&site.agent, Some(&running), SOON).await?;
    updater_is_gone(site).await?;
    Ok(Outcome::Passed)
}

pub async fn another_request_while_one_is_open_is_refused(
    site: &Site,
    options: &Options,
) -> Result<Outcome> {
    // Long enough that the update is open for as long as this looks at it.
    site.install_with(&["--probation-secs", "20"]).await?;
    let wanted = options.assets.new_version();
    site.client().add_release(&options.assets.new).await?;
    let update = site.client().update(&site.agent, &wanted, false).await?;
    site.client().online(&site.agent, Some(&wanted), SOON).await?;
    let pid = site.service_pid()?;

    let args = json!({
        "version": "8.0.0",
        "url": format!("{}/artifacts/none", site.client().base()),
        "sha256": "8".repeat(64),
    });
    let outcome = site.client().call(&site.agent, "agent.update", args).await?;
    let error = outcome.error.with_context(|| format!("it was taken: {:?}", outcome.result))?;
    ensure!(error.message.contains("still open"), "it says: {error}");
    ensure!(error.message.contains(&wanted), "it does not say which is open: {error}");
    // At the PC itself neither.
    let by_hand = site.installed(&["rollback"]).await?.exited_with(1)?;
    ensure!(by_hand.text().contains("still open"), "it says:\n{}", by_hand.text());

    let update = site.client().finished(update.id, SOON).await?;
    ensure!(update.state == UpdateState::Succeeded, "it ended otherwise:\n{}", pretty(&update));
    ensure!(site.service_pid()? == pid, "the service was restarted");
    updater_is_gone(site).await?;
    Ok(Outcome::Passed)
}

pub async fn a_reboot_on_probation_is_no_failure(
    site: &Site,
    options: &Options,
) -> Result<Outcome> {
    if !Machine::CAN_REBOOT {
        return Ok(Outcome::Skipped("the machine that runs the tests cannot be rebooted by them"));
    }
    site.install_with(&["--probation-secs", "5"]).await?;
    let wanted = options.assets.new_version();
    site.client().add_release(&options.assets.new).await?;
    let update = site.client().update(&site.agent, &wanted, false).await?;
    site.client().online(&site.agent, Some(&wanted), SOON).await?;
    site.machine.reboot().await?;
    // Both are back with the PC: the agent, and the updater that has yet to be convinced.
    site.client().online(&site.agent, Some(&wanted), SOON).await?;
    ensure!(!site.machine.processes("run-updater").is_empty(), "the updater did not come back");
    let update = site.client().finished(update.id, SOON).await?;
    ensure!(update.state == UpdateState::Succeeded, "it ended otherwise:\n{}", pretty(&update));
    updater_is_gone(site).await?;
    Ok(Outcome::Passed)
}

pub async fn a_foreign_file_in_the_staging_folder_survives(
    site: &Site,
    options: &Options,
) -> Result<Outcome> {
    site.install().await?;
    let folder = site.machine.install_dir().join("update");
    fs_err::create_dir_all(&folder)?;
    // Called as nothing of ours is, and one as an old download: what it is worth is a matter of its name alone.
    let foreign = ["setup.exe", "notes.txt", "0123.exe"];
    let abandoned = format!("{}.part", "0".repeat(64));
    for name in foreign.into_iter().chain([abandoned.as_str()]) {
        fs_err::write(folder.join(name), name)?;
    }
    let wanted = options.assets.new_version();
    site.client().add_release(&options.assets.new).await?;
    let update = site.client().update(&site.agent, &wanted, false).await?;
    let update = site.client().finished(update.id, SOON).await?;
    ensure!(update.state == UpdateState::Succeeded, "it ended otherwise:\n{}", pretty(&update));
    updater_is_gone(site).await?;
    for name in foreign {
        let content = fs_err::read_to_string(folder.join(name))?;
        ensure!(content == name, "{name} was changed to {content}");
    }
    ensure!(!folder.join(abandoned).exists(), "an old download is still there");
    let left = fs_err::read_dir(&folder)?.flatten().map(|entry| entry.file_name());
    let left: Vec<_> = left.filter(|name| name.len() > 64).collect();
    ensure!(left.is_empty(), "downloads are left: {left:?}");
    Ok(Outcome::Passed)
}

pub async fn a_release_that_is_no_agent_is_refused(
    site: &Site,
    options: &Options,
) -> Result<Outcome> {
    let server = site.client().add_release(&options.assets.server).await;
    let error = server.err().context("the server's own program was taken for an agent")?;
    ensure!(error.to_string().contains("not_an_agent"), "it says: {error}");
    ensure!(site.client().releases().await?.releases.is_empty(), "something was kept");
    Ok(Outcome::Passed)
}

fn in_order(update: &Update, steps: &[&str]) -> Result<()> {
    let mut timeline = update.timeline.iter();
    for step in steps {
        timeline
            .find(|entry| entry.step == *step)
            .with_context(|| format!("`{step}` is not where it belongs:\n{}", pretty(update)))?;
    }
    Ok(())
}

/// The updater takes itself away once its work is done.
pub async fn updater_is_gone(site: &Site) -> Result<()> {
    let name = site.updater();
    eventually(&format!("the end of {name}"), SOON, async || {
        Ok(site.machine.processes("run-updater").is_empty().then_some(()))
    })
    .await?;
    let service = site.machine.service(&name).await?;
    ensure!(service.is_none(), "{name} is still registered: {service:?}");
    Ok(())
}
