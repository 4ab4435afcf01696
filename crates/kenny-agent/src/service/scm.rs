//! The service manager, as this agent needs it.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::{Duration, Instant};

use windows_service::service::{
    Service as RawService, ServiceAccess, ServiceAction, ServiceActionType, ServiceErrorControl,
    ServiceFailureActions, ServiceFailureResetPeriod, ServiceInfo, ServiceStartType, ServiceType,
    UserEventCode,
};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};
use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_INVALID_LEVEL, ERROR_SERVICE_ALREADY_RUNNING,
    ERROR_SERVICE_DOES_NOT_EXIST, ERROR_SERVICE_EXISTS, ERROR_SERVICE_MARKED_FOR_DELETE,
    ERROR_SERVICE_SPECIFIC_ERROR,
};
use windows_sys::Win32::System::Services::{
    QueryServiceStatusEx, SC_STATUS_PROCESS_INFO, SERVICE_RUNNING, SERVICE_START_PENDING,
    SERVICE_STATUS_PROCESS, SERVICE_STOP_PENDING, SERVICE_STOPPED,
};

use super::process::{Process, is_alive};

/// What the service manager said no to.
#[derive(Debug, thiserror::Error)]
pub enum ScmError {
    /// Another service has the name.
    #[error("a service of that name is there already")]
    AlreadyExists,
    /// The service was deleted and something still holds it.
    #[error("the service is being deleted; close every window that shows services and try again")]
    MarkedForDelete,
    /// Not an administrator.
    #[error("access denied; run this as administrator")]
    AccessDenied,
    /// It runs.
    #[error("the service runs already")]
    AlreadyRunning,
    /// It took too long.
    #[error("the service was not {wanted} within {} s", limit.as_secs())]
    Timeout {
        /// The state waited for.
        wanted: &'static str,
        /// How long.
        limit: Duration,
    },
    /// Anything else.
    #[error("could not {attempt}")]
    Other {
        /// What was tried.
        attempt: &'static str,
        /// Why not.
        source: io::Error,
    },
}

type Result<T> = std::result::Result<T, ScmError>;

fn refused(attempt: &'static str) -> impl FnOnce(windows_service::Error) -> ScmError {
    move |error| {
        let source = match error {
            windows_service::Error::Winapi(source) => source,
            other => io::Error::other(other),
        };
        let code = source.raw_os_error().and_then(|code| u32::try_from(code).ok());
        match code {
            Some(ERROR_SERVICE_EXISTS) => ScmError::AlreadyExists,
            Some(ERROR_SERVICE_MARKED_FOR_DELETE) => ScmError::MarkedForDelete,
            Some(ERROR_ACCESS_DENIED) => ScmError::AccessDenied,
            Some(ERROR_SERVICE_ALREADY_RUNNING) => ScmError::AlreadyRunning,
            Some(_) | None => ScmError::Other { attempt, source },
        }
    }
}

fn is(error: &windows_service::Error, code: u32) -> bool {
    matches!(error, windows_service::Error::Winapi(error)
        if error.raw_os_error().and_then(|raw| u32::try_from(raw).ok()) == Some(code))
}

/// The restarts of the agent: back within seconds, and slower when it ends again and again.
pub const AGENT_RESTARTS_S: &[u64] = &[1, 5, 30];
/// The restarts of the updater, which asks for one itself when it cannot go on just now.
pub const UPDATER_RESTARTS_S: &[u64] = &[5, 30, 60];

/// How long a service that refuses to be stopped may go on: one that is just starting takes a stop in a moment.
const HANGING: Duration = Duration::from_secs(3);
/// When it is asked again.
const STOP_AGAIN: Duration = Duration::from_millis(100);

/// When a service starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartType {
    /// With the PC.
    Auto,
    /// When asked.
    Demand,
    /// Never.
    Disabled,
}

/// A service to be made.
#[derive(Debug, Clone)]
pub struct ServiceSpec {
    /// Its name.
    pub name: String,
    /// What people see.
    pub display_name: String,
    /// One sentence.
    pub description: String,
    /// The executable.
    pub image: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// When it starts.
    pub start: StartType,
    /// After how many seconds it is restarted when it ended without being stopped: the first time, the second, and
    /// from then on. Never where there are none.
    pub restarts_s: &'static [u64],
}

