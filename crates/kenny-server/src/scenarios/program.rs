//! A program that wants to act for somebody: it registers, asks, and exchanges what it gets.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use url::{Url, form_urlencoded};

use super::browser::{Answer, Browser};
use super::rig::{Rig, within};

pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub const CALLBACK: &str = "http://127.0.0.1:33418/callback";

pub struct Program<'a> {
    pub rig: &'a Rig,
    pub client_id: String,
}

/// What a token endpoint answered.
pub struct Told {
    pub status: u16,
    pub body: Value,
}

impl Told {
    pub fn text(&self, name: &str) -> String {
        self.body[name].as_str().unwrap_or_else(|| panic!("no {name} in {}", self.body)).to_owned()
    }

    #[track_caller]
    pub fn refused(&self, code: &str) {
        assert_eq!(self.body["error"], code, "{}", self.body);
        assert!(self.body["error_description"].is_string());
        assert!(self.body.get("access_token").is_none());
    }
}

impl<'a> Program<'a> {
    pub async fn registered(rig: &'a Rig) -> Self {
        let told =
            register(rig, json!({"client_name": "Example", "redirect_uris": [CALLBACK]})).await;
        assert_eq!(told.status, 201, "{}", told.body);
        Self { rig, client_id: told.text("client_id") }
    }

    /// The path of an authorization request with these values changed (`""` leaves one out).
    pub fn request(&self, changes: &[(&str, &str)]) -> String {
        let resource = format!("{}/mcp", self.rig.url);
        let hash = digest::digest(&digest::SHA256, VERIFIER.as_bytes());
        let challenge = URL_SAFE_NO_PAD.encode(hash);
        let usual = [
            ("response_type", "code"),
            ("client_id", &self.client_id),
            ("redirect_uri", CALLBACK),
            ("state", "s t&ate"),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
            ("resource", &resource),
            ("scope", "viewer operator"),
        ];
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in usual {
            let change = changes.iter().find(|(changed, _)| *changed == name);
            let value = change.map_or(value, |(_, value)| value);
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        format!("/oauth/authorize?{}", query.finish())
    }

    /// Has somebody approve; the code.
    pub async fn approved(&self, browser: &mut Browser, scope: &str) -> String {
        let page = browser.get(&self.request(&[])).await;
        assert_eq!(page.status, 200, "{}", page.text);
        let answer = self.decide(browser, &page, "approve", scope).await;
        code_of(answer.location())
    }

    pub async fn decide(
        &self,
        browser: &mut Browser,
        page: &Answer,
        decision: &str,
        scope: &str,
    ) -> Answer {
        let request = page.hidden("request");
        let fields = [("request", request.as_str()), ("decision", decision), ("scope", scope)];
        browser.submit(page, "/oauth/authorize", &fields).await
    }

    /// Redeems a code with these values changed.
    pub async fn redeem(&self, code: &str, changes: &[(&str, &str)]) -> Told {
        let resource = format!("{}/mcp", self.rig.url);
        let usual = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("client_id", &self.client_id),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
            ("resource", &resource),
        ];
        post(self.rig, "/oauth/token", &changed(&usual, changes)).await
    }

    pub async fn refresh(&self, token: &str, changes: &[(&str, &str)]) -> Told {
        let usual = [
            ("grant_type", "refresh_token"),
            ("refresh_token", token),
            ("client_id", &self.client_id),
            ("scope", ""),
            ("resource", ""),
        ];
        post(self.rig, "/oauth/token", &changed(&usual, changes)).await
    }

    /// Tokens with this scope: the access token, the refresh token.
    pub async fn tokens(&self, browser: &mut Browser, scope: &str) -> (String, String) {
        let code = self.approved(browser, scope).await;
        let told = self.redeem(&code, &[]).await;
        assert_eq!(told.status, 200, "{}", told.body);
        (told.text("access_token"), told.text("refresh_token"))
    }
}

fn changed<'a>(
    usual: &[(&'a str, &'a str)],
    changes: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    usual
        .iter()
        .map(|(name, value)| {
            let change = changes.iter().find(|(changed, _)| changed == name);
            (*name, change.map_or(*value, |(_, value)| *value))
        })
        .filter(|(_, value)| !value.is_empty())
        .collect()
}

/// The code in an address of [`CALLBACK`].
pub fn code_of(location: &str) -> String {
    assert!(location.starts_with(CALLBACK), "{location}");
    answered(location, "code").unwrap_or_else(|| panic!("no code in {location}"))
}

/// A value in the address that an answer went to.
pub fn answered(location: &str, name: &str) -> Option<String> {
    let url = Url::parse(location).unwrap();
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

pub async fn register(rig: &Rig, body: Value) -> Told {
    let request = rig.http.post(format!("{}/oauth/register", rig.url)).json(&body);
    told(request).await
}

pub async fn post(rig: &Rig, path: &str, fields: &[(&str, &str)]) -> Told {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let kind = "application/x-www-form-urlencoded";
    told(rig.http.post(format!("{}{path}", rig.url)).header("content-type", kind).body(body)).await
}

async fn told(request: reqwest::RequestBuilder) -> Told {
    let response = within(request.send()).await.unwrap();
    let status = response.status().as_u16();
    let text = within(response.text()).await.unwrap();
    Told { status, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) }
}

/// Calls an MCP method; the status and the challenge, if there is one.
pub async fn mcp(rig: &Rig, token: Option<&str>, method: &str, params: Value) -> (u16, String) {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let mut request = rig
        .http
        .post(format!("{}/mcp", rig.url))
        .header("accept", "application/json, text/event-stream")
        .json(&body);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let response = within(request.send()).await.unwrap();
    let challenge = response.headers().get("www-authenticate");
    let challenge = challenge.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
    (response.status().as_u16(), challenge)
}

/// What opens a conversation.
pub fn hello() -> Value {
    json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}})
}

/// Whether an access token opens a conversation.
pub async fn is_let_in(rig: &Rig, token: &str) -> bool {
    let (status, challenge) = mcp(rig, Some(token), "initialize", hello()).await;
    match status {
        200 => true,
        401 => {
            assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
            false
        }
        other => panic!("{other}"),
    }
}
