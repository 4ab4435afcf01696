//! Attempts after the first: when they come, what ends them, and what a restart of the server changes about them.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::rig::{FakeAgent, Rig, report};

async fn ready() -> (Rig, String, FakeAgent) {
    let rig = Rig::start().await;
    let token = rig.agent("pc-1").await;
    rig.release("1.1.0").await;
    let agent = rig.online_0_3("pc-1", &token, "1.0.0", json!(null)).await;
    (rig, token, agent)
}

fn minutes_between(from: &Value, to: &Value) -> SignedDuration {
    let at = |value: &Value| value.as_str().unwrap().parse::<Timestamp>().unwrap();
    at(to).duration_since(at(from))
}

#[tokio::test]
async fn a_version_that_fails_three_times_is_held_until_the_operator_clears_it() {
    let (rig, _, mut agent) = ready().await;
    let first = rig.wanted("pc-1", "1.1.0").await;
    assert_eq!((&first["attempt"], &first["kind"]), (&json!(1), &json!("update")));
    let request = agent.request("agent.update").await;
    agent.fail(&request, "preflight", "it does not load").await;
    agent.settle().await;
    let first = rig.outcome(&first["id"], "failed").await;

    let seen = rig.agent_view("pc-1").await;
    let next = &seen["next_attempt"];
    assert_eq!((&next["version"], &next["attempt"]), (&json!("1.1.0"), &json!(2)));
    let wait = minutes_between(&first["finished_at"], &next["at"]);
    assert_eq!(wait, SignedDuration::from_mins(5));
    rig.look_in(4);
    agent.settle().await;
    assert_eq!(rig.get("/agents/pc-1/updates").await["updates"].as_array().unwrap().len(), 1);

    rig.look_in(6);
    let request = agent.request("agent.update").await;
    assert_ne!(request["args"]["update_id"], first["id"], "an attempt is an update of its own");
    assert_eq!(request["args"]["allow_quarantined"], json!(null), "the operator said nothing");
    let second = rig.outcome(&request["args"]["update_id"], "running").await;
    assert_eq!((&second["attempt"], &second["origin"]), (&json!(2), &json!("retry")));
    assert_eq!(
        second["timeline"][0]["detail"], "attempt 2: the server tries again by itself",
        "{second}"
    );
    agent.fail(&request, "candidate_died", "it ended at once").await;
    agent.settle().await;
    let second = rig.outcome(&second["id"], "failed").await;
    let next = rig.agent_view("pc-1").await["next_attempt"].clone();
    let wait = minutes_between(&second["finished_at"], &next["at"]);
    assert_eq!(wait, SignedDuration::from_mins(30));
    rig.look_in(29);
    agent.settle().await;
    rig.look_in(31);
    let request = agent.request("agent.update").await;
    agent.fail(&request, "candidate_died", "it ended at once").await;
    agent.settle().await;
    rig.outcome(&request["args"]["update_id"], "failed").await;

    let seen = rig.agent_view("pc-1").await;
    assert_eq!(seen["next_attempt"], json!(null));
    let hold = &seen["hold"];
    assert_eq!((&hold["version"], &hold["attempts"]), (&json!("1.1.0"), &json!(3)));
    assert_eq!(hold["reason"], "it failed there 3 times, the last time: it ended at once");
    rig.look_in(1_000_000);
    agent.settle().await;
    assert_eq!(rig.get("/agents/pc-1/updates").await["updates"].as_array().unwrap().len(), 3);
    assert_eq!(rig.metric("kenny_agents_held").await, "kenny_agents_held 1");
    assert_eq!(rig.metric("kenny_update_retries").await, "kenny_update_retries_total 2");
    let happened = rig.happened(&"pc-1".parse().unwrap()).await;
    let (_, summary) = happened.iter().find(|(kind, _)| kind == "agent_held").unwrap();
    assert!(summary.contains("`kenny agent clear-hold pc-1`"), "{summary}");

    let (status, problem) = rig.post("/agents/pc-1/updates", json!({"version": "1.1.0"})).await;
    assert_eq!((status, &problem["code"]), (409, &json!("held")));
    let detail = problem["detail"].as_str().unwrap();
    for part in ["1.1.0", "it ended at once", "`kenny agent clear-hold pc-1`", "another version"] {
        assert!(detail.contains(part), "{part}: {detail}");
    }

    assert_eq!(rig.call("DELETE", "/agents/pc-1/hold", None).await.0, 204);
    let request = agent.request("agent.update").await;
    assert_eq!(request["args"]["allow_quarantined"], true);
    let fresh = rig.outcome(&request["args"]["update_id"], "running").await;
    assert_eq!((&fresh["attempt"], &fresh["origin"]), (&json!(1), &json!("operator")));
    assert_eq!(rig.agent_view("pc-1").await["hold"], json!(null));
    agent.fail(&request, "candidate_died", "it ended at once").await;
    agent.settle().await;
    rig.look_in(6);
    let request = agent.request("agent.update").await;
    assert_eq!(request["args"]["allow_quarantined"], true, "the fresh budget is one word");
    rig.stop().await;
}

