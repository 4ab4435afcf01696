//! Runs under the service manager: the agent's service and the updater's.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError, mpsc};
use std::time::Duration;

use tokio::sync::watch;
use windows_service::service::{
    ServiceControl, ServiceControlAccept, ServiceExitCode, ServiceState, ServiceStatus, ServiceType,
};
use windows_service::service_control_handler::{
    self, ServiceControlHandlerResult, ServiceStatusHandle,
};
use windows_service::{define_windows_service, service_dispatcher};

use super::scm::Scm;
use crate::cli::ServiceArgs;
use crate::config::Config;
use crate::layout::Layout;
use crate::logging;
use crate::run::{Mode, RunOptions, run};

/// Service-specific exit code: the config cannot be used.
const EXIT_CONFIG: u32 = 10;
/// Service-specific exit code: anything else; the log has it.
const EXIT_FAILED: u32 = 11;
/// The agent promises to stop within 5 s; after this it ends itself.
const STOP_LIMIT: Duration = Duration::from_secs(4);

// The handler of the service manager's calls captures nothing and works on these: the library frees a
// handler's captures after the first stop, and a later call would use them.
static HANDLE: OnceLock<ServiceStatusHandle> = OnceLock::new();
static CONTROLS: OnceLock<mpsc::Sender<u8>> = OnceLock::new();
static STOP: OnceLock<watch::Sender<bool>> = OnceLock::new();
static STOPPING: AtomicBool = AtomicBool::new(false);
static BODY: Mutex<Option<Body>> = Mutex::new(None);

struct Body {
    name: String,
    run: Box<dyn FnOnce(ServiceContext) -> u32 + Send>,
}

/// What a service's body is given.
pub struct ServiceContext {
    stop: watch::Receiver<bool>,
    controls: mpsc::Receiver<u8>,
}

impl ServiceContext {
    /// True once the service manager wants the service to end.
    pub fn stop_requested(&self) -> bool {
        *self.stop.borrow()
    }

    /// The next user control code.
    pub fn wait_for_control(&self, limit: Duration) -> Option<u8> {
        self.controls.recv_timeout(limit).ok()
    }
}

define_windows_service!(service_main_ffi, service_main);

/// Runs a body as the service of this process.
pub fn run_as_service(
    name: &str,
    body: impl FnOnce(ServiceContext) -> ExitCode + Send + 'static,
) -> ExitCode {
    dispatch(name, move |context| if body(context) == ExitCode::SUCCESS { 0 } else { EXIT_FAILED })
}

fn dispatch(name: &str, run: impl FnOnce(ServiceContext) -> u32 + Send + 'static) -> ExitCode {
    *BODY.lock().unwrap_or_else(PoisonError::into_inner) =
        Some(Body { name: name.to_owned(), run: Box::new(run) });
    match service_dispatcher::start(name, service_main_ffi) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            logging::to_stderr("info");
            tracing::error!(
                "only the service manager starts this; use `kenny-agent run` in a console ({error})"
            );
            ExitCode::from(2)
        }
    }
}

fn service_main(_arguments: Vec<OsString>) {
    let Some(Body { name, run }) = BODY.lock().unwrap_or_else(PoisonError::into_inner).take()
    else {
        return;
    };
    let (controls_in, controls) = mpsc::channel();
    let stop = STOP.get_or_init(|| watch::Sender::new(false)).subscribe();
    drop(CONTROLS.set(controls_in));
    match service_control_handler::register(&name, on_control) {
        Ok(handle) => drop(HANDLE.set(handle)),
        Err(error) => {
            tracing::error!(error = %error, "the service manager does not take our handler");
            return;
        }
    }
    report(ServiceState::Running, 0);
    let code = run(ServiceContext { stop, controls });
    report(ServiceState::Stopped, code);
}

