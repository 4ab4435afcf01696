//! Accounts as owners look after them, and what each role may.

use serde_json::{Value, json};

use super::rig::Rig;

impl Rig {
    /// Makes an account; its random password.
    pub async fn account(&self, name: &str, role: &str) -> String {
        let (status, made) = self.post("/accounts", json!({"name": name, "role": role})).await;
        assert_eq!(status, 201, "{made}");
        assert_eq!(made["account"]["name"], name);
        made["password"].as_str().unwrap().to_owned()
    }

    /// Logs in; the new token.
    pub async fn log_in(&self, name: &str, password: &str) -> String {
        let login = json!({"account": name, "password": password, "token_name": "a test"});
        let (status, made) = self.log_in_with(login).await;
        assert_eq!(status, 201, "{made}");
        made["secret"].as_str().unwrap().to_owned()
    }

    pub async fn log_in_with(&self, login: Value) -> (u16, Value) {
        self.call_as("none", "POST", "/login", Some(login)).await
    }

    /// The code of the problem that this comes to.
    pub async fn problem_of(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: Value,
    ) -> (u16, String) {
        let (status, problem) = self.call_as(token, method, path, Some(body)).await;
        let code = problem["code"].as_str().unwrap_or_else(|| panic!("{method} {path}: {problem}"));
        assert!(problem["detail"].as_str().unwrap().len() > 20, "{problem}");
        (status, code.to_owned())
    }
}

/// What each role gets for each endpoint: the status, or the problem's code where there is one.
#[tokio::test]
async fn every_role_meets_every_endpoint() {
    let rig = Rig::start().await;
    let mut tokens = Vec::new();
    for role in ["viewer", "operator", "owner"] {
        let name = format!("some-{role}");
        let password = rig.account(&name, role).await;
        tokens.push((role, rig.log_in(&name, &password).await, password));
    }
    rig.account("target", "viewer").await;
    let (status, target) = rig.call("GET", "/accounts/target", None).await;
    assert_eq!((status, &target["role"]), (200, &json!("viewer")));
    for (role, token, password) in &tokens {
        let owner = *role == "owner";
        let confirmation = json!({"password": password});
        let for_owners = |status: u16| {
            if owner { (status, String::new()) } else { (403, "forbidden".to_owned()) }
        };
        let for_all = |status: u16| (status, String::new());
        let problem = |status: u16, code: &str| (status, code.to_owned());
        for (method, path, body, expected) in [
            ("GET", "/me", Value::Null, for_all(200)),
            ("GET", "/tokens", Value::Null, for_all(200)),
            ("GET", "/tokens?account=target", Value::Null, for_owners(200)),
            ("POST", "/tokens", json!({"name": "one more"}), for_all(201)),
            ("DELETE", "/tokens/99999", Value::Null, problem(404, "unknown_token")),
            ("GET", "/accounts", Value::Null, for_owners(200)),
            ("POST", "/accounts", json!({"name": "new", "role": "owner"}), for_owners(201)),
            ("GET", "/accounts/new", Value::Null, for_owners(200)),
            ("PATCH", "/accounts/new", json!({"role": "viewer"}), for_owners(200)),
            ("PATCH", "/accounts/new", json!({"disabled": true}), for_owners(200)),
            ("POST", "/accounts/new/reset", Value::Null, for_owners(200)),
            ("DELETE", "/accounts/new", Value::Null, for_owners(204)),
            ("POST", "/me/totp/confirm", json!({"code": "1"}), problem(409, "totp_not_begun")),
            ("POST", "/me/recovery-codes", confirmation.clone(), problem(409, "totp_not_begun")),
            ("POST", "/me/totp", confirmation.clone(), for_all(200)),
            ("POST", "/me/totp/disable", confirmation.clone(), for_all(204)),
            (
                "PUT",
                "/me/password",
                json!({"current": password, "new": "quite another one"}),
                for_all(204),
            ),
            ("POST", "/logout", Value::Null, for_all(204)),
            ("GET", "/me", Value::Null, problem(401, "unauthorized")),
        ] {
            let (status, answer) = rig.call_as(token, method, path, Some(body)).await;
            let code = answer["code"].as_str().unwrap_or_default().to_owned();
            assert_eq!((status, code), expected, "{role}: {method} {path}: {answer}");
        }
    }
    rig.stop().await;
}

