//! Our server with agents of 0.2 that somebody else wrote.

use anyhow::{Context, Result, ensure};
use futures_util::future::join_all;
use kenny_proto::api::UpdateState;
use kenny_testkit::client::Refused;
use kenny_testkit::places::program;
use kenny_testkit::raw::Heard;
use kenny_testkit::{Peer, eventually};
use serde_json::{Value, json};

use crate::site::{SOON, Site};

#[tokio::test]
async fn an_agent_of_0_2_is_taken_in_and_served() -> Result<()> {
    let site = Site::create("old_agent").await?;
    let (tunnel, token) = site.legacy("old").await?;
    let mut agent = Peer::register(&tunnel, "old", &token, "0.2.0").await?;
    agent.answers_pings().await?;
    let seen = site.client().online("old", Some("0.2.0"), SOON).await?;
    assert_eq!(seen.protocol.as_deref(), Some("0.2"));

    let section = json!({ "status": "warn", "summary": "hot", "celsius": 90 });
    let telemetry = json!({
        "type": "telemetry",
        "agent_id": "old",
        "collected_at": "2026-01-02T03:04:05Z",
        "snapshot": { "cpu": section },
    });
    agent.send(&telemetry).await?;
    let telemetry =
        eventually("the telemetry", SOON, async || Ok(site.client().agent("old").await?.telemetry))
            .await?;
    assert_eq!(telemetry.snapshot["cpu"].fields["celsius"], 90);

    let client = site.client().clone();
    let call = tokio::spawn(async move {
        client.call("old", "powershell.exec", json!({ "script": "x", "timeout_s": 5 })).await
    });
    let Heard::Frame(request) = agent.hear().await? else { panic!("the connection ended") };
    assert_eq!(request["type"], "request", "nothing that 0.2 does not know comes before it");
    assert_eq!(request["tool"], "powershell.exec");
    assert_eq!(request["args"], json!({ "script": "x", "timeout_s": 5 }));
    let error = json!({ "code": "exec_failed", "message": "no such thing" });
    agent
        .send(&json!({ "type": "response", "id": request["id"], "ok": false, "error": error }))
        .await?;
    let outcome = call.await??;
    assert!(!outcome.ok);
    assert_eq!(outcome.error.context("no error")?.message, "no such thing");
    Ok(())
}

#[tokio::test]
async fn who_does_not_register_or_has_the_wrong_token_is_turned_away() -> Result<()> {
    let site = Site::create("turned_away").await?;
    let (tunnel, token) = site.legacy("pc").await?;
    let mut rude = Peer::dial(&tunnel).await?;
    rude.send(&json!({ "type": "ping" })).await?;
    assert_eq!(rude.closed().await?.0, Some(4400));
    let mut babbler = Peer::dial(&tunnel).await?;
    babbler.send_text("hello?").await?;
    assert_eq!(babbler.closed().await?.0, Some(4400));

    for (id, token) in [("pc", "wrong"), ("nobody", token.as_str())] {
        let mut stranger = Peer::register(&tunnel, id, token, "0.2.0").await?;
        let (code, words) = stranger.closed().await?;
        assert_eq!(code, Some(4401), "{id}");
        assert!(!words.is_empty(), "{id}");
    }
    assert!(!site.client().agent("pc").await?.agent.online);
    Ok(())
}

#[tokio::test]
async fn the_newest_connection_wins_and_takes_only_its_own_calls() -> Result<()> {
    let site = Site::create("newest").await?;
    let (tunnel, token) = site.legacy("pc").await?;
    let mut first = Peer::register(&tunnel, "pc", &token, "0.2.1").await?;
    site.client().online("pc", Some("0.2.1"), SOON).await?;
    let client = site.client().clone();
    let pending =
        tokio::spawn(async move { client.call("pc", "telemetry.collect", json!({})).await });
    first.frame("request").await?;

    let mut second = Peer::register(&tunnel, "pc", &token, "0.2.2").await?;
    assert_eq!(first.closed().await?.0, Some(4409));
    let error = pending.await?.err().context("a call outlived its connection")?;
    ensure!(error.is::<Refused>(), "{error:#}");
    drop(first);

    second.answers_pings().await?;
    let client = site.client().clone();
    let call = tokio::spawn(async move { client.call("pc", "telemetry.collect", json!({})).await });
    let request = second.frame("request").await?;
    second.answer(&request, json!({ "here": true })).await?;
    assert!(call.await??.ok);
    let seen = site.client().agent("pc").await?.agent;
    assert!(seen.online);
    assert_eq!(seen.version.as_deref(), Some("0.2.2"));
    Ok(())
}

#[tokio::test]
async fn garbage_and_unknown_frames_are_passed_over() -> Result<()> {
    let site = Site::create("garbage").await?;
    let (tunnel, token) = site.legacy("pc").await?;
    let mut agent = Peer::register(&tunnel, "pc", &token, "0.2.0").await?;
    for garbage in [
        "not json",
        "[]",
        "{}",
        r#"{"type":"response"}"#,
        r#"{"type":"response","id":"6f6d1e0e-8c3c-4f0e-9d5c-2f1f0a4f6a11","ok":true,"result":{}}"#,
        r#"{"type":"telemetry","agent_id":"pc","collected_at":"yesterday","snapshot":{}}"#,
        r#"{"type":"from_the_future","x":[]}"#,
        "",
    ] {
        agent.send_text(garbage).await?;
    }
    agent.answers_pings().await?;
    assert!(site.client().agent("pc").await?.agent.online);
    Ok(())
}

