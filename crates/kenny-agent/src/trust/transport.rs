//! How metadata comes from the server: by the agent's own HTTP client, from the server's own origin, within bounds that
//! no metadata can widen.

use futures_util::stream;
use reqwest::Client;
use tough::{Bytes, Transport, TransportError, TransportErrorKind, TransportStream, async_trait};
use url::Url;

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
    /// No client could be set up.
    #[error("the signed metadata cannot be asked for: {0}")]
    Client(String),
}

/// Fetches metadata.
#[derive(Debug, Clone)]
pub struct Http {
    /// Follows redirects only to where the gate lets it.
    pub client: Client,
    /// Which addresses may be fetched from.
    pub gate: Gate,
    /// The most of one file, whatever other metadata says of its length.
    pub max_bytes: u64,
}

impl Http {
    /// The bytes at an address; none where the server has nothing there.
    async fn get(&self, url: &Url) -> Result<Option<Vec<u8>>, FetchError> {
        self.gate.check_url(url).map_err(FetchError::Refused)?;
        let mut response =
            self.client.get(url.clone()).send().await.map_err(|error| broken(&error))?;
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
        Ok(Some(bytes))
    }
}

#[async_trait]
impl Transport for Http {
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

fn broken(error: &reqwest::Error) -> FetchError {
    let causes = || std::iter::successors(std::error::Error::source(error), |error| error.source());
    if let Some(refused) = causes().find_map(|cause| cause.downcast_ref::<UrlError>()) {
        return FetchError::Refused(refused.clone());
    }
    FetchError::Broken(causes().last().map_or_else(|| error.to_string(), ToString::to_string))
}
