//! Fetches the candidate: resumes a partial file, waits for a server that is busy or away, notices a stall, and never
//! trusts what the other side says about length, version or encoding.
//!
//! Whether the bytes are the right ones is decided by their hash in the verification that follows. Here it is asked only
//! where an answer leaves doubt: a file put together of several answers, or one whose end a cut looks like.

mod answer;
mod disk;
mod patience;
mod rate;
mod staging;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use kenny_proto::update::Failure;
use kenny_proto::{FailureKind, MAX_ARTIFACT_BYTES};
use reqwest::header::{ACCEPT_ENCODING, IF_RANGE, RANGE};
use reqwest::{Client, Response, redirect};
use tokio::time::timeout;
use url::Url;

use super::files::{self, fail};
use super::gate::{Gate, UrlError};
use crate::config::UpdateConfig;
use answer::Answer;
pub use disk::Disk;
use disk::aside;
use patience::{OutOfPatience, Patience};
use rate::RateCap;
pub use staging::{Resume, Staging};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(15);
/// Redirects that are followed, each checked again.
const REDIRECTS: usize = 5;

/// How a download behaves. [`Limits::default`] is what production uses.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How long it may stand still; progress resets it, and there is no limit overall.
    pub stall: Duration,
    /// How long it goes on trying without a byte more than before.
    pub patience: Duration,
    /// The ceiling of the first wait before trying again; it doubles, and the wait is anywhere below it.
    pub first_wait: Duration,
    /// Where the ceiling stops doubling.
    pub longest_wait: Duration,
    /// The longest that a server's `Retry-After` is granted.
    pub longest_retry_after: Duration,
    /// The largest artifact.
    pub max_bytes: u64,
    /// The most of the line that is used; no limit when absent.
    pub max_bytes_per_second: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // update-guarantees.
            stall: Duration::from_secs(30),
            // A router or a server that restarts is back well before; what is away for longer is no matter of waiting,
            // and the server of the fleet asks again anyway.
            patience: Duration::from_mins(30),
            // As the tunnel's.
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_mins(1),
            // Six of these fit the patience: a server that asks for hours gets an answer it can show instead.
            longest_retry_after: Duration::from_mins(5),
            max_bytes: MAX_ARTIFACT_BYTES,
            max_bytes_per_second: None,
        }
    }
}

impl Limits {
    /// What the config says.
    pub fn of(config: &UpdateConfig) -> Self {
        Self { max_bytes_per_second: config.max_bytes_per_second, ..Self::default() }
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
        // The hash is of the bytes as they are sent, whatever a server calls their encoding.
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate()
        .user_agent(concat!("kenny-agent/", env!("KENNY_AGENT_VERSION")))
        .build()
}

/// One artifact to be fetched.
#[derive(Debug)]
pub struct Download<'a> {
    /// From [`client`].
    pub client: &'a Client,
    /// An address that the gate let through.
    pub url: &'a Url,
    /// Where it goes.
    pub staging: &'a Staging,
    /// How it behaves.
    pub limits: Limits,
    /// Where it is written.
    pub disk: Disk,
}

/// How the bytes on the disk came to be all.
enum End {
    /// One answer, of the announced length.
    Certain,
    /// One answer, which ended with its connection: a cut looks the same.
    WithConnection,
    /// Several answers, maybe to different processes, with a power cut in between.
    Pieced,
}

enum Interrupted {
    /// For good.
    For(Failure),
    /// It goes on with what is there, after what the server asks for.
    Retry { reason: String, asked: Option<Duration> },
    /// It goes on with nothing.
    StartOver(String),
}

impl From<Failure> for Interrupted {
    fn from(failure: Failure) -> Self {
        Self::For(failure)
    }
}

