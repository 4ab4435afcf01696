//! Releases where the server has keys: what agents may be sent, what was withdrawn, what is removed.

use std::time::Duration;

use kenny_proto::trust::Publication;
use serde_json::{Value, json};

use super::rig::{FakeAgent, Rig};
use super::signer::Signer;
use crate::auth::sha256;
use crate::releases::test_image::{agent_image, signed_agent};

/// Tells the server how the agent trusts, as its telemetry does.
async fn tell(agent: &mut FakeAgent, mode: &str) {
    let section = json!({"status": "ok", "summary": "x", "mode": mode});
    agent
        .send(&json!({
            "type": "telemetry", "agent_id": "pc-1", "collected_at": "2026-11-25T10:00:00Z",
            "snapshot": {"trust": section}
        }))
        .await;
    agent.settle().await;
}

async fn signed(rig: &Rig, signer: &Signer, version: u64, images: &[&[u8]]) {
    for image in images {
        assert_eq!(rig.artifact(image, sha256(image)).await.0, 204);
    }
    let targets = Some(signer.signed_targets(version, images));
    rig.published(&Publication { roots: vec![], targets }).await;
}

async fn asked(rig: &Rig, version: &str) -> (u16, Value) {
    rig.post("/agents/pc-1/updates", json!({"version": version})).await
}

#[tokio::test]
async fn with_keys_on_the_server_an_unsigned_release_is_refused_when_it_is_asked_for() {
    let rig = Rig::start().await;
    let token = rig.agent("pc-1").await;
    let signer = Signer::of(&rig).await;
    rig.published(&signer.first()).await;
    assert_eq!(rig.release("2.0.0").await.0, 201);

    let refused = |(status, body): (u16, Value), why: &str| {
        assert_eq!((status, body["code"].as_str()), (409, Some("not_signed")), "{body}");
        let detail = body["detail"].as_str().unwrap();
        for said in ["kenny release sign", "kenny release publish", why] {
            assert!(detail.contains(said), "{detail}");
        }
    };
    refused(asked(&rig, "2.0.0").await, "has not said");
    let mut agent = rig.online_0_3("pc-1", &token, "1.0.0", json!(null)).await;
    refused(asked(&rig, "2.0.0").await, "has not said");
    tell(&mut agent, "pinned").await;
    refused(asked(&rig, "2.0.0").await, "signed releases only");
    let (status, tool) =
        rig.post("/agents/pc-1/tools/agent.update", json!({"args": {"version": "2.0.0"}})).await;
    refused((status, tool), "signed releases only");
    let audit = rig.get("/audit?action=update.request").await;
    assert_eq!(audit["rows"][0]["outcome"], "refused");
    assert_eq!(audit["rows"][0]["facts"]["code"], "not_signed");

    // What an agent said before holds until it says otherwise.
    agent.hang_up().await;
    rig.until_online("pc-1", false).await;
    refused(asked(&rig, "2.0.0").await, "signed releases only");

    // One without a root takes it, and the operator is told what that means.
    let mut agent = rig.online_0_3("pc-1", &token, "1.0.0", json!(null)).await;
    tell(&mut agent, "hash-only").await;
    let (status, update) = asked(&rig, "2.0.0").await;
    assert_eq!(status, 201, "{update}");
    assert!(update["warning"].as_str().unwrap().contains("pins no root"), "{update}");
    let request = agent.request("agent.update").await;
    agent.refuse(&request, "exec_failed", "no").await;

    let image = agent_image("3.0.0", 10);
    signed(&rig, &signer, 2, &[&image]).await;
    tell(&mut agent, "pinned").await;
    rig.call("DELETE", "/agents/pc-1/desired", None).await;
    let (status, update) = asked(&rig, "3.0.0").await;
    assert_eq!((status, &update["warning"]), (201, &Value::Null), "{update}");
    agent.request("agent.update").await;
    rig.stop().await;
}

#[tokio::test]
async fn an_agent_of_0_2_knows_no_root_and_is_sent_what_it_was_sent_before() {
    let rig = Rig::start().await;
    let token = rig.agent("pc-1").await;
    let signer = Signer::of(&rig).await;
    rig.published(&signer.first()).await;
    assert_eq!(rig.release("2.0.0").await.0, 201);
    let mut agent = rig.online_0_2("pc-1", &token, "1.0.0").await;
    agent.settle().await;
    let (status, update) = asked(&rig, "2.0.0").await;
    assert_eq!(status, 201, "{update}");
    assert!(update["warning"].as_str().unwrap().contains("kenny agent invite pc-1"));
    rig.stop().await;
}

