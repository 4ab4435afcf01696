//! The agent's half of updates, as requests and its own start ask for it: whether one may begin, who waits for it, and
//! when the updater gets the word. How it is carried out is the engine's business.

mod at_start;
mod slot;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kenny_core::image;
use kenny_core::update::{
    Asked, Effect, File, Host as _, Journal, JournalProblem, Quarantine, Source, Step, Wanted,
    stage,
};
use kenny_proto::frames::{ErrorCode, ToolError};
use kenny_proto::tools::{RollbackArgs, UpdateArgs, UpdateStaged};
use kenny_proto::update::Failure;
use kenny_proto::{FailureKind, Phase, Sha256Digest, UpdateId, UpdateReport};
use semver::Version;
use tokio::runtime::Handle;
use tokio::sync::{OnceCell, watch};

use super::JournalFile;
use super::files::{self, fail};
use super::gate::Gate;
use super::host::{Pc, Role};
use super::life::Life;
use super::lock::Lock;
use super::places::Places;
use super::reporter::{self, ToServer};
use crate::config::Config;
use crate::layout::Layout;
use crate::run::Mode;
use crate::trust::Trust;
use crate::tunnel::Outbox;

pub use slot::AfterReply;
use slot::{Answer, Key, Running, Taken, joined, unexpected_end};

/// How long a request waits for another process of this PC that prepares an update: settling takes milliseconds.
const LOCKED: Duration = Duration::from_secs(5);

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
    stop: watch::Receiver<bool>,
    trust: Trust,
    journal: JournalFile,
    running_sha256: OnceCell<Sha256Digest>,
    /// True once the agent's start has made up its mind about an update that was open.
    settled: watch::Sender<bool>,
    running: Mutex<Option<Running>>,
    registered: Mutex<Option<(UpdateId, Phase)>>,
    following: Mutex<Option<tokio::task::JoinHandle<()>>>,
}

/// What is wanted.
struct Wish {
    key: Key,
    update_id: UpdateId,
    /// The server's name for it was given, so it waits for news under that name.
    is_named: bool,
    what: What,
}

enum What {
    Download { version: Version, sha256: Sha256Digest, url: String, asked: Asked },
    Previous,
}

/// Why an update was not begun or not staged.
enum NotStaged {
    /// It was not begun.
    Refused(ToolError),
    /// It was not begun, for a reason that the server counts.
    RefusedFor(Version, Failure),
    /// It was begun, and is closed.
    Failed(Failure),
}

impl From<ToolError> for NotStaged {
    fn from(error: ToolError) -> Self {
        Self::Refused(error)
    }
}

