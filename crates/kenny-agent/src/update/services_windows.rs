//! The two services of an update: the agent's, and the updater's, which is there for as long as an update is open.

use std::path::Path;
use std::time::{Duration, Instant};

use kenny_core::update::{AgentSeen, HostError, Refusal, Waited};
use semver::Version;

use super::host::Role;
use super::life::Life;
use super::updater_service;
use crate::layout::Layout;
use crate::platform;
use crate::service::scm::{
    AGENT_RESTARTS_S, Scm, ScmError, Service, ServiceSpec, ServiceState, StartType,
    UPDATER_RESTARTS_S,
};
use crate::state::AgentState;

/// How long a removed updater service may linger before the next one can be made.
const LINGER: Duration = Duration::from_secs(15);
/// Between two looks whether it is gone.
const LINGER_PAUSE: Duration = Duration::from_millis(20);
/// How long the updater may take to say that it runs; a virus scanner sees its file for the first time.
const START: Duration = Duration::from_secs(30);
/// How long an updater that is not wanted any more may take to end.
const STOP_UPDATER: Duration = Duration::from_secs(5);
/// Where Windows keeps its services.
const SERVICES_KEY: &str = "SYSTEM\\CurrentControlSet\\Services";

/// The services of one installation.
pub struct Services {
    layout: Layout,
    /// Opened once: each look at the agent would open it anew.
    agent: Option<Service>,
}

impl Services {
    /// Of this installation.
    pub fn new(layout: Layout) -> Self {
        Self { layout, agent: None }
    }

    /// True while the updater's service is registered.
    pub fn updater_is_registered(&mut self) -> Result<bool, HostError> {
        let look = || Ok(Scm::connect_to_look()?.open_to_look(&self.updater_name())?.is_some());
        look().map_err(|error: ScmError| refused("look for the updater's service", &error))
    }

    /// Makes the updater's service.
    pub fn register_updater(&mut self, image: &Path, life: &Life) -> Result<(), HostError> {
        let name = self.updater_name();
        let spec = ServiceSpec {
            display_name: format!("{name} (ends with the update)"),
            description: "Finishes an update of the kenny agent, also after a restart of the PC."
                .to_owned(),
            image: image.to_owned(),
            arguments: vec![
                "run-updater".into(),
                "--service-name".into(),
                self.layout.service_name.clone().into(),
            ],
            start: StartType::Auto,
            restarts_s: UPDATER_RESTARTS_S,
            name,
        };
        let attempt = "register the updater's service";
        let scm = Scm::connect().map_err(|error| refused(attempt, &error))?;
        let until = Instant::now() + LINGER;
        loop {
            // One of an earlier update goes once the last handle to it is closed.
            match scm.create(&spec) {
                Ok(_) => return Ok(()),
                Err(ScmError::MarkedForDelete | ScmError::AlreadyExists)
                    if Instant::now() < until && life.pause(LINGER_PAUSE) == Waited::Through => {}
                Err(error) => return Err(refused(attempt, &error)),
            }
        }
    }

    /// Brings the updater's registration to the disk.
    pub fn flush(&mut self) -> Result<(), HostError> {
        let key = format!("{SERVICES_KEY}\\{}", self.updater_name());
        platform::flush_registry(&key).map_err(|error| HostError {
            refusal: if platform::is_disk_full(&error) { Refusal::Full } else { Refusal::Other },
            words: format!("could not bring the updater's registration to the disk: {error}"),
        })
    }

    /// Starts the updater and waits until it runs.
    pub fn start_updater(&mut self) -> Result<(), HostError> {
        let start = || -> Result<bool, ScmError> {
            let Some(service) = Scm::connect()?.open(&self.updater_name())? else {
                return Ok(false);
            };
            match service.start() {
                Ok(()) | Err(ScmError::AlreadyRunning) => {}
                Err(error) => return Err(error),
            }
            service.wait_for_state(ServiceState::Running, START)?;
            Ok(true)
        };
        match start() {
            Ok(true) => Ok(()),
            Ok(false) => Err(HostError {
                refusal: Refusal::Other,
                words: "the updater's service is not there".to_owned(),
            }),
            Err(error) => Err(refused("start the updater's service", &error)),
        }
    }