#[tokio::test]
async fn a_restart_of_the_server_changes_nothing_about_what_is_due_or_held() {
    let (rig, token, mut agent) = ready().await;
    let update = rig.wanted("pc-1", "1.1.0").await;
    let request = agent.request("agent.update").await;
    agent.fail(&request, "candidate_died", "it ended at once").await;
    agent.settle().await;
    rig.outcome(&update["id"], "failed").await;
    let next = rig.agent_view("pc-1").await["next_attempt"].clone();
    drop(agent);
    let rig = rig.restart().await;
    let mut agent = rig.online_0_3("pc-1", &token, "1.0.0", json!(null)).await;
    assert_eq!(rig.agent_view("pc-1").await["next_attempt"], next);
    rig.look_in(4);
    agent.settle().await;
    rig.look_in(6);
    let request = agent.request("agent.update").await;
    agent.fail(&request, "candidate_died", "it ended at once").await;
    agent.settle().await;
    rig.look_in(31);
    let request = agent.request("agent.update").await;
    agent.fail(&request, "candidate_died", "it ended at once").await;
    agent.settle().await;
    let hold = rig.agent_view("pc-1").await["hold"].clone();
    assert_eq!(hold["attempts"], 3);
    drop(agent);

    let rig = rig.restart().await;
    let said = report(&request, "failed", json!({"kind": "candidate_died", "detail": "again"}));
    let mut agent = rig.online_0_3("pc-1", &token, "1.0.0", said).await;
    agent.settle().await;
    assert_eq!(rig.agent_view("pc-1").await["hold"], hold);
    // Cleared while the agent is away, and the server restarts once more.
    agent.hang_up().await;
    rig.until_online("pc-1", false).await;
    assert_eq!(rig.call("DELETE", "/agents/pc-1/hold", None).await.0, 204);
    assert_eq!(rig.agent_view("pc-1").await["next_attempt"]["attempt"], 1);
    let rig = rig.restart().await;
    let mut agent = rig.online_0_3("pc-1", &token, "1.0.0", json!(null)).await;
    let request = agent.request("agent.update").await;
    assert_eq!(request["args"]["allow_quarantined"], true);
    rig.stop().await;
}

