//! Signed releases, on the real service: what a root that was pinned at install lets run.

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use kenny_proto::FailureKind;
use kenny_proto::api::UpdateState;
use kenny_testkit::client::pretty;
use kenny_testkit::signing::Repository;
use kenny_testkit::{Metadata, eventually};
use serde_json::{Value, json};

use super::Outcome;
use super::updates::updater_is_gone;
use crate::live::Options;
use crate::site::{SOON, Site};

pub async fn a_pinned_agent_takes_what_was_signed_and_nothing_else(
    site: &Site,
    options: &Options,
) -> Result<Outcome> {
    let (old, new) = (options.assets.old_version(), options.assets.new_version());
    let (old_bytes, new_bytes) =
        (fs_err::read(&options.assets.old)?, fs_err::read(&options.assets.new)?);
    let mut signed = Signed::new(site).await?;
    signed.install(site, &[]).await?;
    for file in [&options.assets.old, &options.assets.new] {
        site.client().add_release(file).await?;
    }
    let pid = site.service_pid()?;
    let before = fs_err::read(site.active())?;

    // The server has it and says so; nobody signed it.
    let said = refused(site, &new).await?;
    ensure!(said.starts_with("untrusted: ") && said.contains(&new), "it says: {said}");
    // Somebody signed something of that name.
    signed.publish(&new, b"not the same bytes", &json!({}));
    let said = refused(site, &new).await?;
    ensure!(said.starts_with("untrusted: ") && said.contains("SHA-256"), "it says: {said}");
    // Installing again without a root leaves it pinned.
    signed.install_without_root(site).await?;
    let said = refused(site, &new).await?;
    ensure!(said.starts_with("untrusted: "), "it says: {said}");
    ensure!(fs_err::read(site.active())? == before, "the executable is another one");
    ensure!(site.service_pid()? != pid, "installing again starts it again");
    updater_is_gone(site).await?;

    signed.publish(&new, &new_bytes, &json!({}));
    let update = site.client().update(&site.agent, &new, false).await?;
    let update = site.client().finished(update.id, SOON).await?;
    ensure!(update.state == UpdateState::Succeeded, "it ended otherwise:\n{}", pretty(&update));
    site.client().online(&site.agent, Some(&new), SOON).await?;
    updater_is_gone(site).await?;
    let told = eventually("the trust of the new version in its telemetry", SOON, async || {
        let told = trust_told(site).await?;
        Ok((told["status"] == "ok" && told["floor"] == new.as_str()).then_some(told))
    })
    .await?;
    ensure!(told["mode"] == "pinned" && told["root_version"] == 1, "it tells {told}");

    // Down again only where that was signed.
    signed.publish(&old, &old_bytes, &json!({}));
    let update = site.client().update(&site.agent, &old, true).await?;
    let update = site.client().finished(update.id, SOON).await?;
    let kind = update.failure.as_ref().map(|failure| failure.kind);
    ensure!(kind == Some(FailureKind::BelowFloor), "it ended otherwise:\n{}", pretty(&update));
    signed.publish(&old, &old_bytes, &json!({"rollback_to": true}));
    let update = site.client().update(&site.agent, &old, true).await?;
    let update = site.client().finished(update.id, SOON).await?;
    ensure!(update.state == UpdateState::Succeeded, "it ended otherwise:\n{}", pretty(&update));
    site.client().online(&site.agent, Some(&old), SOON).await?;
    updater_is_gone(site).await?;
    Ok(Outcome::Passed)
}

