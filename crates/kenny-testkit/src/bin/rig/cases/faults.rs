//! What a network and a virus scanner do to an update, on the real service.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kenny_proto::api::UpdateState;
use kenny_proto::frames::ToolError;
use kenny_testkit::client::pretty;
use kenny_testkit::faults::{Fault, Faults};
use kenny_testkit::{Machine, eventually, process};
use serde_json::json;

use super::Outcome;
use super::updates::updater_is_gone;
use crate::live::Options;
use crate::site::{SOON, Site};

/// Bytes after which the connection is cut, again and again (issue: every 200 kB).
const CUT_BYTES: usize = 200_000;
/// How long the agent may take to fetch what comes in pieces, or does not end.
const ANSWER_MS: u64 = 180_000;
/// How long a scanner holds the file.
const HELD_S: &str = "5";

pub async fn a_download_that_is_cut_every_200_kb_arrives(
    site: &Site,
    options: &Options,
) -> Result<Outcome> {
    let bytes = fs_err::read(&options.assets.new)?;
    let busy = Fault::Status { code: 503, times: 2, retry_after: Some("1".to_owned()) };
    let faults = Faults::start(bytes.clone(), [busy, Fault::CutEvery(CUT_BYTES)]).await?;
    site.install_with(&["--allow-update-origin", &faults.at("")]).await?;
    let staged = ask(site, options, &options.assets.new_version(), &faults.url()).await?;
    ensure!(staged.is_ok(), "it was refused: {staged:?}");
    site.client().online(&site.agent, Some(&options.assets.new_version()), SOON).await?;
    let requests = faults.requests().len();
    ensure!(requests > bytes.len() / CUT_BYTES, "only {requests} requests: nothing was cut");
    ensure!(fs_err::read(site.active())? == bytes, "other bytes arrived");
    updater_is_gone(site).await?;
    Ok(Outcome::Passed)
}

pub async fn downloads_that_cannot_be_right_leave_the_old_version_alone(
    site: &Site,
    options: &Options,
) -> Result<Outcome> {
    let bytes = fs_err::read(&options.assets.new)?;
    let elsewhere = Faults::start(bytes.clone(), []).await?;
    let half = bytes.len() / 2;
    // What is said of it, and what the agent says in its answer.
    let faults = [
        ("another host", Fault::Redirect(elsewhere.url()), "url_refused"),
        ("a truncated file", Fault::Truncated(half), "hash_mismatch"),
        ("an endless body", Fault::Endless, "download"),
        ("a link that is gone", status(404), "download"),
        ("a server that fails for good", status(403), "download"),
    ];
    let mut servers = Vec::new();
    for (name, fault, kind) in faults {
        servers.push((name, Faults::start(bytes.clone(), fault).await?, kind));
    }
    let origins: Vec<String> = servers.iter().map(|(_, server, _)| server.at("")).collect();
    let mut arguments = Vec::new();
    for origin in &origins {
        arguments.extend(["--allow-update-origin", origin]);
    }
    site.install_with(&arguments).await?;
    let pid = site.service_pid()?;
    for (name, server, kind) in &servers {
        let refused = ask(site, options, &options.assets.new_version(), &server.url()).await?;
        let Err(error) = refused else { anyhow::bail!("{name} was taken") };
        ensure!(error.message.starts_with(&format!("{kind}: ")), "{name}: {error}");
        ensure!(site.service_pid()? == pid, "the service was restarted over {name}");
        updater_is_gone(site).await?;
    }
    ensure!(elsewhere.requests().is_empty(), "the other host was asked");
    Ok(Outcome::Passed)
}

