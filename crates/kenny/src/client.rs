//! The REST API of a server, as typed calls. Its paths stand here and nowhere else in this crate.

use std::collections::VecDeque;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use kenny_proto::accounts::{
    Account, AccountChange, AccountList, AccountPassword, Confirmation, Me, NewAccount, NewLogin,
    NewPassword, NewToken, RecoveryCodes, TokenCreated, TokenList, TotpCode, TotpEnrolment,
};
use kenny_proto::api::{
    Agent, AgentCreated, AgentDetail, AgentInvited, AgentList, Event, Health, InvitationList,
    NewAgent, NewInvitation, NewUpdate, Problem, ReleaseAdded, ReleaseList, ServerInfo, ToolCall,
    ToolList, ToolOutcome, Update, UpdateList,
};
use kenny_proto::audit::AuditPage;
use kenny_proto::rollout::AgentChange;
use kenny_proto::trust::{OnlineKey, Publication, Published, TrustStatus};
use kenny_proto::{AccountName, AgentId, Sha256Digest, UpdateId};
use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::{Body, Certificate, Method, RequestBuilder, Response};
use serde::de::DeserializeOwned;
use tokio_util::io::ReaderStream;
use url::{Host, Url};

use crate::config::Target;
use crate::error::{CliError, innermost};
use crate::sse::Parser;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the server may think about what it only has to look up.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// What is read of a file at a time while it is uploaded.
const UPLOAD_PIECE_BYTES: usize = 256 * 1024;

/// Speaks with one server, by one token.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    server: Url,
    token: Option<String>,
}

