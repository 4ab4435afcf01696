//! Fetches the candidate: resumes a partial file, notices a stall, never trusts what the other side says
//! about the length.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt as _;
use kenny_proto::update::Failure;
use kenny_proto::{FailureKind, MAX_ARTIFACT_BYTES, Sha256Digest};
use reqwest::header::{CONTENT_RANGE, ETAG, IF_RANGE, RANGE};
use reqwest::{Client, Response, StatusCode, redirect};
use url::Url;

use super::files::fail;
use super::gate::Gate;

/// How long a download may stand still (update-guarantees: 30 s). Progress resets it; there is no limit overall.
const STALL: Duration = Duration::from_secs(30);
/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(15);
/// How often a broken transfer is taken up again without one byte of progress in between.
const ATTEMPTS_WITHOUT_PROGRESS: u32 = 5;
/// Redirects that are followed, each checked again.
const REDIRECTS: usize = 5;

/// The staging folder's names for one artifact.
#[derive(Debug, Clone)]
pub struct Staging {
    folder: PathBuf,
    sha256: Sha256Digest,
}

impl Staging {
    /// The names in `folder` for the artifact with this digest.
    pub fn new(folder: &Path, sha256: Sha256Digest) -> Self {
        Self { folder: folder.to_owned(), sha256 }
    }

    /// The partial file.
    pub fn part(&self) -> PathBuf {
        self.folder.join(format!("{}.part", self.sha256))
    }

    /// The whole file.
    pub fn candidate(&self) -> PathBuf {
        self.folder.join(format!("{}.exe", self.sha256))
    }

    /// What names the partial file's version at the server, for `If-Range`.
    fn etag_file(&self) -> PathBuf {
        self.folder.join(format!("{}.etag", self.sha256))
    }

    /// Removes what a download of this artifact may have left.
    pub fn clear(&self) {
        for path in [self.part(), self.candidate(), self.etag_file()] {
            drop(fs_err::remove_file(path));
        }
    }
}

/// An HTTP client that follows redirects only to where the gate lets it.
pub fn client(gate: &Gate, tls: rustls::ClientConfig) -> Result<Client, reqwest::Error> {
    let gate = gate.clone();
    let policy = redirect::Policy::custom(move |attempt| {
        if attempt.previous().len() > REDIRECTS {
            return attempt.error("too many redirects");
        }
        match gate.check_url(attempt.url()) {
            Ok(()) => attempt.follow(),
            Err(refused) => attempt.error(refused),
        }
    });
    Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(policy)
        .referer(false)
        .connect_timeout(CONNECT)
        .read_timeout(STALL)
        .user_agent(concat!("kenny-agent/", env!("KENNY_AGENT_VERSION")))
        .build()
}

/// Fetches the artifact to [`Staging::candidate`]. `progress` gets bytes so far and, where it is known, bytes in all.
pub async fn fetch(
    client: &Client,
    url: &Url,
    staging: &Staging,
    mut progress: impl FnMut(u64, Option<u64>),
) -> Result<(), Failure> {
    fs_err::create_dir_all(&staging.folder).map_err(disk)?;
    let mut without_progress = 0;
    loop {
        let before = length_of(&staging.part());
        match transfer(client, url, staging, &mut progress).await {
            Ok(()) => {
                drop(fs_err::remove_file(staging.etag_file()));
                return super::files::replace(&staging.part(), &staging.candidate()).map_err(disk);
            }
            Err(Interrupted::For { failure }) => return Err(failure),
            Err(Interrupted::Retry { failure, after }) => {
                if length_of(&staging.part()) > before {
                    without_progress = 0;
                }
                without_progress += 1;
                if without_progress >= ATTEMPTS_WITHOUT_PROGRESS {
                    return Err(failure);
                }
                tracing::info!(reason = %failure.detail, "the download was interrupted, it goes on where it stopped");
                tokio::time::sleep(after * without_progress).await;
            }
        }
    }
}

