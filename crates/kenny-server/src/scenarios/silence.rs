//! Updates of agents that fall silent.

use jiff::Timestamp;
use serde_json::json;

use super::rig::{Rig, report};

#[tokio::test]
async fn silence_shows_as_unknown_and_turns_into_what_really_happened() {
    let rig = Rig::start().await;
    let token = rig.agent("pc-1").await;
    rig.release("1.1.0").await;
    let mut agent = rig.online_0_3("pc-1", &token, "1.0.0", json!(null)).await;
    let update = rig.wanted("pc-1", "1.1.0").await;
    let request = agent.request("agent.update").await;
    agent.status(&request, "staged", json!({})).await;
    agent.answer(&request, json!({"ok": true, "staged_version": "1.1.0"})).await;
    agent.status(&request, "swapping", json!({})).await;
    agent.settle().await;
    agent.hang_up().await;
    rig.until_online("pc-1", false).await;

    rig.look_in(29);
    assert_eq!(rig.outcome(&update["id"], "running").await["phase"], "swapping");
    rig.look_in(31);
    let unknown = rig.outcome(&update["id"], "unknown").await;
    assert_eq!((&unknown["phase"], &unknown["finished_at"]), (&json!("swapping"), &json!(null)));
    let last = unknown["timeline"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(last["step"], "unknown");
    assert_eq!(last["detail"], "silent for too long, last heard of in the phase `swapping`");
    assert_eq!(rig.metric("kenny_updates_unknown").await, "kenny_updates_unknown 1");
    // Asking again while nothing is known changes nothing, and a restart does not either.
    let (status, same) = rig.post("/agents/pc-1/updates", json!({"version": "1.1.0"})).await;
    assert_eq!((status, &same["state"]), (200, &json!("unknown")));
    let rig = rig.restart().await;
    rig.look_in(1_000);
    rig.outcome(&update["id"], "unknown").await;

    let died = json!({"kind": "candidate_died", "detail": "it ended at once"});
    let mut said = report(&request, "rolled_back", died.clone());
    said["log"] = json!(["the new version ended 2 times", "the old version is back"]);
    let mut agent = rig.online_0_3("pc-1", &token, "1.0.0", said).await;
    let back = rig.outcome(&update["id"], "rolled_back").await;
    assert_eq!(back["failure"], died);
    assert_eq!(back["log"], json!(["the new version ended 2 times", "the old version is back"]));
    assert_eq!(back["journal"][0]["step"], "started");
    agent.settle().await;
    let seen = rig.agent_view("pc-1").await;
    assert_eq!(seen["update"]["log"], json!([]), "lists go without");
    assert_eq!(seen["next_attempt"]["attempt"], 2);
    let rig = rig.restart().await;
    assert_eq!(rig.outcome(&update["id"], "rolled_back").await, back, "all of it is kept");
    assert_eq!(rig.metric("kenny_updates_unknown").await, "kenny_updates_unknown 0");
    rig.stop().await;
}

#[tokio::test]
async fn a_slow_download_that_reports_on_is_no_silence() {
    let rig = Rig::start().await;
    let token = rig.agent("pc-1").await;
    rig.release("1.1.0").await;
    let mut agent = rig.online_0_3("pc-1", &token, "1.0.0", json!(null)).await;
    let update = rig.wanted("pc-1", "1.1.0").await;
    let request = agent.request("agent.update").await;
    agent.status(&request, "downloading", json!({"percent": 1})).await;
    agent.settle().await;
    rig.look_in(59);
    assert_eq!(rig.outcome(&update["id"], "running").await["percent"], 1);
    rig.look_in(61);
    rig.outcome(&update["id"], "unknown").await;
    // The agent is connected all the time; the next word is enough.
    agent.status(&request, "downloading", json!({"percent": 1, "at": Timestamp::now()})).await;
    let heard = rig.outcome(&update["id"], "running").await;
    assert_eq!(heard["timeline"].as_array().unwrap().last().unwrap()["step"], "heard");
    rig.stop().await;
}

#[tokio::test]
async fn an_agent_of_0_2_may_be_silent_while_it_works_and_not_when_it_is_gone() {
    let rig = Rig::start().await;
    let token = rig.agent("pc-1").await;
    rig.release("1.1.0").await;
    let mut agent = rig.online_0_2("pc-1", &token, "1.0.0").await;
    rig.until_online("pc-1", true).await;
    let update = rig.wanted("pc-1", "1.1.0").await;
    let request = agent.request("agent.update").await;
    rig.look_in(600);
    rig.outcome(&update["id"], "running").await;
    agent.answer(&request, json!({"ok": true, "staged_version": "1.1.0"})).await;
    agent.settle().await;
    agent.hang_up().await;
    rig.until_online("pc-1", false).await;
    rig.look_in(31);
    assert_eq!(rig.outcome(&update["id"], "unknown").await["phase"], "staged");
    let _agent = rig.online_0_2("pc-1", &token, "1.1.0").await;
    rig.outcome(&update["id"], "succeeded").await;
    rig.stop().await;
}

#[tokio::test]
async fn an_update_that_was_never_sent_waits_and_is_not_unknown() {
    let rig = Rig::start().await;
    rig.agent("pc-1").await;
    rig.release("1.1.0").await;
    let update = rig.wanted("pc-1", "1.1.0").await;
    rig.look_in(1_000_000);
    rig.outcome(&update["id"], "waiting").await;
    rig.stop().await;
}
