//! A client of the server's REST API, as a test wants it: typed answers, and errors that quote the server.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use kenny_proto::api::{
    Agent, AgentCreated, AgentDetail, AgentInvited, AgentList, Problem, ReleaseAdded, ReleaseList,
    ToolCall, ToolOutcome, Update, UpdateList,
};
use kenny_proto::{Invitation, Sha256Digest, UpdateId};
use reqwest::{Certificate, Method, RequestBuilder, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::poll::eventually;

/// Longer than any single request takes that the rig makes.
const REQUEST_LIMIT: Duration = Duration::from_mins(2);

/// Speaks with one server as its operator.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: String,
}

/// The server's refusal.
#[derive(Debug, Clone)]
pub struct Refused(pub Problem);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the server answered {} {}: {}", self.0.status, self.0.code, self.0.detail)
    }
}

impl std::error::Error for Refused {}

impl Client {
    /// A client of the server at `base` (`http://HOST:PORT`).
    pub fn new(base: &str, token: &str) -> Result<Self> {
        Self::trusting(base, token, &[])
    }

    /// The same of a server with one of these certificates (PEM).
    pub fn trusting(base: &str, token: &str, certificates: &[u8]) -> Result<Self> {
        // Another part of the process may have installed it already; it is the same one.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut http = reqwest::Client::builder().no_proxy().timeout(REQUEST_LIMIT);
        if !certificates.is_empty() {
            http = http.tls_certs_only(Certificate::from_pem_bundle(certificates)?);
        }
        let http = http.build()?;
        Ok(Self { http, base: base.to_owned(), token: token.to_owned() })
    }

    /// Where the server is, `http://HOST:PORT` or `https://HOST:PORT`.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The operator's token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// True when the server says that it is ready.
    pub async fn is_ready(&self) -> bool {
        let answer = self.http.get(format!("{}/readyz", self.base)).send().await;
        answer.is_ok_and(|answer| answer.status() == StatusCode::OK)
    }

    /// Every agent.
    pub async fn agents(&self) -> Result<Vec<Agent>> {
        let list: AgentList = self.get("/agents").await?;
        Ok(list.agents)
    }

    /// One agent with its updates and telemetry.
    pub async fn agent(&self, id: &str) -> Result<AgentDetail> {
        self.get(&format!("/agents/{id}")).await
    }

    /// Makes an agent of 0.2, with a token.
    pub async fn create_legacy_agent(&self, id: &str) -> Result<AgentCreated> {
        let agent = json!({ "id": id, "legacy": true });
        self.send(self.request(Method::POST, "/agents").json(&agent)).await
    }

    /// Invites a PC to be an agent.
    pub async fn invite(&self, id: &str) -> Result<Invitation> {
        let path = format!("/agents/{id}/invite");
        let invited: AgentInvited =
            self.send(self.request(Method::POST, &path).json(&json!({}))).await?;
        Ok(invited.invitation)
    }

    /// What anybody gets at this path, without a token.
    pub async fn download(&self, path: &str) -> Result<Vec<u8>> {
        let answer = self.http.get(format!("{}{path}", self.base)).send().await?;
        Ok(answer.error_for_status()?.bytes().await?.to_vec())
    }

    /// Adds an executable to the releases.
    pub async fn add_release(&self, file: &Path) -> Result<ReleaseAdded> {
        let bytes = fs_err::read(file)?;
        self.send(self.request(Method::POST, "/releases").body(bytes)).await
    }

    /// Every release.
    pub async fn releases(&self) -> Result<ReleaseList> {
        self.get("/releases").await
    }

    /// Says which version an agent should run.
    pub async fn update(
        &self,
        agent: &str,
        version: &str,
        allow_downgrade: bool,
    ) -> Result<Update> {
        let wanted = json!({ "version": version, "allow_downgrade": allow_downgrade });
        self.send(self.request(Method::POST, &format!("/agents/{agent}/updates")).json(&wanted))
            .await
    }

    /// One update.
    pub async fn update_by_id(&self, id: UpdateId) -> Result<Update> {
        self.get(&format!("/updates/{id}")).await
    }

    /// An agent's updates, newest first.
    pub async fn updates(&self, agent: &str) -> Result<Vec<Update>> {
        let list: UpdateList = self.get(&format!("/agents/{agent}/updates")).await?;
        Ok(list.updates)
    }

    /// Calls a tool of an agent. `args` is a JSON object.
    pub async fn call(&self, agent: &str, tool: &str, args: Value) -> Result<ToolOutcome> {
        self.call_within(agent, tool, args, None).await
    }

    /// Calls a tool and says how many milliseconds the server shall wait for the answer.
    pub async fn call_within(
        &self,
        agent: &str,
        tool: &str,
        args: Value,
        timeout_ms: Option<u64>,
    ) -> Result<ToolOutcome> {
        let args: Map<String, Value> =
            serde_json::from_value(args).context("arguments are an object")?;
        let call = ToolCall { args, timeout_ms };
        self.send(self.request(Method::POST, &format!("/agents/{agent}/tools/{tool}")).json(&call))
            .await
    }

    /// Waits until an agent is online and, where one is given, runs that version.
    pub async fn online(
        &self,
        agent: &str,
        version: Option<&str>,
        within: Duration,
    ) -> Result<Agent> {
        let what = match version {
            Some(version) => format!("{agent} online on {version}"),
            None => format!("{agent} online"),
        };
        eventually(&what, within, async || {
            let found = self.agent(agent).await?.agent;
            let right = version.is_none_or(|version| found.version.as_deref() == Some(version));
            Ok((found.online && right).then_some(found))
        })
        .await
    }

    /// Waits until an agent is offline.
    pub async fn offline(&self, agent: &str, within: Duration) -> Result<Agent> {
        eventually(&format!("{agent} offline"), within, async || {
            let found = self.agent(agent).await?.agent;
            Ok((!found.online).then_some(found))
        })
        .await
    }

    /// Waits until an update has an outcome.
    pub async fn finished(&self, id: UpdateId, within: Duration) -> Result<Update> {
        let outcome = eventually(&format!("an outcome of update {id}"), within, async || {
            let update = self.update_by_id(id).await?;
            Ok(update.state.is_final().then_some(update))
        })
        .await;
        match outcome {
            Ok(update) => Ok(update),
            Err(error) => {
                let seen = self.update_by_id(id).await?;
                Err(error.context(format!("it stands at {:?}, {:?}", seen.state, seen.timeline)))
            }
        }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}/api/v1{path}", self.base)).bearer_auth(&self.token)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.send(self.request(Method::GET, path)).await
    }

    async fn send<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T> {
        let answer = request.send().await.context("the server does not answer")?;
        let status = answer.status();
        let body = answer.bytes().await.context("the server's answer broke off")?;
        if status.is_success() {
            return serde_json::from_slice(&body).with_context(|| {
                format!("not what was asked for: {}", String::from_utf8_lossy(&body))
            });
        }
        let problem: Problem = serde_json::from_slice(&body).with_context(|| {
            format!("{status} without a problem document: {}", String::from_utf8_lossy(&body))
        })?;
        Err(Refused(problem).into())
    }
}

/// The digest of a file, as the server knows it after `release` was added.
pub fn digest_of(added: &ReleaseAdded) -> Sha256Digest {
    added.release.sha256
}

/// `value` as JSON for a message.
pub fn pretty(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|error| error.to_string())
}
