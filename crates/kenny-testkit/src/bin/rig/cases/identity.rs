//! Keys: how a PC gets one, keeps it, and what it refuses.

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kenny_core::identity::IdentityKey;
use kenny_proto::api::{AgentIdentity, UpdateState};
use kenny_proto::{Invitation, PublicKey};
use kenny_testkit::raw::Heard;
use kenny_testkit::{Machine, Peer, eventually};
use serde_json::{Value, json};

use super::Outcome;
use crate::live::Options;
use crate::site::{SOON, Site};

fn config(site: &Site) -> Result<Value> {
    Ok(serde_json::from_slice(&fs_err::read(site.config())?)?)
}

/// The key's file, as the host of the machine sees it.
fn key_file(site: &Site) -> Result<std::path::PathBuf> {
    let config = config(site)?;
    let path = config["identity"]["key_file"].as_str().context("the config names no key")?;
    let name = path.rsplit(['\\', '/']).next().context("a path has a name")?;
    Ok(site.machine.install_dir().join(name))
}

/// How many keys lie beside the config.
fn keys(site: &Site) -> Result<usize> {
    let mut count = 0;
    for entry in fs_err::read_dir(site.machine.install_dir())? {
        let path = entry?.path();
        count += usize::from(path.extension().is_some_and(|extension| extension == "key"));
    }
    Ok(count)
}

async fn install_by_file(
    site: &Site,
    invitation: &Invitation,
) -> Result<kenny_testkit::process::Output> {
    // In the folder of the programs, so that the machine has a path for it.
    let file = site.machine.put(&site.assets.old)?.with_file_name("invitation.json");
    fs_err::write(&file, invitation.to_json())?;
    let file = site.machine.path_inside(&file)?;
    let arguments = ["install", "--invitation", &file, "--probation-secs", "1"];
    site.agent_command(&site.assets.old, &arguments).await
}

pub async fn an_invited_pc_has_a_key_that_stays_on_it(site: &Site, _: &Options) -> Result<Outcome> {
    install_by_file(site, &site.invitation).await?.success()?;
    let agent = site.client().online(&site.agent, None, SOON).await?;
    ensure!(agent.identity == AgentIdentity::Key, "it is {:?}", agent.identity);

    let written = fs_err::read_to_string(site.config())?;
    ensure!(config(site)?.get("token").is_none(), "there is a token in {written}");
    let content: Value = serde_json::from_slice(&fs_err::read(key_file(site)?)?)?;
    ensure!(content["protection"] == "dpapi-machine", "it is not protected: {content}");
    let public: PublicKey = serde_json::from_value(content["public_key"].clone())?;
    ensure!(Some(public) == agent.public_key, "the server knows another key");
    let secret = URL_SAFE_NO_PAD.decode(content["secret"].as_str().context("no secret")?)?;
    // DPAPI's own header, Windows' or Wine's, and nowhere in it the seed that makes this public key.
    let is_dpapi = [&[0xd0, 0x8c, 0x9d, 0xdf], b"Wine Crypt32 ok".as_slice()]
        .iter()
        .any(|header| secret.strip_prefix(&[1, 0, 0, 0]).is_some_and(|it| it.starts_with(header)));
    ensure!(is_dpapi, "no DPAPI: {secret:x?}");
    let raw = fs_err::read(key_file(site)?)?;
    for window in secret.windows(32).chain(raw.windows(32)) {
        let seed = window.try_into().expect("windows have 32 bytes");
        ensure!(IdentityKey::from_seed(seed).public() != public, "the key lies there plain");
    }

    // The same invitation once more is no harm, and no second key.
    install_by_file(site, &site.invitation).await?.success()?;
    ensure!(keys(site)? == 1, "there are {} keys", keys(site)?);
    if Machine::CAN_REBOOT {
        let before = site.client().agent(&site.agent).await?.agent.connected_at;
        site.machine.reboot().await?;
        eventually("the agent after the reboot", SOON, async || {
            let agent = site.client().agent(&site.agent).await?.agent;
            Ok((agent.online && agent.connected_at > before).then_some(()))
        })
        .await?;
    }
    // A token is not even asked about.
    let arguments = ["install", "--token", "kenny_agent_x"];
    let refused = site.agent_command(&site.assets.old, &arguments).await?;
    ensure!(
        refused.code != 0 && refused.stderr.contains("enrolled with a key"),
        "{}",
        refused.text()
    );
    site.client().online(&site.agent, None, SOON).await?;
    Ok(Outcome::Passed)
}

pub async fn an_update_keeps_the_identity_and_no_secret_beside_it(
    site: &Site,
    options: &Options,
) -> Result<Outcome> {
    let before = site.install().await?.public_key;
    site.client().add_release(&options.assets.new).await?;
    let wanted = options.assets.new_version();
    let update = site.client().update(&site.agent, &wanted, false).await?;
    let update = site.client().finished(update.id, SOON).await?;
    ensure!(
        update.state == UpdateState::Succeeded,
        "it is {:?}: {:?}",
        update.state,
        update.failure
    );
    let agent = site.client().online(&site.agent, Some(&wanted), SOON).await?;
    ensure!(agent.public_key == before && agent.identity == AgentIdentity::Key, "it is {agent:?}");
    let kept = site.machine.install_dir().join("update").join("previous.config.json");
    let kept: Value = serde_json::from_slice(&fs_err::read(kept)?)?;
    ensure!(kept.get("token").is_none(), "a secret was kept: {kept}");
    ensure!(kept["identity"] == config(site)?["identity"], "another identity was kept: {kept}");

    // With a new identity there is nothing to go back to: the old one would come back with it.
    let invitation = site.client().invite(&site.agent).await?;
    install_by_file(site, &invitation).await?.success()?;
    let agent = site.client().online(&site.agent, None, SOON).await?;
    ensure!(agent.public_key != before, "it has the key of before");
    ensure!(keys(site)? == 1, "the key of before is still there");
    let back = site.installed(&["rollback"]).await?;
    ensure!(back.code != 0, "it went back to an identity that is over:\n{}", back.text());
    site.client().online(&site.agent, None, SOON).await?;
    Ok(Outcome::Passed)
}

