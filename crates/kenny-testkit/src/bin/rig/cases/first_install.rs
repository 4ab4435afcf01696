//! From the invitation to the entry in Installed apps, and away again by it.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use kenny_proto::api::{AgentIdentity, UpdateState};
use kenny_proto::invitation::INVITE_PATH;
use kenny_testkit::client::pretty;
use kenny_testkit::{Machine, eventually};

use super::Outcome;
use super::lifecycle::nothing_is_left;
use crate::live::Options;
use crate::site::{SOON, Site};

/// A value of the entry in Installed apps; none where there is no entry.
async fn entry(site: &Site, name: &str) -> Result<Option<String>> {
    let key = format!(
        "HKLM\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Uninstall\\{}",
        site.machine.service_name()
    );
    let said = site.machine.run(Path::new("reg"), &["query", &key, "/v", name]).await?;
    if said.code != 0 {
        return Ok(None);
    }
    let line = said.stdout.lines().find(|line| line.trim_start().starts_with(name));
    let line =
        line.with_context(|| format!("`reg query` does not say {name}:\n{}", said.stdout))?;
    let kind = ["REG_SZ", "REG_DWORD"].into_iter().find_map(|kind| line.split_once(kind));
    let (_, value) = kind.with_context(|| format!("another type: {line}"))?;
    Ok(Some(value.trim().to_owned()))
}

async fn wanted_entry(site: &Site, name: &str) -> Result<String> {
    entry(site, name).await?.with_context(|| format!("Installed apps has no {name}"))
}

pub async fn installed_apps_names_the_version_and_removes_everything(
    site: &Site,
    options: &Options,
) -> Result<Outcome> {
    site.install().await?;
    let location = site.machine.path_inside(&site.machine.install_dir())?;
    for (name, value) in [
        ("DisplayVersion", options.assets.old_version().as_str()),
        ("InstallLocation", &location),
        ("NoModify", "0x1"),
        ("NoRepair", "0x1"),
    ] {
        let said = wanted_entry(site, name).await?;
        ensure!(said == value, "{name} is {said} and not {value}");
    }
    ensure!(wanted_entry(site, "DisplayName").await?.starts_with("Kenny agent"), "another name");
    ensure!(wanted_entry(site, "EstimatedSize").await? != "0x0", "it takes no room");
    let quiet = wanted_entry(site, "QuietUninstallString").await?;
    ensure!(quiet.ends_with("--quiet"), "it is not quiet: {quiet}");

    let wanted = options.assets.new_version();
    site.client().add_release(&options.assets.new).await?;
    let update = site.client().update(&site.agent, &wanted, false).await?;
    let update = site.client().finished(update.id, SOON).await?;
    ensure!(update.state == UpdateState::Succeeded, "it ended otherwise:\n{}", pretty(&update));
    eventually("Installed apps names the new version", SOON, async || {
        Ok((wanted_entry(site, "DisplayVersion").await? == wanted).then_some(()))
    })
    .await?;

    // As a person presses it: the program removes the folder that it runs from.
    let line = wanted_entry(site, "UninstallString").await?;
    let batch = site.assets.work.join(format!("{}-uninstall.cmd", site.agent));
    fs_err::write(&batch, format!("@{line}\r\n"))?;
    let there = site.machine.put(&batch)?;
    fs_err::remove_file(&batch)?;
    let inside = site.machine.path_inside(&there)?;
    site.machine.run(Path::new("cmd"), &["/d", "/c", &inside]).await?.success()?;
    site.client().offline(&site.agent, SOON).await?;
    eventually("the program is gone", SOON, async || {
        Ok((!site.machine.install_dir().exists()).then_some(()))
    })
    .await?;
    nothing_is_left(site).await?;
    ensure!(entry(site, "DisplayName").await?.is_none(), "Installed apps still has it");
    Ok(Outcome::Passed)
}

/// What a double click comes to once Windows was answered with yes: `install`, and nothing else said.
pub async fn a_downloaded_installer_makes_the_pc_an_agent(
    site: &Site,
    options: &Options,
) -> Result<Outcome> {
    let added = site.client().add_release(&options.assets.old).await?;
    let name = format!("kenny-agent-setup-{}.exe", site.agent);
    let code = &site.invitation.code;
    let page = site.client().download(&format!("{INVITE_PATH}/{code}")).await?;
    ensure!(String::from_utf8_lossy(&page).contains(&name), "the page does not offer {name}");
    let installer = site.client().download(&format!("{INVITE_PATH}/{code}/{name}")).await?;
    ensure!(installer.len() as u64 > added.release.size_bytes, "nothing is inside");

    let file = site.assets.work.join(&name);
    fs_err::write(&file, installer)?;
    let downloaded = site.machine.put(&file)?;
    fs_err::remove_file(&file)?;
    // As a browser may leave it.
    let mut permissions = fs_err::metadata(&downloaded)?.permissions();
    permissions.set_readonly(true);
    fs_err::set_permissions(&downloaded, permissions)?;
    let install = ["install", "--service-name", site.machine.service_name()];
    site.machine.run(&downloaded, &install).await?.success()?;

    let agent =
        site.client().online(&site.agent, Some(&options.assets.old_version()), SOON).await?;
    ensure!(agent.identity == AgentIdentity::Key, "it is {:?}", agent.identity);
    ensure!(agent.sha256 == Some(added.release.sha256), "it runs other bytes than were released");
    ensure!(
        fs_err::read(site.active())? == fs_err::read(&options.assets.old)?,
        "the installed executable is not the released one"
    );
    // Once more is no harm.
    site.machine.run(&downloaded, &install).await?.success()?;
    site.client().online(&site.agent, None, SOON).await?;
    Ok(Outcome::Passed)
}

pub async fn ordinary_accounts_write_to_nothing(site: &Site, _: &Options) -> Result<Outcome> {
    if !Machine::KEEPS_ACCESS_LISTS {
        return Ok(Outcome::Skipped("Wine neither keeps nor enforces access lists"));
    }
    site.install().await?;
    for (path, is_public) in [
        (site.machine.install_dir(), true),
        (site.active(), true),
        (site.config(), false),
        (site.machine.state_dir(), false),
        (site.machine.state_dir().join("state.json"), false),
    ] {
        let inside = site.machine.path_inside(&path)?;
        let said = site.machine.run(Path::new("icacls"), &[&inside]).await?.success()?.stdout;
        let entries: Vec<&str> = said.lines().filter(|line| line.contains(":(")).collect();
        ensure!(!entries.is_empty(), "icacls says nothing of {inside}:\n{said}");
        for entry in entries {
            let trusted = ["NT AUTHORITY\\SYSTEM", "BUILTIN\\Administrators"];
            let reads = entry.contains("BUILTIN\\Users") && entry.trim_end().ends_with("(RX)");
            let is_trusted = trusted.iter().any(|name| entry.contains(name));
            ensure!(is_trusted || (is_public && reads), "{inside} is open:\n{said}");
        }
    }
    Ok(Outcome::Passed)
}
