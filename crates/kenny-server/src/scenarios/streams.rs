//! What goes on and on (event streams, long calls) ends with what it was opened by.

use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::COOKIE;
use futures_util::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use kenny_proto::Role;
use kenny_proto::api::Event;
use serde_json::json;
use tokio::sync::mpsc;

use super::browser::{Browser, PASSWORD};
use super::program::Program;
use super::rig::{Rig, within};
use crate::ops;
use crate::web::session::SignedIn;

/// Events as a signed-in browser gets them: the channel ends when the stream does.
async fn listen(rig: &Rig, browser: &Browser) -> mpsc::UnboundedReceiver<Arc<Event>> {
    let mut headers = HeaderMap::new();
    let cookie = format!("kenny_session={}", browser.cookies["kenny_session"]);
    headers.insert(COOKIE, cookie.parse().unwrap());
    let who = SignedIn::of(&rig.app, &headers, None).await.unwrap().expect("signed in");
    let stream = ops::events::follow(&rig.app, &who.operator, None, None).await.unwrap();
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut stream = std::pin::pin!(stream);
        while let Some(event) = stream.next().await {
            if sender.send(event).is_err() {
                return;
            }
        }
    });
    receiver
}

/// It hears what happens now.
async fn hears(rig: &Rig, events: &mut mpsc::UnboundedReceiver<Arc<Event>>, agent: &str) {
    rig.agent(agent).await;
    loop {
        let event = within(events.recv()).await.expect("it goes on");
        if event.agent_id.as_ref().is_some_and(|id| id.as_str() == agent) {
            return;
        }
    }
}

async fn ends(mut events: mpsc::UnboundedReceiver<Arc<Event>>) {
    within(async { while events.recv().await.is_some() {} }).await;
}

#[tokio::test]
async fn a_browsers_stream_ends_when_it_signs_out_and_others_go_on() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Operator).await;
    let mut here = Browser::signed_in(&rig, "anna").await;
    let there = Browser::signed_in(&rig, "anna").await;
    let (mut mine, mut other) = (listen(&rig, &here).await, listen(&rig, &there).await);
    hears(&rig, &mut mine, "pc-1").await;
    let page = here.get("/account").await;
    assert_eq!(here.submit(&page, "/logout", &[]).await.location(), "/login");
    ends(mine).await;
    hears(&rig, &mut other, "pc-2").await;
    rig.stop().await;
}

#[tokio::test]
async fn a_browsers_stream_ends_when_another_browser_signs_it_out() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Operator).await;
    let mut here = Browser::signed_in(&rig, "anna").await;
    let there = Browser::signed_in(&rig, "anna").await;
    let theirs = listen(&rig, &there).await;
    let page = here.get("/account").await;
    let other = page.hidden("id");
    here.submit(&page, "/account/sessions/end", &[("id", &other)]).await;
    ends(theirs).await;
    rig.stop().await;
}

#[tokio::test]
async fn a_browsers_stream_ends_when_it_signs_in_again_and_when_the_account_changes() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Operator).await;
    let mut browser = Browser::new(&rig);
    browser.sign_in("anna", PASSWORD).await;
    let first = listen(&rig, &browser).await;
    // The same browser proves itself anew: the old secret is worth nothing, and what it opened neither.
    let session = browser.cookies.remove("kenny_session").unwrap();
    let page = browser.get("/login").await;
    browser.cookies.insert("kenny_session".to_owned(), session);
    browser.submit(&page, "/login", &[("name", "anna"), ("password", PASSWORD)]).await;
    ends(first).await;
    for change in [json!({"role": "viewer"}), json!({"disabled": true})] {
        let events = listen(&rig, &browser).await;
        rig.call("PATCH", "/accounts/anna", Some(change)).await;
        ends(events).await;
        browser = Browser::new(&rig);
        browser.sign_in("anna", PASSWORD).await;
    }
    rig.stop().await;
}