/// A service's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceState {
    /// It does not run; also one that says it runs and whose process is gone.
    Stopped,
    /// It starts.
    StartPending,
    /// It runs.
    Running,
    /// It stops.
    StopPending,
    /// It is paused, or on its way there or back.
    Paused,
}

impl ServiceState {
    /// For people and scripts.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::StartPending => "starting",
            Self::Running => "running",
            Self::StopPending => "stopping",
            Self::Paused => "paused",
        }
    }
}

/// What a service is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Its state.
    pub state: ServiceState,
    /// Its process.
    pub pid: Option<u32>,
    /// How it ended, by Windows.
    pub exit_code: u32,
    /// How it ended, in the service's own numbers; 0 where it gave none.
    pub service_code: u32,
}

/// How a service is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceConfig {
    /// The executable.
    pub image: PathBuf,
    /// When it starts.
    pub start: StartType,
    /// Restart delays in milliseconds, as read back; none where there are none.
    pub restart_delays_ms: Vec<u64>,
}

/// How a stop went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopOutcome {
    /// The process did not end by itself.
    pub ended_by_force: bool,
}

/// A connection to the service manager.
pub struct Scm {
    manager: ServiceManager,
}

/// True once [`Scm::warm_up`] has connected.
static WARM: Once = Once::new();

/// One service.
pub struct Service {
    raw: RawService,
}

// SAFETY: a handle of the service manager belongs to the process, and every call with it may come from any thread.
unsafe impl Send for Service {}

impl Scm {
    /// Makes this process's first call to the service manager and keeps its connection open; whoever comes second waits
    /// for the first. Under Wine two threads whose first calls overlap get two associations with the service manager,
    /// and the handle that the service reports its state with is lost in one of them. Called by each connection here,
    /// and before the library's dispatcher makes one of its own.
    pub fn warm_up() {
        WARM.call_once(|| match Self::open_manager(ServiceManagerAccess::CONNECT) {
            // Left open on purpose, for as long as the process lives.
            Ok(scm) => std::mem::forget(scm),
            Err(error) => tracing::warn!(error = crate::words(&error), "no service manager"),
        });
    }

    /// Connects, with the right to make services.
    pub fn connect() -> Result<Self> {
        Self::warm_up();
        Self::open_manager(ServiceManagerAccess::CONNECT | ServiceManagerAccess::CREATE_SERVICE)
    }

    /// Connects, with the right to look.
    pub fn connect_to_look() -> Result<Self> {
        Self::warm_up();
        Self::open_manager(ServiceManagerAccess::CONNECT)
    }

    fn open_manager(access: ServiceManagerAccess) -> Result<Self> {
        ServiceManager::local_computer(None::<&str>, access)
            .map(|manager| Self { manager })
            .map_err(refused("connect to the service manager"))
    }

    /// Opens a service, with every right.
    pub fn open(&self, name: &str) -> Result<Option<Service>> {
        self.open_with(name, ServiceAccess::ALL_ACCESS)
    }

    /// Opens a service, with the right to look.
    pub fn open_to_look(&self, name: &str) -> Result<Option<Service>> {
        self.open_with(name, ServiceAccess::QUERY_STATUS | ServiceAccess::QUERY_CONFIG)
    }

    fn open_with(&self, name: &str, access: ServiceAccess) -> Result<Option<Service>> {
        match self.manager.open_service(name, access) {
            Ok(raw) => Ok(Some(Service { raw })),
            Err(error) if is(&error, ERROR_SERVICE_DOES_NOT_EXIST) => Ok(None),
            Err(error) => Err(refused("open the service")(error)),
        }
    }

    /// Makes a service.
    pub fn create(&self, spec: &ServiceSpec) -> Result<Service> {
        let raw = self
            .manager
            .create_service(&info(spec), ServiceAccess::ALL_ACCESS)
            .map_err(refused("create the service"))?;
        let service = Service { raw };
        service.describe(spec)?;
        Ok(service)
    }
}

fn info(spec: &ServiceSpec) -> ServiceInfo {
    ServiceInfo {
        name: spec.name.clone().into(),
        display_name: spec.display_name.clone().into(),
        service_type: ServiceType::OWN_PROCESS,
        start_type: match spec.start {
            StartType::Auto => ServiceStartType::AutoStart,
            StartType::Demand => ServiceStartType::OnDemand,
            StartType::Disabled => ServiceStartType::Disabled,
        },
        error_control: ServiceErrorControl::Normal,
        executable_path: spec.image.clone(),
        launch_arguments: spec.arguments.clone(),
        dependencies: Vec::new(),
        account_name: None,
        account_password: None,
    }
}

