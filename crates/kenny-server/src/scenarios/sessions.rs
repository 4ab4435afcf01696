//! Signing in with a browser, and everything that ends it.

use kenny_proto::Role;

use super::browser::{Browser, PASSWORD};
use super::rig::Rig;

#[tokio::test]
async fn somebody_signs_in_and_out() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Operator).await;
    let mut browser = Browser::new(&rig);
    assert_eq!(browser.get("/account").await.location(), "/login?next=%2Faccount");
    assert_eq!(browser.get("/").await.location(), "/login");

    let wrong = browser.sign_in("anna", "not it").await;
    assert_eq!(wrong.status, 403);
    assert!(wrong.text.contains("not right") && wrong.text.contains("value=\"anna\""));
    assert!(!wrong.text.contains("not it"), "a password is in no page");
    let nobody = browser.sign_in("nobody", PASSWORD).await;
    assert_eq!(nobody.status, 403);

    let entered = browser.sign_in("anna", PASSWORD).await;
    assert_eq!(entered.location(), "/");
    let cookies: Vec<_> = entered.headers.get_all("set-cookie").iter().collect();
    let session = cookies[0].to_str().unwrap();
    assert!(session.starts_with("kenny_session="));
    for flag in ["; Path=/", "; HttpOnly", "; SameSite=Strict"] {
        assert!(session.contains(flag), "{session}");
    }
    assert!(!session.contains("Secure"), "the server speaks plain HTTP: {session}");

    let page = browser.get("/account").await;
    assert_eq!((page.status, page.header("cache-control")), (200, "no-store"));
    assert!(page.text.contains("anna") && page.text.contains("this browser"));
    assert_eq!(browser.get("/login").await.location(), "/");

    let kept = browser.cookies.clone();
    assert_eq!(browser.submit(&page, "/logout", &[]).await.location(), "/login");
    assert!(browser.cookies.is_empty());
    browser.cookies = kept;
    assert_eq!(browser.get("/").await.location(), "/login", "the secret is worth nothing");
    rig.stop().await;
}

#[tokio::test]
async fn a_login_makes_a_new_secret_and_ends_the_old_one() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Operator).await;
    let mut browser = Browser::new(&rig);
    // Somebody else planted a cookie: it must not become the session.
    browser.cookies.insert("kenny_session".to_owned(), "planted".to_owned());
    browser.sign_in("anna", PASSWORD).await;
    let first = browser.cookies["kenny_session"].clone();
    assert_ne!(first, "planted");

    browser.cookies.remove("kenny_session");
    let page = browser.get("/login").await;
    browser.cookies.insert("kenny_session".to_owned(), first.clone());
    let fields = [("name", "anna"), ("password", PASSWORD)];
    browser.submit(&page, "/login", &fields).await;
    assert_ne!(browser.cookies["kenny_session"], first);
    assert_eq!(browser.get("/account").await.status, 200);
    browser.cookies.insert("kenny_session".to_owned(), first);
    assert_eq!(browser.get("/").await.location(), "/login");

    let kept: String = rig
        .app
        .store
        .run(|connection| {
            connection
                .query_row("SELECT group_concat(secret_hash) FROM sessions", [], |row| row.get(0))
        })
        .await
        .unwrap();
    assert_eq!(kept.len(), 64, "one SHA-256: {kept}");
    rig.stop().await;
}

#[tokio::test]
async fn sessions_end_with_time_and_with_what_happens_to_the_account() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Operator).await;
    for sql in [
        "UPDATE sessions SET last_used_at = '2026-01-01T00:00:00Z'",
        "UPDATE sessions SET created_at = '2026-01-01T00:00:00Z'",
        "UPDATE accounts SET generation = generation + 1 WHERE name = 'anna'",
        "UPDATE accounts SET disabled = 1 WHERE name = 'anna'",
    ] {
        let mut browser = Browser::signed_in(&rig, "anna").await;
        assert_eq!(browser.get("/account").await.status, 200);
        rig.execute(sql).await;
        assert_eq!(browser.get("/").await.location(), "/login", "{sql}");
    }
    let mut browser = Browser::new(&rig);
    let refused = browser.sign_in("anna", PASSWORD).await;
    assert_eq!(refused.status, 403);
    assert!(refused.text.contains("switched off"), "{}", refused.text);
    rig.execute("DELETE FROM accounts WHERE name = 'anna'").await;
    rig.stop().await;
}