impl Download<'_> {
    /// Fetches the artifact to [`Staging::candidate`], where it may lie already. `progress` gets bytes so far and,
    /// where it is known, bytes in all.
    pub async fn fetch(&self, mut progress: impl FnMut(u64, Option<u64>)) -> Result<(), Failure> {
        let folder = self.staging.folder().to_owned();
        aside(move || fs_err::create_dir_all(folder))
            .await
            .map_err(|error| self.failure(&error, None))?;
        if self.is_right(self.staging.candidate()).await {
            return Ok(());
        }
        let there = self.staging.resume().map_or(0, |resume| resume.there);
        let mut patience = Patience::new(&self.limits, there);
        let mut rate = RateCap::new(self.limits.max_bytes_per_second);
        let (mut doubted_end, mut pieces_were_doubted) = (0, false);
        loop {
            let interrupted = match self.transfer(&mut patience, &mut rate, &mut progress).await {
                Err(interrupted) => interrupted,
                // An end that comes twice at the same place is one.
                Ok(End::WithConnection)
                    if self.staging.part_bytes() != doubted_end
                        && !self.is_right(self.staging.part()).await =>
                {
                    doubted_end = self.staging.part_bytes();
                    let reason = "the connection ended, and not all had come".to_owned();
                    Interrupted::Retry { reason, asked: None }
                }
                Ok(End::Pieced)
                    if !pieces_were_doubted && !self.is_right(self.staging.part()).await =>
                {
                    pieces_were_doubted = true;
                    let reason = "the pieces that came do not make the file that was asked for";
                    Interrupted::StartOver(reason.to_owned())
                }
                Ok(End::Certain | End::WithConnection | End::Pieced) => return self.finish().await,
            };
            let (reason, asked) = match interrupted {
                Interrupted::For(failure) => return Err(failure),
                Interrupted::Retry { reason, asked } => (reason, asked),
                Interrupted::StartOver(reason) => {
                    self.staging.discard_part();
                    (reason, None)
                }
            };
            let wait = patience
                .next(asked, fastrand::f64())
                .map_err(|over| out_of_patience(&reason, &over))?;
            tracing::info!(
                reason,
                wait_ms = wait.as_millis(),
                bytes = self.staging.part_bytes(),
                "the download was interrupted, it goes on after a while"
            );
            tokio::time::sleep(wait).await;
        }
    }

    async fn transfer(
        &self,
        patience: &mut Patience,
        rate: &mut RateCap,
        progress: &mut impl FnMut(u64, Option<u64>),
    ) -> Result<End, Interrupted> {
        let resume = self.staging.resume().filter(|resume| resume.there <= self.limits.max_bytes);
        let response = self.ask(resume.as_ref()).await?;
        let answer = answer::read(
            response.version(),
            response.status(),
            response.headers(),
            resume.as_ref(),
            Timestamp::now(),
        );
        let there = resume.map_or(0, |resume| resume.there);
        match answer {
            Answer::Whole { total, etag, ends_with_connection } => {
                self.check_size(total)?;
                patience.begin().map_err(begins_again)?;
                let staging = self.staging.clone();
                let part = aside(move || staging.begin_part(etag.as_deref())).await;
                let part = part.map_err(|error| self.give_up(&error, total))?;
                let end = if ends_with_connection { End::WithConnection } else { End::Certain };
                let body = Body { response, part, written: 0, total };
                self.receive(body, patience, rate, progress).await.map(|()| end)
            }
            Answer::Rest { total } => {
                self.check_size(total)?;
                let part = self.staging.continue_part();
                let part = part.map_err(|error| self.give_up(&error, total))?;
                let body = Body { response, part, written: there, total };
                self.receive(body, patience, rate, progress).await.map(|()| End::Pieced)
            }
            Answer::Complete => Ok(End::Pieced),
            Answer::StartOver(reason) => Err(Interrupted::StartOver(reason)),
            Answer::Later { reason, wait } => Err(Interrupted::Retry { reason, asked: wait }),
            Answer::Refused(failure) => Err(failure.into()),
        }
    }

    async fn ask(&self, resume: Option<&Resume>) -> Result<Response, Interrupted> {
        let mut request = self.client.get(self.url.clone()).header(ACCEPT_ENCODING, "identity");
        if let Some(resume) = resume {
            request = request
                .header(RANGE, format!("bytes={}-", resume.there))
                .header(IF_RANGE, &resume.etag);
        }
        let response = timeout(self.limits.stall, request.send()).await;
        response.map_err(|_| self.stalled())?.map_err(|error| broken(&error))
    }

    /// Refuses what is too large or has no room, before anything of it is read.
    fn check_size(&self, total: Option<u64>) -> Result<(), Failure> {
        let Some(total) = total else { return Ok(()) };
        if total > self.limits.max_bytes {
            return Err(self.too_large());
        }
        self.disk.check_room(self.staging, total, self.staging.part_bytes())
    }

    async fn receive(
        &self,
        mut body: Body,
        patience: &mut Patience,
        rate: &mut RateCap,
        progress: &mut impl FnMut(u64, Option<u64>),
    ) -> Result<(), Interrupted> {
        let total = body.total;
        let limit = total.unwrap_or(self.limits.max_bytes);
        let stall = self.limits.stall;
        loop {
            let chunk = timeout(stall, body.response.chunk()).await.map_err(|_| self.stalled())?;
            let Some(mut chunk) = chunk.map_err(|error| broken(&error))? else { break };
            while !chunk.is_empty() {
                let piece = chunk.split_to(chunk.len().min(rate.piece_bytes()));
                let bytes = piece.len();
                body.written += bytes as u64;
                if body.written > limit {
                    return Err(if total.is_some() {
                        Interrupted::StartOver("the server sends more than it announced".to_owned())
                    } else {
                        self.too_large().into()
                    });
                }
                rate.take(bytes).await;
                let written = self.disk.write(body.part, piece).await;
                body.part = written.map_err(|error| self.give_up(&error, total))?;
                patience.reached(body.written);
                progress(body.written, total);
            }
        }
        if total.is_some_and(|total| body.written < total) {
            let reason = "the server ended the answer before its end".to_owned();
            return Err(Interrupted::Retry { reason, asked: None });
        }
        Ok(())
    }

    /// Gives the part its final name. What counts as downloaded is on the disk by then, and not in a cache.
    async fn finish(&self) -> Result<(), Failure> {
        let staging = self.staging.clone();
        let finished = aside(move || {
            staging.flush_part()?;
            files::replace(&staging.part(), &staging.candidate())?;
            staging.discard_part();
            Ok(())
        });
        finished.await.map_err(|error| self.failure(&error, None))
    }

    /// True where this file is there and has the hash that was asked for.
    async fn is_right(&self, path: PathBuf) -> bool {
        let wanted = self.staging.sha256();
        aside(move || files::sha256_of_file(&path)).await.is_ok_and(|sha256| sha256 == wanted)
    }

    fn stalled(&self) -> Interrupted {
        let reason = format!("nothing came for {:?}", self.limits.stall);
        Interrupted::Retry { reason, asked: None }
    }

    /// Bytes beyond the limit are of no artifact, so those before it are of no use.
    fn too_large(&self) -> Failure {
        self.staging.discard_part();
        let limit = self.limits.max_bytes / (1024 * 1024);
        fail(FailureKind::Download, format!("the artifact is larger than {limit} MiB"))
    }

    /// The disk does not take it. What is there stays for the next time, where that can go on with it.
    fn give_up(&self, error: &io::Error, total: Option<u64>) -> Interrupted {
        let failure = self.failure(error, total);
        if self.staging.resume().is_none() {
            self.staging.discard_part();
        }
        Interrupted::For(failure)
    }

    fn failure(&self, error: &io::Error, total: Option<u64>) -> Failure {
        self.disk.failure(self.staging, error, total)
    }
}

