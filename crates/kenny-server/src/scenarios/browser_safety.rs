//! What other pages cannot do with somebody's browser: post forms, frame pages, read them, be led to.

use kenny_proto::Role;

use super::browser::{Browser, PASSWORD};
use super::rig::{Rig, within};

/// Ways in which a form does not come from the server's own page.
fn foreign(own: &str) -> Vec<Vec<(&'static str, String)>> {
    vec![
        vec![],
        vec![("origin", "https://evil.example".to_owned())],
        vec![("origin", "null".to_owned())],
        vec![("origin", own.to_owned()), ("sec-fetch-site", "cross-site".to_owned())],
        vec![("origin", own.to_owned()), ("sec-fetch-site", "same-site".to_owned())],
        vec![
            ("origin", "https://evil.example".to_owned()),
            ("sec-fetch-site", "same-origin".to_owned()),
        ],
    ]
}

#[tokio::test]
async fn forms_of_other_pages_change_nothing() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Operator).await;
    let mut browser = Browser::signed_in(&rig, "anna").await;
    let page = browser.get("/account").await;
    let own = browser.says.clone();
    for says in foreign(&rig.url) {
        browser.says.clone_from(&says);
        for path in
            ["/logout", "/account/sessions/end", "/account/programs/end", "/oauth/authorize"]
        {
            let refused = browser.submit(&page, path, &[]).await;
            assert_eq!(refused.status, 403, "{path} {says:?}");
            assert!(refused.text.contains("Nothing was"), "{}", refused.text);
        }
    }
    browser.says = own;
    assert_eq!(browser.get("/account").await.status, 200, "still signed in");
    rig.stop().await;
}

#[tokio::test]
async fn forms_without_the_sessions_own_token_change_nothing() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Operator).await;
    rig.person("eve", Role::Viewer).await;
    let mut browser = Browser::signed_in(&rig, "anna").await;
    let mut eve = Browser::signed_in(&rig, "eve").await;
    let theirs = eve.get("/account").await.hidden("csrf");
    for fields in [&[][..], &[("csrf", "")], &[("csrf", "x")], &[("csrf", theirs.as_str())]] {
        assert_eq!(browser.post("/logout", fields).await.status, 403, "{fields:?}");
    }
    let own = browser.get("/account").await.hidden("csrf");
    let twice = [("csrf", own.as_str()), ("csrf", "x")];
    assert_eq!(browser.post("/logout", &twice).await.status, 400);
    assert_eq!(browser.get("/account").await.status, 200, "still signed in");
    rig.stop().await;
}

#[tokio::test]
async fn nobody_is_signed_in_by_another_page() {
    let rig = Rig::start().await;
    rig.person("eve", Role::Viewer).await;
    let mut browser = Browser::new(&rig);
    let page = browser.get("/login").await;
    let own = browser.says.clone();
    let fields = [("name", "eve"), ("password", PASSWORD)];
    for says in foreign(&rig.url) {
        browser.says = says;
        assert_eq!(browser.submit(&page, "/login", &fields).await.status, 403);
    }
    browser.says = own;
    assert_eq!(browser.post("/login", &fields).await.status, 403, "without a token");
    // A token of another visitor: the form was made in somebody else's browser.
    let mut eve = Browser::new(&rig);
    let theirs = eve.get("/login").await;
    assert_eq!(browser.submit(&theirs, "/login", &fields).await.status, 403);
    assert!(!browser.cookies.contains_key("kenny_session"));
    rig.stop().await;
}

#[tokio::test]
async fn every_answer_tells_browsers_what_not_to_do() {
    let rig = Rig::start().await;
    for path in [
        "/login",
        "/account",
        "/nothing",
        "/api/v1/agents",
        "/mcp",
        "/healthz",
        "/artifacts/x",
        "/oauth/token",
    ] {
        let mut browser = Browser::new(&rig);
        let answer = browser.get(path).await;
        let policy = answer.header("content-security-policy");
        for part in [
            "default-src 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        ] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("script-src") && !policy.contains("unsafe"), "{policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), value, "{path}");
        }
        assert!(answer.header("permissions-policy").contains("camera=()"));
        assert!(!answer.headers.contains_key("strict-transport-security"), "plain HTTP: {path}");
    }
    rig.stop().await;
}

