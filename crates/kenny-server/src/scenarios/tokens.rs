//! API tokens: what they may do, and when they end.

use futures_util::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::rig::{Rig, within};
use crate::accounts::TokenError;
use crate::auth::TokenHash;
use crate::store::account_rows::{self, NewToken};

impl Rig {
    async fn token(&self, with: &str, wish: Value) -> (String, Value) {
        let (status, made) = self.call_as(with, "POST", "/tokens", Some(wish)).await;
        assert_eq!(status, 201, "{made}");
        (made["secret"].as_str().unwrap().to_owned(), made["token"].clone())
    }
}

fn in_hours(hours: i64) -> Timestamp {
    Timestamp::now().checked_add(SignedDuration::from_hours(hours)).unwrap()
}

#[tokio::test]
async fn a_token_never_makes_itself_more() {
    let rig = Rig::start().await;
    let password = rig.account("anna", "owner").await;
    let owner = rig.log_in("anna", &password).await;
    let (viewer, made) = rig.token(&owner, json!({"name": "looks", "role": "viewer"})).await;
    assert_eq!(made["role"], "viewer");
    let needed = (403, "forbidden".to_owned());
    let confirmation = json!({"password": password});
    for (method, path, body) in [
        ("GET", "/accounts", Value::Null),
        ("POST", "/accounts", json!({"name": "bert", "role": "owner"})),
        ("POST", "/tokens", json!({"name": "more", "role": "operator"})),
        ("PUT", "/me/password", json!({"current": password, "new": "words upon words"})),
        ("POST", "/me/totp", confirmation.clone()),
        ("POST", "/me/totp/confirm", json!({"code": "000000"})),
        ("POST", "/me/totp/disable", confirmation.clone()),
        ("POST", "/me/recovery-codes", confirmation),
    ] {
        assert_eq!(rig.problem_of(&viewer, method, path, body).await, needed, "{method} {path}");
    }
    let (_, made) = rig.token(&viewer, json!({"name": "the same"})).await;
    assert_eq!(made["role"], "viewer");
    let password = rig.account("bert", "operator").await;
    let login = |role: &str| json!({"account": "bert", "password": password, "token_name": "x", "role": role});
    let (status, problem) = rig.log_in_with(login("owner")).await;
    assert_eq!((status, &problem["code"]), (403, &json!("forbidden")));
    let (status, made) = rig.log_in_with(login("viewer")).await;
    assert_eq!((status, &made["token"]["role"]), (201, &json!("viewer")));
    rig.stop().await;
}

#[tokio::test]
async fn a_token_ends_when_it_was_said_to() {
    let rig = Rig::start().await;
    let end = in_hours(1);
    let (token, made) =
        rig.token(&rig.token, json!({"name": "for an hour", "expires_at": end})).await;
    assert_eq!(made["expires_at"], json!(end));
    let (status, _) = rig.call_as(&token, "GET", "/me", None).await;
    assert_eq!(status, 200);
    let just_before = end.checked_sub(SignedDuration::from_millis(1)).unwrap();
    assert!(rig.app.accounts.token(&token, just_before).is_ok());
    assert_eq!(rig.app.accounts.token(&token, end).unwrap_err(), TokenError::Expired(end));

    // What it makes ends with it, at the latest.
    for (wish, expected) in [
        (json!({"name": "x"}), end),
        (json!({"name": "x", "expires_at": in_hours(24)}), end),
        (json!({"name": "x", "expires_at": just_before}), just_before),
    ] {
        assert_eq!(rig.token(&token, wish).await.1["expires_at"], json!(expected));
    }

    let old = "kenny_op_old";
    let owner = rig.app.accounts.find("owner").unwrap().id;
    let row = NewToken {
        name: "old".to_owned(),
        role: kenny_proto::Role::Owner,
        created_at: in_hours(-2),
        expires_at: Some(in_hours(-1)),
    };
    rig.app
        .accounts
        .change(&super::browser::Testing, move |connection| {
            account_rows::insert_token(connection, owner, TokenHash::of(old), &row).map(Ok::<_, ()>)
        })
        .await
        .unwrap()
        .unwrap();
    let refused = rig.problem_of(old, "GET", "/me", Value::Null).await;
    assert_eq!(refused, (401, "token_expired".to_owned()));
    let refused = rig.problem_of(
        &rig.token,
        "POST",
        "/tokens",
        json!({"name": "x", "expires_at": in_hours(-1)}),
    );
    assert_eq!(refused.await, (400, "bad_expiry".to_owned()));
    for name in ["", "  ", "a\nb", &"x".repeat(101)] {
        let refused = rig.problem_of(&rig.token, "POST", "/tokens", json!({"name": name})).await;
        assert_eq!(refused, (400, "bad_token_name".to_owned()), "{name}");
    }
    rig.stop().await;
}

