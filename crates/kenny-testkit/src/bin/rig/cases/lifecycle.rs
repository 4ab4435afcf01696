//! Install, status, stop, start, reboot, uninstall.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kenny_proto::{Os, PublicKey};
use kenny_testkit::Machine;
use kenny_testkit::machine::ServiceState;
use serde_json::{Value, json};

use super::Outcome;
use crate::live::Options;
use crate::site::{SOON, Site};

/// What `status` ends with when nothing is installed.
const NOT_INSTALLED: i32 = 3;

/// The service's own exit code for a configuration that cannot be used: Win32's "the specific one counts".
const SERVICE_SPECIFIC: u32 = 1066;

pub async fn installs_and_says_how_it_is(site: &Site, options: &Options) -> Result<Outcome> {
    let before = site.agent_command(&options.assets.old, &["status"]).await?;
    before.exited_with(NOT_INSTALLED)?;

    let agent = site.install().await?;
    ensure!(agent.os == Some(Os::Windows), "the server sees {:?}", agent.os);
    ensure!(agent.service == Some(true), "the server does not see a service: {agent:?}");
    ensure!(agent.sha256.is_some(), "the agent did not say what it runs");

    let people = site.installed(&["status"]).await?.success()?.stdout;
    let version = options.assets.old_version();
    for word in [version.as_str(), site.machine.service_name(), "127.0.0.1"] {
        ensure!(people.contains(word), "`status` does not say {word}:\n{people}");
    }
    let scripts = site.installed(&["status", "--json"]).await?.success()?.stdout;
    let _: Value = serde_json::from_str(&scripts)
        .with_context(|| format!("`status --json` is not JSON:\n{scripts}"))?;
    ensure!(
        people.contains("identity: a key of this PC"),
        "it does not say how it proves itself:\n{people}"
    );
    let code = site.invitation.code.to_string();
    ensure!(!scripts.contains(&code) && !people.contains(&code), "`status` shows the code");

    let said = site.installed(&["version"]).await?.success()?.stdout;
    ensure!(said.contains(&version), "`version` says {said}");
    Ok(Outcome::Passed)
}

/// What `preflight` ends with when it cannot use the config, and when nobody answers.
const UNFIT: i32 = 2;
const NO_SERVER: i32 = 5;

pub async fn a_preflight_says_whether_it_would_work_here(
    site: &Site,
    _: &Options,
) -> Result<Outcome> {
    site.install().await?;
    let before = site.client().agent(&site.agent).await?.agent.connected_at;
    let well = site.installed(&["preflight", "--json"]).await?.success()?.stdout;
    let well: Value = serde_json::from_str(&well).with_context(|| format!("not JSON:\n{well}"))?;
    ensure!(well["server"] == "accepted" && well["problem"].is_null(), "it says {well}");
    ensure!(well["os"] == "windows" && well["protocol"] == "0.3", "it says {well}");
    // Asking displaces no connection.
    let after = site.client().agent(&site.agent).await?.agent;
    ensure!(after.online && after.connected_at == before, "the connection was made anew");

    let good: Value = serde_json::from_slice(&fs_err::read(site.config())?)?;
    let changed = |pointer: &str, value: Value| {
        let mut config = good.clone();
        *config.pointer_mut(pointer).expect("it is in every config") = value;
        config
    };
    let legacy = site.client().create_legacy_agent("pc-legacy").await?;
    let with_token = |token: &str| json!({"schema": 2, "server": legacy.server, "agent_id": legacy.id, "token": token});
    let mut unknown_key = good.clone();
    unknown_key["agent_idd"] = json!("x");
    let config = site.machine.install_dir().join("other.config.json");
    let tries = [
        (with_token(&legacy.token), 0, "would accept"),
        (with_token("not-the-token"), NO_SERVER, "refuses"),
        (changed("/agent_id", json!("pc-nobody")), NO_SERVER, "refuses"),
        (
            changed("/identity/server_key", json!(PublicKey([9; 32]))),
            NO_SERVER,
            "cannot be reached",
        ),
        (changed("/server", json!("ws://127.0.0.1:1/agent/ws")), NO_SERVER, "cannot be reached"),
        (changed("/identity/key_file", json!("C:\\nowhere.key")), UNFIT, "nowhere.key"),
        (unknown_key, UNFIT, "agent_idd"),
    ];
    for (content, code, words) in tries {
        fs_err::write(&config, content.to_string())?;
        let path = config.to_str().context("paths of the rig are UTF-8")?;
        let output = site.installed(&["preflight", "--config", path]).await?.exited_with(code)?;
        ensure!(output.stdout.contains(words), "it does not say \"{words}\":\n{}", output.text());
        ensure!(!output.text().contains("-token"), "it shows the token:\n{}", output.text());
        ensure!(!output.text().contains(&legacy.token), "it shows the token:\n{}", output.text());
    }

    // Not for the console either.
    let updater = site.installed(&["run-updater"]).await?.exited_with(2)?;
    ensure!(updater.text().contains("nothing to do by hand"), "it says:\n{}", updater.text());
    Ok(Outcome::Passed)
}