#[tokio::test]
async fn somebody_ends_their_own_other_sessions_alone() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Operator).await;
    rig.person("bert", Role::Owner).await;
    let mut here = Browser::signed_in(&rig, "anna").await;
    let mut there = Browser::signed_in(&rig, "anna").await;
    let mut bert = Browser::signed_in(&rig, "bert").await;

    let page = here.get("/account").await;
    let other = page.hidden("id");
    let bert_page = bert.get("/account").await;
    bert.submit(&bert_page, "/account/sessions/end", &[("id", &other)]).await;
    assert_eq!(there.get("/account").await.status, 200, "not bert's to end");

    let ended = here.submit(&page, "/account/sessions/end", &[("id", &other)]).await;
    assert_eq!(ended.location(), "/account");
    assert_eq!(there.get("/").await.location(), "/login");
    assert_eq!(here.get("/account").await.status, 200);
    rig.stop().await;
}

#[tokio::test]
async fn a_code_is_asked_for_where_the_account_has_one() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Operator).await;
    let secret = *b"12345678901234567890";
    rig.sql(move |connection| {
        connection.execute(
            "UPDATE accounts SET totp_secret = ?1, totp_confirmed = 1 WHERE name = 'anna'",
            [secret],
        )?;
        Ok(())
    })
    .await;
    let mut browser = Browser::new(&rig);
    let page = browser.get("/login?next=%2Faccount%3Fa").await;
    let fields = [("name", "Anna "), ("password", PASSWORD), ("next", "/account?a")];
    let step = browser.submit(&page, "/login", &fields).await;
    assert_eq!(step.status, 200);
    assert!(step.text.contains("authenticator") && !step.text.contains(PASSWORD));
    assert_eq!(browser.get("/").await.location(), "/login", "not signed in yet");

    let wrong = browser.submit(&step, "/login/code", &[("code", "000000")]).await;
    assert_eq!(wrong.status, 403);
    // Another browser does not get in with the code alone.
    let mut other = Browser::new(&rig);
    let code = totp_rs::Builder::new()
        .with_secret(secret.to_vec())
        .build_noncompliant()
        .generate_current()
        .to_string();
    let other_page = other.get("/login").await;
    let refused = other.submit(&other_page, "/login/code", &[("code", &code)]).await;
    assert_eq!(refused.status, 403);

    let fields = [("code", code.as_str()), ("next", &step.hidden("next"))];
    let entered = browser.submit(&wrong, "/login/code", &fields).await;
    assert_eq!(entered.location(), "/account?a");
    assert_eq!(browser.get("/account").await.status, 200);
    rig.stop().await;
}

#[tokio::test]
async fn a_login_leads_to_this_server_alone() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Operator).await;
    for next in ["https://evil.example/", "//evil.example", "/\\evil.example", "/%09/evil.example"]
    {
        let mut browser = Browser::new(&rig);
        let page = browser.get(&format!("/login?next={next}")).await;
        let offered = page.hidden("next");
        assert!(offered.starts_with('/') && !offered.starts_with("//"), "{offered}");
        let fields = [("name", "anna"), ("password", PASSWORD), ("next", next)];
        let entered = browser.submit(&page, "/login", &fields).await;
        assert!(["/", "/%09/evil.example"].contains(&entered.location()), "{next}");
    }
    rig.stop().await;
}

#[tokio::test]
async fn failures_slow_the_next_try_down_and_the_page_says_so() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Operator).await;
    let mut browser = Browser::new(&rig);
    for _ in 0..50 {
        let answer = browser.sign_in("anna", "not it").await;
        if answer.status == 429 {
            assert!(
                answer.text.contains("Too many sign-ins failed. Try again in"),
                "{}",
                answer.text
            );
            assert_eq!(browser.sign_in("anna", PASSWORD).await.status, 429);
            rig.stop().await;
            return;
        }
    }
    panic!("nothing was throttled");
}
