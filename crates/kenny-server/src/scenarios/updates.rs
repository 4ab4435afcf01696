//! Updates: what goes over the wire, and what the operator sees of it.

use serde_json::{Value, json};

use super::rig::{Rig, report};
use crate::auth::sha256;
use crate::releases::test_image::agent_image;

fn steps(update: &Value) -> Vec<&str> {
    update["timeline"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["step"].as_str().unwrap())
        .collect()
}

async fn wanted(rig: &Rig, version: &str) -> Value {
    rig.wanted("pc-1", version).await
}

async fn outcome(rig: &Rig, update: &Value, state: &str) -> Value {
    rig.outcome(&update["id"], state).await
}

#[tokio::test]
async fn the_whole_way_to_a_new_version() {
    let rig = Rig::start().await;
    let token = rig.agent("pc-1").await;
    assert_eq!(rig.release("1.1.0").await.0, 201);
    let mut agent = rig.online_0_3("pc-1", &token, "1.0.0", json!(null)).await;
    let update = wanted(&rig, "1.1.0").await;
    assert_eq!(update["state"], "running");
    assert_eq!(update["from_version"], "1.0.0");

    let request = agent.request("agent.update").await;
    let args = &request["args"];
    assert_eq!(args["update_id"], update["id"]);
    assert!(args["deadline"].is_string());
    let image = agent_image("1.1.0", 100_000);
    assert_eq!(args["sha256"], sha256(&image).to_string());
    let url = args["url"].as_str().unwrap();
    assert!(url.starts_with(&rig.url), "same origin as the tunnel: {url}");
    let bytes = rig.http.get(url).send().await.unwrap().bytes().await.unwrap();
    assert_eq!(bytes, image);

    agent.status(&request, "downloading", json!({"percent": 1})).await;
    agent.status(&request, "downloading", json!({"percent": 50})).await;
    agent.settle().await;
    let running = rig.get("/agents/pc-1").await["agent"]["update"].clone();
    assert_eq!((&running["phase"], &running["percent"]), (&json!("downloading"), &json!(50)));
    agent.status(&request, "verifying", json!({})).await;
    agent.status(&request, "staged", json!({})).await;
    agent.answer(&request, json!({"ok": true, "staged_version": "1.1.0"})).await;
    agent.settle().await;
    assert_eq!(rig.get("/agents/pc-1").await["agent"]["update"]["state"], "running");
    agent.hang_up().await;
    rig.until_online("pc-1", false).await;

    let said = report(&request, "probation", json!(null));
    let mut agent = rig.online_0_3("pc-1", &token, "1.1.0", said).await;
    outcome(&rig, &update, "online").await;
    agent.status(&request, "committed", json!({})).await;
    let update = outcome(&rig, &update, "succeeded").await;
    assert_eq!(
        steps(&update),
        [
            "requested",
            "sent",
            "downloading",
            "verifying",
            "staged",
            "stopped",
            "started",
            "online",
            "committed"
        ]
    );
    assert!(update["finished_at"].is_string());
    assert_eq!(update["journal"].as_array().unwrap().len(), 1);
    // Fact equals intent: nothing is sent any more.
    agent.settle().await;
    let rig = rig.restart().await;
    let kept = rig.get("/agents/pc-1").await["updates"][0].clone();
    assert_eq!(kept, update, "all of it is in the database");
    rig.stop().await;
}

#[tokio::test]
async fn an_agent_of_0_2_gets_three_arguments_and_is_judged_by_its_version() {
    let rig = Rig::start().await;
    let token = rig.agent("pc-1").await;
    rig.release("1.1.0").await;
    rig.release("1.2.0").await;
    let mut agent = rig.online_0_2("pc-1", &token, "1.0.0").await;
    rig.until_online("pc-1", true).await;
    let update = wanted(&rig, "1.1.0").await;
    let request = agent.request("agent.update").await;
    let mut names: Vec<_> = request["args"].as_object().unwrap().keys().collect();
    names.sort();
    assert_eq!(names, ["sha256", "url", "version"]);
    agent.answer(&request, json!({"ok": true, "staged_version": "1.1.0"})).await;
    agent.hang_up().await;
    rig.until_online("pc-1", false).await;
    let mut agent = rig.online_0_2("pc-1", &token, "1.1.0").await;
    let update = outcome(&rig, &update, "succeeded").await;
    assert_eq!(steps(&update), ["requested", "sent", "staged", "stopped", "online"]);

    let update = wanted(&rig, "1.2.0").await;
    let request = agent.request("agent.update").await;
    agent.answer(&request, json!({"ok": true, "staged_version": "1.2.0"})).await;
    agent.hang_up().await;
    rig.until_online("pc-1", false).await;
    let mut agent = rig.online_0_2("pc-1", &token, "1.1.0").await;
    let update = outcome(&rig, &update, "rolled_back").await;
    assert!(update["failure"]["detail"].as_str().unwrap().contains("without saying why"));
    agent.settle().await;
    rig.stop().await;
}