#[tokio::test]
async fn without_a_token_nothing_is_open_but_logging_in() {
    let rig = Rig::start().await;
    let document: Value = serde_json::from_str(&crate::api::openapi_json()).unwrap();
    let mut asked = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let method = method.to_uppercase();
            let short = path.strip_prefix("/api/v1").unwrap().replace("{id}", "1");
            let (status, answer) =
                rig.call_as("none", &method, &short, Some(json!({"x": 1}))).await;
            let expected =
                if short == "/login" { (422, "bad_json") } else { (401, "unauthorized") };
            assert_eq!((status, answer["code"].as_str().unwrap()), expected, "{method} {path}");
            asked += 1;
        }
    }
    assert!(asked > 30, "{asked}");
    rig.stop().await;
}

#[tokio::test]
async fn disabling_an_account_ends_its_tokens_and_sessions_at_once() {
    let rig = Rig::start().await;
    let password = rig.account("anna", "operator").await;
    let token = rig.log_in("anna", &password).await;
    let generation = || rig.app.accounts.find("anna").unwrap().generation;
    let before = generation();
    let (status, account) =
        rig.call("PATCH", "/accounts/anna", Some(json!({"disabled": true}))).await;
    assert_eq!((status, &account["disabled"], &account["tokens"]), (200, &json!(true), &json!(0)));
    assert!(generation() > before, "sessions are over");
    let refused = rig.problem_of(&token, "GET", "/me", Value::Null).await;
    assert_eq!(refused, (401, "unauthorized".to_owned()));
    let login = json!({"account": "anna", "password": password, "token_name": "a test"});
    let (status, problem) = rig.log_in_with(login).await;
    assert_eq!((status, &problem["code"]), (403, &json!("account_disabled")));

    let (status, _) = rig.call("PATCH", "/accounts/anna", Some(json!({"disabled": false}))).await;
    assert_eq!(status, 200);
    let refused = rig.problem_of(&token, "GET", "/me", Value::Null).await;
    assert_eq!(refused, (401, "unauthorized".to_owned()), "what was revoked stays so");
    rig.log_in("anna", &password).await;
    rig.stop().await;
}

#[tokio::test]
async fn a_lower_role_counts_for_the_tokens_that_are_there() {
    let rig = Rig::start().await;
    let password = rig.account("anna", "owner").await;
    let token = rig.log_in("anna", &password).await;
    let (status, _) = rig.call_as(&token, "GET", "/accounts", None).await;
    assert_eq!(status, 200);
    rig.call("PATCH", "/accounts/anna", Some(json!({"role": "viewer"}))).await;
    let refused = rig.problem_of(&token, "GET", "/accounts", Value::Null).await;
    assert_eq!(refused, (403, "forbidden".to_owned()));
    let (_, me) = rig.call_as(&token, "GET", "/me", None).await;
    assert_eq!((&me["role"], &me["token"]["role"]), (&json!("viewer"), &json!("owner")));
    assert_eq!(me["from"], "127.0.0.1");
    rig.stop().await;
}

#[tokio::test]
async fn the_last_owner_stays() {
    let rig = Rig::start().await;
    let last = (409, "last_owner".to_owned());
    let owner = rig.token.clone();
    let refused = async |method: &str, path: &str, body: Value| {
        assert_eq!(rig.problem_of(&owner, method, path, body).await, last, "{method} {path}");
    };
    rig.account("anna", "operator").await;
    rig.account("off", "owner").await;
    rig.call("PATCH", "/accounts/off", Some(json!({"disabled": true}))).await;
    refused("DELETE", "/accounts/owner", Value::Null).await;
    refused("PATCH", "/accounts/owner", json!({"disabled": true})).await;
    refused("PATCH", "/accounts/owner", json!({"role": "operator"})).await;
    // The owner has no password yet: the token is the only way in.
    refused("POST", "/logout", Value::Null).await;
    let expires = jiff::Timestamp::now().checked_add(jiff::SignedDuration::from_hours(1)).unwrap();
    let (_, made) = rig.post("/tokens", json!({"name": "ends", "expires_at": expires})).await;
    refused("POST", "/logout", Value::Null).await;
    let (status, _) = rig.call("DELETE", &format!("/tokens/{}", made["token"]["id"]), None).await;
    assert_eq!(status, 204, "another one may go");
    let (status, _) =
        rig.call("PUT", "/me/password", Some(json!({"new": "words upon words"}))).await;
    assert_eq!(status, 204);
    let (status, _) = rig.call("POST", "/logout", None).await;
    assert_eq!(status, 204);
    rig.log_in("owner", "words upon words").await;
    rig.stop().await;
}

