//! Connections: accepted, turned away, displaced, silent, too large, and ended.

use std::time::Duration;

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::rig::{Rig, within};

#[tokio::test]
async fn an_agent_of_0_3_is_welcomed_and_seen() {
    let rig = Rig::start().await;
    let token = rig.agent("pc-1").await;
    assert_eq!(rig.get("/agents/pc-1").await["agent"]["online"], false);
    let mut agent = rig.connect().await;
    let meta = json!({
        "hostname": "anna", "os": "windows", "version": "1.0.0", "protocol": "0.3", "arch": "x86_64",
        "service": true, "something_new": [1]
    });
    agent.register("pc-1", &token, meta).await;
    let welcome = agent.receive().await;
    assert_eq!(welcome["type"], "welcome");
    assert_eq!(welcome["protocol"], "0.3");
    assert_eq!(welcome["heartbeat_s"], 30);
    let seen = rig.get("/agents/pc-1").await["agent"].clone();
    assert_eq!(seen["online"], true);
    assert_eq!(seen["hostname"], "anna");
    assert_eq!(seen["service"], true);
    agent
        .send(&json!({
            "type": "telemetry", "agent_id": "pc-1", "collected_at": "2026-11-24T00:00:00Z",
            "snapshot": {"host": {"status": "ok", "summary": "fine", "name": "anna"}}
        }))
        .await;
    agent.settle().await;
    let telemetry = rig.get("/agents/pc-1").await["telemetry"].clone();
    assert_eq!(telemetry["snapshot"]["host"]["name"], "anna");
    agent.hang_up().await;
    let gone = rig.until_online("pc-1", false).await;
    assert_eq!(gone["agent"]["version"], "1.0.0", "facts stay");
    assert_eq!(gone["telemetry"]["snapshot"]["host"]["name"], "anna");
    rig.stop().await;
}

#[tokio::test]
async fn an_agent_of_0_2_sees_nothing_new() {
    let rig = Rig::start().await;
    let token = rig.agent("pc-1").await;
    let mut agent = rig.online_0_2("pc-1", &token, "0.2.0").await;
    rig.until_online("pc-1", true).await;
    let body = json!({"args": {"path": "/"}, "timeout_ms": 1});
    let (status, problem) = rig.post("/agents/pc-1/tools/fs_list", body).await;
    assert_eq!((status, problem["code"].as_str()), (504, Some("timeout")));
    let request = agent.request("fs.list").await;
    let mut names: Vec<_> = request.as_object().unwrap().keys().collect();
    names.sort();
    assert_eq!(names, ["args", "id", "tool", "type"]);
    // Neither a cancel nor anything else follows: the pong is next.
    agent.settle().await;
    rig.stop().await;
}