#[tokio::test]
async fn attempts_come_by_themselves_when_time_has_passed() {
    let rig = Rig::start_with(|config| config.pace.first_backoff = Duration::from_millis(20)).await;
    let token = rig.agent("pc-1").await;
    rig.release("1.1.0").await;
    let mut agent = rig.online_0_3("pc-1", &token, "1.0.0", json!(null)).await;
    rig.wanted("pc-1", "1.1.0").await;
    for _ in 0..2 {
        let request = agent.request("agent.update").await;
        agent.fail(&request, "candidate_died", "it ended at once").await;
    }
    // What becomes due while the agent is away is sent when it is back.
    let request = agent.request("agent.update").await;
    agent.status(&request, "failed", json!({"failure": {"kind": "disk", "detail": "full"}})).await;
    agent.hang_up().await;
    rig.until_online("pc-1", false).await;
    let mut agent = rig.online_0_3("pc-1", &token, "1.0.0", json!(null)).await;
    let request = agent.request("agent.update").await;
    agent.fail(&request, "candidate_died", "it ended at once").await;
    rig.until("/agents/pc-1", |body| body["agent"]["hold"]["attempts"] == 4).await;
    rig.stop().await;
}

#[tokio::test]
async fn a_network_that_is_down_does_not_use_up_the_budget() {
    let (rig, _, mut agent) = ready().await;
    rig.wanted("pc-1", "1.1.0").await;
    for (attempt, wait) in (1..).zip([5, 30, 180, 360, 360]) {
        let request = agent.request("agent.update").await;
        agent.fail(&request, "network", "no server was reached").await;
        agent.settle().await;
        let update = rig.outcome(&request["args"]["update_id"], "failed").await;
        assert_eq!(update["attempt"], attempt);
        let seen = rig.agent_view("pc-1").await;
        assert_eq!(seen["hold"], json!(null));
        let waits = minutes_between(&update["finished_at"], &seen["next_attempt"]["at"]);
        assert_eq!(waits, SignedDuration::from_mins(wait), "after attempt {attempt}");
        rig.look_in(wait + 1);
    }
    agent.request("agent.update").await;
    rig.stop().await;
}

#[tokio::test]
async fn what_asking_again_cannot_change_waits_for_the_operator() {
    let (rig, _, mut agent) = ready().await;
    let update = rig.wanted("pc-1", "1.1.0").await;
    let request = agent.request("agent.update").await;
    agent.refuse(&request, "unsupported", "not as a service").await;
    rig.outcome(&update["id"], "failed").await;
    let seen = rig.agent_view("pc-1").await;
    assert_eq!((&seen["next_attempt"], &seen["hold"]), (&json!(null), &json!(null)));
    rig.look_in(1_000_000);
    agent.settle().await;
    assert_eq!(rig.get("/agents/pc-1/updates").await["updates"].as_array().unwrap().len(), 1);
    rig.stop().await;
}

#[tokio::test]
async fn a_version_in_quarantine_is_held_at_once_and_another_one_is_not() {
    let (rig, _, mut agent) = ready().await;
    rig.release("1.2.0").await;
    rig.wanted("pc-1", "1.1.0").await;
    let request = agent.request("agent.update").await;
    agent.fail(&request, "quarantined", "1.1.0 failed on this PC before").await;
    agent.settle().await;
    let seen = rig.agent_view("pc-1").await;
    let reason = seen["hold"]["reason"].as_str().unwrap();
    assert!(reason.contains("operator's word: 1.1.0 failed on this PC before"), "{reason}");

    // Another version works, and the hold stays for the first one.
    rig.wanted("pc-1", "1.2.0").await;
    let request = agent.request("agent.update").await;
    assert_eq!(request["args"]["version"], "1.2.0");
    agent.fail(&request, "disk", "full").await;
    agent.settle().await;
    let seen = rig.agent_view("pc-1").await;
    assert_eq!(seen["hold"]["version"], "1.1.0");
    assert_eq!(seen["next_attempt"]["version"], "1.2.0");
    assert_eq!(rig.metric("kenny_agents_held").await, "kenny_agents_held 0");
    let (status, problem) = rig.post("/agents/pc-1/updates", json!({"version": "1.1.0"})).await;
    assert_eq!((status, &problem["code"]), (409, &json!("held")));
    // The tool's own word for it overrules the hold, as clearing it would.
    let args = json!({"args": {"version": "1.1.0", "allow_quarantined": true}});
    let answer = async {
        let request = agent.request("agent.update").await;
        assert_eq!(request["args"]["allow_quarantined"], true);
        agent.answer(&request, json!({"ok": true, "staged_version": "1.1.0"})).await;
    };
    let ((status, outcome), ()) =
        tokio::join!(rig.post("/agents/pc-1/tools/agent.update", args), answer);
    assert_eq!((status, &outcome["ok"]), (200, &json!(true)), "{outcome}");
    rig.stop().await;
}