/// A file on its way.
struct Body {
    response: Response,
    part: fs_err::File,
    written: u64,
    total: Option<u64>,
}

fn broken(error: &reqwest::Error) -> Interrupted {
    let causes = || std::iter::successors(std::error::Error::source(error), |error| error.source());
    if let Some(refused) = causes().find_map(|cause| cause.downcast_ref::<UrlError>()) {
        let detail = format!("a redirect was refused: {refused}");
        return fail(FailureKind::UrlRefused, detail).into();
    }
    if error.is_redirect() {
        let detail = format!("the address redirects more than {REDIRECTS} times");
        return fail(FailureKind::Download, detail).into();
    }
    let cause = causes().last().map_or_else(|| error.to_string(), ToString::to_string);
    Interrupted::Retry { reason: format!("the connection broke ({cause})"), asked: None }
}

fn out_of_patience(reason: &str, over: &OutOfPatience) -> Failure {
    let detail = format!(
        "the download failed: {reason}; {} attempts in {} s brought nothing more",
        over.attempts,
        over.time.as_secs()
    );
    fail(FailureKind::Download, detail)
}

fn begins_again(times: u32) -> Failure {
    let detail = format!(
        "the download failed: it began again from nothing {times} times, as it was interrupted before the end and the server did not go on where it stopped"
    );
    fail(FailureKind::Download, detail)
}
