//! The updater: a temporary auto-start service of the old version's code, which stops the agent, swaps the
//! executable, starts the agent, watches it, and puts the old version back when the new one does not prove
//! itself. A reboot in between brings it back; the journal tells it where to go on.

use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use jiff::Timestamp;
use kenny_core::update::{self, Effect, Event, Facts, Journal, Seen, Verdict, Watch, WatchLimits};
use kenny_proto::{FailureKind, Sha256Digest};

use super::download::Staging;
use super::files::{self, fail};
use super::{JournalFile, RELEASE_CONTROL, driver, updater_service};
use crate::config::Config;
use crate::layout::Layout;
use crate::service::scm::{Scm, ScmError, Service, ServiceSpec, ServiceState, StartType};
use crate::service::{ServiceContext, run_as_service};
use crate::state::AgentState;

/// How long the updater waits for the word before it goes on by itself: the answer takes milliseconds, and an
/// agent that died meanwhile will not give it.
const RELEASE: Duration = Duration::from_secs(15);
/// How long the agent may take to stop before exactly its process is ended; it promises 5 s.
const STOP: Duration = Duration::from_secs(20);
/// How long files that a virus scanner holds are tried again (update-guarantees).
const LOCKED: Duration = Duration::from_secs(30);
/// How long a removed updater service may linger before the next one can be made.
const LINGER: Duration = Duration::from_secs(15);
/// Longest pause between two attempts to bring the old version back.
const REVIVE_PAUSE: Duration = Duration::from_secs(15);

/// Keeps *previous*, makes the updater's service and proves that it runs. Called by the agent.
pub fn start(layout: &Layout, running: Sha256Digest) -> anyhow::Result<()> {
    let previous = previous(layout);
    remove(layout);
    // The last updater may still be on its way out, and its image is *previous*.
    let kept = retry(LINGER, || files::copy(&layout.executable, &previous))
        .with_context(|| format!("could not keep the running version as {}", previous.display()))?;
    anyhow::ensure!(
        kept == running,
        "the running executable changed while it was copied; nothing was touched"
    );
    let name = updater_service(&layout.service_name);
    let spec = ServiceSpec {
        display_name: format!("{name} (ends with the update)"),
        description: "Finishes an update of the kenny agent, also after a restart of the PC."
            .to_owned(),
        image: previous,
        arguments: vec![
            "run-updater".into(),
            "--service-name".into(),
            layout.service_name.clone().into(),
        ],
        start: StartType::Auto,
        recovery: false,
        name,
    };
    let scm = Scm::connect()?;
    let service = retry_scm(LINGER, || scm.create(&spec))?;
    service.start()?;
    Ok(service.wait_for_state(ServiceState::Running, Duration::from_secs(30))?)
}

/// Gives the updater the word. Called by the agent.
pub fn release(layout: &Layout) -> anyhow::Result<()> {
    let scm = Scm::connect()?;
    let service = scm
        .open(&updater_service(&layout.service_name))?
        .context("the updater's service is not there")?;
    Ok(service.control(RELEASE_CONTROL)?)
}

/// Removes the updater's service, where there is one. Called by the agent before anything was touched.
pub fn remove(layout: &Layout) {
    let removed = || -> Result<(), ScmError> {
        let Some(service) = Scm::connect()?.open(&updater_service(&layout.service_name))? else {
            return Ok(());
        };
        let process = service.process()?;
        let stopped = service.stop_and_wait(process, Duration::from_secs(5));
        service.delete()?;
        stopped.map(drop)
    };
    if let Err(error) = removed() {
        tracing::debug!(error = %error, "an updater that is not needed could not be removed");
    }
}

/// Brings the updater of an open update back. Called by the agent at its start.
pub fn ensure_running(layout: &Layout) -> anyhow::Result<()> {
    let scm = Scm::connect()?;
    let service = scm
        .open(&updater_service(&layout.service_name))?
        .context("the updater's service is not there")?;
    match service.start() {
        Ok(()) | Err(ScmError::AlreadyRunning) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The updater's process.
pub fn run_updater(service_name: &str) -> ExitCode {
    let agent = service_name.to_owned();
    run_as_service(&updater_service(service_name), move |context| {
        if let Ok(own) = std::env::current_exe()
            && let Some(active) =
                own.ancestors().nth(2).map(|folder| folder.join("kenny-agent.exe"))
            && let Ok(layout) = Layout::new(&agent, active)
        {
            crate::logging::to_files(&layout.log_dir, "kenny-updater", "info");
        }
        match Updater::open(&agent, context).and_then(Updater::run) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "the updater ended");
                ExitCode::FAILURE
            }
        }
    })
}