impl Client {
    /// A client of this server; nothing is sent yet.
    pub fn new(target: Target) -> Result<Self, CliError> {
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("kenny/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            // The API never redirects, and the token is for this address alone.
            .redirect(reqwest::redirect::Policy::none());
        if is_this_machine(&target.server) {
            builder = builder.no_proxy();
        }
        if let Some(path) = &target.ca_file {
            let pem = fs_err::read(path).map_err(CliError::File)?;
            let unusable = |why: String| {
                CliError::Usage(format!("{} has no usable certificate ({why})", path.display()))
            };
            let certificates =
                Certificate::from_pem_bundle(&pem).map_err(|error| unusable(innermost(&error)))?;
            if certificates.is_empty() {
                return Err(unusable("it is not in PEM format".to_owned()));
            }
            builder = builder.tls_certs_merge(certificates);
        }
        let http = builder.build().map_err(|error| {
            CliError::Failed(format!("TLS cannot be set up: {}", innermost(&error)))
        })?;
        Ok(Self { http, server: target.server, token: target.token })
    }

    /// The server's address, as people write it.
    pub fn address(&self) -> &str {
        self.server.as_str().trim_end_matches('/')
    }

    /// `GET /readyz`: also a server that is not ready says what is wrong.
    pub async fn health(&self) -> Result<Health, CliError> {
        let request = self.http.get(self.url(&["readyz"])).timeout(ANSWER_TIMEOUT);
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        self.read(response).await
    }

    /// Where it is.
    pub const fn server(&self) -> &Url {
        &self.server
    }

    /// `POST /login`, which needs no token.
    pub async fn log_in(&self, login: &NewLogin) -> Result<TokenCreated, CliError> {
        let request = self.http.post(self.url(&["api", "v1", "login"])).timeout(ANSWER_TIMEOUT);
        self.read(self.send(request.json(login)).await?).await
    }

    /// `POST /logout`.
    pub async fn log_out(&self) -> Result<(), CliError> {
        self.empty(Method::POST, &["logout"], None::<&()>).await
    }

    /// `GET /me`.
    pub async fn me(&self) -> Result<Me, CliError> {
        self.quick(Method::GET, &["me"], None::<&()>).await
    }

    /// `PUT /me/password`.
    pub async fn set_password(&self, password: &NewPassword) -> Result<(), CliError> {
        self.empty(Method::PUT, &["me", "password"], Some(password)).await
    }

    /// `POST /me/totp`.
    pub async fn begin_totp(&self, own: &Confirmation) -> Result<TotpEnrolment, CliError> {
        self.quick(Method::POST, &["me", "totp"], Some(own)).await
    }

    /// `POST /me/totp/confirm`.
    pub async fn confirm_totp(&self, code: &TotpCode) -> Result<RecoveryCodes, CliError> {
        self.quick(Method::POST, &["me", "totp", "confirm"], Some(code)).await
    }

    /// `POST /me/totp/disable`.
    pub async fn end_totp(&self, own: &Confirmation) -> Result<(), CliError> {
        self.empty(Method::POST, &["me", "totp", "disable"], Some(own)).await
    }

    /// `POST /me/recovery-codes`.
    pub async fn renew_recovery_codes(
        &self,
        own: &Confirmation,
    ) -> Result<RecoveryCodes, CliError> {
        self.quick(Method::POST, &["me", "recovery-codes"], Some(own)).await
    }

    /// `GET /accounts`.
    pub async fn accounts(&self) -> Result<AccountList, CliError> {
        self.quick(Method::GET, &["accounts"], None::<&()>).await
    }

    /// `POST /accounts`.
    pub async fn create_account(&self, new: &NewAccount) -> Result<AccountPassword, CliError> {
        self.quick(Method::POST, &["accounts"], Some(new)).await
    }

    /// `PATCH /accounts/{name}`.
    pub async fn change_account(
        &self,
        name: &AccountName,
        change: &AccountChange,
    ) -> Result<Account, CliError> {
        self.quick(Method::PATCH, &["accounts", name.as_str()], Some(change)).await
    }

    /// `POST /accounts/{name}/reset`.
    pub async fn reset_account(&self, name: &AccountName) -> Result<AccountPassword, CliError> {
        self.quick(Method::POST, &["accounts", name.as_str(), "reset"], None::<&()>).await
    }

    /// `DELETE /accounts/{name}`.
    pub async fn remove_account(&self, name: &AccountName) -> Result<(), CliError> {
        self.delete(&["accounts", name.as_str()]).await
    }

    /// `GET /tokens`.
    pub async fn tokens(&self, account: Option<&AccountName>) -> Result<TokenList, CliError> {
        let mut request = self.request(Method::GET, &["tokens"])?.timeout(ANSWER_TIMEOUT);
        if let Some(account) = account {
            request = request.query(&[("account", account.as_str())]);
        }
        self.read(self.send(request).await?).await
    }

    /// `POST /tokens`.
    pub async fn create_token(&self, token: &NewToken) -> Result<TokenCreated, CliError> {
        self.quick(Method::POST, &["tokens"], Some(token)).await
    }

    /// `DELETE /tokens/{id}`.
    pub async fn revoke_token(&self, id: i64) -> Result<(), CliError> {
        self.delete(&["tokens", &id.to_string()]).await
    }

    /// `GET /agents`.
    pub async fn agents(&self) -> Result<AgentList, CliError> {
        self.quick(Method::GET, &["agents"], None::<&()>).await
    }

    /// `GET /agents/{id}`.
    pub async fn agent(&self, id: &AgentId) -> Result<AgentDetail, CliError> {
        self.quick(Method::GET, &["agents", id.as_str()], None::<&()>).await
    }

    /// `PATCH /agents/{id}`.
    pub async fn change_agent(
        &self,
        id: &AgentId,
        change: &AgentChange,
    ) -> Result<Agent, CliError> {
        self.quick(Method::PATCH, &["agents", id.as_str()], Some(change)).await
    }

    /// `POST /agents`: one with a token.
    pub async fn add_legacy_agent(&self, id: AgentId) -> Result<AgentCreated, CliError> {
        self.quick(Method::POST, &["agents"], Some(&NewAgent { id, legacy: true })).await
    }

    /// `POST /agents/{id}/invite`.
    pub async fn invite(
        &self,
        id: &AgentId,
        wanted: &NewInvitation,
    ) -> Result<AgentInvited, CliError> {
        self.quick(Method::POST, &["agents", id.as_str(), "invite"], Some(wanted)).await
    }

    /// `DELETE /agents/{id}/invite`.
    pub async fn withdraw_invitation(&self, id: &AgentId) -> Result<(), CliError> {
        self.delete(&["agents", id.as_str(), "invite"]).await
    }

    /// `GET /invitations`.
    pub async fn invitations(&self) -> Result<InvitationList, CliError> {
        self.quick(Method::GET, &["invitations"], None::<&()>).await
    }

    /// `GET /server`.
    pub async fn server_info(&self) -> Result<ServerInfo, CliError> {
        self.quick(Method::GET, &["server"], None::<&()>).await
    }

    /// `DELETE /agents/{id}`.
    pub async fn remove_agent(&self, id: &AgentId) -> Result<(), CliError> {
        self.delete(&["agents", id.as_str()]).await
    }

    /// `GET /releases`.
    pub async fn releases(&self) -> Result<ReleaseList, CliError> {
        self.quick(Method::GET, &["releases"], None::<&()>).await
    }

    /// `POST /releases`: sends the file as it is read. `progress` learns how many bytes are on their way.
    pub async fn add_release(
        &self,
        file: tokio::fs::File,
        size_bytes: u64,
        progress: impl Fn(u64) + Send + Sync + 'static,
    ) -> Result<ReleaseAdded, CliError> {
        let mut sent_bytes = 0;
        let pieces =
            ReaderStream::with_capacity(file, UPLOAD_PIECE_BYTES).inspect_ok(move |piece| {
                sent_bytes += piece.len() as u64;
                progress(sent_bytes);
            });
        let request = self
            .request(Method::POST, &["releases"])?
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_LENGTH, size_bytes)
            .body(Body::wrap_stream(pieces));
        self.read(self.send(request).await?).await
    }

