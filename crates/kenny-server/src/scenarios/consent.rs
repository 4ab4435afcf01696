//! Programs ask, people decide: who is asked what, and where the answer goes.

use kenny_proto::Role;
use serde_json::{Value, json};

use super::browser::Browser;
use super::program::{self, CALLBACK, Program, answered};
use super::rig::{Rig, within};

async fn document(rig: &Rig, path: &str) -> Value {
    let response = within(rig.http.get(format!("{}{path}", rig.url)).send()).await.unwrap();
    assert_eq!(response.status(), 200, "{path}");
    assert_eq!(response.headers()["content-type"], "application/json");
    within(response.json()).await.unwrap()
}

#[tokio::test]
async fn a_program_finds_its_way_from_the_first_refusal() {
    let rig = Rig::start().await;
    let (status, challenge) = program::mcp(&rig, None, "initialize", program::hello()).await;
    assert_eq!(status, 401);
    let path = "/.well-known/oauth-protected-resource/mcp";
    assert_eq!(
        challenge,
        format!(
            "Bearer realm=\"kenny\", scope=\"viewer operator\", resource_metadata=\"{}{path}\"",
            rig.url
        )
    );
    let resource = document(&rig, path).await;
    assert_eq!(resource["resource"], format!("{}/mcp", rig.url));
    assert_eq!(resource["authorization_servers"], json!([rig.url]));
    assert_eq!(document(&rig, "/.well-known/oauth-protected-resource").await, resource);

    let server = document(&rig, "/.well-known/oauth-authorization-server").await;
    assert_eq!(document(&rig, "/.well-known/openid-configuration").await, server);
    assert_eq!(server["issuer"], rig.url.as_str());
    assert_eq!(server["code_challenge_methods_supported"], json!(["S256"]));
    assert_eq!(server["authorization_response_iss_parameter_supported"], true);
    for endpoint in
        ["authorization_endpoint", "token_endpoint", "registration_endpoint", "revocation_endpoint"]
    {
        assert!(server[endpoint].as_str().unwrap().starts_with(&rig.url), "{server}");
    }
    rig.stop().await;
}

#[tokio::test]
async fn behind_a_proxy_everything_is_at_the_public_address() {
    let public = "https://kenny.example.org";
    let rig = Rig::start_with(|config| config.public_url = Some(public.parse().unwrap())).await;
    let resource = document(&rig, "/.well-known/oauth-protected-resource/mcp").await;
    assert_eq!(resource["resource"], format!("{public}/mcp"));
    let server = document(&rig, "/.well-known/oauth-authorization-server").await;
    assert_eq!(server["issuer"], public);
    assert_eq!(server["token_endpoint"], format!("{public}/oauth/token"));
    rig.stop().await;
}

#[tokio::test]
async fn a_registration_is_taken_as_a_public_client() {
    let rig = Rig::start().await;
    let asked = json!({
        "client_name": "Example", "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "client_secret_basic",
        "grant_types": ["authorization_code"], "logo_uri": "https://evil.example/logo.png"
    });
    let told = program::register(&rig, asked).await;
    assert_eq!(told.status, 201);
    assert_eq!(told.body["token_endpoint_auth_method"], "none");
    assert!(told.body.get("client_secret").is_none() && told.body.get("logo_uri").is_none());
    for (body, code) in [
        (json!({"redirect_uris": []}), "invalid_redirect_uri"),
        (json!({"client_name": "x"}), "invalid_redirect_uri"),
        (json!({"redirect_uris": ["http://evil.example/"]}), "invalid_redirect_uri"),
        (json!({"redirect_uris": ["javascript:alert(1)"]}), "invalid_redirect_uri"),
        (json!({"redirect_uris": "x"}), "invalid_client_metadata"),
        (json!([]), "invalid_client_metadata"),
    ] {
        let told = program::register(&rig, body).await;
        assert_eq!(told.status, 400);
        told.refused(code);
    }
    rig.stop().await;
}

#[tokio::test]
async fn somebody_is_asked_after_signing_in_and_the_answer_carries_what_it_must() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Owner).await;
    let program = Program::registered(&rig).await;
    let path = program.request(&[]);
    let mut browser = Browser::new(&rig);
    let login = browser.get(&path).await;
    assert!(login.location().starts_with("/login?next=%2Foauth%2Fauthorize%3F"));
    let page = browser.get(login.location()).await;
    let next = page.hidden("next");
    assert_eq!(next, path);
    let fields = [("name", "anna"), ("password", super::browser::PASSWORD), ("next", &next)];
    let entered = browser.submit(&page, "/login", &fields).await;
    assert_eq!(entered.location(), path);

    let question = browser.get(&path).await;
    assert_eq!(question.header("cache-control"), "no-store");
    for words in ["Example", "anna", "this computer (127.0.0.1)", "Look only", "Look and change"] {
        assert!(question.text.contains(words), "{words}: {}", question.text);
    }
    let policy = question.header("content-security-policy");
    assert!(policy.contains("form-action 'self' http://127.0.0.1:33418;"), "{policy}");
    assert!(question.text.contains("value=\"viewer\" checked"), "the lesser one is chosen");

    let approved = program.decide(&mut browser, &question, "approve", "operator").await;
    let location = approved.location();
    assert_eq!(answered(location, "state").as_deref(), Some("s t&ate"));
    assert_eq!(answered(location, "iss").as_deref(), Some(rig.url.as_str()));
    program::code_of(location);

    let denied = program.decide(&mut browser, &question, "deny", "viewer").await;
    let location = denied.location();
    assert_eq!(answered(location, "error").as_deref(), Some("access_denied"));
    assert_eq!(answered(location, "iss").as_deref(), Some(rig.url.as_str()));
    assert_eq!(answered(location, "code"), None);
    rig.stop().await;
}

