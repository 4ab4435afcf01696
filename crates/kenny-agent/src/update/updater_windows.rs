//! The updater: a temporary auto-start service of the old version's code, which stops the agent, swaps the
//! executable, starts the agent, watches it, and puts the old version back when the new one does not prove
//! itself. A reboot in between brings it back; the journal tells it where to go on.

use std::process::ExitCode;

use anyhow::Context as _;
use kenny_core::update::{self, File, Finished, Journal, Step};

use super::host::{Listener, Pc, Role};
use super::life::Life;
use super::lock::Lock;
use super::places::Places;
use super::{RELEASE_CONTROL, updater_service};
use crate::config::Config;
use crate::layout::Layout;
use crate::logging;
use crate::service::scm::Scm;
use crate::service::{ServiceContext, installed_apps, run_as_service};

/// Gives the updater the word. Called by the agent.
pub fn release(layout: &Layout) -> anyhow::Result<()> {
    let scm = Scm::connect()?;
    let service = scm
        .open(&updater_service(&layout.service_name))?
        .context("the updater's service is not there")?;
    Ok(service.control(RELEASE_CONTROL)?)
}

/// The updater's process.
pub fn run_updater(service_name: &str) -> ExitCode {
    let agent = service_name.to_owned();
    let hint = "it finishes an update that is open, and there is nothing to do by hand; `kenny-agent status` says how the last one went";
    run_as_service(&updater_service(service_name), hint, move |context| {
        let layout = installed(&agent);
        let log_dir = match &layout {
            Ok(Some(layout)) => Some(layout.log_dir.clone()),
            Ok(None) | Err(_) => Layout::for_service(&agent).ok().map(|usual| usual.log_dir),
        };
        if let Some(log_dir) = log_dir {
            logging::to_files(&log_dir, logging::UPDATER, "info");
        }
        let finished = layout.and_then(|layout| match layout {
            Some(layout) => work(layout, context),
            None => without_agent(&agent),
        });
        match finished {
            Ok(Finished::Done) => {
                tracing::info!("there is nothing left to do");
                ExitCode::SUCCESS
            }
            // By its exit code the service manager knows that it has to start it again.
            Ok(Finished::ToBeContinued(why)) => {
                tracing::warn!("the updater ends and is to be started again: {why}");
                ExitCode::FAILURE
            }
            Err(error) => {
                tracing::error!("the updater ended: {error:#}");
                ExitCode::FAILURE
            }
        }
    })
}

/// The installation whose updater this is; none where the agent's service is gone. The service's own image path says
/// which file is *active*: an installation in place has its own name.
fn installed(agent: &str) -> anyhow::Result<Option<Layout>> {
    let Some(service) = Scm::connect()?.open(agent)? else { return Ok(None) };
    Layout::new(agent, service.config()?.image).map(Some)
}

/// Nobody is left to be updated.
fn without_agent(agent: &str) -> anyhow::Result<Finished> {
    tracing::warn!("there is no service named {agent} any more");
    if let Some(own) = Scm::connect()?.open(&updater_service(agent))? {
        own.delete()?;
    }
    Ok(Finished::Done)
}

fn work(layout: Layout, context: ServiceContext) -> anyhow::Result<Finished> {
    let own = std::env::current_exe().context("could not find the updater's own executable")?;
    anyhow::ensure!(
        own.parent().is_some_and(|folder| is_same(folder, &layout.update_dir)),
        "the updater runs from {}, not from {}; nothing was touched",
        own.display(),
        layout.update_dir.display()
    );
    let lock = Lock::take(&layout.updater_lock())
        .context("could not take the updater's lock")?
        .context("another updater is at it already; nothing was touched")?;
    let config = config(&layout);
    let life = Life::of_worker(context.stop, Some(context.controls))
        .context("could not set up the updater's waits")?;
    let mut pc = Pc::new(layout.clone(), config, life, Box::new(Log), Role::Updater);
    let finished = update::finish(&mut pc);
    drop(lock);
    tell_installed_apps(&layout);
    Ok(finished)
}

/// Installed apps names the version that the update ended with.
fn tell_installed_apps(layout: &Layout) {
    let Ok(Some(journal)) = super::journal(layout) else { return };
    let version =
        if journal.step == Step::Committed { &journal.version } else { &journal.from_version };
    if !journal.is_open()
        && let Err(error) = installed_apps::set_version(layout, &version.to_string())
    {
        tracing::warn!("the entry in Installed apps keeps its version: {error}");
    }
}

/// The agent's config as this version reads it. Where the new version made something else of it, the kept one.
fn config(layout: &Layout) -> Option<Config> {
    let kept = Places::new(layout.clone()).path(File::ConfigKept);
    let mut first = None;
    for path in [Some(layout.config_file.clone()), kept].into_iter().flatten() {
        match Config::load(&path) {
            Ok(config) => return Some(config),
            Err(error) => {
                first.get_or_insert(error);
            }
        }
    }
    if let Some(error) = first {
        tracing::warn!(error = crate::words(&error), "there is no config that can be used");
    }
    None
}

/// Windows does not tell the case of names apart.
fn is_same(one: &std::path::Path, other: &std::path::Path) -> bool {
    one.as_os_str().eq_ignore_ascii_case(other.as_os_str())
}

/// What the updater does is told by the journal; its log has it for people.
struct Log;

impl Listener for Log {
    fn changed(&mut self, journal: &Journal) {
        tracing::info!(update.id = %journal.update_id, version = %journal.version, "{}", journal.step);
        if let Some(failure) = journal.failure.as_ref().filter(|_| !journal.is_open()) {
            tracing::error!(kind = %failure.kind, "the update did not work out: {}", failure.detail);
        }
    }

    fn progress(&mut self, _journal: &Journal, _bytes: u64, _total: Option<u64>) {}
}