#[tokio::test]
async fn what_failed_is_tried_again_at_once_when_the_operator_asks_again() {
    let rig = Rig::start().await;
    let token = rig.agent("pc-1").await;
    rig.release("1.1.0").await;
    let mut agent = rig.online_0_3("pc-1", &token, "1.0.0", json!(null)).await;
    let first = wanted(&rig, "1.1.0").await;
    let request = agent.request("agent.update").await;
    let mismatch = json!({"kind": "hash_mismatch", "detail": "other bytes arrived"});
    agent.status(&request, "failed", json!({"failure": mismatch})).await;
    agent.refuse(&request, "exec_failed", "other bytes arrived").await;
    let first = outcome(&rig, &first, "failed").await;
    assert_eq!(first["failure"], mismatch);
    agent.hang_up().await;
    rig.until_online("pc-1", false).await;

    let said = report(&request, "failed", mismatch);
    let mut agent = rig.online_0_3("pc-1", &token, "1.0.0", said).await;
    agent.settle().await;
    let second = wanted(&rig, "1.1.0").await;
    assert_ne!(second["id"], first["id"]);
    assert_eq!((&second["attempt"], &second["origin"]), (&json!(2), &json!("operator")));
    let request = agent.request("agent.update").await;
    agent.refuse(&request, "unsupported", "not as a service").await;
    let second = outcome(&rig, &second, "failed").await;
    assert_eq!(
        second["failure"],
        json!({"kind": "refused", "detail": "unsupported: not as a service"})
    );
    let list = rig.get("/agents/pc-1/updates").await;
    assert_eq!(list["updates"].as_array().unwrap().len(), 2);
    assert_eq!(list["updates"][0]["id"], second["id"], "newest first");
    rig.stop().await;
}

#[tokio::test]
async fn an_agent_that_came_back_says_what_happened() {
    let rig = Rig::start().await;
    let token = rig.agent("pc-1").await;
    rig.release("1.1.0").await;
    let mut agent = rig.online_0_3("pc-1", &token, "1.0.0", json!(null)).await;
    let update = wanted(&rig, "1.1.0").await;
    let request = agent.request("agent.update").await;
    agent.status(&request, "downloading", json!({})).await;
    agent.hang_up().await;
    rig.until_online("pc-1", false).await;

    // Still at it: left alone.
    let said = report(&request, "downloading", json!(null));
    let mut agent = rig.online_0_3("pc-1", &token, "1.0.0", said).await;
    agent.settle().await;
    agent.status(&request, "staged", json!({})).await;
    agent.hang_up().await;
    rig.until_online("pc-1", false).await;

    let died = json!({"kind": "candidate_died", "detail": "the new version ended at once"});
    let said = report(&request, "rolled_back", died.clone());
    let mut agent = rig.online_0_3("pc-1", &token, "1.0.0", said).await;
    let update = outcome(&rig, &update, "rolled_back").await;
    assert_eq!(update["failure"], died);
    assert_eq!(
        steps(&update),
        ["requested", "sent", "downloading", "staged", "stopped", "rolled_back"]
    );
    // And nothing is sent again by itself.
    agent.settle().await;
    rig.stop().await;
}

#[tokio::test]
async fn an_agent_that_never_takes_it_is_asked_three_times() {
    let rig = Rig::start().await;
    let token = rig.agent("pc-1").await;
    rig.release("1.1.0").await;
    let (status, update) = rig.post("/agents/pc-1/updates", json!({"version": "1.1.0"})).await;
    assert_eq!((status, &update["state"]), (201, &json!("waiting")));
    for _ in 0..3 {
        let mut agent = rig.online_0_3("pc-1", &token, "1.0.0", json!(null)).await;
        agent.request("agent.update").await;
        agent.hang_up().await;
        rig.until_online("pc-1", false).await;
    }
    let mut agent = rig.online_0_3("pc-1", &token, "1.0.0", json!(null)).await;
    let update = outcome(&rig, &update, "failed").await;
    assert!(update["failure"]["detail"].as_str().unwrap().contains("sent 3 times"));
    agent.settle().await;
    rig.stop().await;
}

#[tokio::test]
async fn an_intent_outlives_a_restart_of_the_server() {
    let rig = Rig::start().await;
    let token = rig.agent("pc-1").await;
    rig.release("1.1.0").await;
    let update = wanted(&rig, "1.1.0").await;
    let rig = rig.restart().await;
    let mut agent = rig.online_0_3("pc-1", &token, "1.0.0", json!(null)).await;
    let request = agent.request("agent.update").await;
    assert_eq!(request["args"]["update_id"], update["id"]);
    let bytes = rig.http.get(request["args"]["url"].as_str().unwrap()).send().await.unwrap();
    assert_eq!(bytes.status().as_u16(), 200);
    agent.hang_up().await;
    let rig = rig.restart().await;
    let said = report(&request, "committed", json!(null));
    let _agent = rig.online_0_3("pc-1", &token, "1.1.0", said).await;
    outcome(&rig, &update, "succeeded").await;
    rig.stop().await;
}