#[tokio::test]
async fn a_withdrawn_release_is_shown_as_one_and_never_offered() {
    let rig = Rig::start().await;
    let token = rig.agent("pc-1").await;
    let signer = Signer::of(&rig).await;
    rig.published(&signer.first()).await;
    let images = [agent_image("2.0.0", 10), agent_image("2.1.0", 10)];
    signed(&rig, &signer, 2, &[&images[0], &images[1]]).await;
    // Asked for while it was signed, and not sent yet.
    assert_eq!(asked(&rig, "2.1.0").await.0, 201);
    signed(&rig, &signer, 3, &[&images[0]]).await;

    let rig = rig.restart().await;
    let list = rig.get("/releases").await;
    let [newer, older] = &list["releases"].as_array().unwrap()[..] else { panic!("{list}") };
    assert_eq!(
        (newer["version"].as_str(), older["version"].as_str()),
        (Some("2.1.0"), Some("2.0.0"))
    );
    assert!(newer["withdrawn_at"].is_string() && older["withdrawn_at"].is_null(), "{list}");

    let mut agent = rig.online_0_3("pc-1", &token, "1.0.0", json!(null)).await;
    agent.settle().await;
    rig.call("DELETE", "/agents/pc-1/desired", None).await;
    tell(&mut agent, "hash-only").await;
    let (status, body) = asked(&rig, "2.1.0").await;
    assert_eq!((status, body["code"].as_str()), (409, Some("release_withdrawn")), "{body}");
    assert!(body["detail"].as_str().unwrap().contains("kenny release sign"), "{body}");
    let (_, again) = rig.upload(images[1].clone()).await;
    assert!(again["warning"].as_str().unwrap().contains("was withdrawn"), "{again}");

    // Signed again it is one like any other.
    signed(&rig, &signer, 4, &[&images[0], &images[1]]).await;
    assert!(rig.get("/releases").await["releases"][0]["withdrawn_at"].is_null());
    assert_eq!(asked(&rig, "2.1.0").await.0, 201);
    let request = agent.request("agent.update").await;
    assert_eq!(request["args"]["version"], "2.1.0", "and nothing was sent before");
    rig.stop().await;
}

#[tokio::test]
async fn what_is_withdrawn_is_removed_with_its_file_and_what_is_signed_or_wanted_is_not() {
    let rig = Rig::start().await;
    rig.agent("pc-1").await;
    let signer = Signer::of(&rig).await;
    rig.published(&signer.first()).await;
    let image = agent_image("2.0.0", 10);
    signed(&rig, &signer, 2, &[&image]).await;
    let digest = sha256(&image).to_string();
    let file = rig.app_folder().join("artifacts").join(&digest[..2]).join(&digest);
    assert!(file.exists());

    let remove = |version: &'static str| rig.call("DELETE", version, None);
    let code = |(status, body): (u16, Value)| (status, body["code"].as_str().map(str::to_owned));
    assert_eq!(code(remove("/releases/2.0.0").await), (409, Some("release_signed".to_owned())));
    assert_eq!(asked(&rig, "2.0.0").await.0, 201);
    signed(&rig, &signer, 3, &[]).await;
    assert_eq!(code(remove("/releases/2.0.0").await), (409, Some("release_wanted".to_owned())));
    rig.call("DELETE", "/agents/pc-1/desired", None).await;
    assert_eq!(remove("/releases/2.0.0").await.0, 204);
    assert!(!file.exists());
    assert_eq!(rig.get("/releases").await["releases"], json!([]));
    assert_eq!(code(remove("/releases/2.0.0").await), (404, Some("no_such_release".to_owned())));
    let audit = rig.get("/audit?action=release.remove").await;
    let outcomes: Vec<_> =
        audit["rows"].as_array().unwrap().iter().map(|row| row["outcome"].clone()).collect();
    assert_eq!(outcomes, ["refused", "done", "refused", "refused"]);
    let rig = rig.restart().await;
    assert_eq!(rig.get("/releases").await["releases"], json!([]));
    rig.stop().await;
}

