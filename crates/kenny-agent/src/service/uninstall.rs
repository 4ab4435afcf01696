//! `uninstall`: removes what install put there, and with `--purge` all that the agent wrote.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use windows_sys::Win32::System::Threading::CREATE_NO_WINDOW;

use super::installed_apps;
use super::scm::Scm;
use crate::cli::UninstallArgs;
use crate::desktop::{self, Elevated, Look};
use crate::layout::Layout;
use crate::{enrolment, identity, platform, update};

/// How long the service may take to stop, and a file to become free.
const LIMIT: Duration = Duration::from_secs(20);

/// Removes the service and its files. What Installed apps starts has no administrator's rights yet, and gets them first.
pub fn uninstall(args: &UninstallArgs) -> ExitCode {
    let by_installed_apps = args.quiet || args.dialog;
    if by_installed_apps {
        desktop::hide_console();
    }
    // One of which nothing can be learned is taken for an ordinary one: Windows then asks once too often.
    if by_installed_apps && !platform::is_administrator().unwrap_or(false) {
        return elevate(args);
    }
    match try_uninstall(args) {
        Ok(true) => {
            if !by_installed_apps {
                crate::cli::print(&format!("{} is removed", args.service_name));
            }
            ExitCode::SUCCESS
        }
        Ok(false) => {
            tracing::warn!("there is no service named {}", args.service_name);
            ExitCode::from(3)
        }
        Err(error) => {
            tracing::error!("not removed: {error:#}");
            if args.dialog {
                let words = format!(
                    "Kenny could not be removed: {error:#}.\n\nTry it once more after a restart of the PC."
                );
                desktop::show("Kenny", &words, Look::Trouble);
            }
            ExitCode::FAILURE
        }
    }
}

fn elevate(args: &UninstallArgs) -> ExitCode {
    let mut arguments = format!("uninstall --service-name {}", args.service_name);
    for (given, flag) in
        [(args.purge, "--purge"), (args.quiet, "--quiet"), (args.dialog, "--dialog")]
    {
        if given {
            arguments.push(' ');
            arguments.push_str(flag);
        }
    }
    match desktop::run_as_administrator(&arguments) {
        Ok(Elevated::Ended(code)) => ExitCode::from(code),
        Ok(Elevated::Declined) => ExitCode::FAILURE,
        Err(error) => {
            tracing::error!("not removed: Windows did not start it as administrator: {error}");
            ExitCode::FAILURE
        }
    }
}

fn try_uninstall(args: &UninstallArgs) -> anyhow::Result<bool> {
    let scm = Scm::connect()?;
    let usual = Layout::for_service(&args.service_name)?;
    let mut layout = usual.clone();
    let mut found = false;
    // The updater first: it would start the agent again.
    for name in [update::updater_service(&args.service_name), args.service_name.clone()] {
        let Some(service) = scm.open(&name)? else { continue };
        found = true;
        if name == args.service_name {
            layout = Layout::new(&name, service.config()?.image)?;
        }
        let process = service.process()?;
        let stopped = service.stop_and_wait(process, LIMIT);
        service.delete()?;
        stopped?;
    }
    if !found && !usual.install_dir.exists() && !(args.purge && usual.state_dir.exists()) {
        installed_apps::remove(&args.service_name)?;
        return Ok(false);
    }
    remove_folder(&layout.update_dir)?;
    for file in ["before-install", "json.before-install"] {
        drop(fs_err::remove_file(layout.executable.with_extension(file)));
        drop(fs_err::remove_file(layout.config_file.with_extension(file)));
    }
    drop(fs_err::remove_file(&layout.state_file));
    if update::journal(&layout).is_ok_and(|journal| journal.is_some_and(|last| last.is_open())) {
        // Nobody is left who could finish it, and the next install would wait for that.
        drop(fs_err::remove_file(&layout.journal_file));
    }
    if args.purge {
        drop(fs_err::remove_file(&layout.config_file));
        identity::remove_others(&layout.install_dir, None);
        drop(fs_err::remove_file(enrolment::ca_file(&layout.config_file)));
        remove_folder(&layout.state_dir)?;
    }
    // After all that can fail: until then it can be pressed again.
    installed_apps::remove(&args.service_name)?;
    if layout.install_dir == usual.install_dir {
        remove_executable(&layout)?;
        // Stays when something is in it that is not ours, or the config is kept.
        drop(fs_err::remove_dir(&layout.install_dir));
    }
    Ok(true)
}

fn remove_executable(layout: &Layout) -> anyhow::Result<()> {
    let own = std::env::current_exe()?;
    if own != layout.executable {
        return Ok(remove(&layout.executable)?);
    }
    // This very executable: Windows removes it once it has ended. `ping` is the pause that every Windows has.
    let folder = layout.install_dir.display();
    let line =
        format!("ping -n 2 127.0.0.1 >nul & del /f /q \"{}\" & rmdir \"{folder}\"", own.display());
    use std::os::windows::process::CommandExt as _;
    std::process::Command::new(platform::system_folder().join("cmd.exe"))
        .raw_arg(format!("/d /c \"{line}\""))
        .creation_flags(CREATE_NO_WINDOW)
        .current_dir(platform::system_folder())
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()?;
    Ok(())
}

fn remove_folder(folder: &Path) -> std::io::Result<()> {
    retry(|| match fs_err::remove_dir_all(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    })
}

fn remove(file: &Path) -> std::io::Result<()> {
    retry(|| match fs_err::remove_file(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    })
}

/// A process that has just ended, or a scanner, holds a file for a moment.
fn retry(mut attempt: impl FnMut() -> std::io::Result<()>) -> std::io::Result<()> {
    let until = Instant::now() + LIMIT;
    loop {
        match attempt() {
            Err(_) if Instant::now() < until => std::thread::sleep(Duration::from_millis(50)),
            outcome => return outcome,
        }
    }
}
