//! The agent's half of an update: gate, download, verification, staging, answer.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kenny_core::update::{self, AtStart, Effect, Event, Journal};
use kenny_proto::frames::ErrorCode;
use kenny_proto::frames::ToolError;
use kenny_proto::tools::{UpdateArgs, UpdateStaged};
use kenny_proto::update::Failure;
use kenny_proto::{FailureKind, Sha256Digest, UpdateId};
use semver::Version;
use tokio::sync::watch;

use super::download::{self, Disk, Download, Limits, Staging};
use super::files::{self, Expected, fail};
use super::gate::Gate;
use super::{JournalError, JournalFile, reporter, updater};
use crate::config::Config;
use crate::layout::Layout;
use crate::run::Mode;
use crate::tunnel::Outbox;

/// Progress goes to the server at most this often (update-guarantees).
const PROGRESS: Duration = Duration::from_secs(1);

/// The agent's hand in updates; cheap to clone.
#[derive(Clone)]
pub struct Driver {
    shared: Arc<Shared>,
}

struct Shared {
    layout: Layout,
    config: Config,
    mode: Mode,
    outbox: Outbox,
    journal: JournalFile,
    running: Mutex<Option<Running>>,
    following: Mutex<Option<tokio::task::JoinHandle<()>>>,
}

type Answer = Result<UpdateStaged, ToolError>;

struct Running {
    version: Version,
    sha256: Sha256Digest,
    answer: watch::Receiver<Option<Answer>>,
}

/// Gives the updater the word once the answer has left, or cannot leave any more.
#[derive(Debug)]
pub struct AfterReply {
    layout: Layout,
}

impl AfterReply {
    /// The answer was flushed to the socket.
    pub fn reply_was_flushed(self) {
        drop(self);
    }
}

impl Drop for AfterReply {
    fn drop(&mut self) {
        if let Err(error) = updater::release(&self.layout) {
            // The updater goes on by itself after its own timeout.
            tracing::warn!(error = format!("{error:#}"), "the updater could not be told to go on");
        }
    }
}