#[tokio::test]
async fn nothing_is_sent_to_an_address_that_is_not_the_programs() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Owner).await;
    let program = Program::registered(&rig).await;
    let mut browser = Browser::signed_in(&rig, "anna").await;
    let question = browser.get(&program.request(&[])).await;
    for (changes, words) in [
        ([("redirect_uri", "https://evil.example/")], "did not register"),
        ([("redirect_uri", "http://127.0.0.1:33418/callback/more")], "did not register"),
        ([("redirect_uri", "http://127.0.0.1@evil.example/callback")], "did not register"),
        ([("redirect_uri", "")], "did not register"),
        ([("client_id", "nobody")], "does not know the program"),
        ([("client_id", "")], "did not say which it is"),
    ] {
        let path = program.request(&changes);
        let refused = browser.get(&path).await;
        assert_eq!(refused.status, 400, "{changes:?}");
        assert!(refused.text.contains(words), "{}", refused.text);
        // Neither by the form of a page that was made for something else.
        let query = path.split_once('?').unwrap().1;
        let fields = [("request", query), ("decision", "approve"), ("scope", "viewer")];
        assert_eq!(browser.submit(&question, "/oauth/authorize", &fields).await.status, 400);
    }
    let twice = format!("{}&redirect_uri=https%3A%2F%2Fevil.example%2F", program.request(&[]));
    assert_eq!(browser.get(&twice).await.status, 400);
    // A program on the own machine takes another port at each start.
    let other_port = [("redirect_uri", "http://127.0.0.1:50000/callback")];
    assert_eq!(browser.get(&program.request(&other_port)).await.status, 200);
    rig.stop().await;
}

#[tokio::test]
async fn the_program_is_told_what_is_wrong_with_its_request() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Owner).await;
    let program = Program::registered(&rig).await;
    let mut browser = Browser::new(&rig);
    let evil = "https://evil.example/mcp";
    for (changes, code) in [
        ([("code_challenge_method", "plain")], "invalid_request"),
        ([("code_challenge_method", "")], "invalid_request"),
        ([("code_challenge", "")], "invalid_request"),
        ([("code_challenge", "short")], "invalid_request"),
        ([("response_type", "token")], "unsupported_response_type"),
        ([("resource", evil)], "invalid_target"),
        ([("resource", rig.url.as_str())], "invalid_target"),
        ([("scope", "everything")], "invalid_scope"),
        ([("scope", "owner")], "invalid_scope"),
    ] {
        let refused = browser.get(&program.request(&changes)).await;
        let location = refused.location();
        assert!(location.starts_with(CALLBACK), "{location}");
        assert_eq!(answered(location, "error").as_deref(), Some(code), "{changes:?}");
        assert_eq!(answered(location, "state").as_deref(), Some("s t&ate"));
        assert_eq!(answered(location, "iss").as_deref(), Some(rig.url.as_str()));
    }
    // Older programs do not name the resource; there is but one.
    assert!(
        browser.get(&program.request(&[("resource", "")])).await.location().starts_with("/login")
    );
    rig.stop().await;
}

#[tokio::test]
async fn nobody_permits_more_than_was_asked_or_than_they_may() {
    let rig = Rig::start().await;
    rig.person("vera", Role::Viewer).await;
    rig.person("anna", Role::Operator).await;
    let program = Program::registered(&rig).await;
    let mut vera = Browser::signed_in(&rig, "vera").await;
    let question = vera.get(&program.request(&[])).await;
    assert!(!question.text.contains("value=\"operator\""), "{}", question.text);
    assert!(question.text.contains("Your role is viewer"));
    let refused = program.decide(&mut vera, &question, "approve", "operator").await;
    assert_eq!(refused.status, 403, "{}", refused.text);

    let mut anna = Browser::signed_in(&rig, "anna").await;
    let question = anna.get(&program.request(&[("scope", "viewer")])).await;
    assert!(!question.text.contains("value=\"operator\""), "{}", question.text);
    for scope in ["operator", "owner", ""] {
        let refused = program.decide(&mut anna, &question, "approve", scope).await;
        assert!([400, 403].contains(&refused.status), "{scope}: {}", refused.text);
    }
    rig.stop().await;
}

#[tokio::test]
async fn a_link_on_another_site_leads_to_the_question_and_no_further() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Owner).await;
    let program = Program::registered(&rig).await;
    let path = program.request(&[]);
    let mut browser = Browser::signed_in(&rig, "anna").await;
    // The browser holds the strict cookie back, and says where the request comes from.
    let cookies = std::mem::take(&mut browser.cookies);
    browser.says[1].1 = "cross-site".to_owned();
    let between = browser.get(&path).await;
    assert_eq!(between.status, 200);
    let refresh =
        format!("http-equiv=\"refresh\" content=\"0; url={}\"", path.replace('&', "&amp;"));
    assert!(between.text.contains(&refresh), "{}", between.text);
    browser.cookies = cookies;
    browser.says[1].1 = "same-origin".to_owned();
    assert!(browser.get(&path).await.text.contains("wants to act on your PCs"));
    rig.stop().await;
}
