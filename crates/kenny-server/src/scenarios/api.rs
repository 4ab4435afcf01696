//! The REST API: errors, releases, events, health.

use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::rig::{Rig, within};
use crate::releases::test_image::agent_image;

#[tokio::test]
async fn every_error_is_a_problem_document() {
    let rig = Rig::start().await;
    let send = async |method: &str, path: &str, token: Option<&str>, body: &'static str| {
        let mut request = rig
            .http
            .request(method.parse().unwrap(), format!("{}{path}", rig.url))
            .header("content-type", "application/json")
            .body(body);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        assert_eq!(headers["content-type"], "application/problem+json", "{method} {path}");
        let problem: Value = response.json().await.unwrap();
        assert_eq!(problem["status"], status);
        (status, problem["code"].as_str().unwrap().to_owned(), headers)
    };
    let token = Some(rig.token.as_str());
    for wrong in [None, Some("kenny_op_wrong")] {
        let (status, code, headers) = send("GET", "/api/v1/agents", wrong, "").await;
        assert_eq!((status, code.as_str()), (401, "unauthorized"));
        assert!(headers["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
    }
    for (method, path, body, status, code) in [
        ("GET", "/api/v1/nothing", "", 404, "not_found"),
        ("GET", "/nothing", "", 404, "not_found"),
        ("PUT", "/api/v1/agents", "", 405, "method_not_allowed"),
        ("POST", "/api/v1/agents", "{", 400, "bad_json"),
        ("POST", "/api/v1/agents", r#"{"id": "../x"}"#, 422, "bad_json"),
        ("GET", "/api/v1/agents/pc-9", "", 404, "unknown_agent"),
        ("GET", "/api/v1/updates/7", "", 404, "unknown_update"),
        ("GET", "/api/v1/events?agnt=x", "", 400, "bad_query"),
        ("POST", "/api/v1/agents/pc-9/tools/fs.list", "{}", 404, "unknown_agent"),
        ("GET", "/agent/ws", "", 400, "not_a_websocket"),
    ] {
        let (got_status, got_code, _) = send(method, path, token, body).await;
        assert_eq!((got_status, got_code.as_str()), (status, code), "{method} {path}");
    }
    rig.agent("pc-1").await;
    let (status, problem) = rig.post("/agents", json!({"id": "pc-1", "legacy": true})).await;
    assert_eq!((status, problem["code"].as_str()), (409, Some("agent_exists")));
    let (status, problem) = rig.post("/agents/pc-1/tools/fs.delete", json!({})).await;
    assert_eq!((status, problem["code"].as_str()), (404, Some("unknown_tool")));
    let (status, problem) = rig.post("/agents/pc-1/tools/fs.list", json!({})).await;
    assert_eq!((status, problem["code"].as_str()), (400, Some("bad_args")));
    assert!(problem["detail"].as_str().unwrap().contains("`path`"), "{problem}");
    rig.stop().await;
}

#[tokio::test]
async fn a_release_is_what_the_executable_says_and_never_changes() {
    let rig = Rig::start().await;
    let image = agent_image("1.1.0", 100_000);
    let (status, added) = rig.upload(image.clone()).await;
    assert_eq!((status, &added["created"]), (201, &json!(true)));
    assert_eq!(added["release"]["version"], "1.1.0");
    assert_eq!(added["release"]["os"], "linux");
    assert_eq!(added["release"]["size_bytes"], image.len());
    assert_eq!(rig.upload(image).await.0, 200);
    let (status, problem) = rig.upload(agent_image("1.1.0", 5)).await;
    assert_eq!((status, problem["code"].as_str()), (409, Some("release_exists")));
    let (status, problem) = rig.upload(b"hello".to_vec()).await;
    assert_eq!((status, problem["code"].as_str()), (422, Some("not_an_agent")));
    rig.release("1.10.0").await;
    rig.release("1.9.0").await;
    let rig = rig.restart().await;
    let releases = rig.get("/releases").await["releases"].clone();
    let versions: Vec<_> =
        releases.as_array().unwrap().iter().map(|release| release["version"].clone()).collect();
    assert_eq!(versions, ["1.10.0", "1.9.0", "1.1.0"]);
    rig.stop().await;
}

/// Reads events until the wanted one came; all of them.
async fn events(
    rig: &Rig,
    query: &str,
    last_seen: Option<&str>,
    until: &str,
) -> Vec<(String, Value)> {
    let url = format!("{}/api/v1/events{query}", rig.url);
    let mut request = rig.http.get(url).bearer_auth(&rig.token);
    if let Some(last_seen) = last_seen {
        request = request.header("last-event-id", last_seen);
    }
    let response = request.send().await.unwrap();
    assert_eq!(response.status().as_u16(), 200);
    let mut bytes = response.bytes_stream();
    let mut text = String::new();
    within(async {
        loop {
            text.push_str(std::str::from_utf8(&bytes.next().await.unwrap().unwrap()).unwrap());
            let read: Vec<_> = text
                .split_inclusive("\n\n")
                .filter(|event| event.ends_with("\n\n") && event.contains("data:"))
                .map(|event| {
                    let field = |name: &str| {
                        event
                            .lines()
                            .find_map(|line| line.strip_prefix(name))
                            .map(|value| value.trim_start_matches(':').trim().to_owned())
                            .unwrap()
                    };
                    let data: Value = serde_json::from_str(&field("data")).unwrap();
                    assert_eq!(field("event"), data["kind"]);
                    (field("id"), data)
                })
                .collect();
            if read.last().is_some_and(|(_, event)| event["kind"] == until) {
                return read;
            }
        }
    })
    .await
}

fn kinds(events: &[(String, Value)]) -> Vec<&str> {
    events.iter().map(|(_, event)| event["kind"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn events_go_on_where_the_listener_stopped() {
    let rig = Rig::start().await;
    let token = rig.agent("pc-1").await;
    rig.agent("pc-2").await;
    rig.release("1.1.0").await;
    let agent = rig.online_0_3("pc-1", &token, "1.0.0", json!(null)).await;
    let all = events(&rig, "", Some("0"), "agent_online").await;
    assert_eq!(kinds(&all), ["agent_created", "agent_created", "release_added", "agent_online"]);
    let rest = events(&rig, "", Some(&all[1].0), "agent_online").await;
    assert_eq!(rest, all[2..]);
    let one = events(&rig, "?agent=pc-1", Some("0"), "agent_online").await;
    assert_eq!(kinds(&one), ["agent_created", "agent_online"]);

    // Live, after a replay, across a restart.
    let rig = {
        drop(agent);
        rig.until_online("pc-1", false).await;
        rig.restart().await
    };
    let listen = events(&rig, "", Some(&all[3].0), "update_changed");
    let act = async {
        let (status, update) = rig.post("/agents/pc-1/updates", json!({"version": "1.1.0"})).await;
        assert_eq!(status, 201);
        update
    };
    let (heard, update) = tokio::join!(listen, act);
    assert_eq!(kinds(&heard), ["agent_offline", "update_changed"]);
    assert_eq!(heard[1].1["update"], update, "the whole update");
    let strange = events(&rig, "", Some("9000000000000000"), "resync").await;
    assert_eq!(kinds(&strange), ["resync"]);
    let (status, problem) = rig.call("GET", "/events?agent=pc-9", None).await;
    assert_eq!((status, problem["code"].as_str()), (404, Some("unknown_agent")));
    rig.stop().await;
}

#[tokio::test]
async fn health_metrics_and_the_document_are_open_on_loopback() {
    let rig = Rig::start().await;
    let get = async |path: &str| {
        let response = rig.http.get(format!("{}{path}", rig.url)).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 200, "{path}");
        response.text().await.unwrap()
    };
    assert!(get("/healthz").await.contains("ok"));
    assert!(get("/readyz").await.contains("ok"));
    assert!(get("/metrics").await.contains("kenny_agents_online 0"));
    let document: Value = serde_json::from_str(&get("/api/v1/openapi.json").await).unwrap();
    assert!(document["paths"]["/api/v1/agents/{id}/tools/{tool}"]["post"].is_object());
    let tools = rig.get("/tools").await;
    assert!(tools["tools"].as_array().unwrap().iter().any(|tool| tool["name"] == "agent.update"));
    rig.stop().await;
}

#[tokio::test]
async fn a_lost_operator_token_is_replaced_while_the_server_is_down() {
    let rig = Rig::start().await;
    let old = rig.token.clone();
    let error = crate::reset_operator_token(rig.app_folder()).await.unwrap_err();
    assert!(error.to_string().contains("another kenny-server uses"), "{error}");
    let folder = rig.stop().await;
    let token = crate::reset_operator_token(folder.path()).await.unwrap();
    assert_ne!(token, old);
    let rig = Rig::start_in(folder, Some(token), |_| {}).await;
    rig.get("/agents").await;
    let stale = rig.http.get(format!("{}/api/v1/agents", rig.url)).bearer_auth(old).send().await;
    assert_eq!(stale.unwrap().status().as_u16(), 401);
    rig.stop().await;
}
