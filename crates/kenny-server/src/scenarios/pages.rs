//! Releases, adding a PC, activity, settings and the own account, as pages.

use kenny_proto::Role;
use serde_json::json;

use super::browser::{Browser, PASSWORD};
use super::rig::Rig;
use crate::releases::test_image::agent_image;

#[tokio::test]
async fn a_pc_is_invited_and_its_page_sees_it_come() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Operator).await;
    let token = rig.agent("annas-pc").await;
    let mut browser = Browser::signed_in(&rig, "anna").await;
    let page = browser.get("/add?pc=berts-pc").await;
    page.has(&["value=\"berts-pc\"", "None. A link is shown once"]);
    let invited = browser.submit(&page, "/add", &[("pc", "berts-pc"), ("life", "3600")]).await;
    invited.has(&[
        "/invite/",
        "<svg class=\"qr\"",
        "Waiting for it to appear",
        "no agent for Windows is released",
    ]);
    browser.get("/add").await.has(&["Withdraw the link of berts-pc"]);
    let withdrawn = browser.submit(&page, "/add/withdraw", &[("pc", "berts-pc")]).await;
    assert_eq!(withdrawn.location(), "/add");

    let wrong = browser.submit(&page, "/add", &[("pc", "not a name")]).await;
    assert_eq!(wrong.status, 400);
    wrong.has(&["role=\"alert\"", "value=\"not a name\""]);

    // One that is here already is waited for anew.
    let old = rig.online_0_3("annas-pc", &token, "1.0.0", serde_json::Value::Null).await;
    let invited = browser.submit(&page, "/add", &[("pc", "annas-pc")]).await;
    invited.has(&["is here already", "Waiting for it to appear"]);
    let waiting = invited.between("role=\"status\" hx-get=\"", "\"").replace("&amp;", "&");
    old.hang_up().await;
    rig.until_online("annas-pc", false).await;
    let _new = rig.online_0_3("annas-pc", &token, "1.0.0", serde_json::Value::Null).await;
    browser.piece(&waiting).await.has(&["annas-pc is here", "Look at it"]);
    rig.stop().await;
}

#[tokio::test]
async fn a_release_is_uploaded_by_a_page_of_this_server_and_no_other() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Operator).await;
    let mut browser = Browser::signed_in(&rig, "anna").await;
    let page = browser.get("/releases").await;
    page.has(&["No release yet", "data-upload"]);
    let token = page.hidden("csrf");
    // More than a form may have.
    let image = agent_image("1.1.0", 2_000_000);
    assert_eq!(browser.upload("/releases", "other", image.clone()).await.status, 403);
    let added = browser.upload("/releases", &token, image.clone()).await;
    assert_eq!(added.status, 201, "{}", added.text);
    added.has(&["1.1.0 for linux x86_64 is there. It was added."]);
    browser.upload("/releases", &token, image).await.has(&["was there already"]);
    let refused = browser.upload("/releases", &token, b"no agent".to_vec()).await;
    assert_eq!(refused.status, 422);
    refused.has(&["Not added: "]);
    browser.says[1].1 = "cross-site".to_owned();
    assert_eq!(browser.upload("/releases", &token, agent_image("1.2.0", 1000)).await.status, 403);
    browser.says[1].1 = "same-origin".to_owned();
    browser.get("/releases").await.has(&[
        "<h2>1.1.0</h2>",
        "0 PCs",
        "not signed by keys",
        "SHA-256",
    ]);
    rig.stop().await;
}

#[tokio::test]
async fn what_happened_is_listed_narrowed_and_exported() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Owner).await;
    rig.agent("annas-pc").await;
    rig.agent("berts-pc").await;
    let mut browser = Browser::signed_in(&rig, "anna").await;
    let events = browser.get("/activity?agent=annas-pc&kind=agent_created").await;
    events.has(&["annas-pc was created", "value=\"annas-pc\""]);
    assert!(!events.text.contains("berts-pc was created"));
    browser.get("/activity?kind=trust_changed").await.has(&["Nothing fits"]);

    let audit = browser.get("/activity/audit").await;
    audit.has(&["added a PC with a token", "signed in", "in the browser"]);
    let narrow = browser.get("/activity/audit?account=anna").await;
    assert!(!narrow.text.contains("/agents/annas-pc"), "the token of `owner` made it");

    let csv = browser.get("/activity/export/audit.csv?kind=agent.create").await;
    assert!(csv.header("content-disposition").contains("kenny-audit.csv"));
    let lines: Vec<&str> = csv.text.lines().collect();
    assert_eq!(lines.len(), 3, "{}", csv.text);
    assert!(
        lines[0].starts_with("sequence,at,account") && lines[1].contains(",agent.create,berts-pc,")
    );
    let json_lines = browser.get("/activity/export/events.jsonl?agent=annas-pc").await;
    let first: serde_json::Value =
        serde_json::from_str(json_lines.text.lines().next().unwrap()).unwrap();
    assert_eq!(first["agent_id"], "annas-pc");
    assert_eq!(browser.get("/activity/export/other.csv").await.status, 404);
    rig.stop().await;
}

#[tokio::test]
async fn a_file_of_many_pieces_has_every_entry_once() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Owner).await;
    rig.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500)
         INSERT INTO events (id, at, kind, summary) SELECT i, '2026-01-01T00:00:00Z', 'tool_called', 'number ' || i FROM n",
    )
    .await;
    let mut browser = Browser::signed_in(&rig, "anna").await;
    let csv = browser.get("/activity/export/events.csv?kind=tool_called").await;
    let numbers: Vec<&str> =
        csv.text.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!((numbers.len(), numbers[0], numbers[2499]), (2500, "2500", "1"));
    let page = browser.get("/activity?kind=tool_called").await;
    let older = page.between("rel=\"next\" href=\"", "\"").replace("&amp;", "&");
    browser.get(&older).await.has(&["number 2400<", "Newest"]);
    rig.stop().await;
}

