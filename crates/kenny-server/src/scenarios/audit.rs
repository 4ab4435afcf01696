//! Who did what, as the audit log has it.

use kenny_proto::audit::{AuditOutcome, AuditRow};
use serde_json::json;

use super::rig::Rig;
use crate::audit::{Filter, page, verify_offline};
use crate::auth::sha256;

/// The rows since the one after which the scenario began, oldest first.
async fn rows(rig: &Rig, after: u64) -> Vec<AuditRow> {
    let filter = Filter { after: Some(after), ..Filter::default() };
    rig.app.store.run(move |connection| page(connection, &filter)).await.unwrap().rows
}

fn told(rows: &[AuditRow]) -> Vec<(&str, AuditOutcome)> {
    rows.iter().map(|row| (row.action.as_str(), row.outcome)).collect()
}

#[tokio::test]
async fn every_change_is_told_with_who_what_and_from_where() {
    let rig = Rig::start().await;
    let first = rig.app.audit.head().await.unwrap().sequence;
    rig.agent("pc-1").await;
    rig.release("1.1.0").await;
    rig.wanted("pc-1", "1.1.0").await;
    rig.call("DELETE", "/agents/pc-1/desired", None).await;
    rig.call("DELETE", "/agents/pc-1", None).await;
    let (status, _) = rig.call("DELETE", "/agents/pc-1", None).await;
    assert_eq!(status, 404);
    let rows = rows(&rig, first).await;
    let expected = [
        ("agent.create", AuditOutcome::Done),
        ("release.add", AuditOutcome::Done),
        ("update.request", AuditOutcome::Done),
        ("update.clear", AuditOutcome::Done),
        ("agent.remove", AuditOutcome::Done),
        ("agent.remove", AuditOutcome::Refused),
    ];
    assert_eq!(told(&rows), expected);
    for row in &rows {
        assert_eq!((row.account.as_deref(), row.face.as_str()), (Some("owner"), "rest"));
        assert_eq!(row.from.as_deref(), Some("127.0.0.1"));
    }
    assert_eq!(rows[2].agent_id.as_deref(), Some("pc-1"));
    assert_eq!(rows[2].facts["version"], "1.1.0");
    assert_eq!(rows[5].facts["code"], "unknown_agent");
    let folder = rig.stop().await;
    verify_offline(folder.path(), vec![rows[5].anchor()]).unwrap();
}

#[tokio::test]
async fn every_change_of_who_may_act_is_told() {
    let rig = Rig::start().await;
    let first = rig.app.audit.head().await.unwrap().sequence;
    let (_, made) = rig.post("/accounts", json!({"name": "anna", "role": "viewer"})).await;
    assert!(made["password"].is_string(), "{made}");
    rig.call("PATCH", "/accounts/anna", Some(json!({"role": "operator"}))).await;
    rig.post("/accounts/anna/reset", json!({})).await;
    let (_, token) = rig.post("/tokens", json!({"name": "a script"})).await;
    rig.call("DELETE", &format!("/tokens/{}", token["token"]["id"]), None).await;
    let password = json!({"new": "correct horse battery staple"});
    assert_eq!(rig.call("PUT", "/me/password", Some(password)).await.0, 204);
    rig.post("/agents/pc-1/invite", json!({})).await;
    rig.call("DELETE", "/agents/pc-1/invite", None).await;
    rig.call("DELETE", "/accounts/anna", None).await;
    let rows = rows(&rig, first).await;
    let expected = [
        "account.create",
        "account.change",
        "account.reset",
        "token.create",
        "token.revoke",
        "account.password",
        "agent.invite",
        "agent.withdraw_invitation",
        "account.remove",
    ];
    assert_eq!(told(&rows), expected.map(|action| (action, AuditOutcome::Done)));
    rig.stop().await;
}

#[tokio::test]
async fn a_call_is_told_before_it_is_sent_and_its_outcome_after() {
    let rig = Rig::start().await;
    let token = rig.agent("pc-1").await;
    let mut agent = rig.online_0_3("pc-1", &token, "1.0.0", json!(null)).await;
    let before = rig.app.audit.head().await.unwrap().sequence;
    let script = "$password = 'hunter2'";
    let answer = async {
        let request = agent.request("powershell.exec").await;
        let sent = rows(&rig, before).await;
        assert_eq!(told(&sent), [("tool.call", AuditOutcome::Sent)], "there before it is sent");
        agent.refuse(&request, "exec_failed", "no").await;
    };
    let body = json!({"args": {"script": script}});
    let ((status, _), ()) =
        tokio::join!(rig.post("/agents/pc-1/tools/powershell.exec", body), answer);
    assert_eq!(status, 200);
    let (status, _) = rig.post("/agents/pc-1/tools/fs.read", json!({})).await;
    assert_eq!(status, 400);
    agent.hang_up().await;
    rig.until_online("pc-1", false).await;
    let (status, _) = rig.post("/agents/pc-1/tools/net.config", json!({})).await;
    assert_eq!(status, 409);
    let rows = rows(&rig, before).await;
    let expected = [
        ("tool.call", AuditOutcome::Sent),
        ("tool.call", AuditOutcome::Error),
        ("tool.call", AuditOutcome::Refused),
        ("tool.call", AuditOutcome::Refused),
    ];
    assert_eq!(told(&rows), expected);
    assert_eq!(rows[0].subject.as_deref(), Some("powershell.exec"));
    assert_eq!(rows[0].facts["arg.script.sha256"], sha256(script.as_bytes()).to_string());
    assert!(!serde_json::to_string(&rows).unwrap().contains("hunter2"));
    assert_eq!((&rows[0].call, rows[1].facts["code"].as_str()), (&rows[1].call, "exec_failed"));
    assert_eq!(rows[2].facts["code"], "bad_args");
    assert_eq!(rows[3].facts["code"], "agent_offline");
    rig.stop().await;
}

