//! Somebody at a real browser, a program on the same computer, and a page that means harm.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::response::Html;
use axum::routing::get;
use kenny_proto::Role;

use super::browser::PASSWORD;
use super::chromium::Chromium;
use super::program::{self, Program, is_let_in};
use super::rig::Rig;

/// What another web server on this computer heard, and the page that it shows.
#[derive(Clone, Default)]
struct Elsewhere {
    heard: Arc<Mutex<Vec<String>>>,
    page: Arc<Mutex<String>>,
}

impl Elsewhere {
    /// Serves; the port.
    async fn start(&self) -> u16 {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let routes = Router::new()
            .route(
                "/callback",
                get(async |State(this): State<Self>, RawQuery(query): RawQuery| {
                    this.heard.lock().unwrap().push(query.unwrap_or_default());
                    Html("<title>done</title>The program has its answer.")
                }),
            )
            .route(
                "/",
                get(async |State(this): State<Self>| Html(this.page.lock().unwrap().clone())),
            )
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        port
    }

    fn show(&self, page: String) {
        *self.page.lock().unwrap() = page;
    }
}

#[tokio::test]
#[ignore = "needs Chromium; `cargo xtask test` runs it"]
async fn somebody_connects_a_program_by_keyboard() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Owner).await;
    let elsewhere = Elsewhere::default();
    let port = elsewhere.start().await;
    let callback = format!("http://127.0.0.1:{port}/callback");
    let program = Program::registered(&rig).await;
    let mut chromium = Chromium::start().await;

    chromium.open(&format!("{}/nothing", rig.url)).await;
    chromium.picture("not-found").await;
    chromium.open(&format!("{}{}", rig.url, program.request(&[("redirect_uri", &callback)]))).await;
    chromium.until("document.activeElement.id === 'name'").await;
    chromium.picture("login").await;
    chromium.insert("anna").await;
    chromium.press("Tab").await;
    chromium.insert("not it").await;
    chromium.press("Enter").await;
    chromium.until("document.querySelector('[role=alert]')").await;
    chromium.picture("login-wrong").await;
    assert_eq!(chromium.value("document.activeElement.id").await, "password");
    chromium.insert(PASSWORD).await;
    chromium.press("Enter").await;

    chromium.until("document.querySelector('[name=decision]')").await;
    chromium.picture("consent").await;
    assert_eq!(
        chromium.value("getComputedStyle(document.body).margin").await,
        "0px",
        "the style is applied"
    );
    assert_eq!(chromium.value("document.cookie").await, "", "no script reads the cookie");
    chromium.tab_to("#scope-viewer").await;
    chromium.press("ArrowDown").await;
    chromium.tab_to("[value=approve]").await;
    chromium.press("Enter").await;
    chromium.until("document.title === 'done'").await;
    let heard = elsewhere.heard.lock().unwrap()[0].clone();
    let code = program::answered(&format!("{callback}?{heard}"), "code").unwrap();
    let told = program.redeem(&code, &[("redirect_uri", &callback)]).await;
    assert_eq!(told.body["scope"], "viewer operator", "{}", told.body);
    let access = told.text("access_token");
    assert!(is_let_in(&rig, &access).await);

    chromium.open(&format!("{}/account", rig.url)).await;
    chromium.until("document.querySelector('.danger')").await;
    chromium.picture("account").await;
    chromium.tab_to("[aria-label=\"Disconnect Example\"]").await;
    chromium.press("Enter").await;
    chromium.until("document.body.innerText.includes('No program acts for you')").await;
    assert!(!is_let_in(&rig, &access).await);
    chromium.picture("account-empty").await;
    chromium.stop().await;
    rig.stop().await;
}

#[tokio::test]
#[ignore = "needs Chromium; `cargo xtask test` runs it"]
async fn another_page_gets_nothing_of_somebodys_session() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Owner).await;
    let program = Program::registered(&rig).await;
    let elsewhere = Elsewhere::default();
    // Another name than the server's: another site.
    let other = format!("http://localhost:{}/", elsewhere.start().await);
    let mut chromium = Chromium::start().await;
    chromium.open(&format!("{}/account", rig.url)).await;
    chromium.sign_in("anna").await;
    chromium.until("document.body.innerText.includes('this browser')").await;

    // A form that sends itself.
    for path in ["/logout", "/login", "/oauth/authorize"] {
        elsewhere.show(format!(
            "<form method=post action='{}{path}'></form><script>document.forms[0].submit()</script>",
            rig.url
        ));
        chromium.open(&other).await;
        chromium.until("document.title.startsWith('Not accepted')").await;
    }
    // A frame that the page could lay under somebody's clicks.
    elsewhere.show(format!("<iframe src='{}/account'></iframe>", rig.url));
    chromium.open(&other).await;
    chromium.until_noted("frame-ancestors 'none'").await;
    // A script that reads.
    elsewhere.show("<title>reader</title>".to_owned());
    chromium.open(&other).await;
    let read = format!(
        "fetch('{}/account', {{credentials: 'include'}}).then(r => r.text(), () => 'refused')",
        rig.url
    );
    assert_eq!(chromium.value(&read).await, "refused");

    // A link may lead to the question: the cookie comes along on the second step.
    let question = format!("{}{}", rig.url, program.request(&[]));
    elsewhere.show(format!("<a href='{}'>connect</a>", question.replace('&', "&amp;")));
    chromium.open(&other).await;
    chromium.until("document.querySelector('a')").await;
    chromium.value("document.querySelector('a').click()").await;
    chromium.until("document.querySelector('[name=decision]')").await;
    chromium.open(&format!("{}/account", rig.url)).await;
    chromium.until("document.body.innerText.includes('this browser')").await;
    chromium.stop().await;
    rig.stop().await;
}

#[tokio::test]
#[ignore = "needs Chromium; `cargo xtask test` runs it"]
async fn a_code_is_typed_in_a_browser() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Owner).await;
    let secret = *b"12345678901234567890";
    rig.sql(move |connection| {
        connection.execute("UPDATE accounts SET totp_secret = ?1, totp_confirmed = 1", [secret])?;
        Ok(())
    })
    .await;
    let mut chromium = Chromium::start().await;
    chromium.open(&format!("{}/login", rig.url)).await;
    chromium.sign_in("anna").await;
    chromium.until("document.activeElement.id === 'code'").await;
    chromium.picture("code").await;
    let totp = totp_rs::Builder::new().with_secret(secret.to_vec()).build_noncompliant();
    chromium.insert(&totp.generate_current().to_string()).await;
    chromium.press("Enter").await;
    chromium.until("document.title.startsWith('Fleet')").await;
    chromium.stop().await;
    rig.stop().await;
}
