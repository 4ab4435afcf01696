//! Runs under the service manager: the agent's service and the updater's.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use windows_service::service::{
    ServiceControl, ServiceControlAccept, ServiceExitCode, ServiceState, ServiceStatus, ServiceType,
};
use windows_service::service_control_handler::{
    self, ServiceControlHandlerResult, ServiceStatusHandle,
};
use windows_service::{define_windows_service, service_dispatcher};

use super::installed_apps;
use super::scm::Scm;
use crate::cli::ServiceArgs;
use crate::config::Config;
use crate::layout::Layout;
use crate::run::{Mode, RunOptions, run};
use crate::{logging, update};

/// Service-specific exit code: the config cannot be used.
const EXIT_CONFIG: u32 = 10;
/// Service-specific exit code: anything else; the log has it.
const EXIT_FAILED: u32 = 11;
/// The agent promises to stop within 5 s; after this it ends itself.
const STOP_LIMIT: Duration = Duration::from_secs(4);
/// How often a service that is on its way says so: well within what [`PENDING_HINT`] promises.
const PENDING_EVERY: Duration = Duration::from_millis(500);
/// Until when the service manager may expect the next word of a service that is on its way.
const PENDING_HINT: Duration = Duration::from_secs(5);

// The handler of the service manager's calls captures nothing and works on these: the library frees a
// handler's captures after the first stop, and a later call would use them.
static HANDLE: OnceLock<ServiceStatusHandle> = OnceLock::new();
static CONTROLS: OnceLock<mpsc::UnboundedSender<u8>> = OnceLock::new();
static STOP: OnceLock<watch::Sender<bool>> = OnceLock::new();
static STOPPING: AtomicBool = AtomicBool::new(false);
static CHECKPOINT: AtomicU32 = AtomicU32::new(0);
// What is reported of a service that did not stop within its time.
static LATE_CODE: AtomicU32 = AtomicU32::new(0);
// True once `Stopped` was reported: nothing may follow that.
static ENDED: Mutex<bool> = Mutex::new(false);
static BODY: Mutex<Option<Body>> = Mutex::new(None);

struct Body {
    name: String,
    run: Box<dyn FnOnce(ServiceContext) -> u32 + Send>,
}

/// What a service's body is given.
pub struct ServiceContext {
    /// Becomes true once the service manager wants the service to end.
    pub stop: watch::Receiver<bool>,
    /// The user control codes.
    pub controls: mpsc::UnboundedReceiver<u8>,
}

define_windows_service!(service_main_ffi, service_main);

/// Runs a body as the service of this process. The hint is for whoever starts it in a console.
pub fn run_as_service(
    name: &str,
    hint: &str,
    body: impl FnOnce(ServiceContext) -> ExitCode + Send + 'static,
) -> ExitCode {
    // Its work is not done: whoever stops it in the middle, it is to be started again.
    LATE_CODE.store(EXIT_FAILED, Ordering::SeqCst);
    let code = |body: ExitCode| if body == ExitCode::SUCCESS { 0 } else { EXIT_FAILED };
    dispatch(name, hint, move |context| code(body(context)))
}

fn dispatch(
    name: &str,
    hint: &str,
    run: impl FnOnce(ServiceContext) -> u32 + Send + 'static,
) -> ExitCode {
    *BODY.lock().unwrap_or_else(PoisonError::into_inner) =
        Some(Body { name: name.to_owned(), run: Box::new(run) });
    Scm::warm_up();
    match service_dispatcher::start(name, service_main_ffi) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            logging::to_stderr("info");
            tracing::error!("only the service manager starts this: {hint} ({error})");
            ExitCode::from(2)
        }
    }
}