pub async fn a_server_with_another_key_is_refused(site: &Site, _: &Options) -> Result<Outcome> {
    site.install().await?;
    let good = fs_err::read(site.config())?;
    // To this agent the server is another one now.
    let mut other = config(site)?;
    other["identity"]["server_key"] = json!(PublicKey([9; 32]));
    let name = site.machine.service_name();
    site.machine.stop_service(name).await?.success()?;
    fs_err::write(site.config(), other.to_string())?;
    site.machine.start_service(name).await?.success()?;
    let refused = eventually("the refusal in `status`", SOON, async || {
        let said = site.installed(&["status"]).await?.stdout;
        Ok(said.contains("it is another server, or one that lost its key").then_some(said))
    })
    .await?;
    ensure!(refused.contains("not connected"), "it says {refused}");
    ensure!(!site.client().agent(&site.agent).await?.agent.online, "it is online there");
    let asked = site.installed(&["preflight"]).await?.exited_with(5)?;
    ensure!(asked.stdout.contains("cannot be reached"), "it says {}", asked.text());

    site.machine.stop_service(name).await?.success()?;
    fs_err::write(site.config(), good)?;
    site.machine.start_service(name).await?.success()?;
    site.client().online(&site.agent, None, SOON).await?;
    Ok(Outcome::Passed)
}

pub async fn an_invitation_that_is_of_no_use_changes_nothing(
    site: &Site,
    _: &Options,
) -> Result<Outcome> {
    let before = site.install().await?;
    let content = fs_err::read(site.config())?;
    let unknown = "0123-4567-89AB-CDEF-GHJK-MNPQ-RSTV".parse()?;
    let wrong = Invitation { code: unknown, ..site.invitation.clone() };
    let refused = install_by_file(site, &wrong).await?;
    ensure!(refused.code != 0, "it was taken:\n{}", refused.text());
    ensure!(refused.stderr.contains("no invitation has this code"), "it says {}", refused.text());
    ensure!(fs_err::read(site.config())? == content, "the config changed");
    let after = site.client().online(&site.agent, None, SOON).await?;
    ensure!(after.public_key == before.public_key, "the identity changed");

    // A code that is used up installs nothing on a PC that has not its key.
    site.agent_command(&site.assets.old, &["uninstall", "--purge"]).await?.success()?;
    ensure!(!site.machine.install_dir().exists(), "the key is left");
    let used = install_by_file(site, &site.invitation).await?;
    ensure!(used.code != 0 && used.stderr.contains("the code was used"), "it says {}", used.text());
    ensure!(
        site.machine.service(site.machine.service_name()).await?.is_none(),
        "there is a service all the same"
    );
    Ok(Outcome::Passed)
}

pub async fn an_agent_with_a_token_is_updated_and_then_gets_a_key(
    site: &Site,
    options: &Options,
) -> Result<Outcome> {
    let legacy = site.client().create_legacy_agent("pc-legacy").await?;
    site.install_legacy(&legacy).await?;
    let id = legacy.id.as_str();
    // As an agent of before wrote it.
    let mut old = config(site)?;
    old["schema"] = json!(2);
    fs_err::write(site.config(), old.to_string())?;
    site.client().add_release(&options.assets.new).await?;
    let wanted = options.assets.new_version();
    let update = site.client().update(id, &wanted, false).await?;
    let update = site.client().finished(update.id, SOON).await?;
    ensure!(
        update.state == UpdateState::Succeeded,
        "it is {:?}: {:?}",
        update.state,
        update.failure
    );
    let agent = site.client().online(id, Some(&wanted), SOON).await?;
    ensure!(agent.identity == AgentIdentity::Legacy, "it is {:?}", agent.identity);
    let written = config(site)?;
    ensure!(written["token"] == json!(legacy.token), "the token is gone: {written}");

    let invitation = site.client().invite(id).await?;
    install_by_file(site, &invitation).await?.success()?;
    let agent = site.client().online(id, None, SOON).await?;
    ensure!(agent.identity == AgentIdentity::Key, "it is {:?}", agent.identity);
    ensure!(config(site)?.get("token").is_none(), "the token is still there");
    let mut stranger = Peer::register(&legacy.server, id, &legacy.token, "0.2.0").await?;
    let Heard::Closed(code, words) = stranger.hear().await? else {
        anyhow::bail!("the token was accepted")
    };
    ensure!(code == Some(4401) && words.contains("enrolled with a key"), "{code:?}: {words}");
    ensure!(site.client().agent(id).await?.agent.online, "the stranger displaced it");
    Ok(Outcome::Passed)
}