    /// `GET /trust`.
    pub async fn trust(&self) -> Result<TrustStatus, CliError> {
        self.quick(Method::GET, &["trust"], None::<&()>).await
    }

    /// `GET /trust/metadata`.
    pub async fn trust_metadata(&self) -> Result<Publication, CliError> {
        self.quick(Method::GET, &["trust", "metadata"], None::<&()>).await
    }

    /// `POST /trust/metadata`. How long the artifacts take to be read is the server's to decide.
    pub async fn publish(&self, publication: &Publication) -> Result<Published, CliError> {
        let request = self.request(Method::POST, &["trust", "metadata"])?.json(publication);
        self.read(self.send(request).await?).await
    }

    /// `PUT /trust/artifacts/{sha256}`: sends the file as it is read.
    pub async fn upload_artifact(
        &self,
        sha256: Sha256Digest,
        file: tokio::fs::File,
        size_bytes: u64,
    ) -> Result<(), CliError> {
        let pieces = ReaderStream::with_capacity(file, UPLOAD_PIECE_BYTES);
        let request = self
            .request(Method::PUT, &["trust", "artifacts", &sha256.to_string()])?
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_LENGTH, size_bytes)
            .body(Body::wrap_stream(pieces));
        self.send(request).await.map(drop)
    }

    /// `POST /trust/online-key`.
    pub async fn make_online_key(&self) -> Result<OnlineKey, CliError> {
        self.quick(Method::POST, &["trust", "online-key"], None::<&()>).await
    }

    /// `GET /agents/{id}/updates`.
    pub async fn updates(&self, agent: &AgentId) -> Result<UpdateList, CliError> {
        self.quick(Method::GET, &["agents", agent.as_str(), "updates"], None::<&()>).await
    }

    /// `POST /agents/{id}/updates`.
    pub async fn request_update(
        &self,
        agent: &AgentId,
        update: &NewUpdate,
    ) -> Result<Update, CliError> {
        self.quick(Method::POST, &["agents", agent.as_str(), "updates"], Some(update)).await
    }

    /// `DELETE /agents/{id}/desired`.
    pub async fn clear_desired(&self, agent: &AgentId) -> Result<(), CliError> {
        self.delete(&["agents", agent.as_str(), "desired"]).await
    }

    /// `DELETE /agents/{id}/hold`.
    pub async fn clear_hold(&self, agent: &AgentId) -> Result<(), CliError> {
        self.delete(&["agents", agent.as_str(), "hold"]).await
    }

    /// `POST /agents/{id}/rollback`.
    pub async fn request_rollback(&self, agent: &AgentId) -> Result<Update, CliError> {
        self.quick(Method::POST, &["agents", agent.as_str(), "rollback"], None::<&()>).await
    }

    /// `GET /updates/{id}`.
    pub async fn update(&self, id: UpdateId) -> Result<Update, CliError> {
        self.quick(Method::GET, &["updates", &id.to_string()], None::<&()>).await
    }

    /// `GET /tools`.
    pub async fn tools(&self) -> Result<ToolList, CliError> {
        self.quick(Method::GET, &["tools"], None::<&()>).await
    }

    /// `POST /agents/{id}/tools/{tool}`. How long that may take is the server's to decide.
    pub async fn call(
        &self,
        agent: &AgentId,
        tool: &str,
        call: &ToolCall,
    ) -> Result<ToolOutcome, CliError> {
        let path = ["agents", agent.as_str(), "tools", tool];
        let request = self.request(Method::POST, &path)?.json(call);
        self.read(self.send(request).await?).await
    }

    /// `GET /events`, from after the event `after` on, or from now on.
    pub async fn events(
        &self,
        agent: Option<&AgentId>,
        after: Option<i64>,
    ) -> Result<EventStream, CliError> {
        let mut request =
            self.request(Method::GET, &["events"])?.header(ACCEPT, "text/event-stream");
        if let Some(agent) = agent {
            request = request.query(&[("agent", agent.as_str())]);
        }
        if let Some(after) = after {
            request = request.header("Last-Event-ID", after);
        }
        let response = self.send(request).await?;
        Ok(EventStream {
            client: self.clone(),
            bytes: Box::pin(response.bytes_stream().map_ok(|piece| piece.to_vec())),
            parser: Parser::default(),
            ready: VecDeque::new(),
        })
    }

    /// Rows of the audit log, by the names of the API's parameters.
    pub async fn audit(&self, wanted: &[(&str, Option<String>)]) -> Result<AuditPage, CliError> {
        let wanted: Vec<(&str, &str)> =
            wanted.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))).collect();
        let request = self.request(Method::GET, &["audit"])?.query(&wanted).timeout(ANSWER_TIMEOUT);
        self.read(self.send(request).await?).await
    }

    pub(crate) async fn quick<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        body: Option<&impl serde::Serialize>,
    ) -> Result<T, CliError> {
        let mut request = self.request(method, path)?.timeout(ANSWER_TIMEOUT);
        if let Some(body) = body {
            request = request.json(body);
        }
        self.read(self.send(request).await?).await
    }

    async fn delete(&self, path: &[&str]) -> Result<(), CliError> {
        self.empty(Method::DELETE, path, None::<&()>).await
    }

    /// What is answered with nothing.
    async fn empty(
        &self,
        method: Method,
        path: &[&str],
        body: Option<&impl serde::Serialize>,
    ) -> Result<(), CliError> {
        let mut request = self.request(method, path)?.timeout(ANSWER_TIMEOUT);
        if let Some(body) = body {
            request = request.json(body);
        }
        self.send(request).await.map(drop)
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.server.clone();
        url.path_segments_mut()
            .expect("http and https addresses have a path")
            .pop_if_empty()
            .extend(path);
        url
    }

    fn request(&self, method: Method, path: &[&str]) -> Result<RequestBuilder, CliError> {
        let Some(token) = &self.token else {
            return Err(CliError::NoToken(self.address().to_owned()));
        };
        let path: Vec<&str> = ["api", "v1"].iter().chain(path).copied().collect();
        Ok(self.http.request(method, self.url(&path)).bearer_auth(token))
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, CliError> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response.bytes().await.unwrap_or_default();
        if let Ok(problem) = serde_json::from_slice::<Problem>(&body) {
            return Err(CliError::Refused(problem));
        }
        Err(match status.as_u16() {
            // A proxy before the server speaks for itself.
            401 | 403 | 429 | 502..=504 => CliError::Refused(Problem {
                code: "http".to_owned(),
                status: status.as_u16(),
                title: String::new(),
                detail: format!("{} answered {status}, without a reason", self.address()),
            }),
            _ => self.not_kenny(format!("HTTP {status}")),
        })
    }

    async fn read<T: DeserializeOwned>(&self, response: Response) -> Result<T, CliError> {
        let body = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        serde_json::from_slice(&body).map_err(|error| self.not_kenny(error.to_string()))
    }

    fn not_kenny(&self, why: String) -> CliError {
        CliError::NotKenny { url: self.address().to_owned(), why }
    }

    fn unreachable(&self, error: &reqwest::Error) -> CliError {
        let why = if error.is_timeout() {
            "it did not answer in time".to_owned()
        } else {
            innermost(error)
        };
        let is_certificate = why.to_ascii_lowercase().contains("certificate");
        let remedy = if is_certificate {
            "Give the certificate of the authority that signed the server's with --ca-file."
        } else {
            "Check that it runs and that the address (--server, KENNY_SERVER_URL or `kenny login`) is right."
        };
        CliError::Unreachable { url: self.address().to_owned(), why, remedy }
    }
}

