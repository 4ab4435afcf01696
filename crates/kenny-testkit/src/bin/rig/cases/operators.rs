//! The operator's command line against a real service.

use anyhow::{Result, ensure};
use kenny_testkit::process::{self, Output};
use tokio::process::Command;

use super::Outcome;
use crate::live::Options;
use crate::site::{SOON, Site};

pub async fn the_command_line_updates_an_agent(site: &Site, options: &Options) -> Result<Outcome> {
    site.install().await?;
    let kenny = async |arguments: &[&str]| run(site, arguments).await;

    let agents = kenny(&["agents"]).await?.success()?;
    ensure!(
        agents.stdout.contains(&site.agent),
        "`agents` does not list the agent:\n{}",
        agents.text()
    );
    let shown = kenny(&["agent", "show", &site.agent]).await?.success()?;
    ensure!(shown.stdout.contains(&options.assets.old_version()), "no version:\n{}", shown.text());

    let release = options.assets.new.display().to_string();
    kenny(&["release", "add", &release]).await?.success()?;
    let wanted = options.assets.new_version();
    let releases = kenny(&["release", "list"]).await?.success()?;
    ensure!(releases.stdout.contains(&wanted), "`release list` lacks it:\n{}", releases.text());

    kenny(&["update", &site.agent, "--to", &wanted, "--watch"]).await?.success()?;
    site.client().online(&site.agent, Some(&wanted), SOON).await?;

    let called =
        kenny(&["call", &site.agent, "telemetry.collect", "--args", r#"{"sections":["host"]}"#])
            .await?
            .success()?;
    ensure!(called.stdout.contains("host"), "no answer on stdout:\n{}", called.text());
    let unknown = kenny(&["agent", "show", "nobody"]).await?;
    ensure!(unknown.code != 0, "an agent that is not there was shown:\n{}", unknown.text());
    Ok(Outcome::Passed)
}

async fn run(site: &Site, arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(&site.assets.cli);
    process::forget_kenny(command.as_std_mut());
    command
        .args(arguments)
        .env("KENNY_SERVER_URL", site.client().base())
        .env("KENNY_TOKEN", site.client().token())
        .env("NO_COLOR", "1");
    process::run(command, &site.assets.work.join("live"), SOON).await
}