#[tokio::test]
async fn an_artifact_that_nobody_signs_is_gone_after_a_month_and_not_before() {
    let rig = Rig::start().await;
    let signer = Signer::of(&rig).await;
    rig.published(&signer.first()).await;
    let images = [agent_image("2.0.0", 10), agent_image("2.1.0", 10), agent_image("2.2.0", 10)];
    signed(&rig, &signer, 2, &[&images[0]]).await;
    assert_eq!(rig.upload(images[1].clone()).await.0, 201);
    assert_eq!(rig.artifact(&images[2], sha256(&images[2])).await.0, 204);
    let paths = images.each_ref().map(|image| {
        let digest = sha256(image).to_string();
        rig.app_folder().join("artifacts").join(&digest[..2]).join(&digest)
    });
    let there = || paths.each_ref().map(|path| path.exists());
    crate::ops::releases::sweep(&rig.app).await;
    assert_eq!(there(), [true, true, true]);
    let long_ago = std::time::SystemTime::now() - Duration::from_hours(31 * 24);
    for path in &paths {
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_modified(long_ago).unwrap();
    }
    crate::ops::releases::sweep(&rig.app).await;
    assert_eq!(there(), [true, true, false], "what is signed or a release stays");
    rig.stop().await;
}

#[tokio::test]
async fn a_published_release_names_whom_its_authenticode_signature_names() {
    let rig = Rig::start().await;
    let signer = Signer::of(&rig).await;
    rig.published(&signer.first()).await;
    let image = signed_agent();
    signed(&rig, &signer, 2, &[&image]).await;
    let named = rig.get("/releases").await["releases"][0]["signer"].clone();
    assert!(named["common_name"].is_string(), "{named}");
    let rig = rig.restart().await;
    assert_eq!(rig.get("/releases").await["releases"][0]["signer"], named);
    rig.stop().await;
}

#[tokio::test]
async fn who_runs_a_withdrawn_release_is_shown_and_a_rollout_to_it_begins_nothing_more() {
    let rig = Rig::start().await;
    let (token, away) = (rig.agent("pc-1").await, rig.agent("away").await);
    let signer = Signer::of(&rig).await;
    rig.published(&signer.first()).await;
    let images = [agent_image("2.0.0", 10), agent_image("2.1.0", 10)];
    signed(&rig, &signer, 2, &[&images[0], &images[1]]).await;
    let _agent = rig.online_0_3("pc-1", &token, "2.1.0", json!(null)).await;
    rig.online_0_3("away", &away, "2.0.0", json!(null)).await.hang_up().await;
    rig.until_online("away", false).await;
    assert_eq!(rig.agent_view("pc-1").await["runs_withdrawn"], false);
    let wanted = json!({"version": "2.1.0", "selection": {"everyone": true}, "preset": "now"});
    let (status, rollout) = rig.post("/rollouts", wanted.clone()).await;
    assert_eq!(status, 201, "{rollout}");

    signed(&rig, &signer, 3, &[&images[0]]).await;
    assert_eq!(rig.agent_view("pc-1").await["runs_withdrawn"], true);
    assert_eq!(rig.agent_view("away").await["runs_withdrawn"], false);
    let path = format!("/rollouts/{}", rollout["id"].as_str().unwrap());
    let done = rig.until(&path, |it| it["rollout"]["state"] == "completed").await;
    let members = done["members"].as_array().unwrap();
    let left_out = members.iter().find(|member| member["agent_id"] == "away").unwrap();
    assert_eq!(left_out["when"], json!({"when": "never", "why": "no_release"}), "{done}");
    let (status, problem) = rig.post("/rollouts", wanted).await;
    assert_eq!((status, &problem["code"]), (409, &json!("release_withdrawn")));
    // Off it in one step.
    let off = json!({
        "version": "2.0.0", "selection": {"versions": ["2.1.0"]}, "preset": "now", "allow_downgrade": true
    });
    let (status, plan) = rig.post("/rollouts/plan", off).await;
    assert_eq!((status, &plan["members"][0]["agent_id"]), (200, &json!("pc-1")), "{plan}");
    assert_eq!(plan["members"][0]["when"]["when"], "now");
    rig.stop().await;
}
