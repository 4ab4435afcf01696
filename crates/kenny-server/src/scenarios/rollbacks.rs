//! Going back at the operator's word.

use serde_json::{Value, json};

use super::rig::{FakeAgent, Rig, report};

/// An agent that went from 1.0.0 to 1.1.0.
async fn updated() -> (Rig, String, FakeAgent) {
    let rig = Rig::start().await;
    let token = rig.agent("pc-1").await;
    rig.release("1.1.0").await;
    let mut agent = rig.online_0_3("pc-1", &token, "1.0.0", json!(null)).await;
    let update = rig.wanted("pc-1", "1.1.0").await;
    let request = agent.request("agent.update").await;
    agent.answer(&request, json!({"ok": true, "staged_version": "1.1.0"})).await;
    agent.settle().await;
    agent.hang_up().await;
    let said = report(&request, "committed", json!(null));
    let mut agent = rig.online_0_3("pc-1", &token, "1.1.0", said).await;
    rig.outcome(&update["id"], "succeeded").await;
    agent.settle().await;
    (rig, token, agent)
}

/// What an agent says of a rollback from 1.1.0 to 1.0.0.
fn went_back(id: &Value, phase: &str) -> Value {
    json!({
        "update_id": id, "from_version": "1.1.0", "version": "1.0.0", "sha256": "ab".repeat(32), "phase": phase,
        "history": [{"phase": phase, "at": "2026-11-25T10:00:00Z"}], "rollback": true
    })
}

#[tokio::test]
async fn the_whole_way_back_and_nothing_pushes_forward_again() {
    let (rig, token, mut agent) = updated().await;
    let (status, update) = rig.post("/agents/pc-1/rollback", json!(null)).await;
    assert_eq!(status, 201, "{update}");
    assert_eq!((&update["kind"], &update["state"]), (&json!("rollback"), &json!("running")));
    assert_eq!((&update["from_version"], &update["version"]), (&json!("1.1.0"), &json!("1.0.0")));
    let request = agent.request("agent.rollback").await;
    assert_eq!(request["args"], json!({"update_id": update["id"]}));
    assert_eq!(request["deadline_ms"], 600_000);
    let (status, problem) = rig.post("/agents/pc-1/rollback", json!(null)).await;
    assert_eq!((status, &problem["code"]), (409, &json!("update_in_progress")));
    agent.answer(&request, json!({"ok": true, "staged_version": "1.0.0"})).await;
    agent.settle().await;
    agent.hang_up().await;
    rig.until_online("pc-1", false).await;

    let said = went_back(&update["id"], "probation");
    let mut agent = rig.online_0_3("pc-1", &token, "1.0.0", said).await;
    rig.outcome(&update["id"], "online").await;
    agent
        .send(&json!({
            "type": "update_status", "update_id": update["id"], "version": "1.0.0", "phase": "committed",
            "at": "2026-11-25T10:00:00Z"
        }))
        .await;
    rig.outcome(&update["id"], "succeeded").await;
    let seen = rig.agent_view("pc-1").await;
    assert_eq!((&seen["desired_version"], &seen["hold"]), (&json!("1.0.0"), &json!(null)));
    rig.look_in(1_000_000);
    agent.settle().await;
    agent.hang_up().await;
    let rig = rig.restart().await;
    let said = went_back(&update["id"], "committed");
    let mut agent = rig.online_0_3("pc-1", &token, "1.0.0", said).await;
    agent.settle().await;
    let happened = rig.happened(&"pc-1".parse().unwrap()).await;
    assert!(happened.iter().any(|(_, summary)| summary.starts_with("rollback of pc-1 to 1.0.0")));

    // The agent keeps one older version, and that is the one it runs now.
    let (status, problem) = rig.post("/agents/pc-1/rollback", json!(null)).await;
    assert_eq!((status, &problem["code"]), (409, &json!("nothing_to_go_back_to")));
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("went back to 1.0.0 already"), "{detail}");
    assert!(detail.contains("`kenny update pc-1 --to VERSION --allow-downgrade`"), "{detail}");
    // And forward again at the operator's word.
    rig.wanted("pc-1", "1.1.0").await;
    let request = agent.request("agent.update").await;
    assert_eq!(request["args"]["version"], "1.1.0");
    rig.stop().await;
}

#[tokio::test]
async fn a_rollback_that_is_not_possible_is_refused_with_what_to_do() {
    let (rig, token, agent) = updated().await;
    agent.hang_up().await;
    rig.until_online("pc-1", false).await;
    let (status, problem) = rig.post("/agents/pc-1/rollback", json!(null)).await;
    assert_eq!((status, &problem["code"]), (409, &json!("agent_offline")));
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("`kenny update pc-1 --to 1.0.0 --allow-downgrade`"), "{detail}");

    let old = rig.online_0_2("pc-1", &token, "1.1.0").await;
    rig.until_online("pc-1", true).await;
    for _ in 0..2 {
        let (status, problem) = rig.post("/agents/pc-1/rollback", json!(null)).await;
        assert_eq!((status, &problem["code"]), (409, &json!("rollback_unsupported")));
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("`kenny update pc-1 --to 1.0.0 --allow-downgrade`"), "{detail}");
        rig.look_in(0);
    }
    old.hang_up().await;
    rig.until_online("pc-1", false).await;
    let (_, problem) = rig.post("/agents/pc-1/rollback", json!(null)).await;
    assert_eq!(problem["code"], "rollback_unsupported", "also while it is away");

    let token = rig.agent("pc-2").await;
    let mut fresh = rig.online_0_3("pc-2", &token, "1.1.0", json!(null)).await;
    let (status, problem) = rig.post("/agents/pc-2/rollback", json!(null)).await;
    assert_eq!((status, &problem["code"]), (409, &json!("nothing_to_go_back_to")));
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("no update is known here that brought it to 1.1.0"), "{detail}");
    fresh.settle().await;
    assert_eq!(rig.post("/agents/pc-9/rollback", json!(null)).await.1["code"], "unknown_agent");
    rig.stop().await;
}