pub async fn signatures_that_are_not_renewed_stop_updates_and_nothing_else(
    site: &Site,
    options: &Options,
) -> Result<Outcome> {
    let new = options.assets.new_version();
    let new_bytes = fs_err::read(&options.assets.new)?;
    let mut signed = Signed::new(site).await?;
    signed.repository.expires.timestamp = Timestamp::now();
    signed.publish(&new, &new_bytes, &json!({}));
    signed.install(site, &[]).await?;
    site.client().add_release(&options.assets.new).await?;
    let pid = site.service_pid()?;
    let said = refused(site, &new).await?;
    ensure!(said.starts_with("expired: ") && said.contains("timestamp"), "it says: {said}");
    let told = trust_told(site).await?;
    ensure!(told["status"] == "crit" && told["problem"]["kind"] == "expired", "it tells {told}");
    ensure!(site.service_pid()? == pid, "the service was restarted");
    updater_is_gone(site).await?;

    signed.repository.expires.timestamp = Repository::new(Timestamp::now()).expires.timestamp;
    signed.publish(&new, &new_bytes, &json!({}));
    let update = site.client().update(&site.agent, &new, false).await?;
    let update = site.client().finished(update.id, SOON).await?;
    ensure!(update.state == UpdateState::Succeeded, "it ended otherwise:\n{}", pretty(&update));
    updater_is_gone(site).await?;
    Ok(Outcome::Passed)
}

pub async fn an_executable_without_authenticode_is_refused_where_it_is_required(
    site: &Site,
    options: &Options,
) -> Result<Outcome> {
    site.install_with(&["--require-authenticode"]).await?;
    site.client().add_release(&options.assets.new).await?;
    let pid = site.service_pid()?;
    let said = refused(site, &options.assets.new_version()).await?;
    ensure!(said.starts_with("untrusted: ") && said.contains("Authenticode"), "it says: {said}");
    ensure!(site.service_pid()? == pid, "the service was restarted");
    updater_is_gone(site).await?;
    Ok(Outcome::Passed)
}

/// An operator's keys, and the server that serves what they sign in front of the real one.
struct Signed {
    repository: Repository,
    server: Metadata,
}

impl Signed {
    async fn new(site: &Site) -> Result<Self> {
        let behind = site.client().base().trim_start_matches("http://").to_owned();
        let mut repository = Repository::new(Timestamp::now());
        let server = Metadata::start(Some(behind)).await?;
        server.serve(repository.publish());
        Ok(Self { repository, server })
    }

    /// Installs the older agent with the root pinned.
    async fn install(&self, site: &Site, more: &[&str]) -> Result<()> {
        let root = site.assets.work.join("live").join(format!("{}-root.json", site.agent));
        fs_err::write(&root, self.repository.root_json())?;
        let root = site.machine.put(&root)?;
        let root = site.machine.path_inside(&root)?;
        let arguments = [&["--trust-root", root.as_str()], more].concat();
        site.install_at(&self.server.tunnel(), &arguments).await?;
        Ok(())
    }

    async fn install_without_root(&self, site: &Site) -> Result<()> {
        site.install_at(&self.server.tunnel(), &[]).await?;
        Ok(())
    }

    /// Signs these bytes as this version, and nothing else any more.
    fn publish(&mut self, version: &str, bytes: &[u8], more: &Value) {
        self.repository.releases.clear();
        self.repository.release((version, "windows", "x86_64"), bytes, more);
        self.server.serve(self.repository.publish());
    }
}

/// What the agent answers to a request for this version, which it has to refuse.
async fn refused(site: &Site, version: &str) -> Result<String> {
    let args = json!({ "version": version });
    let outcome = site.client().call(&site.agent, "agent.update", args).await?;
    let error = outcome.error.with_context(|| format!("it was taken: {:?}", outcome.result))?;
    Ok(error.message)
}

/// The section `trust` of the telemetry.
async fn trust_told(site: &Site) -> Result<Value> {
    let args = json!({ "sections": ["trust"] });
    let outcome = site.client().call(&site.agent, "telemetry.collect", args).await?;
    let sections = outcome.result.with_context(|| format!("no telemetry: {:?}", outcome.error))?;
    sections.get("trust").cloned().context("the telemetry has no section `trust`")
}