#[tokio::test]
async fn owners_make_change_and_remove_accounts() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Owner).await;
    let mut browser = Browser::signed_in(&rig, "anna").await;
    let page = browser.get("/settings").await;
    page.has(&["Releases are not signed", "Its key, which PCs know it by"]);
    let made =
        browser.submit(&page, "/settings/accounts", &[("name", "bert"), ("role", "viewer")]).await;
    let password = made.between("readonly value=\"", "\"").to_owned();
    let mut bert = Browser::new(&rig);
    assert_eq!(bert.sign_in("bert", &password).await.location(), "/");
    bert.get("/settings").await.has(&["Owners see and change who may act here."]);
    assert_eq!(bert.get("/settings/accounts/anna").await.status, 403);

    let changed =
        browser.submit(&page, "/settings/accounts/bert/role", &[("role", "operator")]).await;
    assert_eq!(changed.location(), "/settings/accounts/bert");
    browser.get("/settings/accounts/bert").await.has(&["value=\"operator\" selected"]);
    browser.submit(&page, "/settings/accounts/bert/disable", &[]).await;
    assert_eq!(bert.get("/").await.location(), "/login");
    browser.submit(&page, "/settings/accounts/bert/enable", &[]).await;
    let reset = browser.submit(&page, "/settings/accounts/bert/reset", &[]).await;
    assert_ne!(reset.between("readonly value=\"", "\""), password);
    let last = browser.submit(&page, "/settings/accounts/bert/remove", &[]).await;
    assert_eq!(last.location(), "/settings");
    assert_eq!(browser.get("/settings/accounts/bert").await.status, 404);
    let wrong =
        browser.submit(&page, "/settings/accounts", &[("name", "a b"), ("role", "viewer")]).await;
    assert_eq!(wrong.status, 400);
    wrong.has(&["name has 1 to 64 lower-case letters", "Back to the settings"]);
    rig.stop().await;
}

#[tokio::test]
async fn a_new_password_signs_everybody_else_out() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Owner).await;
    let mut here = Browser::signed_in(&rig, "anna").await;
    let mut there = Browser::signed_in(&rig, "anna").await;
    let page = here.get("/account").await;
    let new = "another horse, another staple";
    let wrong = here.submit(&page, "/account/password", &[("current", "x"), ("new", new)]).await;
    assert!(wrong.status >= 400);
    wrong.has(&["Back to your account"]);
    let changed =
        here.submit(&page, "/account/password", &[("current", PASSWORD), ("new", new)]).await;
    assert_eq!(changed.location(), "/account");
    assert_eq!(here.get("/account").await.status, 200);
    assert_eq!(there.get("/").await.location(), "/login");
    rig.stop().await;
}

#[tokio::test]
async fn a_second_factor_is_switched_on_and_off_in_the_browser() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Owner).await;
    let mut browser = Browser::signed_in(&rig, "anna").await;
    let page = browser.get("/account").await;
    let begun = browser.submit(&page, "/account/totp", &[("password", PASSWORD)]).await;
    begun.has(&["<svg class=\"qr\"", "otpauth://totp/"]);
    let (secret, uri) = (begun.hidden("secret"), begun.hidden("uri"));
    let kept = [("secret", secret.as_str()), ("uri", uri.as_str())];
    let wrong = browser
        .submit(&begun, "/account/totp/confirm", &[kept[0], kept[1], ("code", "000000")])
        .await;
    assert_eq!(wrong.status, 403);
    wrong.has(&["role=\"alert\"", "<svg class=\"qr\""]);
    let code = rig.code_of("anna").await;
    let codes =
        browser.submit(&wrong, "/account/totp/confirm", &[kept[0], kept[1], ("code", &code)]).await;
    codes.has(&["Recovery codes", "They are shown this once"]);
    let page = browser.get("/account").await;
    page.has(&["10 recovery codes are left"]);
    let ended = browser.submit(&page, "/account/totp/end", &[("password", PASSWORD)]).await;
    assert_eq!(ended.location(), "/account");
    browser.get("/account").await.has(&["Off. With it"]);
    rig.stop().await;
}

#[tokio::test]
async fn tokens_are_made_shown_once_and_revoked() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Operator).await;
    let mut browser = Browser::signed_in(&rig, "anna").await;
    let page = browser.get("/account").await;
    assert!(!page.text.contains("value=\"owner\""), "nobody offers more than the account may");
    let fields = [("name", "backup"), ("role", "viewer"), ("days", "30")];
    let made = browser.submit(&page, "/account/tokens", &fields).await;
    let secret = made.between("readonly value=\"", "\"").to_owned();
    assert_eq!(rig.call_as(&secret, "GET", "/agents", None).await, (200, json!({"agents": []})));
    let page = browser.get("/account").await;
    page.has(&["Revoke backup", "good until"]);
    assert!(!page.text.contains(&secret));
    let (id, next) = (page.hidden("id"), page.hidden("next"));
    assert_eq!(
        browser
            .submit(&page, "/account/tokens/revoke", &[("id", &id), ("next", &next)])
            .await
            .location(),
        "/account"
    );
    assert_eq!(rig.call_as(&secret, "GET", "/agents", None).await.0, 401);
    rig.stop().await;
}