#[tokio::test]
async fn what_cannot_be_wanted_is_refused_with_what_to_do() {
    let rig = Rig::start().await;
    let token = rig.agent("pc-1").await;
    rig.release("1.1.0").await;
    let mut agent = rig.online_0_3("pc-1", &token, "1.2.0", json!(null)).await;
    let ask = |body: Value| rig.post("/agents/pc-1/updates", body);

    let (status, problem) = ask(json!({"version": "1.1.0"})).await;
    assert_eq!((status, problem["code"].as_str()), (409, Some("downgrade_not_allowed")));
    assert!(problem["detail"].as_str().unwrap().contains("allow_downgrade"));
    let (status, problem) = ask(json!({"version": "1.3.0"})).await;
    assert_eq!((status, problem["code"].as_str()), (404, Some("no_such_release")));
    assert!(problem["detail"].as_str().unwrap().contains("1.1.0 for linux x86_64"), "{problem}");
    let (status, problem) = ask(json!({"version": "latest"})).await;
    assert_eq!((status, problem["code"].as_str()), (400, Some("bad_version")));
    let (status, _) = ask(json!({"version": "1.1.0", "force": true})).await;
    assert_eq!(status, 422);

    // The version that runs: finished at once, nothing sent, also without a release.
    let (status, update) = ask(json!({"version": "1.2.0"})).await;
    assert_eq!((status, &update["state"]), (200, &json!("succeeded")));
    assert_eq!(update["timeline"][1]["detail"], "already runs 1.2.0");
    let (status, again) = ask(json!({"version": "1.2.0"})).await;
    assert_eq!((status, &again["id"]), (200, &update["id"]));
    agent.settle().await;

    let (status, down) = ask(json!({"version": "1.1.0", "allow_downgrade": true})).await;
    assert_eq!((status, &down["state"]), (201, &json!("running")));
    agent.request("agent.update").await;
    let (status, same) = ask(json!({"version": "1.1.0", "allow_downgrade": true})).await;
    assert_eq!((status, &same["id"]), (200, &down["id"]));
    let (status, problem) = ask(json!({"version": "1.2.0"})).await;
    assert_eq!((status, problem["code"].as_str()), (409, Some("update_in_progress")));
    rig.stop().await;
}

#[tokio::test]
async fn an_intent_can_be_taken_back_or_replaced_before_it_is_sent() {
    let rig = Rig::start().await;
    let token = rig.agent("pc-1").await;
    rig.release("1.1.0").await;
    rig.release("1.2.0").await;
    let first = wanted(&rig, "1.1.0").await;
    let second = wanted(&rig, "1.2.0").await;
    assert_eq!(outcome(&rig, &first, "superseded").await["timeline"][1]["step"], "superseded");
    assert_eq!(rig.get("/agents/pc-1").await["agent"]["desired_version"], "1.2.0");
    assert_eq!(rig.call("DELETE", "/agents/pc-1/desired", None).await.0, 204);
    outcome(&rig, &second, "superseded").await;
    assert_eq!(rig.get("/agents/pc-1").await["agent"]["desired_version"], json!(null));
    let mut agent = rig.online_0_3("pc-1", &token, "1.0.0", json!(null)).await;
    agent.settle().await;
    rig.stop().await;
}

#[tokio::test]
async fn agent_update_is_a_tool_like_the_others() {
    let rig = Rig::start().await;
    let token = rig.agent("pc-1").await;
    rig.release("1.1.0").await;
    let call = |args: Value| rig.post("/agents/pc-1/tools/agent_update", json!({"args": args}));
    assert_eq!(call(json!({"version": "1.1.0"})).await.1["code"], "agent_offline");
    let mut agent = rig.online_0_3("pc-1", &token, "1.0.0", json!(null)).await;
    assert_eq!(call(json!({})).await.1["code"], "bad_args");
    let answer = async {
        let request = agent.request("agent.update").await;
        assert!(request["args"]["url"].is_string());
        agent.answer(&request, json!({"ok": true, "staged_version": "1.1.0"})).await;
    };
    let ((status, outcome), ()) = tokio::join!(call(json!({"version": "1.1.0"})), answer);
    assert_eq!((status, &outcome["result"]["staged_version"]), (200, &json!("1.1.0")));
    let seen = rig.get("/agents/pc-1").await["agent"].clone();
    assert_eq!(
        (&seen["desired_version"], &seen["update"]["state"]),
        (&json!("1.1.0"), &json!("running"))
    );

    // With everything given it is forwarded as it is.
    let args = json!({"version": "9.9.9", "url": "http://elsewhere/x", "sha256": "ab".repeat(32)});
    let answer = async {
        let request = agent.request("agent.update").await;
        assert_eq!(request["args"], args);
        agent.refuse(&request, "exec_failed", "another update is under way").await;
    };
    let ((status, outcome), ()) = tokio::join!(call(args.clone()), answer);
    assert_eq!((status, &outcome["ok"]), (200, &json!(false)));
    assert_eq!(rig.get("/agents/pc-1").await["agent"]["update"]["state"], "running");
    rig.stop().await;
}
