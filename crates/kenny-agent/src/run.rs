//! The agent itself, in the foreground or as a service: dial, serve, dial again, until it is stopped.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kenny_proto::frames::{Meta, Telemetry as TelemetryFrame};
use kenny_proto::tools::TelemetryArgs;
use kenny_proto::{AgentFrame, PROTOCOL, Sha256Digest};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::config::Config;
use crate::dispatch::Dispatcher;
use crate::identity::Credential;
use crate::layout::Layout;
use crate::platform;
use crate::policy::Policy;
use crate::state::{AgentState, LastError};
use crate::tools::Toolbox;
use crate::tools::telemetry::{self, Telemetry};
use crate::trust::Trust;
use crate::tunnel::{self, Backoff, Busy, End, Outbox, Session};
use crate::update::Driver;

/// How often it is considered whether to ask what is signed; a look that went well holds for longer.
const LOOK: Duration = Duration::from_mins(15);

/// Who runs the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A person, in a console.
    Foreground,
    /// The service manager.
    Service,
}

/// What the agent runs with.
#[derive(Debug)]
pub struct RunOptions {
    /// What it is told.
    pub config: Config,
    /// Where its files are.
    pub layout: Layout,
    /// Who runs it.
    pub mode: Mode,
    /// Becomes true when it shall stop.
    pub stop: watch::Receiver<bool>,
}

/// Runs until `stop`.
pub async fn run(options: RunOptions) {
    let RunOptions { config, layout, mode, mut stop } = options;
    let started_at = Timestamp::now();
    // While the connection is made: reading the key takes as long as that does.
    let mut loading = Some(tokio::task::spawn_blocking({
        let config = config.clone();
        move || Credential::load(&config)
    }));
    let mut state = StateFile::new(&layout, &config, mode, started_at);
    let outbox = Outbox::default();
    let driver = Driver::new(layout.clone(), config.clone(), mode, outbox.clone(), stop.clone());
    driver.settle();
    // While the connection is made.
    let own_sha256 = tokio::spawn({
        let driver = driver.clone();
        async move { driver.running_sha256().await.ok() }
    });
    let policy = Policy::new(&config.policy, layout.pause_file.clone());
    policy.tell();
    let has_key = config.identity.is_some();
    let mut telemetry = Telemetry::new(started_at, mode == Mode::Service, has_key, policy.clone());
    if mode == Mode::Service {
        telemetry = telemetry.with_trust(driver.trust());
    }
    let toolbox = Toolbox { telemetry: telemetry.clone() };
    let dispatcher = Arc::new(Dispatcher::new(toolbox, driver.clone(), policy.clone()));
    let pushes = tokio::spawn(push_telemetry(
        telemetry.clone(),
        policy.clone(),
        config.clone(),
        outbox.clone(),
        state.accepted(),
    ));
    let looks = (mode == Mode::Service)
        .then(|| tokio::spawn(look_at_what_is_signed(driver.trust(), state.accepted())));
    let mut own_sha256 = Some(own_sha256);
    let mut known_sha256: Option<Sha256Digest> = None;
    let mut backoff = Backoff::default();
    let mut credential: Option<Credential> = None;
    tracing::info!(agent.id = %config.agent_id, server = %config.server, version = crate::VERSION, "the agent starts");
    while !*stop.borrow() {
        let socket = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            socket = tunnel::connect(&config) => socket,
        };
        let before = backoff.clone();
        let mut asked_to_wait = Duration::ZERO;
        let end = match socket {
            Err(error) => {
                asked_to_wait =
                    error.downcast_ref::<Busy>().map_or(Duration::ZERO, |busy| busy.wait);
                End::Lost(format!("{error:#}"))
            }
            Ok(socket) => {
                let who = match (&credential, loading.take()) {
                    (Some(credential), _) => Ok(credential.clone()),
                    (None, Some(loading)) => {
                        loading.await.unwrap_or_else(|_| Credential::load(&config))
                    }
                    (None, None) => Credential::load(&config),
                };
                if let Some(digest) = own_sha256.take() {
                    known_sha256 = digest.await.ok().flatten();
                }
                let meta = meta(&driver, &policy, mode, known_sha256);
                let mut on_accepted = || {
                    backoff.reset();
                    state.connected();
                    driver.on_accepted();
                };
                match who {
                    Err(error) => End::NoKey(crate::words(&error)),
                    Ok(who) => {
                        credential = Some(who.clone());
                        let session = Session {
                            socket,
                            agent_id: config.agent_id.clone(),
                            credential: who,
                            meta,
                            dispatcher: Arc::clone(&dispatcher),
                            outbox: outbox.clone(),
                            stop: stop.clone(),
                            on_accepted: &mut on_accepted,
                        };
                        session.run().await
                    }
                }
            }
        };
        match end {
            End::Stopped => break,
            End::Unauthorized(reason) => {
                tracing::error!("{reason}; ask the server's operator");
                state.lost(reason);
                backoff.longest();
            }
            End::Impostor(reason) => {
                tracing::error!("{reason}");
                telemetry.server_refused(&reason);
                state.lost(reason);
                backoff.longest();
            }
            End::NoKey(reason) => {
                tracing::error!("not connected: {reason}");
                state.lost(reason);
                backoff.longest();
            }
            End::Displaced(reason) => {
                tracing::warn!(
                    "{reason}; if it happens again, two PCs use the agent id {}",
                    config.agent_id
                );
                state.lost(reason);
                // Two agents of one id that each came back at once would chase each other off for ever.
                backoff = before;
            }
            End::TooBig => {
                let reason = "the server sent a frame of more than 8 MiB".to_owned();
                tracing::warn!("not connected: {reason}");
                state.lost(reason);
            }
            End::Lost(reason) => {
                tracing::warn!("not connected: {reason}");
                state.lost(reason);
            }
        }
        // Everybody who was asked to wait is not back at the same moment.
        let wait = backoff.next(fastrand::f64()).max(asked_to_wait.mul_f64(1.0 + fastrand::f64()));
        tracing::debug!(wait_ms = wait.as_millis(), "the next attempt comes");
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            () = sleep(wait) => {}
        }
    }
    pushes.abort();
    if let Some(looks) = looks {
        looks.abort();
    }
    state.lost("the agent was stopped".to_owned());
    tracing::info!("the agent stops");
}

