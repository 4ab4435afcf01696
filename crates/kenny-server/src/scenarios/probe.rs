//! `/agent/probe`: what a candidate proves itself with.

use serde_json::json;

use super::rig::{Rig, within};

async fn probe(rig: &Rig, id: Option<&str>, token: Option<&str>) -> reqwest::Response {
    let mut request = rig.http.get(format!("{}/agent/probe", rig.url));
    if let Some(id) = id {
        request = request.header("X-Kenny-Agent-Id", id);
    }
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    within(request.send()).await.unwrap()
}

#[tokio::test]
async fn a_probe_says_whether_the_agent_would_be_accepted_and_displaces_nobody() {
    let rig = Rig::start().await;
    let token = rig.agent("pc-1").await;
    let other = rig.agent("pc-2").await;
    let mut agent = rig.online_0_3("pc-1", &token, "1.0.0", json!(null)).await;
    let before = rig.agent_view("pc-1").await;
    let answer = probe(&rig, Some("pc-1"), Some(&token)).await;
    assert_eq!(answer.status().as_u16(), 204);
    assert_eq!(within(answer.bytes()).await.unwrap().len(), 0);
    for (id, token) in [
        (Some("pc-1"), Some(other.as_str())),
        (Some("pc-1"), Some(rig.token.as_str())),
        (Some("pc-9"), Some(token.as_str())),
        (Some("../x"), Some(token.as_str())),
        (Some("pc-1"), None),
        (None, Some(token.as_str())),
        (None, None),
    ] {
        let answer = probe(&rig, id, token).await;
        assert_eq!(answer.status().as_u16(), 401, "{id:?}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
    }
    agent.settle().await;
    let mut after = rig.agent_view("pc-1").await;
    after["last_seen_at"] = before["last_seen_at"].clone();
    assert_eq!(after, before);
    let happened = rig.happened(&"pc-1".parse().unwrap()).await;
    let kinds: Vec<_> = happened.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["agent_created", "agent_online"], "nothing that anybody is told of");

    assert_eq!(rig.call("DELETE", "/agents/pc-2", None).await.0, 204);
    assert_eq!(probe(&rig, Some("pc-2"), Some(&other)).await.status().as_u16(), 401);
    rig.stop().await;
}

#[tokio::test]
async fn a_server_that_goes_down_asks_for_another_try() {
    let rig = Rig::start().await;
    let token = rig.agent("pc-1").await;
    rig.app.stopping.cancel();
    let answer = probe(&rig, Some("pc-1"), Some(&token)).await;
    assert_eq!(answer.status().as_u16(), 503);
    assert_eq!(answer.headers()["retry-after"], "15");
    rig.stop().await;
}

#[tokio::test]
async fn a_probe_is_answered_while_the_database_is_not() {
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
    assert_eq!(probe(&rig, Some("pc-1"), Some(&token)).await.status().as_u16(), 204);
    release.send(()).unwrap();
    within(stalled).await.unwrap().unwrap();
    rig.stop().await;
}
