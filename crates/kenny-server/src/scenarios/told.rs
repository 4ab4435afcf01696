//! Updates that the agent tells of and that this server did not start.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::rig::{FakeAgent, Rig, report, within};
use crate::store::update_rows;

const BY_HAND: &str = "6f1c6f5e-2d5a-4a0e-9c57-1d9b1f6f2a12";

/// An agent that went from 1.0.0 to 1.1.0, which is wanted.
async fn updated() -> (Rig, String, FakeAgent) {
    let rig = Rig::start().await;
    let token = rig.agent("pc-1").await;
    rig.release("1.1.0").await;
    let mut agent = rig.online_0_3("pc-1", &token, "1.0.0", json!(null)).await;
    let update = rig.wanted("pc-1", "1.1.0").await;
    let request = agent.request("agent.update").await;
    agent.hang_up().await;
    let said = report(&request, "committed", json!(null));
    let agent = rig.online_0_3("pc-1", &token, "1.1.0", said).await;
    rig.outcome(&update["id"], "succeeded").await;
    (rig, token, agent)
}

fn told(from: &str, to: &str, phase: &str, rollback: bool) -> Value {
    json!({
        "update_id": BY_HAND, "from_version": from, "version": to, "sha256": "ab".repeat(32), "phase": phase,
        "history": [{"phase": phase, "at": Timestamp::now()}], "rollback": rollback, "log": ["by hand"]
    })
}

/// Waits until the history has what the agent told of, in this state.
async fn known(rig: &Rig, id: &Value, state: &str) -> Value {
    let found = |list: &Value| {
        let updates = list["updates"].as_array().unwrap().iter();
        updates.clone().find(|it| it["id"] == *id && it["state"] == state).cloned()
    };
    found(&rig.until("/agents/pc-1/updates", |list| found(list).is_some()).await).unwrap()
}

