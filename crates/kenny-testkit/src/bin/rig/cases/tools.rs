//! Tools on a real Windows service.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kenny_testkit::machine::ServiceState;
use kenny_testkit::{Machine, eventually};
use serde_json::json;

use super::Outcome;
use crate::live::Options;
use crate::site::{SOON, Site};

pub async fn a_tool_call_is_answered(site: &Site, _: &Options) -> Result<Outcome> {
    site.install().await?;
    let script = json!({ "script": "Write-Output 'grüße'; exit 3", "timeout_s": 30 });
    let outcome = site.client().call(&site.agent, "powershell.exec", script).await?;
    let result = outcome.result.with_context(|| format!("no result: {:?}", outcome.error))?;
    for field in ["stdout", "stderr", "exit_code"] {
        ensure!(result.contains_key(field), "`{field}` is missing: {result:?}");
    }
    if Machine::RUNS_POWERSHELL {
        ensure!(result["exit_code"] == 3, "the exit code is lost: {result:?}");
        let stdout = result["stdout"].as_str().unwrap_or_default();
        ensure!(stdout.contains("grüße"), "the output is garbled: {result:?}");
    }
    let unknown = site.client().call(&site.agent, "fs.read", json!({ "path": "C:\\x" })).await?;
    ensure!(!unknown.ok, "a tool that this version lacks gave {unknown:?}");
    Ok(Outcome::Passed)
}

pub async fn a_running_tool_does_not_delay_a_stop(site: &Site, _: &Options) -> Result<Outcome> {
    if !Machine::RUNS_POWERSHELL {
        return Ok(Outcome::Skipped(
            "Wine's powershell is a stub: nothing can be made to run long",
        ));
    }
    site.install().await?;
    let script = json!({ "script": "Start-Sleep -Seconds 300", "timeout_s": 300 });
    let client = site.client().clone();
    let agent = site.agent.clone();
    let call = tokio::spawn(async move { client.call(&agent, "powershell.exec", script).await });
    eventually("the script's process", SOON, async || {
        Ok((site.machine.processes("").len() > 1).then_some(()))
    })
    .await?;

    let began = Instant::now();
    site.machine.stop_service(site.machine.service_name()).await?.success()?;
    site.service_is(ServiceState::Stopped).await?;
    let took = began.elapsed();
    // The service promises 5 s, and looking costs a second.
    ensure!(took < Duration::from_secs(7), "the stop took {took:?}");
    let outcome = call.await?;
    ensure!(outcome.is_err() || outcome.is_ok_and(|outcome| !outcome.ok), "the call succeeded");
    Ok(Outcome::Passed)
}

pub async fn telemetry_arrives(site: &Site, _: &Options) -> Result<Outcome> {
    site.install().await?;
    let telemetry = eventually("telemetry", SOON, async || {
        Ok(site.client().agent(&site.agent).await?.telemetry)
    })
    .await?;
    for section in ["host", "uptime", "memory", "disk", "agent"] {
        let section_said = telemetry.snapshot.get(section);
        let said =
            section_said.with_context(|| format!("no section `{section}`: {telemetry:?}"))?;
        ensure!(!said.summary.is_empty(), "`{section}` says nothing");
    }

    let only = json!({ "sections": ["memory"] });
    let outcome = site.client().call(&site.agent, "telemetry.collect", only).await?;
    let result = outcome.result.with_context(|| format!("no result: {:?}", outcome.error))?;
    let sections: Vec<&String> = result.keys().collect();
    ensure!(sections == ["memory"], "asked for memory, got {sections:?}");
    Ok(Outcome::Passed)
}