#[tokio::test]
async fn a_call_in_whose_middle_the_server_dies_is_known_to_have_been_sent() {
    let rig = Rig::start().await;
    let token = rig.agent("pc-1").await;
    let mut agent = rig.online_0_3("pc-1", &token, "1.0.0", json!(null)).await;
    let url = format!("{}/api/v1/agents/pc-1/tools/powershell.exec", rig.url);
    let body = json!({"args": {"script": "x"}});
    let call = rig.http.post(url).bearer_auth(&rig.token).json(&body).send();
    let call = tokio::spawn(call);
    agent.request("powershell.exec").await;
    // What is on the disk now is what a server that lost its power would find.
    let copy = crate::testing::TempDir::new();
    for file in ["kenny.db", "kenny.db-wal"] {
        fs_err::copy(rig.app_folder().join(file), copy.path().join(file)).unwrap();
    }
    let connection = rusqlite::Connection::open(copy.path().join("kenny.db")).unwrap();
    let last = page(&connection, &Filter { limit: Some(1), ..Filter::default() }).unwrap().rows;
    assert_eq!(told(&last), [("tool.call", AuditOutcome::Sent)]);
    drop(connection);
    verify_offline(copy.path(), Vec::new()).unwrap();
    call.abort();
    agent.receive().await;
    rig.stop().await;
}

#[tokio::test]
async fn a_call_that_changes_something_waits_for_its_row_and_is_not_sent_without() {
    let rig = Rig::start().await;
    let token = rig.agent("pc-1").await;
    let mut agent = rig.online_0_3("pc-1", &token, "1.0.0", json!(null)).await;
    let full = "CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'full'); END";
    rig.app.store.run(move |connection| connection.execute_batch(full)).await.unwrap();
    let body = json!({"args": {"script": "x"}});
    let (status, problem) = rig.post("/agents/pc-1/tools/powershell.exec", body).await;
    assert_eq!((status, problem["code"].as_str()), (503, Some("database_unavailable")));
    let (status, _) = rig.post("/agents", json!({"id": "pc-2", "legacy": true})).await;
    assert_eq!(status, 503);
    assert_eq!(rig.get("/agents").await["agents"].as_array().unwrap().len(), 1);
    // The next frame is the answer to its own ping: no request came before it.
    agent.settle().await;
    rig.stop().await;
}

#[tokio::test]
async fn strangers_are_told_within_bounds() {
    let rig = Rig::start_with(|config| config.limits.free_failures = 10).await;
    rig.agent("pc-1").await;
    let before = rig.app.audit.head().await.unwrap().sequence;
    for _ in 0..40 {
        let url = format!("{}/api/v1/agents", rig.url);
        let answer = rig.http.get(&url).bearer_auth("kenny_op_wrong").send().await.unwrap();
        assert!([401, 429].contains(&answer.status().as_u16()));
        let answer = rig.http.get(&url).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 401, "no credentials are no attempt");
    }
    let meta = json!({"hostname": "x", "os": "linux", "version": "1.0.0"});
    let mut stranger = rig.connect().await;
    stranger.register("pc-1", "wrong", meta).await;
    assert_eq!(stranger.closed().await.0, 4401);
    let rows = rows(&rig, before).await;
    assert!((1..=20).contains(&rows.len()), "{}", rows.len());
    assert!(rows.iter().all(|row| row.outcome == AuditOutcome::Denied && row.account.is_none()));
    assert_eq!(rows[0].action, "authorise");
    rig.stop().await;
}

#[tokio::test]
async fn the_log_is_read_page_by_page() {
    let rig = Rig::start().await;
    for number in 0..5 {
        rig.agent(&format!("pc-{number}")).await;
    }
    let page = rig.get("/audit?limit=2&action=agent.create").await;
    assert_eq!(page["rows"][0]["agent_id"], "pc-4");
    let before = page["rows"][1]["sequence"].as_u64().unwrap();
    let page = rig.get(&format!("/audit?limit=2&before={before}")).await;
    assert_eq!(page["rows"][0]["agent_id"], "pc-2");
    let page = rig.get("/audit?after=0&limit=1000").await;
    assert_eq!(page["rows"].as_array().unwrap().len(), 5);
    assert_eq!(page["head"]["sequence"], 5);
    assert_eq!(rig.get("/audit?agent=pc-3").await["rows"].as_array().unwrap().len(), 1);
    assert_eq!(rig.call("GET", "/audit?sort=up", None).await.0, 400);
    rig.stop().await;
}