fn on_control(control: ServiceControl) -> ServiceControlHandlerResult {
    match control {
        ServiceControl::Interrogate => ServiceControlHandlerResult::NoError,
        ServiceControl::Stop | ServiceControl::Shutdown | ServiceControl::Preshutdown => {
            if !STOPPING.swap(true, Ordering::SeqCst) {
                report(ServiceState::StopPending, 0);
                STOP.get_or_init(|| watch::Sender::new(false)).send_replace(true);
                std::thread::spawn(|| {
                    std::thread::sleep(STOP_LIMIT);
                    report(ServiceState::Stopped, 0);
                    std::process::exit(0);
                });
            }
            ServiceControlHandlerResult::NoError
        }
        ServiceControl::UserEvent(code) => {
            if let (Some(controls), Ok(code)) = (CONTROLS.get(), u8::try_from(code.to_raw())) {
                // The body may have ended already.
                let _ = controls.send(code);
            }
            ServiceControlHandlerResult::NoError
        }
        _ => ServiceControlHandlerResult::NotImplemented,
    }
}

fn report(state: ServiceState, service_code: u32) {
    let Some(handle) = HANDLE.get() else { return };
    let accepted = ServiceControlAccept::STOP
        | ServiceControlAccept::SHUTDOWN
        | ServiceControlAccept::PRESHUTDOWN;
    let pending = state == ServiceState::StopPending;
    let status = ServiceStatus {
        service_type: ServiceType::OWN_PROCESS,
        current_state: state,
        controls_accepted: if state == ServiceState::Running {
            accepted
        } else {
            ServiceControlAccept::empty()
        },
        exit_code: if service_code == 0 {
            ServiceExitCode::Win32(0)
        } else {
            ServiceExitCode::ServiceSpecific(service_code)
        },
        checkpoint: u32::from(pending),
        wait_hint: if pending { Duration::from_secs(5) } else { Duration::ZERO },
        process_id: None,
    };
    if let Err(error) = handle.set_service_status(status) {
        tracing::warn!(error = %error, "the service manager does not take our state");
    }
}

/// The agent's service. It dials before it talks to the service manager: the time in which the PC is not
/// looked after ends when the server has accepted it, not when the service manager knows.
pub fn run_service(args: &ServiceArgs) -> ExitCode {
    let name = args.service_name.clone();
    let prepared = prepare(&name);
    let stop = STOP.get_or_init(|| watch::Sender::new(false)).subscribe();
    let agent = prepared.map(|(config, layout)| {
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Ok(runtime) => {
                    runtime.block_on(run(RunOptions { config, layout, mode: Mode::Service, stop }));
                    runtime.shutdown_background();
                }
                Err(error) => tracing::error!(error = %error, "the agent cannot run"),
            }
        })
    });
    dispatch(&name.clone(), move |context| {
        let agent = match agent {
            Ok(agent) => agent,
            Err(words) => {
                tracing::error!("{words}");
                // Restarting cannot mend a config: without this the recovery would try for ever. The next
                // good start, by hand or with the PC, switches it on again.
                recovery(&name, false);
                return EXIT_CONFIG;
            }
        };
        recovery(&name, true);
        // A panic of the agent counts as its end: the recovery starts it again.
        let ended_well = agent.join().is_ok();
        if ended_well && context.stop_requested() { 0 } else { EXIT_FAILED }
    })
}

fn prepare(name: &str) -> Result<(Config, Layout), String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let layout = Layout::new(name, own).map_err(|error| format!("{error:#}"))?;
    let loaded = Config::read(&layout.config_file);
    let level = loaded.as_ref().map_or("info", |loaded| loaded.config.log_level.as_str());
    logging::to_files(&layout.log_dir, "kenny-agent", level);
    match loaded {
        Ok(loaded) => {
            loaded.warn(&layout.config_file);
            Ok((loaded.config, layout))
        }
        Err(error) => Err(crate::words(&error)),
    }
}

fn recovery(name: &str, enabled: bool) {
    let set = Scm::connect().and_then(|scm| match scm.open(name)? {
        Some(service) => service.set_recovery(enabled),
        None => Ok(()),
    });
    if let Err(error) = set {
        tracing::warn!(error = %error, "the service's recovery could not be set");
    }
}