#[tokio::test]
async fn a_revoked_token_is_refused_at_once_also_where_it_listens_already() {
    let rig = Rig::start().await;
    let (token, made) = rig.token(&rig.token, json!({"name": "listens"})).await;
    let (other, _) = rig.token(&rig.token, json!({"name": "goes on"})).await;
    let listen = async |token: &str| {
        let url = format!("{}/api/v1/events", rig.url);
        let response = within(rig.http.get(url).bearer_auth(token).send()).await.unwrap();
        assert_eq!(response.status().as_u16(), 200);
        response.bytes_stream()
    };
    let (mut ends, mut goes_on) = (listen(&token).await, listen(&other).await);
    let (status, _) = rig.call("DELETE", &format!("/tokens/{}", made["id"]), None).await;
    assert_eq!(status, 204);
    let refused = rig.problem_of(&token, "GET", "/me", Value::Null).await;
    assert_eq!(refused, (401, "unauthorized".to_owned()));
    within(async { while ends.next().await.is_some() {} }).await;
    rig.agent("pc-1").await;
    let heard = within(goes_on.next()).await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&heard).contains("agent_created"));
    rig.stop().await;
}

#[tokio::test]
async fn tokens_are_revoked_by_their_account_and_by_owners() {
    let rig = Rig::start().await;
    let password = rig.account("anna", "operator").await;
    let anna = rig.log_in("anna", &password).await;
    let password = rig.account("bert", "operator").await;
    let bert = rig.log_in("bert", &password).await;
    let (_, list) = rig.call_as(&bert, "GET", "/tokens", None).await;
    let path = format!("/tokens/{}", list["tokens"][0]["id"]);
    let refused = rig.problem_of(&anna, "DELETE", &path, Value::Null).await;
    assert_eq!(refused, (404, "unknown_token".to_owned()));
    let refused = rig.problem_of(&anna, "GET", "/tokens?account=bert", Value::Null).await;
    assert_eq!(refused, (403, "forbidden".to_owned()));
    let (status, own) = rig.call_as(&anna, "GET", "/tokens?account=anna", None).await;
    assert_eq!((status, own["tokens"].as_array().unwrap().len()), (200, 1));
    let (status, _) = rig.call("DELETE", &path, None).await;
    assert_eq!(status, 204);
    let refused = rig.problem_of(&bert, "GET", "/me", Value::Null).await;
    assert_eq!(refused, (401, "unauthorized".to_owned()));
    rig.stop().await;
}

#[tokio::test]
async fn tokens_and_when_they_were_used_outlive_a_restart() {
    let rig = Rig::start().await;
    let (token, made) = rig.token(&rig.token, json!({"name": "a script"})).await;
    assert_eq!(made["last_used_at"], Value::Null);
    rig.call_as(&token, "GET", "/me", None).await;
    let rig = rig.restart().await;
    let (_, list) = rig.call("GET", "/tokens", None).await;
    let kept = &list["tokens"][1];
    assert_eq!(kept["name"], "a script");
    assert!(kept["last_used_at"].is_string(), "{kept}");
    let (status, _) = rig.call_as(&token, "GET", "/me", None).await;
    assert_eq!(status, 200);
    rig.stop().await;
}

#[tokio::test]
async fn an_account_has_a_bounded_number_of_tokens() {
    let rig = Rig::start().await;
    for number in 1..100 {
        rig.token(&rig.token, json!({"name": format!("number {number}")})).await;
    }
    let refused = rig.problem_of(&rig.token, "POST", "/tokens", json!({"name": "one more"})).await;
    assert_eq!(refused, (409, "too_many_tokens".to_owned()));
    rig.stop().await;
}

#[tokio::test]
async fn mcp_takes_tokens_for_as_long_as_they_hold() {
    let rig = Rig::start().await;
    let (token, made) = rig.token(&rig.token, json!({"name": "assistant", "role": "viewer"})).await;
    let initialize = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}
    }});
    let ask = async || {
        let request = rig.http.post(format!("{}/mcp", rig.url)).bearer_auth(&token);
        let request = request.header("accept", "application/json, text/event-stream");
        within(request.json(&initialize).send()).await.unwrap().status().as_u16()
    };
    assert_eq!(ask().await, 200);
    let (status, _) = rig.call("DELETE", &format!("/tokens/{}", made["id"]), None).await;
    assert_eq!(status, 204);
    assert_eq!(ask().await, 401);
    rig.stop().await;
}