pub async fn a_file_that_a_scanner_holds_is_waited_for(
    site: &Site,
    options: &Options,
) -> Result<Outcome> {
    site.install().await?;
    let wanted = options.assets.new_version();
    site.client().add_release(&options.assets.new).await?;
    let scanner = site.machine.put(options.bad("exits")?)?;
    let active = site.machine.path_inside(&site.active())?;
    let arguments = ["hold", active.as_str(), HELD_S];
    let holding = site.machine.run(&scanner, &arguments);
    let updating = async {
        // It holds the file once it runs; that it does not yet would only make the case easier.
        tokio::time::sleep(Duration::from_millis(700)).await;
        let update = site.client().update(&site.agent, &wanted, false).await?;
        site.client().finished(update.id, SOON).await
    };
    let (held, update) = tokio::join!(holding, updating);
    held?.success().context("the file could not be held")?;
    let update = update?;
    ensure!(update.state == UpdateState::Succeeded, "it ended otherwise:\n{}", pretty(&update));
    site.client().online(&site.agent, Some(&wanted), SOON).await?;
    updater_is_gone(site).await?;
    Ok(Outcome::Passed)
}

pub async fn a_server_that_does_not_answer_is_not_the_versions_fault(
    site: &Site,
    options: &Options,
) -> Result<Outcome> {
    if !Machine::CAN_REBOOT {
        return Ok(Outcome::Skipped("processes cannot be frozen on this machine"));
    }
    site.install_with(&["--start-timeout-secs", "3"]).await?;
    let wanted = options.assets.new_version();
    site.client().add_release(&options.assets.new).await?;
    let update = site.client().update(&site.agent, &wanted, false).await?;
    let journal = site.machine.state_dir().join("journal.json");
    eventually("the swap", SOON, async || {
        let text = std::fs::read_to_string(&journal).unwrap_or_default();
        let swapping = ["stopping", "replacing", "starting"];
        Ok(swapping.iter().any(|step| text.contains(&format!(r#""step":"{step}""#))).then_some(()))
    })
    .await?;
    process::freeze(site.server.pid())?;
    // Four times as long as a version may take that only its own fault keeps from being accepted.
    tokio::time::sleep(Duration::from_secs(12)).await;
    process::thaw(site.server.pid())?;
    let update = site.client().finished(update.id, SOON).await?;
    ensure!(update.state == UpdateState::Succeeded, "it ended otherwise:\n{}", pretty(&update));
    site.client().online(&site.agent, Some(&wanted), SOON).await?;
    updater_is_gone(site).await?;
    Ok(Outcome::Passed)
}

pub async fn an_agent_for_another_processor_is_refused(
    site: &Site,
    options: &Options,
) -> Result<Outcome> {
    let mut bytes = fs_err::read(&options.assets.new)?;
    let header = usize::try_from(u32::from_le_bytes(bytes[0x3c..0x40].try_into()?))?;
    // The machine stands right after the signature `PE\0\0`; 0xaa64 is 64-bit ARM.
    bytes[header + 4..header + 6].copy_from_slice(&0xaa64_u16.to_le_bytes());
    let file = options.assets.work.join("live").join("another-processor.exe");
    fs_err::write(&file, &bytes)?;
    let sha256 = site.client().add_release(&file).await?.release.sha256;
    let faults = Faults::start(bytes, []).await?;
    site.install_with(&["--allow-update-origin", &faults.at("")]).await?;
    let pid = site.service_pid()?;
    let version = options.assets.new_version();
    let args = json!({ "version": version, "url": faults.url(), "sha256": sha256 });
    let outcome = site.client().call(&site.agent, "agent.update", args).await?;
    let error = outcome.error.context("the right hash of a wrong architecture was taken")?;
    ensure!(error.message.starts_with("wrong_platform: "), "it says: {error}");
    ensure!(site.service_pid()? == pid, "the service was restarted");
    updater_is_gone(site).await?;
    Ok(Outcome::Passed)
}

fn status(code: u16) -> Fault {
    Fault::Status { code, times: usize::MAX, retry_after: None }
}

async fn ask(
    site: &Site,
    options: &Options,
    version: &str,
    url: &str,
) -> Result<Result<(), ToolError>> {
    let sha256 = site.client().add_release(&options.assets.new).await?.release.sha256;
    let args = json!({ "version": version, "url": url, "sha256": sha256 });
    let outcome =
        site.client().call_within(&site.agent, "agent.update", args, Some(ANSWER_MS)).await?;
    Ok(match outcome.error {
        None => Ok(()),
        Some(error) => Err(error),
    })
}
