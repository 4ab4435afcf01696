//! An executable that says it is a kenny-agent, and fails in the way that its version's pre-release part names:
//!
//! - `exits`: ends as soon as it is started as a service
//! - `hangs`: says that it starts (START_PENDING), and never that it runs
//! - `never-connects`: runs, and reaches no server
//! - `crashes-after-5`, `crashes-after-30`: runs, and ends with 1 after so many seconds
//! - `fails-preflight`: ends with 1 when it is tried beside the old version
//! - `breaks-config`: overwrites the config next to itself as it is started as a service, and ends
//!
//! Whatever is no service start it answers as an agent does that is well: all but one pass every look at them beforehand.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "answers as an agent does")]

#[cfg_attr(windows, path = "windows.rs")]
#[cfg_attr(not(windows), path = "elsewhere.rs")]
mod service;

use std::env;
use std::process::ExitCode;
use std::time::Duration;

/// The version that it was built as.
const VERSION: &str = env!("KENNY_AGENT_VERSION");

/// How it fails as a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Ends at once, before it speaks to the service manager.
    Exits,
    /// Says that it starts, and never that it runs.
    Hangs,
    /// Says that it runs, and connects to nothing.
    NeverConnects,
    /// Says that it runs, and ends with 1 after this time.
    CrashesAfter(Duration),
}

fn main() -> ExitCode {
    let pre_release = VERSION.split_once('-').map(|(_, pre_release)| pre_release);
    match env::args().nth(1).as_deref() {
        Some("run-service") => as_a_service(pre_release),
        Some("preflight") if pre_release == Some("fails-preflight") => {
            eprintln!("a library is missing on this PC");
            ExitCode::FAILURE
        }
        Some("preflight") => {
            println!(
                r#"{{"version":"{VERSION}","protocol":"0.3","os":"{}","arch":"{}","problem":null,"server":"accepted","detail":null}}"#,
                env::consts::OS,
                env::consts::ARCH
            );
            ExitCode::SUCCESS
        }
        // A virus scanner: `hold FILE SECONDS`.
        Some("hold") => match (env::args().nth(2), env::args().nth(3)) {
            (Some(file), Some(seconds)) => service::hold(&file, seconds.parse().unwrap_or(1)),
            (_, _) => ExitCode::FAILURE,
        },
        Some(_) | None => {
            println!("kenny-agent {VERSION}");
            ExitCode::SUCCESS
        }
    }
}

fn as_a_service(pre_release: Option<&str>) -> ExitCode {
    let crashes_after = pre_release
        .and_then(|name| name.strip_prefix("crashes-after-"))
        .and_then(|seconds| seconds.parse().ok());
    if let Some(seconds) = crashes_after {
        return service::run(Behaviour::CrashesAfter(Duration::from_secs(seconds)));
    }
    match pre_release {
        Some("hangs") => service::run(Behaviour::Hangs),
        Some("never-connects") => service::run(Behaviour::NeverConnects),
        Some("breaks-config") => {
            break_config();
            service::run(Behaviour::Exits)
        }
        Some(_) | None => service::run(Behaviour::Exits),
    }
}

fn break_config() {
    let config = env::current_exe().map(|own| own.with_file_name("kenny-agent.config.json"));
    if let Err(error) = config.and_then(|path| std::fs::write(path, b"not a config any more")) {
        eprintln!("{error}");
    }
}