    /// Removes the updater's service, and ends it unless this is it.
    pub fn remove_updater(&mut self, role: Role) -> Result<(), HostError> {
        let remove = || -> Result<(), ScmError> {
            let Some(service) = Scm::connect()?.open(&self.updater_name())? else { return Ok(()) };
            match role {
                Role::Updater => service.delete(),
                Role::Agent => {
                    let process = service.process()?;
                    // Deleted first: one that is only stopped is started again by its recovery.
                    service.delete()?;
                    service.stop_and_wait(process, STOP_UPDATER).map(drop)
                }
            }
        };
        remove().map_err(|error| refused("remove the updater's service", &error))
    }

    /// Switches the restarts of the agent's service on or off.
    pub fn set_recovery(&mut self, on: bool) -> Result<(), HostError> {
        let attempt = "set up how the service is restarted";
        let restarts_s: &[u64] = if on { AGENT_RESTARTS_S } else { &[] };
        self.agent_service()?.set_recovery(restarts_s).map_err(|error| refused(attempt, &error))
    }

    /// Stops the agent and waits until its process is gone.
    pub fn stop_agent(&mut self, limit: Duration) -> Result<(), HostError> {
        let service = self.agent_service()?;
        let stopped = service.process().and_then(|process| service.stop_and_wait(process, limit));
        let stopped = stopped.map_err(|error| refused("stop the service", &error))?;
        if stopped.ended_by_force {
            tracing::warn!("the agent did not stop in time and was ended");
        }
        Ok(())
    }

    /// Starts the agent.
    pub fn start_agent(&mut self) -> Result<(), HostError> {
        match self.agent_service()?.start() {
            Ok(()) | Err(ScmError::AlreadyRunning) => Ok(()),
            Err(error) => Err(refused("start the service", &error)),
        }
    }

    /// What the agent is doing.
    pub fn agent(&mut self, expected: &Version) -> AgentSeen {
        let status = self.agent_service().and_then(|service| {
            service.status().map_err(|error| refused("look at the service", &error))
        });
        let status = match status {
            Ok(status) => status,
            Err(error) => return AgentSeen::Dead(error.words),
        };
        let said = AgentState::read(&self.layout.state_file).ok();
        let said = said.filter(|state| state.version == expected.to_string());
        match status.state {
            ServiceState::Stopped => {
                let last_words = said
                    .and_then(|state| state.last_error)
                    .map(|error| format!(", its last words: {}", error.text))
                    .unwrap_or_default();
                AgentSeen::Dead(format!(
                    "exit code {}, service code {}{last_words}",
                    status.exit_code, status.service_code
                ))
            }
            ServiceState::StartPending => AgentSeen::Starting,
            ServiceState::Running | ServiceState::StopPending | ServiceState::Paused => {
                let accepted =
                    said.is_some_and(|state| state.connected && status.pid == Some(state.pid));
                AgentSeen::Running { accepted }
            }
        }
    }

    fn agent_service(&mut self) -> Result<&Service, HostError> {
        if self.agent.is_none() {
            let name = &self.layout.service_name;
            let opened = Scm::connect().and_then(|scm| scm.open(name));
            self.agent = opened.map_err(|error| refused("open the agent's service", &error))?;
        }
        self.agent.as_ref().ok_or_else(|| HostError {
            refusal: Refusal::Other,
            words: format!("there is no service named {}", self.layout.service_name),
        })
    }

    fn updater_name(&self) -> String {
        updater_service(&self.layout.service_name)
    }
}

fn refused(attempt: &str, error: &ScmError) -> HostError {
    let words = format!("could not {attempt}: {}", crate::words(error));
    HostError { refusal: Refusal::Other, words }
}
