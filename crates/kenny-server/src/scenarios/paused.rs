//! Agents that somebody at the PC paused.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::rig::{FakeAgent, Rig};

const REASON: &str = "a talk";

async fn online(rig: &Rig, token: &str, paused: Value) -> FakeAgent {
    let mut agent = rig.connect().await;
    let meta = json!({
        "hostname": "x", "os": "linux", "version": "1.0.0", "protocol": "0.3", "arch": "x86_64", "paused": paused
    });
    agent.register("pc-1", token, meta).await;
    assert_eq!(agent.receive().await["type"], "welcome");
    agent
}

fn pause() -> Value {
    json!({"since": Timestamp::now(), "reason": REASON})
}

/// What the agent's telemetry says of it.
async fn tell(agent: &mut FakeAgent, paused: Value) {
    let section = json!({"status": "ok", "summary": "x", "paused": paused});
    agent
        .send(&json!({
            "type": "telemetry", "agent_id": "pc-1", "collected_at": Timestamp::now(),
            "snapshot": {"policy": section}
        }))
        .await;
}

#[tokio::test]
async fn an_update_waits_for_a_paused_pc_and_uses_up_nothing() {
    let rig = Rig::start().await;
    let token = rig.agent("pc-1").await;
    rig.release("1.1.0").await;
    let mut agent = online(&rig, &token, pause()).await;
    assert_eq!(rig.agent_view("pc-1").await["paused"]["reason"], REASON);
    let update = rig.wanted("pc-1", "1.1.0").await;
    rig.look_in(600);
    agent.settle().await;
    let waits = rig.outcome(&update["id"], "waiting").await;
    assert_eq!(waits["attempt"], 1);
    tell(&mut agent, json!(null)).await;
    agent.settle().await;
    rig.look_in(0);
    let request = agent.request("agent.update").await;
    assert_eq!(request["args"]["version"], "1.1.0");
    assert_eq!(rig.agent_view("pc-1").await["paused"], json!(null));
    rig.stop().await;
}

#[tokio::test]
async fn an_update_that_meets_a_pause_counts_as_never_sent() {
    let rig = Rig::start().await;
    let token = rig.agent("pc-1").await;
    rig.release("1.1.0").await;
    let mut agent = online(&rig, &token, json!(null)).await;
    let update = rig.wanted("pc-1", "1.1.0").await;
    // More often than an update is sent and than a version may fail.
    for _ in 0..5 {
        let request = agent.request("agent.update").await;
        agent.refuse(&request, "paused", "somebody there has paused it").await;
        agent.settle().await;
        let waits = rig.outcome(&update["id"], "waiting").await;
        let last = waits["timeline"].as_array().unwrap().last().unwrap().clone();
        assert_eq!(last["step"], "paused");
        assert!(last["detail"].as_str().unwrap().starts_with("paused at the PC"), "{last}");
        assert!(rig.agent_view("pc-1").await["paused"].is_object(), "known before its telemetry");
        rig.look_in(600);
        agent.settle().await;
        tell(&mut agent, json!(null)).await;
        agent.settle().await;
        rig.look_in(0);
    }
    let request = agent.request("agent.update").await;
    agent.fail(&request, "disk", "full").await;
    agent.settle().await;
    let failed = rig.outcome(&update["id"], "failed").await;
    assert_eq!(failed["attempt"], 1, "the budget is as it was");
    rig.stop().await;
}

#[tokio::test]
async fn a_pause_that_is_over_by_its_own_time_holds_nothing_back() {
    let rig = Rig::start().await;
    let token = rig.agent("pc-1").await;
    rig.release("1.1.0").await;
    let over = json!({"since": "2026-01-01T00:00:00Z", "until": "2026-01-01T01:00:00Z"});
    let mut agent = online(&rig, &token, over).await;
    assert_eq!(rig.agent_view("pc-1").await["paused"], json!(null));
    rig.wanted("pc-1", "1.1.0").await;
    agent.request("agent.update").await;
    rig.stop().await;
}

#[tokio::test]
async fn what_a_pc_never_allows_is_not_asked_for_again() {
    let rig = Rig::start().await;
    let token = rig.agent("pc-1").await;
    rig.release("1.1.0").await;
    let mut agent = online(&rig, &token, json!(null)).await;
    let update = rig.wanted("pc-1", "1.1.0").await;
    let request = agent.request("agent.update").await;
    agent.refuse(&request, "refused", "this PC never allows agent.update").await;
    agent.settle().await;
    let failed = rig.outcome(&update["id"], "failed").await;
    assert_eq!(failed["failure"]["kind"], "refused");
    rig.look_in(100_000);
    agent.settle().await;
    assert_eq!(rig.agent_view("pc-1").await["next_attempt"], json!(null));
    rig.stop().await;
}