impl Driver {
    /// The driver of one agent. `stop` becomes true when the agent has to end.
    pub fn new(
        layout: Layout,
        config: Config,
        mode: Mode,
        outbox: Outbox,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let journal = JournalFile::new(&layout.journal_file);
        let trust = Trust::new(&layout, Some(config.clone()));
        let shared = Shared {
            layout,
            config,
            mode,
            outbox,
            stop,
            trust,
            journal,
            running_sha256: OnceCell::new(),
            settled: watch::Sender::new(mode != Mode::Service),
            running: Mutex::new(None),
            registered: Mutex::new(None),
            following: Mutex::new(None),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Who has the say over what this agent updates to.
    pub fn trust(&self) -> Trust {
        self.shared.trust.clone()
    }

    /// Digest of the executable that runs: of the file as it was at the start.
    pub async fn running_sha256(&self) -> Result<Sha256Digest, ToolError> {
        let read = async || {
            let executable = std::env::current_exe().map_err(|error| error.to_string())?;
            tokio::task::spawn_blocking(move || files::sha256_of_file(&executable))
                .await
                .map_err(|error| error.to_string())
                .and_then(|digest| digest.map_err(|error| error.to_string()))
        };
        self.shared.running_sha256.get_or_try_init(read).await.copied().map_err(|error| {
            let words = format!("the agent's own executable cannot be read: {error}");
            ToolError::new(ErrorCode::ExecFailed, words)
        })
    }

    /// What `register` says of the last update.
    pub fn report(&self) -> Option<UpdateReport> {
        if self.shared.mode != Mode::Service {
            return None;
        }
        let report = super::last_report(&self.shared.layout);
        *lock(&self.shared.registered) =
            report.as_ref().map(|report| (report.update_id, report.phase));
        report
    }

    /// A session was accepted: what is open, or was closed since `register`, is reported from now on.
    pub fn on_accepted(&self) {
        if self.shared.mode != Mode::Service {
            return;
        }
        let Ok(Some(journal)) = self.shared.journal.read() else { return };
        let said = *lock(&self.shared.registered);
        if !journal.is_open() {
            if said != Some((journal.update_id, journal.phase())) {
                self.shared.outbox.push(reporter::status(&journal, None, None));
            }
            self.keep_floor();
            return;
        }
        if lock(&self.shared.running).is_some() {
            // It reports itself.
            return;
        }
        let this = self.clone();
        let follow = async move {
            reporter::follow(this.shared.journal.clone(), this.shared.outbox.clone()).await;
            this.keep_floor();
        };
        if let Some(before) = lock(&self.shared.following).replace(tokio::spawn(follow)) {
            before.abort();
        }
    }

    /// What runs is the version floor, once its own update is over.
    fn keep_floor(&self) {
        let is_over = self.shared.journal.read().is_ok_and(|journal| {
            journal.is_none_or(|journal| {
                journal.step == Step::Committed && journal.version == running_version()
            })
        });
        if is_over {
            self.shared.trust.committed(&running_version());
        }
    }

    /// Carries out `agent.update` up to the answer. The same request again joins the one that runs.
    pub async fn update(&self, args: UpdateArgs) -> Answer {
        self.as_a_service("updates itself")?;
        Gate::new(&self.shared.config.server, &self.shared.config.update.allowed_origins)
            .check(&args.url)
            .map_err(|refused| ToolError::new(ErrorCode::BadArgs, refused.to_string()))?;
        if args.deadline.is_some_and(|deadline| deadline < Timestamp::now()) {
            let words = "`deadline` has passed; nothing was changed";
            return Err(ToolError::new(ErrorCode::BadArgs, words));
        }
        let asked = match (args.allow_quarantined, args.update_id) {
            (true, _) => Asked::Knowingly,
            (false, Some(_)) => Asked::ByCountingServer,
            (false, None) => Asked::BySimpleServer,
        };
        self.begin(Wish {
            key: Key::Update(args.version.clone(), args.sha256),
            update_id: args.update_id.unwrap_or_else(UpdateId::random),
            is_named: args.update_id.is_some(),
            what: What::Download {
                version: args.version,
                sha256: args.sha256,
                url: args.url,
                asked,
            },
        })
        .await
    }

    /// Carries out `agent.rollback` up to the answer.
    pub async fn rollback(&self, args: RollbackArgs) -> Answer {
        self.as_a_service("goes back to its previous version")?;
        self.begin(Wish {
            key: Key::Rollback,
            update_id: args.update_id.unwrap_or_else(UpdateId::random),
            is_named: args.update_id.is_some(),
            what: What::Previous,
        })
        .await
    }

    fn as_a_service(&self, does: &str) -> Result<(), ToolError> {
        if self.shared.mode == Mode::Service {
            return Ok(());
        }
        let words = format!(
            "this agent runs in the foreground; only an agent that is installed as a Windows service {does}"
        );
        Err(ToolError::new(ErrorCode::Unsupported, words))
    }

    async fn begin(&self, wish: Wish) -> Answer {
        // What the start takes up again is joined, not refused.
        let mut settled = self.shared.settled.subscribe();
        drop(settled.wait_for(|settled| *settled).await);
        let slot = match self.take_slot(&wish.key)? {
            Taken::Mine(slot) => slot,
            Taken::Running(answer) => return joined(answer).await,
        };
        // On a task of its own: the update goes on when the connection that asked for it ends.
        let this = self.clone();
        let work = tokio::spawn(async move {
            let answer = this.carry_out(wish).await;
            slot.answer(&answer);
            answer
        });
        work.await.unwrap_or_else(|_| Err(unexpected_end()))
    }

    async fn carry_out(&self, wish: Wish) -> Answer {
        let running_sha256 = self.running_sha256().await?;
        if let What::Download { version, sha256, .. } = &wish.what
            && *version == running_version()
        {
            if *sha256 == running_sha256 {
                // Nothing is staged, so there is no updater to be given the word.
                return Ok((UpdateStaged { ok: true, staged_version: version.clone() }, None));
            }
            let words = format!(
                "`version` {version} runs already, with SHA-256 {running_sha256}; other bytes need another version"
            );
            return Err(ToolError::new(ErrorCode::BadArgs, words));
        }
        let (update_id, is_named) = (wish.update_id, wish.is_named);
        let (this, mut host) = (self.clone(), self.host());
        let work = move || this.stage(&mut host, wish, (running_version(), running_sha256));
        let staged = tokio::task::spawn_blocking(work).await.map_err(|_| unexpected_end())?;
        match staged {
            Ok(journal) => Ok(self.staged(journal)),
            Err(NotStaged::Refused(error)) => Err(error),
            Err(NotStaged::RefusedFor(version, failure)) => {
                tracing::warn!(update.id = %update_id, kind = %failure.kind, "{}", failure.detail);
                if is_named {
                    let frame = reporter::refused(update_id, version, failure.clone());
                    self.shared.outbox.push(frame);
                }
                Err(in_words(&failure))
            }
            Err(NotStaged::Failed(failure)) => Err(in_words(&failure)),
        }
    }

    fn staged(&self, journal: Journal) -> (UpdateStaged, Option<AfterReply>) {
        self.look_after_the_updater();
        let staged = UpdateStaged { ok: true, staged_version: journal.version };
        (staged, Some(AfterReply::new(self.shared.layout.clone())))
    }

    /// Blocks until the update is staged or over.
    fn stage(
        &self,
        host: &mut Pc,
        wish: Wish,
        from: (Version, Sha256Digest),
    ) -> Result<Journal, NotStaged> {
        let _staging = self.staging_lock(LOCKED)?;
        let quarantine = free_journal(host)?;
        let (version, sha256, source) = match wish.what {
            What::Download { version, sha256, url, asked } => {
                if let Err(failure) = quarantine.check(sha256, asked, Timestamp::now()) {
                    return Err(NotStaged::RefusedFor(version, failure));
                }
                (version, sha256, Source::Download { url })
            }
            What::Previous => match previous(&self.shared.layout, from.1) {
                Ok((version, sha256)) => (version, sha256, Source::Previous {}),
                Err(failure) => return Err(NotStaged::RefusedFor(from.0, failure)),
            },
        };
        let wanted = Wanted { update_id: wish.update_id, version, sha256, source };
        let journal = Journal::accepted(wanted, from, quarantine, Timestamp::now());
        host.changed(&journal);
        stage(host, journal, Effect::Download).map_err(NotStaged::Failed)
    }

    fn staging_lock(&self, limit: Duration) -> Result<Lock, ToolError> {
        let until = Instant::now() + limit;
        loop {
            let refused = match Lock::take(&self.shared.layout.staging_lock()) {
                Ok(Some(lock)) => return Ok(lock),
                Ok(None) if Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(20));
                    continue;
                }
                Ok(None) => "another program on this PC prepares an update just now".to_owned(),
                Err(error) => format!("an update cannot be prepared: {error}"),
            };
            return Err(ToolError::new(ErrorCode::ExecFailed, refused));
        }
    }

