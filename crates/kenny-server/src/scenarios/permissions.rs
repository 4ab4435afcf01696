//! What programs get for a permission, how far it goes, and everything that ends it.

use kenny_proto::Role;
use serde_json::json;

use super::browser::Browser;
use super::program::{self, Program, is_let_in, mcp, post};
use super::rig::{Rig, within};

#[tokio::test]
async fn a_code_becomes_tokens_that_open_mcp_and_nothing_else() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Owner).await;
    let program = Program::registered(&rig).await;
    let mut browser = Browser::signed_in(&rig, "anna").await;
    let code = program.approved(&mut browser, "operator").await;
    let told = program.redeem(&code, &[]).await;
    assert_eq!(told.status, 200, "{}", told.body);
    assert_eq!(told.body["token_type"], "Bearer");
    assert_eq!(told.body["expires_in"], 900);
    assert_eq!(told.body["scope"], "viewer operator");
    let access = told.text("access_token");
    assert!(is_let_in(&rig, &access).await);

    let rest = rig.http.get(format!("{}/api/v1/agents", rig.url)).bearer_auth(&access);
    assert_eq!(
        within(rest.send()).await.unwrap().status(),
        401,
        "the REST API is another resource"
    );
    let in_address =
        rig.http.post(format!("{}/mcp?access_token={access}", rig.url)).json(&json!({}));
    assert_eq!(within(in_address.send()).await.unwrap().status(), 401);
    let kept: i64 = rig
        .app
        .store
        .run(move |connection| {
            connection.query_row(
                "SELECT count(*) FROM oauth_tokens WHERE token_hash LIKE 'kenny%'",
                [],
                |row| row.get(0),
            )
        })
        .await
        .unwrap();
    assert_eq!(kept, 0, "hashes alone are kept");
    rig.stop().await;
}

#[tokio::test]
async fn a_code_is_worth_nothing_to_anybody_else() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Owner).await;
    let program = Program::registered(&rig).await;
    let other = program::register(
        &rig,
        json!({"client_name": "Other", "redirect_uris": [program::CALLBACK]}),
    )
    .await;
    let other = other.text("client_id");
    let mut browser = Browser::signed_in(&rig, "anna").await;
    for (changes, error) in [
        ([("code_verifier", "wrong-wrong-wrong-wrong-wrong-wrong-wrong-w")], "invalid_grant"),
        ([("client_id", other.as_str())], "invalid_grant"),
        ([("redirect_uri", "http://127.0.0.1:33418/other")], "invalid_grant"),
        ([("resource", "https://evil.example/mcp")], "invalid_target"),
    ] {
        let code = program.approved(&mut browser, "viewer").await;
        let told = program.redeem(&code, &changes).await;
        assert_eq!(told.status, 400);
        told.refused(error);
        program.redeem(&code, &[]).await.refused("invalid_grant");
    }
    let code = program.approved(&mut browser, "viewer").await;
    program.redeem(&code, &[("code_verifier", "")]).await.refused("invalid_request");
    let told = program.redeem(&code, &[("client_id", "nobody")]).await;
    assert_eq!(told.status, 401);
    told.refused("invalid_client");
    program.redeem(&code, &[("grant_type", "password")]).await.refused("unsupported_grant_type");
    assert_eq!(program.redeem(&code, &[]).await.status, 200, "nothing of that touched the code");

    let code = program.approved(&mut browser, "viewer").await;
    rig.execute("UPDATE oauth_grants SET code_expires_unix = 0").await;
    program.redeem(&code, &[]).await.refused("invalid_grant");
    program.redeem("kenny_code_made-up", &[]).await.refused("invalid_grant");
    rig.stop().await;
}

#[tokio::test]
async fn a_code_that_is_used_twice_ends_the_tokens_that_it_became() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Owner).await;
    let program = Program::registered(&rig).await;
    let mut browser = Browser::signed_in(&rig, "anna").await;
    let code = program.approved(&mut browser, "viewer").await;
    let told = program.redeem(&code, &[]).await;
    let (access, refresh) = (told.text("access_token"), told.text("refresh_token"));
    assert!(is_let_in(&rig, &access).await);
    program.redeem(&code, &[]).await.refused("invalid_grant");
    assert!(!is_let_in(&rig, &access).await);
    program.refresh(&refresh, &[]).await.refused("invalid_grant");
    rig.stop().await;
}

#[tokio::test]
async fn refresh_tokens_rotate_and_a_copy_ends_the_permission() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Owner).await;
    let program = Program::registered(&rig).await;
    let mut browser = Browser::signed_in(&rig, "anna").await;
    let (first_access, first) = program.tokens(&mut browser, "operator").await;
    let told = program.refresh(&first, &[]).await;
    assert_eq!(told.status, 200, "{}", told.body);
    let (access, second) = (told.text("access_token"), told.text("refresh_token"));
    assert_ne!((&access, &second), (&first_access, &first));
    assert!(is_let_in(&rig, &access).await && is_let_in(&rig, &first_access).await);

    // Whoever holds the copy used it second or first: both end.
    program.refresh(&first, &[]).await.refused("invalid_grant");
    for token in [&first_access, &access] {
        assert!(!is_let_in(&rig, token).await);
    }
    program.refresh(&second, &[]).await.refused("invalid_grant");
    assert!(!browser.get("/account").await.text.contains("Disconnect Example"));
    rig.stop().await;
}

