//! How metadata comes from the server: by the agent's own HTTP client, from the server's own origin, within bounds that
//! no metadata can widen.

use futures_util::stream;
use reqwest::Client;
use serde::Deserialize;
use tough::{Bytes, Transport, TransportError, TransportErrorKind, TransportStream, async_trait};
use url::Url;

use crate::config::Config;
use crate::update::download;
use crate::update::gate::{Gate, UrlError};

/// Why a file of metadata did not come.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The address, or one that it redirects to, is not one that this agent may fetch from.
    #[error("an address of signed metadata was refused: {0}")]
    Refused(UrlError),
    /// The server answered with another status than 200 and 404.
    #[error("the server answers {0} for the signed metadata")]
    Status(u16),
    /// More came than metadata ever has.
    #[error("the server sends more than {0} bytes for one file of signed metadata")]
    TooLarge(u64),
    /// The connection was not made, or broke.
    #[error("the signed metadata could not be fetched: {0}")]
    Broken(String),
    /// It is metadata of another role.
    #[error("{file} says that it is `{found}` metadata")]
    WrongType {
        /// The file.
        file: String,
        /// What it says.
        found: String,
    },
    /// No client could be set up.
    #[error("the signed metadata cannot be asked for: {0}")]
    Client(String),
}

/// The agent's HTTP client, for metadata. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Http {
    client: Client,
    gate: Gate,
}

impl Http {
    /// A client of this config's server alone: other origins are for artifacts.
    pub fn new(config: &Config) -> Result<Self, FetchError> {
        let gate = Gate::new(&config.server, &[]);
        let client = crate::tunnel::tls_config(config)
            .map_err(|error| format!("{error:#}"))
            .and_then(|tls| download::client(&gate, tls).map_err(|error| error.to_string()))
            .map_err(FetchError::Client)?;
        Ok(Self { client, gate })
    }
}

/// Fetches metadata within bounds.
#[derive(Debug, Clone)]
pub struct Bounded {
    /// How.
    pub http: Http,
    /// The most of one file, whatever other metadata says of its length.
    pub max_bytes: u64,
}

impl Bounded {
    /// The bytes at an address; none where the server has nothing there.
    async fn get(&self, url: &Url) -> Result<Option<Vec<u8>>, FetchError> {
        let Http { client, gate } = &self.http;
        gate.check_url(url).map_err(FetchError::Refused)?;
        let mut response = client.get(url.clone()).send().await.map_err(|error| broken(&error))?;
        match response.status().as_u16() {
            200 => {}
            404 | 410 => return Ok(None),
            other => return Err(FetchError::Status(other)),
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| broken(&error))? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() as u64 > self.max_bytes {
                return Err(FetchError::TooLarge(self.max_bytes));
            }
        }
        check_type(url, &bytes)?;
        Ok(Some(bytes))
    }
}

#[async_trait]
impl Transport for Bounded {
    async fn fetch(&self, url: Url) -> Result<TransportStream, TransportError> {
        let item = match self.get(&url).await {
            Ok(Some(bytes)) => Ok(Bytes::from(bytes)),
            Ok(None) => return Err(TransportError::new(TransportErrorKind::FileNotFound, url)),
            // Inside the stream: an error of the fetch itself counts as "there is no newer root", and so would hide one
            // that did not arrive.
            Err(error) => {
                Err(TransportError::new_with_cause(TransportErrorKind::Other, url, error))
            }
        };
        Ok(Box::pin(stream::once(std::future::ready(item))))
    }
}

/// `tough` takes the type of a role from where it looked for it, and passes over what the file says. What is no metadata
/// at all it refuses itself.
fn check_type(url: &Url, bytes: &[u8]) -> Result<(), FetchError> {
    #[derive(Deserialize)]
    struct File {
        signed: Typed,
    }
    #[derive(Deserialize)]
    struct Typed {
        #[serde(rename = "_type")]
        name: String,
    }
    let file = url.path().rsplit('/').next().unwrap_or_default();
    let role = file.trim_end_matches(".json").rsplit('.').next().unwrap_or_default();
    let expected = match role {
        "root" | "timestamp" | "snapshot" => role,
        // Roles that targets are delegated to have names of their own.
        _ => "targets",
    };
    match serde_json::from_slice::<File>(bytes) {
        Ok(File { signed }) if signed.name != expected => {
            Err(FetchError::WrongType { file: file.to_owned(), found: signed.name })
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

fn broken(error: &reqwest::Error) -> FetchError {
    let causes = || std::iter::successors(std::error::Error::source(error), |error| error.source());
    if let Some(refused) = causes().find_map(|cause| cause.downcast_ref::<UrlError>()) {
        return FetchError::Refused(refused.clone());
    }
    FetchError::Broken(causes().last().map_or_else(|| error.to_string(), ToString::to_string))
}