#[tokio::test]
async fn two_owners_who_remove_each_other_leave_one() {
    let rig = Rig::start().await;
    let mut tokens = Vec::new();
    for name in ["anna", "bert"] {
        let password = rig.account(name, "owner").await;
        tokens.push(rig.log_in(name, &password).await);
    }
    let (status, _) = rig.call_as(&tokens[0], "DELETE", "/accounts/owner", None).await;
    assert_eq!(status, 204);
    let (one, other) = tokio::join!(
        rig.call_as(&tokens[0], "DELETE", "/accounts/bert", None),
        rig.call_as(&tokens[1], "PATCH", "/accounts/anna", Some(json!({"disabled": true}))),
    );
    assert_ne!(one.0 < 300, other.0 < 300, "{one:?} {other:?}");
    let owners = rig.app.accounts.all();
    let owners = owners.iter().filter(|account| !account.disabled).count();
    assert_eq!(owners, 1);
    rig.stop().await;
}

#[tokio::test]
async fn names_are_checked_and_taken_once() {
    let rig = Rig::start().await;
    let owner = rig.token.clone();
    rig.account("anna", "viewer").await;
    for (body, status, code) in [
        (json!({"name": "anna", "role": "owner"}), 409, "account_exists"),
        (json!({"name": "Anna", "role": "owner"}), 422, "bad_json"),
        (json!({"name": "../x", "role": "owner"}), 422, "bad_json"),
        (json!({"name": "bert", "role": "root"}), 422, "bad_json"),
        (json!({"name": "bert", "role": "owner", "admin": true}), 422, "bad_json"),
    ] {
        let refused = rig.problem_of(&owner, "POST", "/accounts", body.clone()).await;
        assert_eq!(refused, (status, code.to_owned()), "{body}");
    }
    for method in ["GET", "DELETE"] {
        let refused = rig.problem_of(&owner, method, "/accounts/nobody", Value::Null).await;
        assert_eq!(refused, (404, "unknown_account".to_owned()));
    }
    let (_, list) = rig.call("GET", "/accounts", None).await;
    let names: Vec<_> =
        list["accounts"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, ["anna", "owner"]);
    rig.stop().await;
}

#[tokio::test]
async fn who_forgot_everything_is_helped_by_an_owner_or_at_the_server() {
    let rig = Rig::start().await;
    let first = rig.account("anna", "owner").await;
    let token = rig.log_in("anna", &first).await;
    let (status, reset) = rig.call("POST", "/accounts/anna/reset", None).await;
    assert_eq!(status, 200);
    let second = reset["password"].as_str().unwrap().to_owned();
    assert_ne!(second, first);
    let refused = rig.problem_of(&token, "GET", "/me", Value::Null).await;
    assert_eq!(refused, (401, "unauthorized".to_owned()));
    rig.log_in("anna", &second).await;
    rig.call("PATCH", "/accounts/anna", Some(json!({"disabled": true}))).await;

    let name = "anna".parse().unwrap();
    let owner = rig.token.clone();
    let folder = rig.stop().await;
    let third = crate::reset_account(folder.path(), &name).await.unwrap();
    let error = crate::reset_account(folder.path(), &"bert".parse().unwrap()).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no account `bert`; there are: anna, owner");
    let rig = Rig::start_in(folder, Some(owner), |_| {}).await;
    rig.log_in("anna", &third).await;
    let login = json!({"account": "anna", "password": second, "token_name": "a test"});
    let (status, problem) = rig.log_in_with(login).await;
    assert_eq!((status, &problem["code"]), (401, &json!("wrong_login")));
    rig.stop().await;
}