#[tokio::test]
async fn a_refresh_gives_no_more_than_was_permitted() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Owner).await;
    let program = Program::registered(&rig).await;
    let mut browser = Browser::signed_in(&rig, "anna").await;
    let (_, refresh) = program.tokens(&mut browser, "viewer").await;
    program.refresh(&refresh, &[("scope", "operator")]).await.refused("invalid_scope");
    let evil = [("resource", "https://evil.example/mcp")];
    program.refresh(&refresh, &evil).await.refused("invalid_target");
    let other = Program { rig: &rig, client_id: Program::registered(&rig).await.client_id + "x" };
    assert_eq!(other.refresh(&refresh, &[]).await.status, 401);
    let told = program.refresh(&refresh, &[("scope", "viewer")]).await;
    assert_eq!(told.status, 200, "none of that used the token up: {}", told.body);

    let (_, refresh) = program.tokens(&mut browser, "operator").await;
    let less = program.refresh(&refresh, &[("scope", "viewer")]).await;
    assert_eq!(less.body["scope"], "viewer");
    let all = program.refresh(&less.text("refresh_token"), &[]).await;
    assert_eq!(all.body["scope"], "viewer operator", "what was permitted stays permitted");
    rig.stop().await;
}

#[tokio::test]
async fn tokens_end_with_time() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Owner).await;
    let program = Program::registered(&rig).await;
    let mut browser = Browser::signed_in(&rig, "anna").await;
    let (access, refresh) = program.tokens(&mut browser, "viewer").await;
    rig.execute("UPDATE oauth_tokens SET expires_unix = 0 WHERE kind = 'access'").await;
    assert!(!is_let_in(&rig, &access).await);
    assert_eq!(program.refresh(&refresh, &[]).await.status, 200);

    let (_, refresh) = program.tokens(&mut browser, "viewer").await;
    rig.execute("UPDATE oauth_tokens SET expires_unix = 0").await;
    program.refresh(&refresh, &[]).await.refused("invalid_grant");

    // However often it is refreshed, a permission ends a year after it was given.
    let (_, refresh) = program.tokens(&mut browser, "viewer").await;
    rig.execute("UPDATE oauth_grants SET created_at = '2020-01-01T00:00:00Z'").await;
    let told = program.refresh(&refresh, &[]).await;
    assert!(!is_let_in(&rig, &told.text("access_token")).await);
    program.refresh(&told.text("refresh_token"), &[]).await.refused("invalid_grant");
    rig.stop().await;
}

#[tokio::test]
async fn a_token_is_for_the_address_that_it_was_asked_for() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Owner).await;
    let program = Program::registered(&rig).await;
    let mut browser = Browser::signed_in(&rig, "anna").await;
    let (access, _) = program.tokens(&mut browser, "viewer").await;
    assert!(is_let_in(&rig, &access).await);
    rig.execute("UPDATE oauth_grants SET resource = 'https://other.example/mcp'").await;
    assert!(!is_let_in(&rig, &access).await);
    rig.stop().await;
}

#[tokio::test]
async fn a_viewers_token_changes_nothing_and_says_what_it_takes() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Owner).await;
    rig.person("vera", Role::Viewer).await;
    rig.agent("pc-1").await;
    let program = Program::registered(&rig).await;
    let mut anna = Browser::signed_in(&rig, "anna").await;
    let (viewer, _) = program.tokens(&mut anna, "viewer").await;
    let (operator, _) = program.tokens(&mut anna, "operator").await;
    let change =
        json!({"name": "powershell_exec", "arguments": {"agent_id": "pc-1", "script": "hostname"}});
    let look = json!({"name": "list_agents", "arguments": {}});

    let (status, challenge) = mcp(&rig, Some(&viewer), "tools/call", change.clone()).await;
    assert_eq!(status, 403);
    for part in
        ["error=\"insufficient_scope\"", "scope=\"viewer operator\"", "resource_metadata=\"http"]
    {
        assert!(challenge.contains(part), "{challenge}");
    }
    assert_eq!(mcp(&rig, Some(&viewer), "tools/call", look.clone()).await.0, 200);
    assert_eq!(mcp(&rig, Some(&operator), "tools/call", change.clone()).await.0, 200);

    // What only reads needs no wider scope, and the role of an operator all the same: it reads what is private.
    let read = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "fs_list", "arguments": {"agent_id": "pc-1", "path": "/"}}
    });
    for (token, refused) in [(&viewer, true), (&operator, false)] {
        let request = rig.http.post(format!("{}/mcp", rig.url)).bearer_auth(token).json(&read);
        let request = request
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", "2025-06-18");
        let text = within(within(request.send()).await.unwrap().text()).await.unwrap();
        assert_eq!(text.contains("this needs the role operator"), refused, "{text}");
    }

    // An account that may only look has nothing more to give: no challenge, and the tool refuses.
    let mut vera = Browser::signed_in(&rig, "vera").await;
    let (access, _) = program.tokens(&mut vera, "viewer").await;
    assert_eq!(mcp(&rig, Some(&access), "tools/call", change).await.0, 200);
    assert_eq!(mcp(&rig, Some(&access), "tools/call", look).await.0, 200);
    rig.stop().await;
}