fn service_main(_arguments: Vec<OsString>) {
    let Some(Body { name, run }) = BODY.lock().unwrap_or_else(PoisonError::into_inner).take()
    else {
        return;
    };
    let (controls_in, controls) = mpsc::unbounded_channel();
    let stop = STOP.get_or_init(|| watch::Sender::new(false)).subscribe();
    drop(CONTROLS.set(controls_in));
    match service_control_handler::register(&name, on_control) {
        Ok(handle) => drop(HANDLE.set(handle)),
        Err(error) => {
            tracing::error!(error = %error, "the service manager does not take our handler");
            return;
        }
    }
    report(ServiceState::StartPending, 0);
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
                    let until = Instant::now() + STOP_LIMIT;
                    while Instant::now() < until {
                        std::thread::sleep(PENDING_EVERY);
                        report(ServiceState::StopPending, 0);
                    }
                    let code = LATE_CODE.load(Ordering::SeqCst);
                    report(ServiceState::Stopped, code);
                    std::process::exit(i32::from(code != 0));
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
    let pending = matches!(state, ServiceState::StartPending | ServiceState::StopPending);
    let checkpoint = if pending { CHECKPOINT.fetch_add(1, Ordering::SeqCst) + 1 } else { 0 };
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
        checkpoint,
        wait_hint: if pending { PENDING_HINT } else { Duration::ZERO },
        process_id: None,
    };
    let mut ended = ENDED.lock().unwrap_or_else(PoisonError::into_inner);
    if *ended {
        return;
    }
    *ended = state == ServiceState::Stopped;
    if let Err(error) = handle.set_service_status(status) {
        tracing::warn!(error = crate::words(&error), "the service manager does not take our state");
    }
}

/// The agent's service. It dials before it talks to the service manager: the time in which the PC is not
/// looked after ends when the server has accepted it, not when the service manager knows.
pub fn run_service(args: &ServiceArgs) -> ExitCode {
    let name = args.service_name.clone();
    let prepared = prepare(&name);
    let stop = STOP.get_or_init(|| watch::Sender::new(false)).subscribe();
    let agent = prepared.map(|(config, layout)| {
        let told = layout.clone();
        let agent = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Ok(runtime) => {
                    runtime.block_on(run(RunOptions { config, layout, mode: Mode::Service, stop }));
                    runtime.shutdown_background();
                }
                Err(error) => tracing::error!(error = %error, "the agent cannot run"),
            }
        });
        (agent, told)
    });
    let hint = "use `kenny-agent run` in a console";
    dispatch(&name.clone(), hint, move |context| {
        let (agent, layout) = match agent {
            Ok(running) => running,
            Err(words) => {
                tracing::error!("{words}");
                // Restarting cannot mend a config: without this the recovery would try for ever. The next
                // good start, by hand or with the PC, switches it on again, unless an update is open.
                without_recovery(&name);
                return EXIT_CONFIG;
            }
        };
        // The agent dials meanwhile.
        tell_installed_apps(&layout);
        // A panic of the agent counts as its end: the recovery starts it again.
        let ended_well = agent.join().is_ok();
        if ended_well && *context.stop.borrow() { 0 } else { EXIT_FAILED }
    })
}

fn prepare(name: &str) -> Result<(Config, Layout), String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let layout = Layout::new(name, own).map_err(|error| format!("{error:#}"))?;
    let loaded = Config::read(&layout.config_file);
    let level = loaded.as_ref().map_or("info", |loaded| loaded.config.log_level.as_str());
    logging::to_files(&layout.log_dir, logging::AGENT, level);
    match loaded {
        Ok(loaded) => {
            loaded.warn(&layout.config_file);
            Ok((loaded.config, layout))
        }
        Err(error) => Err(crate::words(&error)),
    }
}

/// Installed apps names the version that is proven. The updater says so when it is; this is for when that was interrupted.
fn tell_installed_apps(layout: &Layout) {
    let open = update::journal(layout).map(|last| last.is_some_and(|last| last.is_open()));
    if let Ok(false) = open
        && let Err(error) = installed_apps::set_version(layout, crate::VERSION)
    {
        tracing::warn!("the entry in Installed apps keeps its version: {error}");
    }
}

fn without_recovery(name: &str) {
    let set = Scm::connect().and_then(|scm| match scm.open(name)? {
        Some(service) => service.set_recovery(&[]),
        None => Ok(()),
    });
    if let Err(error) = set {
        tracing::warn!(error = %error, "the service's recovery could not be switched off");
    }
}