pub async fn stops_and_starts(site: &Site, _: &Options) -> Result<Outcome> {
    site.install().await?;
    site.machine.stop_service(site.machine.service_name()).await?.success()?;
    site.client().offline(&site.agent, SOON).await?;
    site.service_is(ServiceState::Stopped).await?;
    ensure!(site.service_process().is_none(), "it said that it stopped, and its process lives");

    site.machine.start_service(site.machine.service_name()).await?.success()?;
    site.client().online(&site.agent, None, SOON).await?;
    Ok(Outcome::Passed)
}

pub async fn installing_again_keeps_identity_and_config(
    site: &Site,
    options: &Options,
) -> Result<Outcome> {
    site.install().await?;
    let before = fs_err::read_to_string(site.config())?;
    let connected = site.client().agent(&site.agent).await?.agent.connected_at;

    site.agent_command(&options.assets.old, &["install"]).await?.success()?;
    let agent =
        site.client().online(&site.agent, Some(&options.assets.old_version()), SOON).await?;
    ensure!(agent.connected_at >= connected, "the connection went back in time");
    ensure!(fs_err::read_to_string(site.config())? == before, "the configuration changed");

    // A flag changes what it names, and nothing else.
    site.agent_command(&options.assets.old, &["install", "--telemetry-interval-secs", "77"])
        .await?
        .success()?;
    let after: Value = serde_json::from_slice(&fs_err::read(site.config())?)?;
    let mut expected: Value = serde_json::from_str(&before)?;
    expected["telemetry_interval_secs"] = 77.into();
    ensure!(after == expected, "the configuration is {after} and not {expected}");
    site.client().online(&site.agent, None, SOON).await?;
    Ok(Outcome::Passed)
}

pub async fn installing_a_newer_version_upgrades_in_place(
    site: &Site,
    options: &Options,
) -> Result<Outcome> {
    site.install().await?;
    site.agent_command(&options.assets.new, &["install"]).await?.success()?;
    site.client().online(&site.agent, Some(&options.assets.new_version()), SOON).await?;
    Ok(Outcome::Passed)
}

pub async fn an_install_that_does_not_connect_says_why(
    site: &Site,
    options: &Options,
) -> Result<Outcome> {
    let legacy = site.client().create_legacy_agent("pc-legacy").await?;
    let (server, id) = (legacy.server.as_str(), legacy.id.as_str());
    let arguments = ["install", "--server", server, "--agent-id", id, "--token", "not-the-token"];
    let began = Instant::now();
    let output = site.agent_command(&options.assets.old, &arguments).await?;
    ensure!(began.elapsed() < Duration::from_secs(45), "it took {:?}", began.elapsed());
    ensure!(output.code != 0, "it succeeded with a wrong token:\n{}", output.text());
    ensure!(output.stderr.contains("token"), "it does not say why:\n{}", output.text());
    ensure!(!output.text().contains("not-the-token"), "it shows the token:\n{}", output.text());

    // The right token over it is all that it takes.
    site.install_legacy(&legacy).await?;
    Ok(Outcome::Passed)
}