/// Some Windows versions and Wine do not know every level: what is optional must not fail the rest.
fn optional(what: &str, outcome: windows_service::Result<()>) -> Result<()> {
    match outcome {
        Err(error) if is(&error, ERROR_INVALID_LEVEL) => {
            tracing::warn!("this system cannot set the service's {what}");
            Ok(())
        }
        outcome => outcome.map_err(refused("set up the service")),
    }
}

impl Service {
    /// Brings an existing service to the spec, but for its start type, which the user may have changed.
    pub fn update(&self, spec: &ServiceSpec) -> Result<()> {
        let start = self.config()?.start;
        let spec = ServiceSpec { start, ..spec.clone() };
        self.raw.change_config(&info(&spec)).map_err(refused("change the service"))?;
        self.describe(&spec)
    }

    fn describe(&self, spec: &ServiceSpec) -> Result<()> {
        optional("description", self.raw.set_description(&spec.description))?;
        optional("start without delay", self.raw.set_delayed_auto_start(false))?;
        // The agent is gone in milliseconds; 10 s is what Windows gives without this anyway.
        optional("preshutdown time", self.raw.set_preshutdown_timeout(Duration::from_secs(10)))?;
        self.set_recovery(spec.restarts_s)
    }

    /// Restarts after an end that nobody asked for: after so many seconds the first time, the second, and from then on
    /// as the last says. Never where there are none.
    pub fn set_recovery(&self, restarts_s: &[u64]) -> Result<()> {
        let restart = |seconds: &u64| ServiceAction {
            action_type: ServiceActionType::Restart,
            delay: Duration::from_secs(*seconds),
        };
        let actions = ServiceFailureActions {
            reset_period: ServiceFailureResetPeriod::After(Duration::from_secs(24 * 60 * 60)),
            reboot_msg: None,
            command: None,
            actions: Some(restarts_s.iter().map(restart).collect()),
        };
        optional("recovery", self.raw.update_failure_actions(actions))?;
        let flag = self.raw.set_failure_actions_on_non_crash_failures(!restarts_s.is_empty());
        optional("recovery after an end that is no crash", flag)
    }

    /// What it is doing. Asked of Windows itself: the library names a process only for a service that runs, and one that
    /// hangs on its way has one too.
    pub fn status(&self) -> Result<Status> {
        // SAFETY: a plain C struct for which zero is a value.
        let mut raw: SERVICE_STATUS_PROCESS = unsafe { std::mem::zeroed() };
        let size = u32::try_from(size_of::<SERVICE_STATUS_PROCESS>()).expect("a few bytes");
        let mut needed = 0;
        // SAFETY: the struct has `size` bytes; it and the out-parameter live for the call; the handle is open.
        let asked = unsafe {
            QueryServiceStatusEx(
                self.raw.raw_handle(),
                SC_STATUS_PROCESS_INFO,
                (&raw mut raw).cast(),
                size,
                &raw mut needed,
            )
        };
        if asked == 0 {
            let error = windows_service::Error::Winapi(io::Error::last_os_error());
            return Err(refused("ask for the service's state")(error));
        }
        let pid = Some(raw.dwProcessId).filter(|pid| *pid != 0);
        let mut state = match raw.dwCurrentState {
            SERVICE_START_PENDING => ServiceState::StartPending,
            SERVICE_RUNNING => ServiceState::Running,
            SERVICE_STOP_PENDING => ServiceState::StopPending,
            SERVICE_STOPPED => ServiceState::Stopped,
            _ => ServiceState::Paused,
        };
        // After a crash the state can lag behind the process. One that is being started may have none yet.
        let gone = match pid {
            Some(pid) => !is_alive(pid),
            None => state != ServiceState::StartPending,
        };
        if gone {
            state = ServiceState::Stopped;
        }
        let specific = raw.dwWin32ExitCode == ERROR_SERVICE_SPECIFIC_ERROR;
        Ok(Status {
            state,
            pid,
            exit_code: raw.dwWin32ExitCode,
            service_code: if specific { raw.dwServiceSpecificExitCode } else { 0 },
        })
    }