async fn updates(rig: &Rig) -> Vec<Value> {
    rig.get("/agents/pc-1/updates").await["updates"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_rollback_at_the_pc_is_not_undone_from_afar() {
    let (rig, token, agent) = updated().await;
    agent.hang_up().await;
    rig.until_online("pc-1", false).await;
    let by_hand = told("1.1.0", "1.0.0", "committed", true);
    let mut agent = rig.online_0_3("pc-1", &token, "1.0.0", by_hand.clone()).await;
    let told = known(&rig, &json!(BY_HAND), "succeeded").await;
    assert_eq!((&told["kind"], &told["origin"]), (&json!("rollback"), &json!("agent")));
    assert_eq!((&told["state"], &told["log"]), (&json!("succeeded"), &json!(["by hand"])));
    assert_eq!((&told["from_version"], &told["version"]), (&json!("1.1.0"), &json!("1.0.0")));
    let seen = rig.agent_view("pc-1").await;
    assert_eq!(seen["hold"]["version"], "1.1.0");
    assert_eq!(seen["hold"]["reason"], "rolled back at the PC");
    assert_eq!(seen["desired_version"], "1.1.0");
    rig.look_in(1_000_000);
    agent.settle().await;
    let (status, problem) = rig.post("/agents/pc-1/updates", json!({"version": "1.1.0"})).await;
    assert_eq!((status, &problem["code"]), (409, &json!("held")));
    agent.hang_up().await;

    // Said again it is no news, also after a restart.
    let rig = rig.restart().await;
    let mut agent = rig.online_0_3("pc-1", &token, "1.0.0", by_hand.clone()).await;
    agent.settle().await;
    assert_eq!(updates(&rig).await.len(), 2);
    assert_eq!(rig.agent_view("pc-1").await["hold"], seen["hold"]);

    // The operator decides otherwise, and what the agent says of the past does not change that.
    assert_eq!(rig.call("DELETE", "/agents/pc-1/hold", None).await.0, 204);
    let request = agent.request("agent.update").await;
    assert_eq!(request["args"]["allow_quarantined"], true);
    agent.hang_up().await;
    rig.until_online("pc-1", false).await;
    let mut agent = rig.online_0_3("pc-1", &token, "1.0.0", by_hand).await;
    agent.request("agent.update").await;
    assert_eq!(rig.agent_view("pc-1").await["hold"], json!(null));
    rig.stop().await;
}

#[tokio::test]
async fn a_rollback_at_the_pc_wins_over_the_update_that_is_on_its_way() {
    let (rig, token, mut agent) = updated().await;
    rig.release("1.2.0").await;
    let update = rig.wanted("pc-1", "1.2.0").await;
    let request = agent.request("agent.update").await;
    agent.status(&request, "staged", json!({})).await;
    agent.hang_up().await;
    rig.until_online("pc-1", false).await;
    let by_hand = told("1.2.0", "1.1.0", "probation", true);
    let mut agent = rig.online_0_3("pc-1", &token, "1.1.0", by_hand).await;
    let old = rig.outcome(&update["id"], "superseded").await;
    let why = old["timeline"].as_array().unwrap().last().unwrap()["detail"].clone();
    assert_eq!(why, "somebody went back to an older version at the PC");
    assert_eq!(rig.agent_view("pc-1").await["hold"]["version"], "1.2.0");
    agent
        .send(&json!({
            "type": "update_status", "update_id": BY_HAND, "version": "1.1.0", "phase": "committed",
            "at": Timestamp::now()
        }))
        .await;
    known(&rig, &json!(BY_HAND), "succeeded").await;
    agent.settle().await;
    rig.stop().await;
}

#[tokio::test]
async fn a_rollback_that_is_told_of_before_it_happens_holds_once_it_has() {
    let (rig, token, agent) = updated().await;
    agent.hang_up().await;
    rig.until_online("pc-1", false).await;
    let agent =
        rig.online_0_3("pc-1", &token, "1.1.0", told("1.1.0", "1.0.0", "staged", true)).await;
    known(&rig, &json!(BY_HAND), "running").await;
    assert_eq!(rig.agent_view("pc-1").await["hold"], json!(null), "nothing happened yet");
    agent.hang_up().await;
    rig.until_online("pc-1", false).await;
    let mut agent =
        rig.online_0_3("pc-1", &token, "1.0.0", told("1.1.0", "1.0.0", "probation", true)).await;
    known(&rig, &json!(BY_HAND), "online").await;
    assert_eq!(rig.agent_view("pc-1").await["hold"]["version"], "1.1.0");
    agent.settle().await;
    let rig = rig.restart().await;
    assert_eq!(rig.agent_view("pc-1").await["hold"]["version"], "1.1.0", "kept");
    rig.stop().await;
}

#[tokio::test]
async fn an_update_that_was_started_elsewhere_is_history_and_the_intent_goes_on() {
    let (rig, token, agent) = updated().await;
    agent.hang_up().await;
    rig.until_online("pc-1", false).await;
    // Somebody installed an older version with a tool call that named the file: no rollback, no hold.
    let by_hand = told("1.1.0", "1.0.5", "committed", false);
    let mut agent = rig.online_0_3("pc-1", &token, "1.0.5", by_hand.clone()).await;
    known(&rig, &json!(BY_HAND), "succeeded").await;
    let seen = rig.agent_view("pc-1").await;
    assert_eq!((&seen["hold"], &seen["update"]["id"]), (&json!(null), &json!(BY_HAND)));
    // A version that was reached and left again is the operator's to ask for.
    agent.settle().await;
    rig.release("1.2.0").await;
    let wanted = rig.wanted("pc-1", "1.2.0").await;
    let request = agent.request("agent.update").await;
    agent.fail(&request, "network", "no server was reached").await;
    agent.settle().await;
    agent.hang_up().await;
    rig.until_online("pc-1", false).await;

    // News beside a version that waits for its next attempt does not make that forget it.
    let mut other = by_hand;
    other["update_id"] = json!("6f1c6f5e-2d5a-4a0e-9c57-1d9b1f6f2a13");
    let mut agent = rig.online_0_3("pc-1", &token, "1.0.5", other.clone()).await;
    known(&rig, &other["update_id"], "succeeded").await;
    assert_eq!(rig.agent_view("pc-1").await["next_attempt"]["attempt"], 2);
    rig.look_in(6);
    let request = agent.request("agent.update").await;
    assert_eq!(request["args"]["version"], "1.2.0");
    assert_ne!(request["args"]["update_id"], wanted["id"]);
    rig.stop().await;
}

#[tokio::test]
async fn history_beside_an_open_update_does_not_take_its_place() {
    let rig = Rig::start().await;
    let token = rig.agent("pc-1").await;
    rig.release("1.1.0").await;
    let update = rig.wanted("pc-1", "1.1.0").await;
    let by_hand = told("0.9.0", "1.0.0", "committed", false);
    let mut agent = rig.online_0_3("pc-1", &token, "1.0.0", by_hand.clone()).await;
    let request = agent.request("agent.update").await;
    assert_eq!(request["args"]["update_id"], update["id"]);
    assert_eq!(known(&rig, &json!(BY_HAND), "succeeded").await["origin"], "agent");
    assert_eq!(rig.agent_view("pc-1").await["update"]["id"], update["id"]);
    agent.hang_up().await;
    let rig = rig.restart().await;
    assert_eq!(rig.agent_view("pc-1").await["update"]["id"], update["id"]);
    let mut agent = rig.online_0_3("pc-1", &token, "1.0.0", by_hand).await;
    let again = agent.request("agent.update").await;
    assert_eq!(again["args"]["update_id"], update["id"]);
    assert_eq!(updates(&rig).await.len(), 2);
    rig.stop().await;
}

#[tokio::test]
async fn an_attempt_that_a_lost_database_forgot_counts_like_any_other() {
    let rig = Rig::start().await;
    let token = rig.agent("pc-1").await;
    rig.release("1.1.0").await;
    let update = rig.wanted("pc-1", "1.1.0").await;
    rig.app.fleet.flush(&rig.app.store).await.unwrap();
    let mut failed = told("1.0.0", "1.1.0", "rolled_back", false);
    failed["failure"] = json!({"kind": "candidate_died", "detail": "it ended at once"});
    // With an open update the news is history only.
    let mut agent = rig.online_0_3("pc-1", &token, "1.0.0", failed.clone()).await;
    let request = agent.request("agent.update").await;
    assert_eq!(request["args"]["update_id"], update["id"]);
    agent.fail(&request, "candidate_died", "it ended at once").await;
    agent.settle().await;
    agent.hang_up().await;
    rig.until_online("pc-1", false).await;
    failed["update_id"] = json!("6f1c6f5e-2d5a-4a0e-9c57-1d9b1f6f2a13");
    let _agent = rig.online_0_3("pc-1", &token, "1.0.0", failed.clone()).await;
    let counted = known(&rig, &failed["update_id"], "rolled_back").await;
    assert_eq!(counted["attempt"], 2);
    rig.until("/agents/pc-1", |body| body["agent"]["next_attempt"]["attempt"] == 3).await;
    rig.stop().await;
}

#[tokio::test]
async fn nothing_is_sent_before_it_is_known_what_the_agent_told_of() {
    let rig = Rig::start().await;
    let token = rig.agent("pc-1").await;
    rig.release("1.1.0").await;
    let mut agent = rig.online_0_3("pc-1", &token, "1.0.0", json!(null)).await;
    let update = rig.wanted("pc-1", "1.1.0").await;
    agent.request("agent.update").await;
    agent.hang_up().await;
    rig.until_online("pc-1", false).await;

    // It was installed, and somebody went back from it before the agent was heard of again.
    let sql = |sql: &'static str| rig.app.store.run(|connection| connection.execute_batch(sql));
    sql("ALTER TABLE updates RENAME TO elsewhere").await.unwrap();
    let by_hand = told("1.1.0", "1.0.0", "committed", true);
    let mut agent = rig.online_0_3("pc-1", &token, "1.0.0", by_hand).await;
    let (status, same) = rig.post("/agents/pc-1/updates", json!({"version": "1.1.0"})).await;
    assert_eq!((status, &same["id"]), (200, &update["id"]));
    rig.look_in(1);
    agent.settle().await;

    sql("ALTER TABLE elsewhere RENAME TO updates").await.unwrap();
    rig.look_in(1);
    // Both come together, so that no crash can come between them.
    let read = async || {
        rig.app
            .store
            .run(|connection| {
                let id = BY_HAND.parse().expect("written as one");
                let update = update_rows::update_by_id(connection, id)?;
                Ok((update.is_some(), update_rows::holds(connection)?.len()))
            })
            .await
            .unwrap()
    };
    let kept = within(async {
        loop {
            let (is_known, holds) = read().await;
            if is_known {
                return holds;
            }
        }
    })
    .await;
    assert_eq!(kept, 1);
    rig.until("/agents/pc-1", |body| body["agent"]["hold"]["version"] == "1.1.0").await;
    rig.outcome(&update["id"], "superseded").await;
    agent.settle().await;
    rig.stop().await;
}