/// Opens a file for [`Client::add_release`] and says how large it is.
pub async fn open_for_upload(path: &Path) -> Result<(tokio::fs::File, u64), CliError> {
    let file = fs_err::File::open(path).map_err(CliError::File)?;
    let facts = file.metadata().map_err(CliError::File)?;
    if !facts.is_file() {
        return Err(CliError::Usage(format!("{} is not a file", path.display())));
    }
    Ok((tokio::fs::File::from_std(file.into_parts().0), facts.len()))
}

fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Events as they come.
pub struct EventStream {
    client: Client,
    bytes: Pin<Box<dyn Stream<Item = reqwest::Result<Vec<u8>>> + Send>>,
    parser: Parser,
    ready: VecDeque<Vec<u8>>,
}

impl EventStream {
    /// The next event; `None` when the server ended the stream. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Result<Event, CliError>> {
        loop {
            if let Some(data) = self.ready.pop_front() {
                let event = serde_json::from_slice(&data);
                return Some(event.map_err(|error| self.client.not_kenny(error.to_string())));
            }
            match self.bytes.next().await? {
                Ok(bytes) => match self.parser.push(&bytes) {
                    Ok(events) => self.ready.extend(events),
                    Err(error) => return Some(Err(self.client.not_kenny(error.to_string()))),
                },
                Err(error) => return Some(Err(self.client.unreachable(&error))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_behind_a_path_keeps_it() {
        for (server, expected) in [
            ("http://h", "http://h/readyz"),
            ("https://h/kenny/", "https://h/kenny/readyz"),
            ("https://h/kenny", "https://h/kenny/readyz"),
        ] {
            let client = Client {
                http: {
                    // Another test may have installed the same one.
                    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
                    reqwest::Client::new()
                },
                server: server.parse().unwrap(),
                token: None,
            };
            assert_eq!(client.url(&["readyz"]).as_str(), expected);
        }
    }
}
