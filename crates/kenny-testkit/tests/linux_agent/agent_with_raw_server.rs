//! Our agent with a server of 0.2 that somebody else wrote.

use anyhow::{Context, Result};
use kenny_testkit::places::{folder, program};
use kenny_testkit::raw::Heard;
use kenny_testkit::{Foreground, Peer, eventually};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::site::SOON;

async fn start(name: &str) -> Result<(TcpListener, Foreground)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let tunnel = format!("ws://{}/agent/ws", listener.local_addr()?);
    let agent =
        Foreground::start(&program("kenny-agent")?, &folder(name)?, &tunnel, "pc", "secret")?;
    Ok((listener, agent))
}

/// Accepts the agent and reads its register.
async fn accept(listener: &TcpListener) -> Result<(Peer, Value)> {
    let mut server = Peer::accept(listener).await?;
    let Heard::Frame(register) = server.hear().await? else { panic!("no first frame") };
    Ok((server, register))
}

fn request(id: &str, tool: &str, args: &Value) -> Value {
    json!({ "type": "request", "id": id, "tool": tool, "args": args })
}

const ID: &str = "6f6d1e0e-8c3c-4f0e-9d5c-2f1f0a4f6a11";

#[tokio::test]
async fn it_registers_first_and_sends_telemetry_right_after() -> Result<()> {
    let (listener, _agent) = start("raw_register").await?;
    let (mut server, register) = accept(&listener).await?;
    assert_eq!(register["type"], "register");
    assert_eq!(register["agent_id"], "pc");
    assert_eq!(register["token"], "secret");
    assert_eq!(register["meta"]["os"], "linux");
    for field in ["hostname", "version"] {
        assert!(register["meta"][field].is_string(), "{register}");
    }

    let telemetry = server.frame("telemetry").await?;
    assert_eq!(telemetry["agent_id"], "pc");
    assert!(telemetry["collected_at"].is_string());
    for (name, section) in telemetry["snapshot"].as_object().context("no snapshot")? {
        let status = section["status"].as_str().unwrap();
        assert!(["ok", "warn", "crit"].contains(&status), "{name}: {status}");
        assert!(section["summary"].is_string(), "{name}");
    }
    server.answers_pings().await
}

#[tokio::test]
async fn it_answers_requests_that_carry_nothing_of_0_3() -> Result<()> {
    let (listener, _agent) = start("raw_requests").await?;
    let (mut server, _) = accept(&listener).await?;
    let cases = [
        ("powershell.exec", json!({ "script": "echo hi", "timeout_s": 20 }), None),
        ("telemetry.collect", json!({}), None),
        ("powershell.exec", json!({ "timeout_s": 20 }), Some("bad_args")),
        ("no.such.tool", json!({}), Some("not_found")),
        ("winget.list", json!({}), Some("unsupported")),
        (
            "agent.update",
            json!({ "version": "9.0.0", "url": "http://127.0.0.1:1/x", "sha256": "A".repeat(64) }),
            Some("unsupported"),
        ),
    ];
    for (tool, args, error) in cases {
        server.send(&request(ID, tool, &args)).await?;
        let response = server.frame("response").await?;
        assert_eq!(response["id"], ID, "{tool}");
        assert_eq!(response["ok"], error.is_none(), "{tool}: {response}");
        if let Some(code) = error {
            assert_eq!(response["error"]["code"], code, "{tool}: {response}");
            assert!(response["error"]["message"].is_string(), "{tool}");
        } else {
            assert!(response["result"].is_object(), "{tool}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_slow_tool_holds_up_neither_heartbeat_nor_other_requests() -> Result<()> {
    const SLOW: &str = "00000000-0000-4000-8000-000000000001";
    let (listener, _agent) = start("raw_slow").await?;
    let (mut server, _) = accept(&listener).await?;
    server
        .send(&request(
            SLOW,
            "powershell.exec",
            &json!({ "script": "sleep 1000", "timeout_s": 1000 }),
        ))
        .await?;
    server.answers_pings().await?;
    server.send(&request(ID, "powershell.exec", &json!({ "script": "echo quick" }))).await?;
    let response = server.frame("response").await?;
    assert_eq!(response["id"], ID);
    Ok(())
}

#[tokio::test]
async fn garbage_and_unknown_frames_are_passed_over() -> Result<()> {
    let (listener, _agent) = start("raw_garbage").await?;
    let (mut server, _) = accept(&listener).await?;
    for garbage in [
        "not json",
        "[]",
        "{}",
        r#"{"type":7}"#,
        r#"{"type":"request"}"#,
        r#"{"type":"request","id":"no-uuid","tool":"x","args":{}}"#,
        r#"{"type":"from_the_future","x":1}"#,
        "",
    ] {
        server.send_text(garbage).await?;
    }
    server.send_binary(vec![0xff, 0xfe]).await?;
    let future = json!({ "type": "request", "id": ID, "tool": "telemetry.collect", "args": {}, "colour": "blue" });
    server.send(&future).await?;
    let response = server.frame("response").await?;
    assert_eq!(response["ok"], true);
    Ok(())
}

#[tokio::test]
async fn it_dials_again_when_the_server_breaks_off() -> Result<()> {
    let (listener, _agent) = start("raw_breaks_off").await?;
    for _ in 0..3 {
        let (mut server, register) = accept(&listener).await?;
        assert_eq!(register["agent_id"], "pc");
        // A pong is what a server of 0.2 shows its acceptance with.
        server.frame("ping").await?;
        server.answers_pings().await?;
        drop(server);
    }
    Ok(())
}

#[tokio::test]
async fn a_frame_over_the_limit_ends_the_connection_with_1009() -> Result<()> {
    let (listener, _agent) = start("raw_oversized").await?;
    let (mut server, _) = accept(&listener).await?;
    // The agent may be gone before all of it is sent.
    let _ = server.send_text("x".repeat(kenny_proto::MAX_FRAME_BYTES + 1)).await;
    let (code, _) = server.closed().await?;
    assert!(code.is_none_or(|code| code == 1009), "{code:?}");
    let (_server, register) = accept(&listener).await?;
    assert_eq!(register["agent_id"], "pc");
    Ok(())
}

#[tokio::test]
async fn an_agent_that_is_refused_says_so_and_lives_on() -> Result<()> {
    let (listener, mut agent) = start("raw_refused").await?;
    let (mut server, _) = accept(&listener).await?;
    server.close(4401, "the token is not the one of this agent id").await?;
    eventually("the reason in the agent's log", SOON, async || {
        Ok(agent.said().contains("the token is not the one of this agent id").then_some(()))
    })
    .await?;
    assert!(agent.runs()?);
    Ok(())
}
