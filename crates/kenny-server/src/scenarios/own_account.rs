//! Logging in and out, and what everybody does with the own account.

use kenny_proto::Role;
use serde_json::{Value, json};

use super::rig::{Rig, within};
use crate::accounts::log_in;
use crate::ops::{Face, Operator, Proof};

/// What an authenticator with this secret shows, in so many steps of 30 s.
fn code(secret: &str, steps: u64) -> String {
    let secret = totp_rs::Secret::try_from_base32(secret).unwrap();
    let totp = totp_rs::Builder::new().with_secret(secret.as_bytes().to_vec()).build().unwrap();
    let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap();
    totp.generate(now + 30 * steps).to_string()
}

#[tokio::test]
async fn a_second_factor_counts_once_it_was_confirmed() {
    let rig = Rig::start().await;
    let password = rig.account("anna", "viewer").await;
    let token = rig.log_in("anna", &password).await;
    let call = async |method: &str, path: &str, body: Value| {
        rig.call_as(&token, method, path, Some(body)).await
    };
    let confirmation = json!({"password": password});
    for (body, status, code) in
        [(json!({}), 400, "password_needed"), (json!({"password": "wrong"}), 401, "wrong_login")]
    {
        let refused = rig.problem_of(&token, "POST", "/me/totp", body).await;
        assert_eq!(refused, (status, code.to_owned()));
    }
    let (status, begun) = call("POST", "/me/totp", confirmation.clone()).await;
    assert_eq!(status, 200, "{begun}");
    let secret = begun["secret"].as_str().unwrap().to_owned();
    let uri = begun["uri"].as_str().unwrap();
    assert_eq!(uri, format!("otpauth://totp/kenny:anna?secret={secret}&issuer=kenny"));
    // Not confirmed, and so not asked for.
    rig.log_in("anna", &password).await;
    let refused = rig.problem_of(&token, "POST", "/me/totp/confirm", json!({"code": "abc"})).await;
    assert_eq!(refused, (401, "wrong_code".to_owned()));
    let (status, codes) = call("POST", "/me/totp/confirm", json!({"code": code(&secret, 0)})).await;
    assert_eq!(status, 200, "{codes}");
    assert_eq!(codes["codes"].as_array().unwrap().len(), 10);
    let refused = rig.problem_of(&token, "POST", "/me/totp", confirmation.clone()).await;
    assert_eq!(refused, (409, "totp_there".to_owned()));

    let log_in = async |code: Option<&str>| {
        let login = json!({
            "account": "anna", "password": password, "token_name": "a test", "code": code
        });
        let (status, answer) = rig.log_in_with(login).await;
        (status, answer["code"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(log_in(None).await, (401, "code_needed".to_owned()));
    assert_eq!(log_in(Some("zzzz")).await, (401, "wrong_code".to_owned()));
    // The next step's: the one that confirmed is used up.
    let next = code(&secret, 1);
    assert_eq!(log_in(Some(&next)).await.0, 201);
    assert_eq!(log_in(Some(&next)).await, (401, "wrong_code".to_owned()));
    let spare = codes["codes"][0].as_str().unwrap();
    assert_eq!(log_in(Some(spare)).await.0, 201);
    assert_eq!(log_in(Some(spare)).await, (401, "wrong_code".to_owned()));
    let (_, me) = call("GET", "/me", Value::Null).await;
    assert_eq!(me["account"]["recovery_codes_left"], 9);

    let (status, renewed) = call("POST", "/me/recovery-codes", confirmation.clone()).await;
    assert_eq!(status, 200);
    assert_eq!(log_in(codes["codes"][1].as_str()).await, (401, "wrong_code".to_owned()));
    assert_eq!(log_in(renewed["codes"][0].as_str()).await.0, 201);
    let (status, _) = call("POST", "/me/totp/disable", confirmation).await;
    assert_eq!(status, 204);
    assert_eq!(log_in(None).await.0, 201);
    let audit = rig.get("/audit?account=anna&action=account.&limit=1000&after=0").await;
    let done: Vec<_> = audit["rows"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["outcome"] == "done" && row["action"] != "account.login")
        .map(|row| row["action"].as_str().unwrap())
        .collect();
    let expected =
        ["account.totp_begin", "account.totp_on", "account.recovery_codes", "account.totp_off"];
    assert_eq!(done, expected);
    rig.stop().await;
}

#[tokio::test]
async fn a_new_password_counts_at_once_and_ends_sessions() {
    let rig = Rig::start().await;
    let password = rig.account("anna", "operator").await;
    let token = rig.log_in("anna", &password).await;
    let generation = || rig.app.accounts.find("anna").unwrap().generation;
    let before = generation();
    for (body, status, code) in [
        (json!({"new": "words upon words"}), 400, "password_needed"),
        (json!({"current": "wrong", "new": "words upon words"}), 401, "wrong_login"),
        (json!({"current": password, "new": "short"}), 400, "weak_password"),
        (json!({"current": password, "new": "i am anna myself"}), 400, "weak_password"),
    ] {
        let refused = rig.problem_of(&token, "PUT", "/me/password", body).await;
        assert_eq!(refused, (status, code.to_owned()));
    }
    assert_eq!(generation(), before);
    let body = json!({"current": password, "new": "words upon words"});
    let (status, _) = rig.call_as(&token, "PUT", "/me/password", Some(body)).await;
    assert_eq!(status, 204);
    assert!(generation() > before);
    rig.log_in("anna", "words upon words").await;
    let login = json!({"account": "anna", "password": password, "token_name": "a test"});
    let (status, problem) = rig.log_in_with(login).await;
    assert_eq!((status, &problem["code"]), (401, &json!("wrong_login")));
    let (status, _) = rig.call_as(&token, "GET", "/me", None).await;
    assert_eq!(status, 200, "tokens stay");
    rig.stop().await;
}

#[tokio::test]
async fn a_stolen_token_does_not_guess_the_password() {
    let rig = Rig::start().await;
    let password = rig.account("anna", "operator").await;
    let token = rig.log_in("anna", &password).await;
    let guess = || json!({"current": "wrong", "new": "words upon words"});
    let refused = rig.problem_of(&token, "PUT", "/me/password", guess()).await;
    assert_eq!(refused, (401, "wrong_login".to_owned()));
    // 15 with that one, of which 10 are free.
    let wait = rig.app.accounts.fail("anna", [127, 0, 0, 1].into(), 14);
    assert_eq!(wait.as_secs(), 16);
    let refused = rig.problem_of(&token, "PUT", "/me/password", guess()).await;
    assert_eq!(refused, (429, "too_many_logins".to_owned()));
    let (status, _) = rig.call_as(&token, "GET", "/me", None).await;
    assert_eq!(status, 200, "the token itself goes on to work");
    rig.stop().await;
}

#[tokio::test]
async fn a_throttled_login_says_when_to_try_again() {
    let rig = Rig::start().await;
    let url = format!("{}/api/v1/login", rig.url);
    let login = json!({"account": "nobody", "password": "guess", "token_name": "a test"});
    let response = within(rig.http.post(&url).json(&login).send()).await.unwrap();
    assert_eq!(response.status().as_u16(), 401);
    // 10 with that one, of which 5 are free.
    let wait = rig.app.accounts.fail("nobody", [10, 0, 0, 1].into(), 9);
    assert_eq!(wait.as_secs(), 16);
    let response = within(rig.http.post(&url).json(&login).send()).await.unwrap();
    assert_eq!(response.status().as_u16(), 429);
    let retry_after: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!(retry_after > 0, "whole seconds");
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let problem: Value = within(response.json()).await.unwrap();
    assert_eq!(problem["code"], "too_many_logins");
    let (status, _) = rig.call("GET", "/me", None).await;
    assert_eq!(status, 200, "tokens go on to work");
    rig.stop().await;
}

#[tokio::test]
async fn a_session_acts_for_its_account_as_a_token_does() {
    let rig = Rig::start().await;
    let password = rig.account("anna", "operator").await;
    let account = log_in(&rig.app, "anna", &password, None, None).await.unwrap();
    let proof = Proof::Session("x".to_owned());
    let operator = Operator::of_account(&account, proof, Face::Rest, None);
    assert_eq!((operator.account(), operator.role()), ("anna", Role::Operator));
    assert_eq!((operator.token(), operator.from()), (None, None));
    assert!(operator.require(Role::Operator).is_ok() && operator.require(Role::Owner).is_err());
    let error = crate::ops::me::log_out(&rig.app, &operator).await.unwrap_err();
    assert_eq!(error.problem().code, "no_token");
    let less = operator.limited_to(Role::Viewer).limited_to(Role::Owner);
    assert_eq!(less.role(), Role::Viewer);
    rig.stop().await;
}