#[tokio::test]
async fn the_budget_is_the_versions_own_and_outlives_a_change_of_mind() {
    let (rig, _, mut agent) = ready().await;
    rig.release("1.2.0").await;
    rig.wanted("pc-1", "1.1.0").await;
    let request = agent.request("agent.update").await;
    agent.fail(&request, "candidate_died", "it ended at once").await;
    agent.settle().await;
    let other = rig.wanted("pc-1", "1.2.0").await;
    assert_eq!(other["attempt"], 1);
    let request = agent.request("agent.update").await;
    agent.fail(&request, "candidate_died", "it ended at once").await;
    agent.settle().await;
    let again = rig.wanted("pc-1", "1.1.0").await;
    assert_eq!(again["attempt"], 2);
    let request = agent.request("agent.update").await;
    agent.fail(&request, "candidate_died", "it ended at once").await;
    agent.settle().await;
    let third = rig.wanted("pc-1", "1.1.0").await;
    assert_eq!(third["attempt"], 3);
    let request = agent.request("agent.update").await;
    agent.fail(&request, "candidate_died", "it ended at once").await;
    agent.settle().await;
    assert_eq!(rig.agent_view("pc-1").await["hold"]["version"], "1.1.0");
    rig.stop().await;
}

#[tokio::test]
async fn an_agent_of_0_2_is_tried_again_and_sees_nothing_of_0_3() {
    let rig = Rig::start().await;
    let token = rig.agent("pc-1").await;
    rig.release("1.1.0").await;
    let mut agent = rig.online_0_2("pc-1", &token, "1.0.0").await;
    rig.until_online("pc-1", true).await;
    let first = rig.wanted("pc-1", "1.1.0").await;
    let mut id = first["id"].clone();
    for wait in [Some(5), Some(30), None] {
        let request = agent.request("agent.update").await;
        let names: Vec<_> = request["args"].as_object().unwrap().keys().collect();
        assert_eq!(names, ["sha256", "url", "version"]);
        agent.answer(&request, json!({"ok": true, "staged_version": "1.1.0"})).await;
        agent.hang_up().await;
        rig.until_online("pc-1", false).await;
        agent = rig.online_0_2("pc-1", &token, "1.0.0").await;
        rig.outcome(&id, "rolled_back").await;
        if let Some(wait) = wait {
            rig.look_in(wait + 1);
            let newest = rig
                .until("/agents/pc-1/updates", |list| list["updates"][0]["id"] != id)
                .await["updates"][0]
                .clone();
            assert_eq!(newest["origin"], "retry");
            id = newest["id"].clone();
        }
    }
    assert_eq!(rig.agent_view("pc-1").await["hold"]["attempts"], 3);
    assert_eq!(rig.call("DELETE", "/agents/pc-1/hold", None).await.0, 204);
    let request = agent.request("agent.update").await;
    assert_eq!(request["args"].as_object().unwrap().len(), 3, "not even the operator's word");

    // An error is all that 0.2 says of a failure: it is tried again later.
    agent.refuse(&request, "exec_failed", "the download broke off").await;
    rig.until("/agents/pc-1", |body| body["agent"]["next_attempt"]["attempt"] == 2).await;
    rig.look_in(6);
    agent.request("agent.update").await;
    rig.stop().await;
}
