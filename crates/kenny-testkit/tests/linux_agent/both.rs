//! Our agent with our server.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::future::join_all;
use kenny_proto::Os;
use kenny_proto::frames::ErrorCode;
use kenny_testkit::client::Refused;
use kenny_testkit::eventually;
use kenny_testkit::places::program;
use serde_json::json;

use crate::site::{SOON, Site};

#[tokio::test]
async fn an_agent_registers_sends_telemetry_and_answers() -> Result<()> {
    let site = Site::create("registers").await?;
    let _agent = site.agent("pc").await?;

    let seen = site.client().agent("pc").await?.agent;
    assert_eq!(seen.os, Some(Os::Linux));
    assert_eq!(seen.protocol.as_deref(), Some(kenny_proto::PROTOCOL));
    assert_eq!(seen.service, Some(false));
    let telemetry = eventually("the first telemetry", SOON, async || {
        Ok(site.client().agent("pc").await?.telemetry)
    })
    .await?;
    for section in ["host", "uptime", "memory", "disk", "agent", "identity"] {
        assert!(telemetry.snapshot.contains_key(section), "{section}");
    }

    let script = json!({ "script": "echo out; echo err >&2; exit 3" });
    let outcome = site.client().call("pc", "powershell.exec", script).await?;
    let result = outcome.result.context("no result")?;
    assert_eq!(result["stdout"], "out\n");
    assert_eq!(result["stderr"], "err\n");
    assert_eq!(result["exit_code"], 3);
    Ok(())
}

#[tokio::test]
async fn what_is_asked_wrongly_is_said_so() -> Result<()> {
    let site = Site::create("asked_wrongly").await?;
    let (_, _) = site.legacy("away").await?;
    let _agent = site.agent("pc").await?;
    let code = async |agent: &str, tool: &str| -> Result<String> {
        let error =
            site.client().call(agent, tool, json!({})).await.err().context("it was carried out")?;
        Ok(error.downcast::<Refused>()?.0.code)
    };
    assert_eq!(code("away", "telemetry.collect").await?, "agent_offline");
    assert_eq!(code("nobody", "telemetry.collect").await?, "unknown_agent");
    assert_eq!(code("pc", "no.such.tool").await?, "unknown_tool");
    assert_eq!(code("pc", "powershell.exec").await?, "bad_args");
    Ok(())
}

#[tokio::test]
async fn a_timeout_ends_the_script_and_all_that_it_started() -> Result<()> {
    let site = Site::create("timeout").await?;
    let _agent = site.agent("pc").await?;
    let script = json!({ "script": "sleep 1000 & echo $! > pid; wait", "timeout_s": 1 });
    let outcome = site.client().call("pc", "powershell.exec", script).await?;
    let error = outcome.error.context("it did not time out")?;
    assert_eq!(error.code, ErrorCode::Timeout);

    let pid = json!({ "script": "cat pid" });
    let pid = site.client().call("pc", "powershell.exec", pid).await?.result.context("no pid")?;
    let pid: u32 = pid["stdout"].as_str().unwrap().trim().parse()?;
    eventually("the end of the script's child", SOON, async || {
        let line = kenny_testkit::process::command_line(pid);
        Ok(line.is_none_or(|line| !line.contains("sleep 1000")).then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_caller_that_waits_no_longer_leaves_the_agent_as_it_is() -> Result<()> {
    let site = Site::create("impatient").await?;
    let _agent = site.agent("pc").await?;
    let before = site.client().agent("pc").await?.agent.connected_at;
    let script = json!({ "script": "sleep 1000", "timeout_s": 1000 });
    let began = Instant::now();
    let error = site.client().call_within("pc", "powershell.exec", script, Some(300)).await;
    let error = error.err().context("it was answered")?.downcast::<Refused>()?;
    assert_eq!(error.0.code, "timeout");
    ensure!(began.elapsed() < Duration::from_secs(10), "the server waited longer than it was told");

    let outcome = site.client().call("pc", "telemetry.collect", json!({})).await?;
    assert!(outcome.ok);
    assert_eq!(site.client().agent("pc").await?.agent.connected_at, before);
    Ok(())
}

#[tokio::test]
async fn an_agent_comes_back_after_a_restart_of_the_server() -> Result<()> {
    let mut site = Site::create("restart").await?;
    let _agent = site.agent("pc").await?;
    site.server.stop().await?;
    site.server.start_again().await?;
    site.client().online("pc", None, SOON).await?;

    site.server.kill()?;
    site.server.start_again().await?;
    site.client().online("pc", None, SOON).await?;
    assert!(site.client().call("pc", "telemetry.collect", json!({})).await?.ok);
    Ok(())
}

#[tokio::test]
async fn a_hundred_calls_run_at_once_and_each_gets_its_own_answer() -> Result<()> {
    let site = Site::create("hundred").await?;
    let _agent = site.agent("pc").await?;
    let calls = (0..100_u32).map(|number| {
        let client = site.client().clone();
        async move {
            // The first ones take longest.
            let tenths = (99 - number) / 10;
            let script = json!({ "script": format!("sleep 0.{tenths}; echo {number}") });
            let outcome = client.call("pc", "powershell.exec", script).await?;
            let result = outcome.result.with_context(|| format!("{:?}", outcome.error))?;
            ensure!(result["stdout"] == format!("{number}\n"), "call {number} got {result:?}");
            anyhow::Ok(())
        }
    });
    join_all(calls).await.into_iter().collect()
}

#[tokio::test]
async fn an_agent_in_the_foreground_does_not_update_itself() -> Result<()> {
    let site = Site::create("foreground_update").await?;
    let _agent = site.agent("pc").await?;
    let added = site.client().add_release(&program("kenny-agent")?).await?;
    let args = json!({
        "version": "99.0.0",
        "url": format!("{}/artifacts/x", site.client().base()),
        "sha256": added.release.sha256,
    });
    let outcome = site.client().call("pc", "agent.update", args).await?;
    let error = outcome.error.context("it was taken")?;
    assert_eq!(error.code, ErrorCode::Unsupported);
    assert!(site.client().agent("pc").await?.agent.online);
    Ok(())
}