fn previous(layout: &Layout) -> PathBuf {
    layout.update_dir.join("previous.exe")
}

struct Updater {
    context: ServiceContext,
    scm: Scm,
    agent: Service,
    layout: Layout,
    journal: JournalFile,
    candidate: Option<files::VerifiedCandidate>,
}

impl Updater {
    fn open(agent: &str, context: ServiceContext) -> anyhow::Result<Self> {
        let own = std::env::current_exe().context("could not find the updater's own executable")?;
        let scm = Scm::connect()?;
        let service =
            scm.open(agent)?.with_context(|| format!("there is no service named {agent}"))?;
        // The service's own image path says which file is *active*; an installation in place has its own name.
        let active = service.config()?.image;
        let layout = Layout::new(agent, active)?;
        anyhow::ensure!(
            own.parent() == Some(layout.update_dir.as_path()),
            "the updater runs from {}, not from {}; nothing was touched",
            own.display(),
            layout.update_dir.display()
        );
        let journal = JournalFile::new(&layout.journal_file);
        Ok(Self { context, scm, agent: service, layout, journal, candidate: None })
    }

    fn run(mut self) -> anyhow::Result<()> {
        let Some(mut journal) = self.journal.read()? else {
            tracing::warn!("there is no update to finish");
            self.remove_own_service();
            return Ok(());
        };
        let active_sha256 = files::sha256_of_file(&self.layout.executable).ok();
        let mut effect = update::recover(&journal, Facts { active_sha256 });
        loop {
            tracing::info!(update.id = %journal.update_id, effect = ?effect, "the update goes on");
            let event = match effect {
                Effect::Reply => {
                    let word = self.wait_for_the_word();
                    // The agent wrote the journal on while this waited.
                    journal = self.journal.read()?.unwrap_or(journal);
                    if journal.step < update::Step::Staged {
                        let words = format!("the agent ended while {}", journal.step);
                        word.map(|_| Event::Failed(fail(FailureKind::Interrupted, words)))
                    } else if journal.is_open() {
                        word
                    } else {
                        self.clean_up(&journal);
                        return Ok(());
                    }
                }
                Effect::Stop => self.stop(&journal),
                Effect::Replace => self.replace(&journal),
                Effect::Start => self.start(),
                Effect::Watch => self.watch(&journal),
                Effect::Restore => self.restore(&journal),
                Effect::Revive => self.revive(),
                Effect::CleanUp => {
                    self.clean_up(&journal);
                    return Ok(());
                }
                Effect::Download | Effect::Verify | Effect::StartUpdater => {
                    anyhow::bail!("{effect:?} is the agent's to do")
                }
            };
            let Some(event) = event else {
                // The PC goes down: this service starts again with it and goes on here.
                return Ok(());
            };
            if let Event::Failed(failure) = &event {
                tracing::error!(kind = %failure.kind, "{}", failure.detail);
            }
            let untouched = journal.step < update::Step::Stopping;
            let (next, following) = update::step(&journal, event, Timestamp::now())?;
            (journal, effect) = (next, following);
            if let Err(error) = self.journal.write(&journal) {
                // Before the first touch an update that cannot be written down is not begun. After it the
                // PC comes first: the agent must run again, and the next step writes once more.
                anyhow::ensure!(!untouched, "{}; nothing was touched", crate::words(&error));
                tracing::error!(error = %error, "the update goes on without its journal");
            }
        }
    }

    fn wait_for_the_word(&self) -> Option<Event> {
        let until = Instant::now() + RELEASE;
        while Instant::now() < until {
            if self.context.stop_requested() {
                return None;
            }
            if self.context.wait_for_control(Duration::from_millis(100)) == Some(RELEASE_CONTROL) {
                return Some(Event::Released);
            }
        }
        tracing::warn!("the agent did not say that its answer has left; the update goes on");
        Some(Event::Released)
    }