    fn host(&self) -> Pc {
        let Shared { layout, config, outbox, stop, .. } = &*self.shared;
        let life = Life::of_agent(Handle::current(), stop.clone());
        let listener = Box::new(ToServer(outbox.clone()));
        Pc::new(layout.clone(), Some(config.clone()), life, listener, Role::Agent)
            .with_trust(self.trust())
    }
}

fn in_words(failure: &Failure) -> ToolError {
    ToolError::new(ErrorCode::ExecFailed, format!("{}: {}", failure.kind, failure.detail))
}

fn running_version() -> Version {
    crate::VERSION.parse().expect("the build script stamps a semantic version")
}

/// What is in quarantine here, where no update is open; else why another one may not begin.
pub(super) fn free_journal(host: &mut Pc) -> Result<Quarantine, ToolError> {
    let refuse = |words: String| Err(ToolError::new(ErrorCode::ExecFailed, words));
    match host.read_journal() {
        Ok(None) => Ok(Quarantine::default()),
        Ok(Some(open)) if open.is_open() => {
            let what = Key::of(&open).in_words();
            refuse(format!("{what} is still open: {}", open.step))
        }
        Ok(Some(closed)) => Ok(closed.quarantine),
        Err(JournalProblem::Unreadable(why)) => {
            refuse(format!("the journal of updates cannot be read: {why}"))
        }
        Err(problem @ (JournalProblem::Damaged(_) | JournalProblem::Newer(_))) => {
            tracing::warn!("the journal of the last update is set aside: {problem}");
            match host.set_journal_aside() {
                Ok(()) => Ok(Quarantine::default()),
                Err(error) => refuse(error.words),
            }
        }
    }
}

/// Version and digest of the kept version, where there is one to go back to from `active`.
pub(super) fn previous(
    layout: &Layout,
    active: Sha256Digest,
) -> Result<(Version, Sha256Digest), Failure> {
    let none = |why: String| {
        fail(FailureKind::NoPrevious, format!("there is no version to go back to: {why}"))
    };
    let path = Places::new(layout.clone()).path(File::Previous);
    let bytes = path
        .ok_or_else(|| none("it has no place".to_owned()))
        .and_then(|path| fs_err::read(&path).map_err(|error| none(kept_problem(&error))))?;
    let facts = image::read_facts(&bytes)
        .map_err(|error| none(format!("what was kept is no agent: {error}")))?;
    let sha256 = files::sha256_of(&bytes);
    if sha256 == active {
        return Err(none(format!("the kept version, {}, is the one that runs", facts.version)));
    }
    Ok((facts.version, sha256))
}

fn kept_problem(error: &std::io::Error) -> String {
    if error.kind() == std::io::ErrorKind::NotFound {
        "this PC has kept none".to_owned()
    } else {
        format!("what was kept cannot be read: {error}")
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[cfg(unix)]
#[path = "driver_tests.rs"]
mod tests;
