//! Failing as a Windows service.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::os::windows::fs::OpenOptionsExt as _;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use windows_service::service::{
    ServiceControl, ServiceControlAccept, ServiceExitCode, ServiceState, ServiceStatus, ServiceType,
};
use windows_service::service_control_handler::{self, ServiceControlHandlerResult};
use windows_service::{define_windows_service, service_dispatcher};

use crate::Behaviour;

static BEHAVIOUR: OnceLock<Behaviour> = OnceLock::new();

/// The service manager does not look at the name of a process that holds one service.
const NAME: &str = "kenny-agent";

/// Longer than anybody waits for it.
const PENDING: Duration = Duration::from_secs(3600);

define_windows_service!(service_entry, service_main);

/// Fails in that way.
pub fn run(behaviour: Behaviour) -> ExitCode {
    if behaviour == Behaviour::Exits {
        return ExitCode::FAILURE;
    }
    BEHAVIOUR.get_or_init(|| behaviour);
    match service_dispatcher::start(NAME, service_entry) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn service_main(_arguments: Vec<OsString>) {
    let (stop, stopped) = mpsc::channel();
    let handler = move |control| match control {
        ServiceControl::Interrogate => ServiceControlHandlerResult::NoError,
        ServiceControl::Stop => {
            // The receiver lives until the process ends.
            let _ = stop.send(());
            ServiceControlHandlerResult::NoError
        }
        _ => ServiceControlHandlerResult::NotImplemented,
    };
    let Ok(handle) = service_control_handler::register(NAME, handler) else { return };
    let hangs = BEHAVIOUR.get() == Some(&Behaviour::Hangs);
    let say = |state: ServiceState, accepted: ServiceControlAccept| {
        let status = ServiceStatus {
            service_type: ServiceType::OWN_PROCESS,
            current_state: state,
            controls_accepted: accepted,
            exit_code: ServiceExitCode::Win32(0),
            checkpoint: 0,
            wait_hint: if hangs { PENDING } else { Duration::ZERO },
            process_id: None,
        };
        // Nobody is there to be told.
        let _ = handle.set_service_status(status);
    };
    if hangs {
        say(ServiceState::StartPending, ServiceControlAccept::empty());
    } else {
        say(ServiceState::Running, ServiceControlAccept::STOP);
    }
    if let Some(Behaviour::CrashesAfter(time)) = BEHAVIOUR.get() {
        if stopped.recv_timeout(*time) == Err(RecvTimeoutError::Timeout) {
            // As a crash: the service manager is told nothing.
            std::process::exit(1);
        }
    } else {
        // A service that hangs accepts no stop: only its end as a process ends this.
        let _ = stopped.recv();
    }
    say(ServiceState::Stopped, ServiceControlAccept::empty());
}

/// Holds a file so that nobody else can open, rename or replace it. Tried again while somebody else has it open.
pub fn hold(file: &str, seconds: u64) -> ExitCode {
    let until = Instant::now() + Duration::from_secs(10);
    let held = loop {
        match OpenOptions::new().read(true).share_mode(0).open(file) {
            Ok(held) => break held,
            Err(_) if Instant::now() < until => std::thread::sleep(Duration::from_millis(5)),
            Err(_) => return ExitCode::FAILURE,
        }
    };
    std::thread::sleep(Duration::from_secs(seconds));
    drop(held);
    ExitCode::SUCCESS
}
