//! The REST API of a server, as typed calls. Its paths stand here and nowhere else in this crate.

mod accounts;
mod agents;
mod releases;
mod rollouts;

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use kenny_proto::AgentId;
use kenny_proto::api::{Event, Health, Problem, ServerInfo};
use kenny_proto::audit::AuditPage;
use reqwest::header::ACCEPT;
use reqwest::{Certificate, Method, RequestBuilder, Response};
use serde::de::DeserializeOwned;
use url::{Host, Url};

pub use releases::open_for_upload;

use crate::config::Target;
use crate::error::{CliError, innermost};
use crate::sse::Parser;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the server may think about what it only has to look up.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

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

    /// `GET /server`.
    pub async fn server_info(&self) -> Result<ServerInfo, CliError> {
        self.quick(Method::GET, &["server"], None::<&()>).await
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