    fn stop(&mut self, journal: &Journal) -> Option<Event> {
        if self.candidate.is_none() {
            let staging = Staging::new(&self.layout.update_dir, journal.sha256);
            match files::verify(&staging.candidate(), &driver::expected(journal)) {
                Ok(candidate) => self.candidate = Some(candidate),
                Err(failure) => return Some(Event::Failed(failure)),
            }
        }
        let stopped =
            self.agent.process().and_then(|process| self.agent.stop_and_wait(process, STOP));
        Some(match stopped {
            Ok(outcome) => {
                if outcome.ended_by_force {
                    tracing::warn!("the agent did not stop in time and was ended");
                }
                Event::Stopped
            }
            Err(error) => {
                let detail = format!("the service could not be stopped: {}", crate::words(&error));
                Event::Failed(fail(FailureKind::Stop, detail))
            }
        })
    }

    fn replace(&mut self, journal: &Journal) -> Option<Event> {
        let swapped = self.swap_in(journal);
        // What holds the candidate's file open would, at the active path, be in the way of putting *previous* back.
        self.candidate = None;
        swapped
    }

    fn swap_in(&self, journal: &Journal) -> Option<Event> {
        let active = &self.layout.executable;
        if files::sha256_of_file(active).ok() == Some(journal.sha256) {
            return Some(Event::Replaced);
        }
        let Some(candidate) = &self.candidate else {
            return Some(Event::Failed(fail(FailureKind::Swap, "the candidate is not verified")));
        };
        let swapped = files::replace(candidate.path(), active)
            .or_else(|_| retry(Duration::from_secs(3), || files::replace(candidate.path(), active)))
            .or_else(|_| retry(LOCKED, || self.rename_aside(candidate.path(), active)));
        Some(match swapped {
            Ok(()) => Event::Replaced,
            Err(error) => {
                let detail = format!("the executable could not be replaced: {error}");
                Event::Failed(fail(FailureKind::Swap, detail))
            }
        })
    }

    /// Another process runs the active image (a console, a tray): it can be renamed, not replaced.
    fn rename_aside(&self, candidate: &Path, active: &Path) -> std::io::Result<()> {
        let aside = self.layout.update_dir.join("displaced.exe");
        files::replace(active, &aside)?;
        files::replace(candidate, active).inspect_err(|_| {
            // Should this fail too, the rollback puts *previous* there.
            drop(files::replace(&aside, active));
        })
    }

    fn start(&self) -> Option<Event> {
        match self.agent.start() {
            Ok(()) | Err(ScmError::AlreadyRunning) => Some(Event::Started),
            Err(first) => {
                tracing::warn!(error = %first, "the new version did not start; once more");
                match self.agent.start() {
                    Ok(()) | Err(ScmError::AlreadyRunning) => Some(Event::Started),
                    Err(error) => {
                        let detail = format!(
                            "the new version did not start as a service, twice: {}",
                            crate::words(&error)
                        );
                        Some(Event::Failed(fail(FailureKind::CandidateDied, detail)))
                    }
                }
            }
        }
    }