#[tokio::test]
async fn agent_rollback_as_a_tool_takes_the_same_way() {
    let (rig, _, mut agent) = updated().await;
    let call = |args: Value| rig.post("/agents/pc-1/tools/agent_rollback", json!({"args": args}));
    let made_up = json!({"update_id": "6f1c6f5e-2d5a-4a0e-9c57-1d9b1f6f2a12"});
    let (status, problem) = call(made_up).await;
    assert_eq!((status, &problem["code"]), (400, &json!("bad_args")));
    let answer = async {
        let request = agent.request("agent.rollback").await;
        agent.answer(&request, json!({"ok": true, "staged_version": "1.0.0"})).await;
        request
    };
    let ((status, outcome), request) = tokio::join!(call(json!({})), answer);
    assert_eq!((status, &outcome["result"]["staged_version"]), (200, &json!("1.0.0")));
    let seen = rig.agent_view("pc-1").await;
    assert_eq!(seen["desired_version"], "1.0.0");
    assert_eq!(seen["update"]["id"], request["args"]["update_id"]);
    let (status, problem) = call(json!({})).await;
    assert_eq!((status, &problem["code"]), (409, &json!("update_in_progress")));
    let calls = r#"kenny_calls_total{tool="agent.rollback",outcome="ok"}"#;
    assert_eq!(rig.metric(calls).await, format!("{calls} 1"), "counted once");
    rig.stop().await;
}

#[tokio::test]
async fn the_agent_knows_best_what_it_kept() {
    let (rig, token, mut agent) = updated().await;
    let (_, update) = rig.post("/agents/pc-1/rollback", json!(null)).await;
    let request = agent.request("agent.rollback").await;
    agent.answer(&request, json!({"ok": true, "staged_version": "0.9.0"})).await;
    agent.settle().await;
    let seen = rig.agent_view("pc-1").await;
    assert_eq!(seen["desired_version"], "0.9.0");
    assert_eq!(seen["update"]["version"], "0.9.0");
    agent.hang_up().await;
    rig.until_online("pc-1", false).await;
    let rig = rig.restart().await;
    assert_eq!(rig.agent_view("pc-1").await["desired_version"], "0.9.0");
    let mut agent = rig.online_0_3("pc-1", &token, "0.9.0", json!(null)).await;
    rig.outcome(&update["id"], "succeeded").await;
    agent.settle().await;
    rig.stop().await;
}

#[tokio::test]
async fn a_rollback_that_fails_is_the_operators_to_repeat() {
    let (rig, _, mut agent) = updated().await;
    let (_, update) = rig.post("/agents/pc-1/rollback", json!(null)).await;
    let request = agent.request("agent.rollback").await;
    agent.refuse(&request, "not_found", "there is no tool agent.rollback").await;
    let failed = rig.outcome(&update["id"], "failed").await;
    let detail = failed["failure"]["detail"].as_str().unwrap();
    assert!(detail.contains("`kenny update pc-1 --to 1.0.0 --allow-downgrade`"), "{detail}");
    rig.look_in(1_000_000);
    agent.settle().await;
    let seen = rig.agent_view("pc-1").await;
    assert_eq!((&seen["next_attempt"], &seen["hold"]), (&json!(null), &json!(null)));

    let (status, again) = rig.post("/agents/pc-1/rollback", json!(null)).await;
    assert_eq!(status, 201, "{again}");
    // The connection ends before the agent answers: it is sent again.
    agent.request("agent.rollback").await;
    rig.stop().await;
}

#[tokio::test]
async fn a_rollback_that_was_lost_on_its_way_is_sent_again() {
    let (rig, token, mut agent) = updated().await;
    let (_, update) = rig.post("/agents/pc-1/rollback", json!(null)).await;
    agent.request("agent.rollback").await;
    agent.hang_up().await;
    rig.until_online("pc-1", false).await;
    let mut agent = rig.online_0_3("pc-1", &token, "1.1.0", json!(null)).await;
    let request = agent.request("agent.rollback").await;
    assert_eq!(request["args"]["update_id"], update["id"]);
    agent.hang_up().await;
    rig.until_online("pc-1", false).await;
    let _old = rig.online_0_2("pc-1", &token, "1.1.0").await;
    let failed = rig.outcome(&update["id"], "failed").await;
    let detail = failed["failure"]["detail"].as_str().unwrap();
    assert!(detail.contains("speaks 0.2 now"), "{detail}");
    rig.stop().await;
}
