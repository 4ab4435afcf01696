//! A browser without a screen: it keeps cookies, follows nothing by itself, and posts the forms of pages.

use std::collections::BTreeMap;

use kenny_proto::Role;
use reqwest::header::HeaderMap;
use url::form_urlencoded;

use super::rig::{Rig, within};
use crate::store::Right;

pub const PASSWORD: &str = "correct horse battery staple";

/// By this, tests change what no operator could.
pub struct Testing;

impl Right for Testing {}

pub struct Browser {
    pub url: String,
    pub cookies: BTreeMap<String, String>,
    http: reqwest::Client,
    /// What it says of where its requests come from.
    pub says: Vec<(&'static str, String)>,
}

pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn location(&self) -> &str {
        assert_eq!(self.status, 303, "{}", self.text);
        self.headers["location"].to_str().unwrap()
    }

    /// What stands between two texts of the page.
    pub fn between(&self, start: &str, end: &str) -> &str {
        let (_, rest) =
            self.text.split_once(start).unwrap_or_else(|| panic!("no {start} in {}", self.text));
        rest.split(end).next().unwrap()
    }

    /// The page without its frame.
    fn content(&self) -> &str {
        self.text.split_once("<main").map_or(&self.text, |(_, content)| content)
    }

    /// Fails unless the page has all of these.
    pub fn has(&self, parts: &[&str]) {
        for part in parts {
            assert!(self.text.contains(part), "no {part} in {:.4000}", self.content());
        }
    }

    /// The value of a hidden field of the page.
    pub fn hidden(&self, name: &str) -> String {
        let start = format!("name=\"{name}\" value=\"");
        let (_, rest) = self.text.split_once(&start).unwrap_or_else(|| panic!("{}", self.text));
        rest.split('"').next().unwrap().replace("&amp;", "&").replace("&quot;", "\"")
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name}")).to_str().unwrap()
    }
}

impl Browser {
    pub fn new(rig: &Rig) -> Self {
        let http =
            reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let says = vec![("origin", rig.url.clone()), ("sec-fetch-site", "same-origin".to_owned())];
        Self { url: rig.url.clone(), cookies: BTreeMap::new(), http, says }
    }

    /// Signed in as somebody with [`PASSWORD`].
    pub async fn signed_in(rig: &Rig, name: &str) -> Self {
        let mut browser = Self::new(rig);
        let answer = browser.sign_in(name, PASSWORD).await;
        assert_eq!(answer.location(), "/");
        browser
    }

    pub async fn sign_in(&mut self, name: &str, password: &str) -> Answer {
        let page = self.get("/login").await;
        let fields = [("name", name), ("password", password)];
        self.submit(&page, "/login", &fields).await
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        let request = self.http.get(format!("{}{path}", self.url));
        let site = self.says.iter().find(|(name, _)| *name == "sec-fetch-site");
        let request =
            site.iter().fold(request, |request, (name, value)| request.header(*name, value));
        self.send(request.header("accept", "text/html")).await
    }

    /// Asks for a piece of a page, as its script does.
    pub async fn piece(&mut self, path: &str) -> Answer {
        let request = self.http.get(format!("{}{path}", self.url));
        self.send(request.header("hx-request", "true").header("accept", "text/html")).await
    }

    /// Sends a file as the page's script does.
    pub async fn upload(&mut self, path: &str, token: &str, file: Vec<u8>) -> Answer {
        let request = self.http.post(format!("{}{path}", self.url)).header("x-kenny-form", token);
        let request =
            self.says.iter().fold(request, |request, (name, value)| request.header(*name, value));
        self.send(request.body(file)).await
    }

    /// Posts a form of this page: its token, and these fields.
    pub async fn submit(&mut self, page: &Answer, path: &str, fields: &[(&str, &str)]) -> Answer {
        let token = page.hidden("csrf");
        let fields: Vec<_> = fields.iter().copied().chain([("csrf", token.as_str())]).collect();
        self.post(path, &fields).await
    }

    pub async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = self
            .http
            .post(format!("{}{path}", self.url))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body);
        let request =
            self.says.iter().fold(request, |request, (name, value)| request.header(*name, value));
        self.send(request).await
    }

    async fn send(&mut self, mut request: reqwest::RequestBuilder) -> Answer {
        if !self.cookies.is_empty() {
            let pairs: Vec<_> =
                self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header("cookie", pairs.join("; "));
        }
        let response = within(request.send()).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        for cookie in headers.get_all("set-cookie") {
            let (pair, flags) = cookie.to_str().unwrap().split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            if flags.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        Answer { status, headers, text: within(response.text()).await.unwrap() }
    }
}

impl Rig {
    /// Makes an account with [`PASSWORD`].
    pub async fn person(&self, name: &str, role: Role) {
        let hash = crate::accounts::make_hash(PASSWORD);
        let name = name.to_owned();
        self.sql(move |connection| {
            connection.execute(
                "INSERT INTO accounts (name, role, created_at, password_hash) VALUES (?1, ?2, '2026-01-01T00:00:00Z', ?3)",
                [name.as_str(), role.as_str(), &hash],
            )?;
            Ok(())
        })
        .await;
    }

    /// What somebody's authenticator shows now.
    pub async fn code_of(&self, name: &'static str) -> String {
        let read = move |connection: &rusqlite::Connection| {
            let sql = "SELECT totp_secret FROM accounts WHERE name = ?1";
            connection.query_row(sql, [name], |row| row.get::<_, Vec<u8>>(0))
        };
        let secret = self.app.store.run(read).await.unwrap();
        let totp = totp_rs::Builder::new().with_secret(secret).build_noncompliant();
        totp.generate_current().to_string()
    }

    /// Changes the database, and what the server remembers of its accounts.
    pub async fn sql<F>(&self, work: F)
    where
        F: FnOnce(&rusqlite::Connection) -> rusqlite::Result<()> + Send + 'static,
    {
        self.app
            .accounts
            .change(&Testing, move |connection| {
                work(connection).map(Ok::<_, std::convert::Infallible>)
            })
            .await
            .unwrap()
            .unwrap();
    }

    pub async fn execute(&self, sql: &'static str) {
        self.sql(move |connection| connection.execute_batch(sql)).await;
    }
}