fn meta(driver: &Driver, policy: &Policy, mode: Mode, sha256: Option<Sha256Digest>) -> Meta {
    Meta {
        hostname: platform::hostname(),
        os: platform::OS,
        version: crate::VERSION.to_owned(),
        protocol: Some(PROTOCOL.to_owned()),
        arch: Some(platform::native_arch()),
        sha256,
        service: Some(mode == Mode::Service),
        update: driver.report(),
        paused: policy.pause(Timestamp::now()),
        utc_offset_s: platform::utc_offset_s(),
    }
}

/// Pushes telemetry right after each acceptance, then every interval, and when somebody paused or resumed this PC.
async fn push_telemetry(
    collectors: Telemetry,
    policy: Policy,
    config: Config,
    outbox: Outbox,
    mut accepted: watch::Receiver<bool>,
) {
    let every = Duration::from_secs(config.telemetry_interval_secs);
    while accepted.wait_for(|accepted| *accepted).await.is_ok() {
        let told = policy.pause(Timestamp::now());
        let snapshot = telemetry::fitted(collectors.collect(TelemetryArgs::default()).await);
        outbox.push(AgentFrame::Telemetry(TelemetryFrame {
            agent_id: config.agent_id.clone(),
            collected_at: Timestamp::now(),
            snapshot,
        }));
        tokio::select! {
            () = sleep(every) => {}
            () = policy.differs_from(told) => {}
            lost = accepted.wait_for(|accepted| !*accepted) => if lost.is_err() { return },
        }
    }
}

/// Asks the server what is signed while there is a session, so that a freeze is noticed and told before somebody wants an
/// update. Each look has a thread of its own, as it writes to the disk.
async fn look_at_what_is_signed(trust: Trust, mut accepted: watch::Receiver<bool>) {
    while accepted.wait_for(|accepted| *accepted).await.is_ok() {
        let (trust, runtime) = (trust.clone(), tokio::runtime::Handle::current());
        let look = move || runtime.block_on(trust.look_again(Timestamp::now()));
        if tokio::task::spawn_blocking(look).await.is_err() {
            tracing::error!("looking at what is signed ended unexpectedly");
        }
        tokio::select! {
            () = sleep(LOOK) => {}
            lost = accepted.wait_for(|accepted| !*accepted) => if lost.is_err() { return },
        }
    }
}

/// Keeps the state file, and tells the telemetry when there is a session.
struct StateFile {
    path: Option<PathBuf>,
    state: AgentState,
    accepted: watch::Sender<bool>,
}

impl StateFile {
    fn new(layout: &Layout, config: &Config, mode: Mode, started_at: Timestamp) -> Self {
        // In the foreground the agent leaves no files behind.
        let path = (mode == Mode::Service).then(|| layout.state_file.clone());
        let state = AgentState {
            pid: std::process::id(),
            version: crate::VERSION.to_owned(),
            started_at,
            server: config.server.to_string(),
            connected: false,
            since: started_at,
            last_error: None,
        };
        let (accepted, _) = watch::channel(false);
        Self { path, state, accepted }
    }

    fn accepted(&self) -> watch::Receiver<bool> {
        self.accepted.subscribe()
    }

    fn connected(&mut self) {
        self.state.connected = true;
        self.state.since = Timestamp::now();
        self.write();
        self.accepted.send_replace(true);
    }

    fn lost(&mut self, reason: String) {
        let now = Timestamp::now();
        if self.state.connected {
            self.state.connected = false;
            self.state.since = now;
        }
        self.state.last_error = Some(LastError { at: now, text: reason });
        self.write();
        self.accepted.send_replace(false);
    }

    fn write(&self) {
        let Some(path) = &self.path else { return };
        let folder = path.parent().map_or(Ok(()), fs_err::create_dir_all);
        if let Err(error) = folder.and_then(|()| self.state.write(path)) {
            tracing::warn!(error = %error, "the state file cannot be written");
        }
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