pub async fn a_failed_install_leaves_nothing(site: &Site, _: &Options) -> Result<Outcome> {
    // A file is in the way of a folder that comes late.
    let in_the_way = site.machine.state_dir().join("logs");
    fs_err::create_dir_all(site.machine.state_dir())?;
    fs_err::write(&in_the_way, "not a folder")?;
    let error = site.install().await.err().context("it succeeded with a file in the way")?;
    ensure!(error.to_string().contains("logs"), "it does not say what is in the way: {error:#}");

    fs_err::remove_file(&in_the_way)?;
    fs_err::remove_dir(site.machine.state_dir()).context("something of it is left")?;
    nothing_is_left(site).await?;

    // What failed is not in the way of what is right.
    site.install().await?;
    Ok(Outcome::Passed)
}

pub async fn a_bad_config_stops_the_service_with_its_code(
    site: &Site,
    _: &Options,
) -> Result<Outcome> {
    site.install().await?;
    let name = site.machine.service_name();
    site.machine.stop_service(name).await?.success()?;
    site.service_is(ServiceState::Stopped).await?;
    let good = fs_err::read_to_string(site.config())?;
    fs_err::write(site.config(), good.replace("agent_id", "agent_idd"))?;

    // The start itself may be reported as a failure or as begun; how it ends is what counts.
    let _ = site.machine.start_service(name).await?;
    site.service_is(ServiceState::Stopped).await?;
    let service = site.machine.service(name).await?.context("the service is gone")?;
    ensure!(
        service.win32_exit_code == SERVICE_SPECIFIC && service.specific_exit_code != 0,
        "it did not end with a code of its own: {service:?}"
    );
    ensure!(site.machine.processes("run-service").is_empty(), "something of it still runs");

    fs_err::write(site.config(), good)?;
    site.machine.start_service(name).await?.success()?;
    site.client().online(&site.agent, None, SOON).await?;
    Ok(Outcome::Passed)
}

pub async fn a_reboot_brings_the_agent_back(site: &Site, _: &Options) -> Result<Outcome> {
    if !Machine::CAN_REBOOT {
        return Ok(Outcome::Skipped("the machine that runs the tests cannot be rebooted by them"));
    }
    site.install().await?;
    let before = site.client().agent(&site.agent).await?.agent.connected_at;
    site.machine.reboot().await?;
    let agent = site.client().online(&site.agent, None, SOON).await?;
    let after = site.client().agent(&site.agent).await?.agent.connected_at;
    ensure!(after > before, "it is online on the connection of before the reboot: {agent:?}");
    Ok(Outcome::Passed)
}

pub async fn uninstalling_removes_the_program_and_keeps_the_state(
    site: &Site,
    options: &Options,
) -> Result<Outcome> {
    site.install().await?;
    // Not with the installed executable: nothing can delete the image that it runs.
    site.agent_command(&options.assets.old, &["uninstall"]).await?.success()?;
    site.client().offline(&site.agent, SOON).await?;
    ensure!(
        site.machine.service(site.machine.service_name()).await?.is_none(),
        "the service is still there"
    );
    ensure!(!site.active().exists(), "the executable is still there");
    ensure!(site.config().exists(), "the configuration went without --purge");
    ensure!(site.machine.processes("kenny-agent.exe").is_empty(), "something of it still runs");

    let again = site.agent_command(&options.assets.old, &["uninstall"]).await?;
    ensure!(!again.text().trim().is_empty(), "uninstalling what is not there says nothing");

    // Identity and configuration are found again.
    site.agent_command(&options.assets.old, &["install"]).await?.success()?;
    site.client().online(&site.agent, None, SOON).await?;
    Ok(Outcome::Passed)
}

pub async fn uninstalling_with_purge_leaves_nothing(
    site: &Site,
    options: &Options,
) -> Result<Outcome> {
    site.install().await?;
    site.agent_command(&options.assets.old, &["uninstall", "--purge"]).await?.success()?;
    site.client().offline(&site.agent, SOON).await?;
    nothing_is_left(site).await?;
    Ok(Outcome::Passed)
}

pub async fn nothing_is_left(site: &Site) -> Result<()> {
    for name in [site.machine.service_name().to_owned(), site.updater()] {
        ensure!(site.machine.service(&name).await?.is_none(), "the service {name} is left");
    }
    for folder in [site.machine.install_dir(), site.machine.state_dir()] {
        ensure!(!folder.exists(), "{} is left", folder.display());
    }
    let left = site.machine.processes("run-");
    ensure!(left.is_empty(), "these processes are left: {left:?}");
    Ok(())
}