enum Interrupted {
    For { failure: Failure },
    Retry { failure: Failure, after: Duration },
}

impl From<Failure> for Interrupted {
    fn from(failure: Failure) -> Self {
        Self::For { failure }
    }
}

fn retry(detail: String) -> Interrupted {
    let failure = fail(FailureKind::Download, detail);
    Interrupted::Retry { failure, after: Duration::from_secs(1) }
}

async fn transfer(
    client: &Client,
    url: &Url,
    staging: &Staging,
    progress: &mut impl FnMut(u64, Option<u64>),
) -> Result<(), Interrupted> {
    let there = length_of(&staging.part());
    let mut request = client.get(url.clone());
    if there > 0 {
        request = request.header(RANGE, format!("bytes={there}-"));
        if let Ok(etag) = fs_err::read_to_string(staging.etag_file()) {
            request = request.header(IF_RANGE, etag);
        }
    }
    let response = request.send().await.map_err(|error| unreachable(&error))?;
    let (mut written, mut file) = match accept(&response, there)? {
        Accepted::Whole => (0, fs_err::File::create(staging.part()).map_err(disk)?),
        Accepted::Rest => {
            (there, fs_err::OpenOptions::new().append(true).open(staging.part()).map_err(disk)?)
        }
        Accepted::StartOver => {
            staging.clear();
            return Err(retry("the server no longer has what was begun".to_owned()));
        }
    };
    if let Some(etag) = response.headers().get(ETAG).and_then(|etag| etag.to_str().ok()) {
        fs_err::write(staging.etag_file(), etag).map_err(disk)?;
    }
    let total = response.content_length().map(|rest| written + rest);
    if total.is_some_and(|total| total > MAX_ARTIFACT_BYTES) {
        return Err(too_large().into());
    }
    let mut body = response.bytes_stream();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| unreachable(&error))?;
        written += chunk.len() as u64;
        if written > MAX_ARTIFACT_BYTES {
            drop(file);
            staging.clear();
            return Err(too_large().into());
        }
        file.write_all(&chunk).map_err(disk)?;
        progress(written, total);
    }
    // What counts as downloaded is on the disk, not in a cache.
    file.sync_all().map_err(disk)?;
    Ok(())
}

enum Accepted {
    Whole,
    Rest,
    StartOver,
}

fn accept(response: &Response, there: u64) -> Result<Accepted, Interrupted> {
    let status = response.status();
    match status {
        StatusCode::OK => Ok(Accepted::Whole),
        StatusCode::PARTIAL_CONTENT => {
            let continues = response
                .headers()
                .get(CONTENT_RANGE)
                .and_then(|range| range.to_str().ok())
                .is_some_and(|range| range.starts_with(&format!("bytes {there}-")));
            Ok(if continues { Accepted::Rest } else { Accepted::StartOver })
        }
        StatusCode::RANGE_NOT_SATISFIABLE => Ok(Accepted::StartOver),
        _ if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            Err(retry(format!("the server answered {status}")))
        }
        _ => Err(fail(FailureKind::Download, format!("the server answered {status}")).into()),
    }
}

fn unreachable(error: &reqwest::Error) -> Interrupted {
    if error.is_redirect() {
        let detail = format!("a redirect was refused: {}", innermost(error));
        return fail(FailureKind::UrlRefused, detail).into();
    }
    let what = if error.is_timeout() { "nothing came for 30 s" } else { "the connection broke" };
    retry(format!("the download failed: {what} ({})", innermost(error)))
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

fn too_large() -> Failure {
    let limit = MAX_ARTIFACT_BYTES / (1024 * 1024);
    fail(FailureKind::Download, format!("the artifact is larger than {limit} MiB"))
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err takes")]
fn disk(error: io::Error) -> Failure {
    fail(FailureKind::Disk, format!("the download could not be written: {error}"))
}

fn length_of(path: &Path) -> u64 {
    fs_err::metadata(path).map_or(0, |metadata| metadata.len())
}
