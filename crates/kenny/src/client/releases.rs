//! Calls about releases, and about what offline keys signed.

use std::path::Path;

use futures_util::TryStreamExt as _;
use kenny_proto::Sha256Digest;
use kenny_proto::api::{ReleaseAdded, ReleaseList};
use kenny_proto::trust::{OnlineKey, Publication, Published, TrustStatus};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::{Body, Method};
use semver::Version;
use tokio_util::io::ReaderStream;

use super::Client;
use crate::error::CliError;

/// What is read of a file at a time while it is uploaded.
const UPLOAD_PIECE_BYTES: usize = 256 * 1024;

impl Client {
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

    /// `DELETE /releases/{version}`.
    pub async fn remove_release(&self, version: &Version) -> Result<(), CliError> {
        self.delete(&["releases", &version.to_string()]).await
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