#[tokio::test]
async fn frames_over_their_limit_end_the_connection_with_1009() -> Result<()> {
    let site = Site::create("oversized").await?;
    let (tunnel, token) = site.legacy("pc").await?;

    let mut pusher = Peer::register(&tunnel, "pc", &token, "0.2.0").await?;
    let section = json!({ "status": "ok", "summary": "x".repeat(kenny_proto::MAX_PUSH_BYTES) });
    let push = json!({
        "type": "telemetry", "agent_id": "pc", "collected_at": "2026-01-02T03:04:05Z", "snapshot": { "big": section },
    });
    pusher.send(&push).await?;
    assert_eq!(pusher.closed().await?.0, Some(1009));

    // An answer may be larger than a push.
    let mut agent = Peer::register(&tunnel, "pc", &token, "0.2.0").await?;
    site.client().online("pc", None, SOON).await?;
    agent.answers_pings().await?;
    let client = site.client().clone();
    let call =
        tokio::spawn(async move { client.call("pc", "fs.read", json!({ "path": "x" })).await });
    let request = agent.frame("request").await?;
    let content = "x".repeat(4 * 1024 * 1024);
    agent.answer(&request, json!({ "content": content, "truncated": false })).await?;
    assert_eq!(
        call.await??.result.context("no result")?["content"].as_str().map(str::len),
        Some(content.len())
    );

    // The server may be gone before all of it is sent.
    let _ = agent.send_text("x".repeat(kenny_proto::MAX_FRAME_BYTES + 1)).await;
    let (code, _) = agent.closed().await?;
    assert!(code.is_none_or(|code| code == 1009), "{code:?}");
    site.client().offline("pc", SOON).await?;
    Ok(())
}

#[tokio::test]
async fn a_hundred_calls_are_answered_in_any_order() -> Result<()> {
    let site = Site::create("any_order").await?;
    let (tunnel, token) = site.legacy("pc").await?;
    let mut agent = Peer::register(&tunnel, "pc", &token, "0.2.0").await?;
    site.client().online("pc", None, SOON).await?;
    let calls: Vec<_> = (0..100_u32)
        .map(|number| {
            let client = site.client().clone();
            tokio::spawn(async move {
                let outcome =
                    client.call("pc", "fs.list", json!({ "path": number.to_string() })).await?;
                let result = outcome.result.context("no result")?;
                ensure!(
                    result["path"].as_str() == Some(&number.to_string()),
                    "call {number} got {result:?}"
                );
                anyhow::Ok(())
            })
        })
        .collect();
    let mut requests = Vec::new();
    while requests.len() < calls.len() {
        requests.push(agent.frame("request").await?);
    }
    for request in requests.iter().rev() {
        agent.answer(request, json!({ "path": request["args"]["path"] })).await?;
    }
    for call in join_all(calls).await {
        call??;
    }
    Ok(())
}

#[tokio::test]
async fn an_agent_of_0_2_is_updated_and_believed_once_it_is_back() -> Result<()> {
    let site = Site::create("old_update").await?;
    let (tunnel, token) = site.legacy("old").await?;
    let mut agent = Peer::register(&tunnel, "old", &token, "0.1.0").await?;
    site.client().online("old", Some("0.1.0"), SOON).await?;
    let artifact = program("kenny-agent")?;
    let added = site.client().add_release(&artifact).await?;
    let version = added.release.version;

    let update = site.client().update("old", &version, false).await?;
    let request = agent.frame("request").await?;
    assert_eq!(request["tool"], "agent.update");
    assert_eq!(request["args"]["version"], version.as_str());
    let digest = added.release.sha256.to_string();
    let sent = request["args"]["sha256"].as_str().context("no digest")?;
    assert!(sent.eq_ignore_ascii_case(&digest), "{sent} is not {digest}");
    let url = request["args"]["url"].as_str().context("no address")?;
    assert!(url.starts_with(site.client().base()), "{url} is not of the server's origin");
    let bytes = reqwest::get(url).await?.error_for_status()?.bytes().await?;
    assert_eq!(bytes, fs_err::read(&artifact)?);
    agent.answer(&request, json!({ "ok": true, "staged_version": version })).await?;

    // Staged is not updated.
    agent.answers_pings().await?;
    assert!(!site.client().update_by_id(update.id).await?.state.is_final());
    drop(agent);
    site.client().offline("old", SOON).await?;
    let mut agent = Peer::register(&tunnel, "old", &token, &version).await?;
    agent.answers_pings().await?;
    let update = site.client().finished(update.id, SOON).await?;
    assert_eq!(update.state, UpdateState::Succeeded);
    Ok(())
}

#[tokio::test]
async fn an_agent_of_0_2_that_refuses_an_update_is_shown_with_its_words() -> Result<()> {
    let site = Site::create("old_refusal").await?;
    let (tunnel, token) = site.legacy("old").await?;
    let mut agent = Peer::register(&tunnel, "old", &token, "0.1.0").await?;
    site.client().online("old", None, SOON).await?;
    let added = site.client().add_release(&program("kenny-agent")?).await?;
    let update = site.client().update("old", &added.release.version, false).await?;
    let request = agent.frame("request").await?;
    let error: Value =
        json!({ "code": "exec_failed", "message": "the disk is full of photographs" });
    agent
        .send(&json!({ "type": "response", "id": request["id"], "ok": false, "error": error }))
        .await?;
    let update = site.client().finished(update.id, SOON).await?;
    assert_eq!(update.state, UpdateState::Failed);
    let failure = update.failure.context("no reason")?;
    assert!(failure.detail.contains("photographs"), "{failure:?}");
    Ok(())
}