    /// How it is set up.
    pub fn config(&self) -> Result<ServiceConfig> {
        let config = self.raw.query_config().map_err(refused("read the service's config"))?;
        let start = match config.start_type {
            ServiceStartType::OnDemand => StartType::Demand,
            ServiceStartType::Disabled => StartType::Disabled,
            _ => StartType::Auto,
        };
        let actions = self.raw.get_failure_actions().ok().and_then(|actions| actions.actions);
        let restart_delays_ms = actions
            .unwrap_or_default()
            .iter()
            .filter(|action| action.action_type == ServiceActionType::Restart)
            .map(|action| u64::try_from(action.delay.as_millis()).unwrap_or(u64::MAX))
            .collect();
        Ok(ServiceConfig { image: image_of(&config.executable_path), start, restart_delays_ms })
    }

    /// Its process, opened.
    pub fn process(&self) -> Result<Option<Process>> {
        Ok(self.status()?.pid.and_then(Process::open))
    }

    /// Starts it.
    pub fn start(&self) -> Result<()> {
        self.raw.start::<&str>(&[]).map_err(refused("start the service"))
    }

    /// Stops it and waits until its process is gone; past the limit exactly that process is ended. One that hangs on its
    /// way up takes no stop: it gets [`HANGING`].
    pub fn stop_and_wait(&self, process: Option<Process>, limit: Duration) -> Result<StopOutcome> {
        let began = Instant::now();
        let mut accepted = self.ask_to_stop();
        let Some(process) = process else {
            self.wait_for_state(ServiceState::Stopped, limit)?;
            return Ok(StopOutcome { ended_by_force: false });
        };
        loop {
            let patience = if accepted { limit } else { limit.min(HANGING) };
            let Some(left) = patience.checked_sub(began.elapsed()) else { break };
            if process.wait(if accepted { left } else { left.min(STOP_AGAIN) }) {
                return Ok(StopOutcome { ended_by_force: false });
            }
            accepted = accepted || self.ask_to_stop();
        }
        process.terminate().map_err(|source| ScmError::Other {
            attempt: "end the process of a service that does not stop",
            source,
        })?;
        if process.wait(Duration::from_secs(5)) {
            Ok(StopOutcome { ended_by_force: true })
        } else {
            Err(ScmError::Timeout { wanted: "stopped", limit })
        }
    }

    /// One that is stopped already, or whose process died, refuses too: what counts is what follows.
    fn ask_to_stop(&self) -> bool {
        let asked = self.raw.stop();
        if let Err(error) = &asked {
            tracing::debug!(error = crate::words(error), "the stop was refused");
        }
        asked.is_ok()
    }

    /// Waits for a state. A service that stops while another state is awaited ends the wait.
    pub fn wait_for_state(&self, wanted: ServiceState, limit: Duration) -> Result<()> {
        let until = Instant::now() + limit;
        let mut pause = Duration::from_millis(1);
        loop {
            let state = self.status()?.state;
            if state == wanted {
                return Ok(());
            }
            if Instant::now() >= until || state == ServiceState::Stopped {
                return Err(ScmError::Timeout { wanted: wanted.as_str(), limit });
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }

    /// Sends a user control code (128 to 255).
    pub fn control(&self, code: u8) -> Result<()> {
        let code = UserEventCode::from_raw(code.into()).map_err(|error| ScmError::Other {
            attempt: "send a control code",
            source: io::Error::other(error),
        })?;
        self.raw.notify(code).map(drop).map_err(refused("send a control code"))
    }

    /// Deletes it; it goes once nothing holds it.
    pub fn delete(&self) -> Result<()> {
        match self.raw.delete() {
            Err(error) if is(&error, ERROR_SERVICE_MARKED_FOR_DELETE) => Ok(()),
            outcome => outcome.map_err(refused("delete the service")),
        }
    }
}

/// The executable of a service's command line.
fn image_of(command_line: &Path) -> PathBuf {
    let text = command_line.to_string_lossy();
    let image = match text.strip_prefix('"') {
        Some(rest) => rest.split('"').next().unwrap_or(rest),
        None => text.split(" run-").next().unwrap_or(&text),
    };
    PathBuf::from(image)
}