#[tokio::test]
async fn pages_load_what_the_policy_allows() {
    let rig = Rig::start().await;
    let mut browser = Browser::new(&rig);
    let page = browser.get("/login").await;
    for (start, kind) in
        [("rel=\"stylesheet\" href=\"", "text/css"), ("rel=\"icon\" href=\"", "image/svg")]
    {
        let (_, rest) = page.text.split_once(start).unwrap();
        let asset = browser.get(rest.split('"').next().unwrap()).await;
        assert_eq!(asset.status, 200);
        assert!(asset.header("content-type").starts_with(kind));
    }
    for inline in ["<script", "style=", "<style", "onclick", "http://", "https://"] {
        assert!(!page.text.contains(inline), "{inline} in {}", page.text);
    }
    rig.stop().await;
}

#[tokio::test]
async fn scripts_are_files_of_this_server_and_nothing_stands_in_a_page() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Owner).await;
    rig.agent("annas-pc").await;
    let mut browser = Browser::signed_in(&rig, "anna").await;
    for path in [
        "/",
        "/agents/annas-pc",
        "/agents/annas-pc/tools/powershell.exec",
        "/releases",
        "/add",
        "/activity",
        "/activity/audit",
        "/settings",
        "/settings/accounts/anna",
        "/account",
    ] {
        let page = browser.get(path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.text);
        let policy = page.header("content-security-policy");
        assert!(policy.contains("script-src 'self'; connect-src 'self'"), "{path}: {policy}");
        assert!(!policy.contains("unsafe") && !policy.contains("data:"), "{policy}");
        for inline in ["style=", "<style", "onclick", "hx-on", "js:", "javascript:"] {
            assert!(!page.text.contains(inline), "{inline} in {path}");
        }
        assert!(page.text.contains("&quot;allowEval&quot;:false"));
        let scripts: Vec<&str> = page.text.split("<script src=\"").skip(1).collect();
        assert_eq!((scripts.len(), page.text.matches("<script").count()), (3, 3), "{path}");
        for script in scripts {
            let asset = browser.get(script.split('"').next().unwrap()).await;
            assert!(asset.header("content-type").starts_with("text/javascript"));
            assert!(asset.header("cache-control").contains("immutable"));
        }
    }
    assert_eq!(
        browser.get("/assets/kenny.js").await.status,
        404,
        "only with the hash of what it is"
    );
    rig.stop().await;
}

#[tokio::test]
async fn behind_https_cookies_never_go_without() {
    let rig = Rig::start_with(|config| {
        config.public_url = Some("https://kenny.example.org".parse().unwrap());
    })
    .await;
    rig.person("anna", Role::Operator).await;
    let mut browser = Browser::new(&rig);
    // The proxy in front hands the public name on, or its own.
    browser.says[0].1 = "https://kenny.example.org".to_owned();
    let entered = browser.sign_in("anna", PASSWORD).await;
    assert_eq!(entered.location(), "/");
    assert_eq!(entered.header("strict-transport-security"), "max-age=31536000");
    for cookie in entered.headers.get_all("set-cookie") {
        let cookie = cookie.to_str().unwrap();
        assert!(cookie.starts_with("__Host-kenny_") && cookie.ends_with("; Secure"), "{cookie}");
    }
    assert_eq!(browser.get("/account").await.status, 200);
    rig.stop().await;
}

#[tokio::test]
async fn people_get_a_page_where_programs_get_a_problem_document() {
    let rig = Rig::start().await;
    let mut browser = Browser::new(&rig);
    let page = browser.get("/nothing").await;
    assert_eq!(page.status, 404);
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(page.text.contains("There is no such page"));
    let problem = within(rig.http.get(format!("{}/nothing", rig.url)).send()).await.unwrap();
    assert_eq!(problem.headers()["content-type"], "application/problem+json");
    rig.stop().await;
}

#[tokio::test]
async fn mcp_is_closed_to_pages_of_other_sites_whatever_token_they_have() {
    let rig = Rig::start().await;
    let hello = super::program::hello();
    let ask = |origin: Option<&str>| {
        let body =
            serde_json::json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello});
        let mut request = rig.http.post(format!("{}/mcp", rig.url)).bearer_auth(&rig.token);
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        let accepted = "application/json, text/event-stream";
        within(request.header("accept", accepted).json(&body).send())
    };
    for origin in ["https://evil.example", "null", "http://localhost:1"] {
        assert_eq!(ask(Some(origin)).await.unwrap().status().as_u16(), 403, "{origin}");
    }
    for origin in [None, Some(rig.url.as_str())] {
        assert_eq!(ask(origin).await.unwrap().status().as_u16(), 200, "{origin:?}");
    }
    rig.stop().await;
}