#[tokio::test]
async fn people_and_programs_end_a_permission() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Owner).await;
    rig.person("bert", Role::Owner).await;
    let program = Program::registered(&rig).await;
    let mut browser = Browser::signed_in(&rig, "anna").await;

    let (access, refresh) = program.tokens(&mut browser, "viewer").await;
    let page = browser.get("/account").await;
    assert!(page.text.contains("Disconnect Example"), "{}", page.text);
    let grant = page.hidden("id");
    let mut bert = Browser::signed_in(&rig, "bert").await;
    let bert_page = bert.get("/account").await;
    bert.submit(&bert_page, "/account/programs/end", &[("id", &grant)]).await;
    assert!(is_let_in(&rig, &access).await, "not bert's to end");
    browser.submit(&page, "/account/programs/end", &[("id", &grant)]).await;
    assert!(!is_let_in(&rig, &access).await);
    program.refresh(&refresh, &[]).await.refused("invalid_grant");

    let other = json!({"client_name": "Other", "redirect_uris": [program::CALLBACK]});
    let other = program::register(&rig, other).await.text("client_id");
    for which in 0..2 {
        let (access, refresh) = program.tokens(&mut browser, "viewer").await;
        let token = if which == 0 { &access } else { &refresh };
        let told = post(&rig, "/oauth/revoke", &[("token", token), ("client_id", "nobody")]).await;
        assert_eq!(told.status, 401);
        let fields = [("token", token.as_str()), ("client_id", &other)];
        assert_eq!(post(&rig, "/oauth/revoke", &fields).await.status, 200);
        assert!(is_let_in(&rig, &access).await, "not its token");
        let fields = [("token", token.as_str()), ("client_id", &program.client_id)];
        assert_eq!(post(&rig, "/oauth/revoke", &fields).await.status, 200);
        assert!(!is_let_in(&rig, &access).await);
        program.refresh(&refresh, &[]).await.refused("invalid_grant");
        assert_eq!(post(&rig, "/oauth/revoke", &fields).await.status, 200, "as good as ended");
    }
    rig.stop().await;
}

#[tokio::test]
async fn permissions_end_with_the_account_that_gave_them() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Owner).await;
    let program = Program::registered(&rig).await;
    for sql in [
        "UPDATE accounts SET generation = generation + 1 WHERE name = 'anna'",
        "UPDATE accounts SET disabled = 1 WHERE name = 'anna'",
        "DELETE FROM accounts WHERE name = 'anna'",
    ] {
        rig.execute("UPDATE accounts SET disabled = 0").await;
        let mut browser = Browser::signed_in(&rig, "anna").await;
        let (access, refresh) = program.tokens(&mut browser, "operator").await;
        let code = program.approved(&mut browser, "operator").await;
        assert!(is_let_in(&rig, &access).await);
        rig.execute(sql).await;
        assert!(!is_let_in(&rig, &access).await, "{sql}");
        program.refresh(&refresh, &[]).await.refused("invalid_grant");
        program.redeem(&code, &[]).await.refused("invalid_grant");
    }
    rig.stop().await;
}

#[tokio::test]
async fn a_program_is_never_more_than_the_account_is_now() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Operator).await;
    rig.agent("pc-1").await;
    let program = Program::registered(&rig).await;
    let mut browser = Browser::signed_in(&rig, "anna").await;
    let (access, _) = program.tokens(&mut browser, "operator").await;
    rig.execute("UPDATE accounts SET role = 'viewer' WHERE name = 'anna'").await;
    let found = crate::oauth::grants::access(
        &rig.app,
        &access,
        format!("{}/mcp", rig.url),
        jiff::Timestamp::now(),
    );
    let found = found.await.unwrap().unwrap();
    assert_eq!(found.scope.role(found.account.role), Role::Viewer);
    rig.stop().await;
}

#[tokio::test]
async fn requests_that_cannot_be_read_are_refused_in_oauths_words() {
    let rig = Rig::start().await;
    let program = Program::registered(&rig).await;
    let request =
        rig.http.post(format!("{}/oauth/token", rig.url)).json(&json!({"grant_type": "x"}));
    let response = within(request.send()).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["cache-control"]),
        (400, &"no-store".parse().unwrap())
    );
    for (fields, error) in [
        (vec![], "invalid_request"),
        (vec![("grant_type", "refresh_token")], "invalid_request"),
        (vec![("grant_type", "a"), ("grant_type", "b")], "invalid_request"),
        (
            vec![("grant_type", "refresh_token"), ("client_id", program.client_id.as_str())],
            "invalid_request",
        ),
    ] {
        post(&rig, "/oauth/token", &fields).await.refused(error);
    }
    post(&rig, "/oauth/revoke", &[("client_id", &program.client_id)])
        .await
        .refused("invalid_request");
    rig.stop().await;
}