#[tokio::test]
async fn a_browsers_stream_ends_when_the_session_does() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Operator).await;
    let browser = Browser::signed_in(&rig, "anna").await;
    // A second of its seven days is left.
    let begun =
        Timestamp::now() - SignedDuration::from_hours(7 * 24) + SignedDuration::from_secs(1);
    rig.sql(move |connection| {
        connection.execute("UPDATE sessions SET created_at = ?1", [begun.to_string()]).map(drop)
    })
    .await;
    ends(listen(&rig, &browser).await).await;
    rig.stop().await;
}

#[tokio::test]
async fn a_call_that_is_waited_for_ends_when_its_token_is_revoked() {
    let rig = Rig::start().await;
    let agent_token = rig.agent("pc-1").await;
    let mut agent = rig.online_0_3("pc-1", &agent_token, "1.0.0", json!(null)).await;
    let (_, made) = rig.post("/tokens", json!({"name": "a script"})).await;
    let secret = made["secret"].as_str().unwrap().to_owned();
    let call = rig.call_as(
        &secret,
        "POST",
        "/agents/pc-1/tools/powershell.exec",
        Some(json!({"args": {"script": "x"}})),
    );
    let meanwhile = async {
        let request = agent.request("powershell.exec").await;
        let path = format!("/tokens/{}", made["token"]["id"]);
        assert_eq!(rig.call("DELETE", &path, None).await.0, 204);
        request
    };
    let ((status, problem), request) = tokio::join!(call, meanwhile);
    assert_eq!((status, &problem["code"]), (401, &json!("unauthorized")), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("whether the tool ran is not known"));
    // The agent is told that nobody waits any more.
    let cancel = agent.receive().await;
    assert_eq!((&cancel["type"], &cancel["id"]), (&json!("cancel"), &request["id"]));
    let last = rig.until("/audit?action=tool.call", |page| page["rows"][0]["outcome"] == "unknown");
    assert_eq!(last.await["rows"][0]["agent_id"], "pc-1");
    rig.stop().await;
}

#[tokio::test]
async fn a_programs_call_ends_when_the_person_ends_its_permission() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Operator).await;
    let agent_token = rig.agent("pc-1").await;
    let mut agent = rig.online_0_3("pc-1", &agent_token, "1.0.0", json!(null)).await;
    let mut browser = Browser::signed_in(&rig, "anna").await;
    let program = Program::registered(&rig).await;
    let (access, _) = program.tokens(&mut browser, "operator").await;
    let request = rig.http.post(format!("{}/mcp", rig.url)).bearer_auth(access);
    let call = request
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", "2025-06-18")
        .json(&json!({
            "jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {"name": "powershell_exec", "arguments": {"agent_id": "pc-1", "script": "x"}}
        }))
        .send();
    let meanwhile = async {
        agent.request("powershell.exec").await;
        let page = browser.get("/account").await;
        let (_, form) = page.text.split_once("/account/programs/end").unwrap();
        let (_, rest) = form.split_once("name=\"id\" value=\"").unwrap();
        let id = rest.split('"').next().unwrap();
        browser.submit(&page, "/account/programs/end", &[("id", id)]).await;
    };
    let (answer, ()) = tokio::join!(within(call), meanwhile);
    let answer = within(answer.unwrap().text()).await.unwrap();
    assert!(answer.contains("whether the tool ran is not known"), "{answer}");
    rig.stop().await;
}

/// A request that nothing happened to is not ended by what happens to others.
#[tokio::test]
async fn what_happens_to_others_ends_nothing() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Operator).await;
    rig.person("bert", Role::Operator).await;
    let anna = Browser::signed_in(&rig, "anna").await;
    let mut bert = Browser::signed_in(&rig, "bert").await;
    let mut events = listen(&rig, &anna).await;
    let page = bert.get("/account").await;
    bert.submit(&page, "/logout", &[]).await;
    rig.call("PATCH", "/accounts/bert", Some(json!({"disabled": true}))).await;
    hears(&rig, &mut events, "pc-1").await;
    rig.stop().await;
}