    fn watch(&self, journal: &Journal) -> Option<Event> {
        let config = Config::load(&self.layout.config_file);
        let (probation_s, connect_s) = config.as_ref().map_or((60, 120), |config| {
            (config.update.probation_secs, config.update.start_timeout_secs)
        });
        let limits = WatchLimits { probation_ms: probation_s * 1000, connect_ms: connect_s * 1000 };
        let server = config.ok().map(|config| config.server);
        let mut watch = Watch::default();
        let mut reach = Reach::default();
        let mut last = Instant::now();
        loop {
            if self.context.stop_requested() {
                return None;
            }
            let seen = self.look(journal, || reach.reachable(server.as_ref()));
            let since_last = u64::try_from(last.elapsed().as_millis()).unwrap_or(u64::MAX);
            last = Instant::now();
            match watch.look(seen, since_last, limits) {
                Verdict::Wait => {}
                Verdict::StartAgain => {
                    if let Err(error) = self.agent.start() {
                        tracing::warn!(error = %error, "the new version did not start again");
                    }
                }
                Verdict::Proven => return Some(Event::Proven),
                Verdict::RollBack(failure) => return Some(Event::Failed(failure)),
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn look(&self, journal: &Journal, server_reachable: impl FnOnce() -> bool) -> Seen {
        let status = match self.agent.status() {
            Ok(status) => status,
            Err(error) => return Seen::Dead(crate::words(&error)),
        };
        match status.state {
            ServiceState::Stopped => {
                let last_error = AgentState::read(&self.layout.state_file)
                    .ok()
                    .filter(|state| state.version == journal.version.to_string())
                    .and_then(|state| state.last_error)
                    .map(|error| format!(", its last words: {}", error.text))
                    .unwrap_or_default();
                Seen::Dead(format!(
                    "exit code {}, service code {}{last_error}",
                    status.exit_code, status.service_code
                ))
            }
            ServiceState::StartPending
            | ServiceState::Running
            | ServiceState::StopPending
            | ServiceState::Paused => {
                let online = AgentState::read(&self.layout.state_file).is_ok_and(|state| {
                    state.connected
                        && status.pid == Some(state.pid)
                        && state.version == journal.version.to_string()
                });
                if online {
                    Seen::Online
                } else {
                    Seen::Offline { server_reachable: server_reachable() }
                }
            }
        }
    }

    /// Ends with *previous* at the active path, however long that takes.
    fn restore(&self, journal: &Journal) -> Option<Event> {
        let previous = previous(&self.layout);
        let active = &self.layout.executable;
        let mut pause = Duration::from_millis(200);
        loop {
            let restored = || -> anyhow::Result<()> {
                let process = self.agent.process()?;
                self.agent.stop_and_wait(process, STOP)?;
                if files::sha256_of_file(active).ok() != Some(journal.from_sha256) {
                    let copied = files::copy(&previous, active)?;
                    anyhow::ensure!(
                        copied == journal.from_sha256,
                        "{} is not the version that ran before",
                        previous.display()
                    );
                }
                Ok(())
            };
            match restored() {
                Ok(()) => return Some(Event::Restored),
                Err(error) => {
                    tracing::error!(
                        error = format!("{error:#}"),
                        "the old version is not back yet"
                    );
                }
            }
            if self.context.stop_requested() {
                return None;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(REVIVE_PAUSE);
        }
    }

    /// Ends with the service running, however long that takes.
    fn revive(&self) -> Option<Event> {
        let mut pause = Duration::from_millis(200);
        loop {
            let revived = match self.agent.start() {
                Ok(()) | Err(ScmError::AlreadyRunning) => {
                    self.agent.wait_for_state(ServiceState::Running, Duration::from_secs(30))
                }
                Err(error) => Err(error),
            };
            match revived {
                Ok(()) => return Some(Event::Revived),
                Err(error) => tracing::error!(error = %error, "the old version does not run yet"),
            }
            if self.context.stop_requested() {
                return None;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(REVIVE_PAUSE);
        }
    }

    fn clean_up(&mut self, journal: &Journal) {
        self.candidate = None;
        Staging::new(&self.layout.update_dir, journal.sha256).clear();
        drop(fs_err::remove_file(self.layout.update_dir.join("displaced.exe")));
        self.remove_own_service();
    }

    fn remove_own_service(&self) {
        let name = updater_service(&self.layout.service_name);
        let removed = self.scm.open(&name).and_then(|own| own.map_or(Ok(()), |own| own.delete()));
        if let Err(error) = removed {
            tracing::warn!(error = %error, "the updater's service could not be removed");
        }
    }
}

/// Whether this process reaches the server, asked at most every five seconds.
#[derive(Default)]
struct Reach {
    last: Option<(Instant, bool)>,
}

impl Reach {
    fn reachable(&mut self, server: Option<&url::Url>) -> bool {
        if let Some((at, reachable)) = self.last
            && at.elapsed() < Duration::from_secs(5)
        {
            return reachable;
        }
        let reachable = server.is_some_and(connects);
        self.last = Some((Instant::now(), reachable));
        reachable
    }
}

fn connects(server: &url::Url) -> bool {
    let (Some(host), Some(port)) = (server.host_str(), server.port_or_known_default()) else {
        return false;
    };
    let host = host.trim_matches(['[', ']']);
    let Ok(addresses) = (host, port).to_socket_addrs() else { return false };
    addresses
        .into_iter()
        .any(|address| TcpStream::connect_timeout(&address, Duration::from_secs(2)).is_ok())
}

fn retry<T>(
    limit: Duration,
    mut attempt: impl FnMut() -> std::io::Result<T>,
) -> std::io::Result<T> {
    let until = Instant::now() + limit;
    let mut pause = Duration::from_millis(10);
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() >= until => return Err(error),
            Err(_) => std::thread::sleep(pause),
        }
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

fn retry_scm<T>(
    limit: Duration,
    mut attempt: impl FnMut() -> Result<T, ScmError>,
) -> Result<T, ScmError> {
    let until = Instant::now() + limit;
    loop {
        match attempt() {
            Err(ScmError::MarkedForDelete | ScmError::AlreadyExists) if Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(20));
            }
            outcome => return outcome,
        }
    }
}