impl Driver {
    /// The driver of one agent.
    pub fn new(layout: Layout, config: Config, mode: Mode, outbox: Outbox) -> Self {
        let journal = JournalFile::new(&layout.journal_file);
        let shared = Shared {
            layout,
            config,
            mode,
            outbox,
            journal,
            running: Mutex::new(None),
            following: Mutex::new(None),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Settles what an interruption left. Called once, at the agent's start as a service.
    pub fn settle(&self) {
        if self.shared.mode != Mode::Service {
            return;
        }
        let journal = match self.shared.journal.read() {
            Ok(Some(journal)) => journal,
            Ok(None) => return,
            Err(error @ JournalError::Damaged { .. }) => {
                tracing::error!(error = %error, "the last update cannot be told");
                if let Err(error) = self.shared.journal.set_aside() {
                    tracing::error!(error = %error, "the damaged journal cannot be set aside");
                }
                return;
            }
            Err(error) => {
                tracing::error!(error = %error, "the last update cannot be told");
                return;
            }
        };
        match update::at_agent_start(&journal) {
            AtStart::Nothing => {}
            AtStart::CloseInterrupted => {
                let detail = format!("the agent was restarted while {}", journal.step);
                let failure = fail(FailureKind::Interrupted, detail);
                match update::step(&journal, Event::Failed(failure), Timestamp::now()) {
                    Ok((closed, _)) => {
                        updater::remove(&self.shared.layout);
                        self.write_or_log(&closed);
                    }
                    Err(defect) => {
                        tracing::error!(error = %defect, "an open update cannot be closed");
                    }
                }
            }
            AtStart::EnsureUpdater => {
                if let Err(error) = updater::ensure_running(&self.shared.layout) {
                    tracing::error!(
                        error = format!("{error:#}"),
                        "an update is open and its updater cannot be started"
                    );
                }
            }
        }
    }

    /// A session was accepted: what is open, or was closed a moment ago, is reported from now on.
    pub fn on_accepted(&self) {
        let open = matches!(self.shared.journal.read(), Ok(Some(journal)) if journal.is_open());
        let mine = lock(&self.shared.running).is_some();
        if self.shared.mode != Mode::Service || !open || mine {
            return;
        }
        let follow = reporter::follow(self.shared.journal.clone(), self.shared.outbox.clone());
        if let Some(before) = lock(&self.shared.following).replace(tokio::spawn(follow)) {
            before.abort();
        }
    }

    /// Carries out `agent.update` up to the answer. The same request again joins the one that runs.
    pub async fn handle(
        &self,
        args: UpdateArgs,
    ) -> Result<(UpdateStaged, Option<AfterReply>), ToolError> {
        if self.shared.mode != Mode::Service {
            let words = "this agent runs in the foreground; only an agent that is installed as a Windows service updates itself";
            return Err(ToolError::new(ErrorCode::Unsupported, words));
        }
        let gate =
            Gate::new(&self.shared.config.server, &self.shared.config.update.allowed_origins);
        gate.check(&args.url)
            .map_err(|refused| ToolError::new(ErrorCode::BadArgs, refused.to_string()))?;
        if args.deadline.is_some_and(|deadline| deadline < Timestamp::now()) {
            let words = "`deadline` has passed; nothing was changed";
            return Err(ToolError::new(ErrorCode::BadArgs, words));
        }
        if let Some(joined) = self.join(&args)? {
            return Ok((joined.await?, None));
        }
        let running_sha256 = self.running_sha256().await?;
        let running_version: Version =
            crate::VERSION.parse().expect("the build script stamps a semantic version");
        if args.version == running_version {
            if args.sha256 == running_sha256 {
                return Ok((UpdateStaged { ok: true, staged_version: args.version }, None));
            }
            let words = format!(
                "`version` {running_version} runs already, with SHA-256 {running_sha256}; other bytes need another version"
            );
            return Err(ToolError::new(ErrorCode::BadArgs, words));
        }
        if let Ok(Some(open)) = self.shared.journal.read()
            && open.is_open()
        {
            let words = format!("an update to {} is still open: {}", open.version, open.step);
            return Err(ToolError::new(ErrorCode::ExecFailed, words));
        }
        let (answer, receiver) = watch::channel(None);
        *lock(&self.shared.running) =
            Some(Running { version: args.version.clone(), sha256: args.sha256, answer: receiver });
        // On a task of its own: the update goes on when the connection that asked for it ends.
        let this = self.clone();
        let work = tokio::spawn(async move {
            let outcome = this.carry_out(args, gate, (running_version, running_sha256)).await;
            *lock(&this.shared.running) = None;
            let outcome = outcome.map_err(|failure| {
                ToolError::new(
                    ErrorCode::ExecFailed,
                    format!("{}: {}", failure.kind, failure.detail),
                )
            });
            // Nobody may wait any more: the connection can be gone.
            drop(answer.send(Some(outcome.clone())));
            outcome
        });
        let staged = work
            .await
            .map_err(|_| ToolError::new(ErrorCode::Internal, "the update ended unexpectedly"))??;
        Ok((staged, Some(AfterReply { layout: self.shared.layout.clone() })))
    }

    fn join(
        &self,
        args: &UpdateArgs,
    ) -> Result<Option<impl Future<Output = Answer> + use<>>, ToolError> {
        let running = lock(&self.shared.running);
        let Some(running) = running.as_ref() else { return Ok(None) };
        if (&running.version, running.sha256) != (&args.version, args.sha256) {
            let words = format!("an update to {} is running; one at a time", running.version);
            return Err(ToolError::new(ErrorCode::ExecFailed, words));
        }
        let mut answer = running.answer.clone();
        Ok(Some(async move {
            let answer = answer.wait_for(Option::is_some).await.map(|answer| answer.clone());
            answer.ok().flatten().unwrap_or_else(|| {
                Err(ToolError::new(ErrorCode::Internal, "the update ended unexpectedly"))
            })
        }))
    }

    async fn running_sha256(&self) -> Result<Sha256Digest, ToolError> {
        let executable = self.shared.layout.executable.clone();
        tokio::task::spawn_blocking(move || files::sha256_of_file(&executable))
            .await
            .map_err(|error| error.to_string())
            .and_then(|digest| digest.map_err(|error| error.to_string()))
            .map_err(|error| {
                let words = format!("the agent's own executable cannot be read: {error}");
                ToolError::new(ErrorCode::ExecFailed, words)
            })
    }

    async fn carry_out(
        &self,
        args: UpdateArgs,
        gate: Gate,
        from: (Version, Sha256Digest),
    ) -> Result<UpdateStaged, Failure> {
        let update_id = args.update_id.unwrap_or_else(UpdateId::random);
        tracing::info!(update.id = %update_id, version = %args.version, "the update begins");
        let to = (args.version.clone(), args.sha256);
        let mut journal =
            Journal::accepted(update_id, from, to, args.url.clone(), Timestamp::now());
        self.write(&journal)?;
        self.shared.outbox.push(reporter::status(&journal, None, None));
        let mut event = Event::Begun;
        loop {
            let failed =
                if let Event::Failed(failure) = &event { Some(failure.clone()) } else { None };
            let (next, effect) = update::step(&journal, event, Timestamp::now())
                .map_err(|defect| fail(FailureKind::Other, defect.to_string()))?;
            if let Some(failure) = failed {
                self.clean_up(&next, &failure);
                return Err(failure);
            }
            journal = next;
            if let Err(failure) = self.write(&journal) {
                event = Event::Failed(failure);
                continue;
            }
            self.shared.outbox.push(reporter::status(&journal, None, None));
            event = match effect {
                Effect::Download => self.download(&journal, &gate).await,
                Effect::Verify => self.verify(&journal).await,
                Effect::StartUpdater => self.start_updater(&journal).await,
                Effect::Reply => {
                    return Ok(UpdateStaged { ok: true, staged_version: journal.version });
                }
                Effect::Stop
                | Effect::Replace
                | Effect::Start
                | Effect::Watch
                | Effect::Restore
                | Effect::Revive
                | Effect::CleanUp => {
                    let words = format!("{effect:?} is not the agent's to do");
                    Event::Failed(fail(FailureKind::Other, words))
                }
            };
        }
    }

    async fn download(&self, journal: &Journal, gate: &Gate) -> Event {
        let url = match gate.check(&journal.url) {
            Ok(url) => url,
            Err(refused) => {
                return Event::Failed(fail(FailureKind::UrlRefused, refused.to_string()));
            }
        };
        let room = crate::platform::free_bytes(&self.shared.layout.install_dir);
        if let Ok(free) = room
            && free < MIN_ROOM
        {
            let detail = format!(
                "the disk has {} MiB left, an update needs at least {}; free some and try again",
                free / MIB,
                MIN_ROOM / MIB
            );
            return Event::Failed(fail(FailureKind::Disk, detail));
        }
        let client = crate::tunnel::tls_config(&self.shared.config)
            .map_err(|error| format!("{error:#}"))
            .and_then(|tls| download::client(gate, tls).map_err(|error| error.to_string()));
        let client = match client {
            Ok(client) => client,
            Err(error) => return Event::Failed(fail(FailureKind::Download, error)),
        };
        let staging = self.staging(journal);
        let mut last: Option<Instant> = None;
        let progress = |bytes: u64, total: Option<u64>| {
            if last.is_some_and(|last| last.elapsed() < PROGRESS) {
                return;
            }
            last = Some(Instant::now());
            let percent = total
                .filter(|total| *total > 0)
                .and_then(|total| u8::try_from(bytes.saturating_mul(100) / total).ok());
            self.shared.outbox.push(reporter::status(
                journal,
                percent,
                Some(format!("{bytes} bytes")),
            ));
        };
        let download = Download {
            client: &client,
            url: &url,
            staging: &staging,
            limits: Limits::of(&self.shared.config.update),
            disk: Disk::default(),
        };
        match download.fetch(progress).await {
            Ok(()) => Event::Downloaded,
            Err(failure) => Event::Failed(failure),
        }
    }

    async fn verify(&self, journal: &Journal) -> Event {
        let path = self.staging(journal).candidate();
        let expected = expected(journal);
        let verified = tokio::task::spawn_blocking(move || files::verify(&path, &expected)).await;
        match verified {
            Ok(Ok(_candidate)) => Event::Verified,
            Ok(Err(failure)) => {
                // Bytes that are wrong once are wrong for ever: the next try begins afresh.
                self.staging(journal).clear();
                Event::Failed(failure)
            }
            Err(panic) => Event::Failed(fail(FailureKind::Other, panic.to_string())),
        }
    }

    async fn start_updater(&self, journal: &Journal) -> Event {
        let layout = self.shared.layout.clone();
        let running = journal.from_sha256;
        let started = tokio::task::spawn_blocking(move || updater::start(&layout, running)).await;
        match started {
            Ok(Ok(())) => Event::UpdaterReady,
            Ok(Err(error)) => {
                let detail = format!("the updater could not be started: {error:#}");
                Event::Failed(fail(FailureKind::Updater, detail))
            }
            Err(panic) => Event::Failed(fail(FailureKind::Other, panic.to_string())),
        }
    }

    fn clean_up(&self, closed: &Journal, failure: &Failure) {
        tracing::error!(
            update.id = %closed.update_id,
            kind = %failure.kind,
            "the update to {} ended before anything was changed: {}",
            closed.version,
            failure.detail
        );
        updater::remove(&self.shared.layout);
        self.write_or_log(closed);
        self.shared.outbox.push(reporter::status(closed, None, None));
    }

    fn staging(&self, journal: &Journal) -> Staging {
        Staging::new(&self.shared.layout.update_dir, journal.sha256)
    }

    fn write(&self, journal: &Journal) -> Result<(), Failure> {
        self.shared
            .journal
            .write(journal)
            .map_err(|error| fail(FailureKind::Disk, crate::words(&error)))
    }

    fn write_or_log(&self, journal: &Journal) {
        if let Err(error) = self.shared.journal.write(journal) {
            tracing::error!(error = %error, "the outcome of the update cannot be written down");
        }
    }
}

const MIB: u64 = 1024 * 1024;
/// Room without which an update is not begun: the 64 MiB of update-guarantees and twice an agent of the 8 MiB
/// that a release may have.
const MIN_ROOM: u64 = 80 * MIB;

/// What the candidate of this journal must be on this PC.
pub fn expected(journal: &Journal) -> Expected {
    Expected {
        sha256: journal.sha256,
        version: journal.version.clone(),
        os: crate::platform::OS,
        arch: crate::platform::native_arch(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