#[tokio::test]
async fn what_does_not_register_is_turned_away_with_4400() {
    let rig = Rig::start().await;
    for first in [
        Message::text("hello"),
        Message::text(r#"{"type":"ping"}"#),
        Message::text(r#"{"type":"hello"}"#),
        Message::text(r#"{"type":"register","agent_id":"pc-1"}"#),
        Message::binary(vec![1, 2, 3]),
    ] {
        let mut agent = rig.connect().await;
        agent.send_message(first).await;
        let (code, reason) = agent.closed().await;
        assert_eq!(code, 4400);
        assert!(reason.contains("register"), "{reason}");
    }
    assert!(
        rig.app
            .metrics
            .encode()
            .contains(r#"kenny_agents_rejected_total{reason="not_registered"} 5"#)
    );
    rig.stop().await;
}

#[tokio::test]
async fn who_is_not_known_is_turned_away_with_4401_and_the_reason() {
    let rig = Rig::start().await;
    let token = rig.agent("pc-1").await;
    let meta = json!({"hostname": "x", "os": "linux", "version": "1.0.0"});
    for (id, token, word) in
        [("pc-2", token.as_str(), "no agent of this id"), ("pc-1", "wrong", "token")]
    {
        let mut agent = rig.connect().await;
        agent.register(id, token, meta.clone()).await;
        let (code, reason) = agent.closed().await;
        assert_eq!(code, 4401);
        assert!(reason.contains(word), "{reason}");
    }
    let mut good = rig.online_0_2("pc-1", &token, "1.0.0").await;
    good.settle().await;
    rig.stop().await;
}

#[tokio::test]
async fn the_newest_connection_wins_and_the_older_ones_end_changes_nothing() {
    let rig = Rig::start().await;
    let token = rig.agent("pc-1").await;
    let mut older = rig.online_0_3("pc-1", &token, "1.0.0", json!(null)).await;
    let call = |path: &'static str| {
        rig.post("/agents/pc-1/tools/fs.list", json!({"args": {"path": path}}))
    };
    let scenario = async {
        older.request("fs.list").await;
        let newer = rig.online_0_3("pc-1", &token, "1.0.0", json!(null)).await;
        let (code, reason) = older.closed().await;
        assert_eq!(code, 4409);
        assert!(reason.contains("newer"), "{reason}");
        newer
    };
    let ((status, problem), mut newer) = tokio::join!(call("/old"), scenario);
    assert_eq!((status, problem["code"].as_str()), (502, Some("connection_lost")));
    drop(older);
    let answer = async {
        let request = newer.request("fs.list").await;
        assert_eq!(rig.get("/agents/pc-1").await["agent"]["online"], true);
        newer.answer(&request, json!({"entries": []})).await;
    };
    let ((status, outcome), ()) = tokio::join!(call("/new"), answer);
    assert_eq!((status, &outcome["ok"]), (200, &json!(true)));
    assert_eq!(rig.app.metrics.agents_online.get(), 1);
    rig.stop().await;
}

#[tokio::test]
async fn the_end_of_one_connection_fails_only_its_own_calls() {
    let rig = Rig::start().await;
    let (one, two) = (rig.agent("pc-1").await, rig.agent("pc-2").await);
    let mut ends = rig.online_0_2("pc-1", &one, "1.0.0").await;
    let mut stays = rig.online_0_2("pc-2", &two, "1.0.0").await;
    rig.until_online("pc-1", true).await;
    rig.until_online("pc-2", true).await;
    let scenario = async {
        ends.request("diag.processes").await;
        let request = stays.request("diag.processes").await;
        ends.hang_up().await;
        rig.until_online("pc-1", false).await;
        stays.answer(&request, json!({"processes": []})).await;
    };
    let (lost, answered, ()) = tokio::join!(
        rig.post("/agents/pc-1/tools/diag.processes", json!({})),
        rig.post("/agents/pc-2/tools/diag.processes", json!({})),
        scenario
    );
    assert_eq!(lost.0, 502);
    assert_eq!(answered.0, 200);
    let (status, problem) = rig.post("/agents/pc-1/tools/diag.processes", json!({})).await;
    assert_eq!((status, problem["code"].as_str()), (409, Some("agent_offline")));
    rig.stop().await;
}

#[tokio::test]
async fn garbage_is_dropped_and_the_connection_lives_on() {
    let rig = Rig::start().await;
    let token = rig.agent("pc-1").await;
    let mut agent = rig.online_0_2("pc-1", &token, "1.0.0").await;
    agent.send_text("not json").await;
    agent.send_text("[1, 2]").await;
    agent.send_text(r#"{"type":"response","id":7}"#).await;
    agent.send_text(r#"{"type":"something_new","x":1}"#).await;
    agent.send_message(Message::binary(vec![0, 159, 146, 150])).await;
    agent
        .send(&json!({"type": "response", "id": uuid::Uuid::new_v4(), "ok": true, "result": {}}))
        .await;
    agent.settle().await;
    assert_eq!(rig.get("/agents/pc-1").await["agent"]["online"], true);
    let metrics = rig.app.metrics.encode();
    assert!(metrics.contains(r#"kenny_frames_dropped_total{reason="malformed"} 3"#), "{metrics}");
    assert!(metrics.contains(r#"kenny_frames_dropped_total{reason="binary"} 1"#), "{metrics}");
    rig.stop().await;
}

#[tokio::test]
async fn what_is_too_large_closes_with_1009_and_large_answers_pass() {
    let rig = Rig::start().await;
    let token = rig.agent("pc-1").await;
    let padding = |bytes: usize| "x".repeat(bytes);

    let mut agent = rig.online_0_2("pc-1", &token, "1.0.0").await;
    rig.until_online("pc-1", true).await;
    let answer = async {
        let request = agent.request("screen.capture").await;
        let picture = json!({"image_b64": padding(4 * 1024 * 1024), "format": "png"});
        agent.answer(&request, picture).await;
    };
    let ((status, outcome), ()) =
        tokio::join!(rig.post("/agents/pc-1/tools/screen.capture", json!({})), answer);
    assert_eq!(status, 200);
    assert_eq!(outcome["result"]["image_b64"].as_str().unwrap().len(), 4 * 1024 * 1024);

    let push = json!({
        "type": "telemetry", "agent_id": "pc-1", "collected_at": "2026-11-24T00:00:00Z",
        "snapshot": {"host": {"status": "ok", "summary": padding(256 * 1024)}}
    });
    agent.send(&push).await;
    let (code, reason) = agent.closed().await;
    assert_eq!(code, 1009);
    assert!(reason.contains("push"), "{reason}");

    let mut agent = rig.online_0_2("pc-1", &token, "1.0.0").await;
    agent.send_text(&padding(8 * 1024 * 1024 + 1)).await;
    let (code, reason) = agent.closed().await;
    assert_eq!(code, 1009);
    assert!(reason.contains("8388609"), "{reason}");
    rig.until_online("pc-1", false).await;
    rig.stop().await;
}

#[tokio::test]
async fn a_silent_agent_goes_offline_and_one_that_answers_stays() {
    let rig = Rig::start_with(|config| config.heartbeat = Duration::from_millis(200)).await;
    let (one, two) = (rig.agent("pc-1").await, rig.agent("pc-2").await);
    let mut silent = rig.online_0_2("pc-1", &one, "1.0.0").await;
    let mut answers = rig.online_0_2("pc-2", &two, "1.0.0").await;
    // Answering pings goes on until the request comes.
    let watch = async {
        let (code, _) = silent.closed().await;
        assert_eq!(code, 4408);
        rig.until_online("pc-1", false).await;
        rig.post("/agents/pc-2/tools/net.config", json!({})).await
    };
    let answer = async {
        let request = answers.request("net.config").await;
        answers.answer(&request, json!({"interfaces": [], "dns": []})).await;
    };
    let ((status, _), ()) = tokio::join!(watch, answer);
    assert_eq!(status, 200);
    rig.stop().await;
}

#[tokio::test]
async fn the_tunnel_works_while_the_database_stands_still() {
    let rig = Rig::start().await;
    let token = rig.agent("pc-1").await;
    let (release, held) = std::sync::mpsc::channel::<()>();
    let store = rig.app.store.clone();
    let stalled = tokio::spawn(async move {
        store
            .run(move |_| {
                let _ = held.recv();
                Ok(())
            })
            .await
    });
    let mut agent = rig.online_0_3("pc-1", &token, "1.0.0", json!(null)).await;
    assert_eq!(rig.get("/agents").await["agents"][0]["online"], true);
    let answer = async {
        let request = agent.request("net.config").await;
        assert_eq!(request["deadline_ms"], 60_000);
        agent.answer(&request, json!({"interfaces": [], "dns": []})).await;
    };
    let ((status, _), ()) =
        tokio::join!(rig.post("/agents/pc-1/tools/net.config", json!({})), answer);
    assert_eq!(status, 200);
    let ready = rig.http.get(format!("{}/readyz", rig.url)).send().await.unwrap();
    assert_eq!(ready.status().as_u16(), 503);
    release.send(()).unwrap();
    within(stalled).await.unwrap().unwrap();
    let ready = rig.http.get(format!("{}/readyz", rig.url)).send().await.unwrap();
    assert_eq!(ready.status().as_u16(), 200);
    drop(agent);
    // What was learnt meanwhile is kept.
    let rig = rig.restart().await;
    assert_eq!(rig.get("/agents/pc-1").await["agent"]["version"], "1.0.0");
    rig.stop().await;
}

#[tokio::test]
async fn a_peer_that_reads_nothing_blocks_nobody_else() {
    let rig = Rig::start().await;
    let (one, two) = (rig.agent("pc-1").await, rig.agent("pc-2").await);
    let _stuck = rig.online_0_2("pc-1", &one, "1.0.0").await;
    let mut alive = rig.online_0_2("pc-2", &two, "1.0.0").await;
    rig.until_online("pc-1", true).await;
    rig.until_online("pc-2", true).await;
    // More than the socket's buffers take.
    let script = "x".repeat(900_000);
    let calls = (0..20).map(|_| {
        let body = json!({"args": {"script": script}, "timeout_ms": 3_000});
        rig.post("/agents/pc-1/tools/powershell.exec", body)
    });
    let answer = async {
        let request = alive.request("net.config").await;
        alive.answer(&request, json!({"interfaces": [], "dns": []})).await;
    };
    let (stuck, (status, _), ()) = tokio::join!(
        futures_util::future::join_all(calls),
        rig.post("/agents/pc-2/tools/net.config", json!({"timeout_ms": 2_000})),
        answer
    );
    assert_eq!(status, 200);
    assert!(stuck.iter().all(|(status, _)| *status == 504));
    rig.stop().await;
}

#[tokio::test]
async fn a_server_that_stops_answers_running_calls_and_sends_agents_away_with_1001() {
    let rig = Rig::start().await;
    let token = rig.agent("pc-1").await;
    let mut agent = rig.online_0_3("pc-1", &token, "1.0.0", json!(null)).await;
    let url = format!("{}/api/v1/agents/pc-1/tools/net.config", rig.url);
    let call = rig.http.post(url).bearer_auth(&rig.token).json(&json!({})).send();
    let call = tokio::spawn(call);
    let request = agent.request("net.config").await;
    let stopping = tokio::spawn(rig.stop());
    agent.answer(&request, json!({"interfaces": [], "dns": []})).await;
    assert_eq!(within(call).await.unwrap().unwrap().status().as_u16(), 200);
    let (code, _) = agent.closed().await;
    assert_eq!(code, 1001);
    within(stopping).await.unwrap();
}

#[tokio::test]
async fn a_removed_agent_is_sent_away() {
    let rig = Rig::start().await;
    let token = rig.agent("pc-1").await;
    let mut agent = rig.online_0_3("pc-1", &token, "1.0.0", json!(null)).await;
    let (status, _) = rig.call("DELETE", "/agents/pc-1", None).await;
    assert_eq!(status, 204);
    assert_eq!(agent.closed().await.0, 4401);
    assert_eq!(rig.call("GET", "/agents/pc-1", None).await.0, 404);
    let mut again = rig.connect().await;
    let meta = json!({"hostname": "x", "os": "linux", "version": "1.0.0"});
    again.register("pc-1", &token, meta).await;
    assert_eq!(again.closed().await.0, 4401);
    rig.stop().await;
}

#[tokio::test]
async fn a_call_that_its_caller_gives_up_is_cancelled() {
    let rig = Rig::start().await;
    let token = rig.agent("pc-1").await;
    let mut agent = rig.online_0_3("pc-1", &token, "1.0.0", json!(null)).await;
    let url = format!("{}/api/v1/agents/pc-1/tools/net.config", rig.url);
    let call = rig.http.post(url).bearer_auth(&rig.token).json(&json!({})).send();
    let call = tokio::spawn(call);
    let request = agent.request("net.config").await;
    call.abort();
    let cancel = agent.receive().await;
    assert_eq!(cancel, json!({"type": "cancel", "id": request["id"]}));
    rig.stop().await;
}
