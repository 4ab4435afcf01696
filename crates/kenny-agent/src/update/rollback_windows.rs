//! `rollback`: back to *previous*, by hand. This console does the agent's part of the update, whether the agent itself
//! runs or not; the updater does the rest as always.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use kenny_core::update::{Effect, File, Host as _, Journal, Source, Step, Waited, Wanted, stage};
use kenny_proto::UpdateId;
use tokio::sync::watch;

use super::driver::{free_journal, previous};
use super::host::{Listener, Pc, Role};
use super::life::Life;
use super::lock::Lock;
use super::{JournalFile, words};
use crate::cli::print;
use crate::config::Config;
use crate::layout::Layout;
use crate::service::scm::Scm;

/// How long the outcome is waited for: the minute that a version has to prove itself, and as much again.
const PATIENCE: Duration = Duration::from_mins(2);
/// Between two looks at the journal.
const LOOK_MS: u64 = 100;

/// Goes back. Exit code 0 when the previous version runs and proved itself, 1 when not, 3 when nothing is installed.
pub fn roll_back(service_name: &str) -> ExitCode {
    match try_roll_back(service_name) {
        Ok(Outcome::Back) => ExitCode::SUCCESS,
        Ok(Outcome::NotBack) => ExitCode::FAILURE,
        Ok(Outcome::NotInstalled) => {
            tracing::error!("not installed: there is no service named {service_name}");
            ExitCode::from(3)
        }
        Err(error) => {
            tracing::error!("nothing was changed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

enum Outcome {
    Back,
    NotBack,
    NotInstalled,
}

fn try_roll_back(service_name: &str) -> anyhow::Result<Outcome> {
    let Some(service) = Scm::connect()?.open(service_name)? else {
        return Ok(Outcome::NotInstalled);
    };
    let layout = Layout::new(service_name, service.config()?.image)?;
    drop(service);
    let staging = Lock::take(&layout.staging_lock())
        .context("could not take the lock of updates")?
        .context("an update is being prepared just now; try again when it is over")?;
    let config = Config::load(&layout.config_file)
        .inspect_err(|error| tracing::warn!("{}", crate::words(error)))
        .ok();
    let (_, stop) = watch::channel(false);
    let life = Life::of_worker(stop, None).context("could not set up the waits")?;
    let mut pc = Pc::new(layout.clone(), config, life, Box::new(Console::default()), Role::Agent);
    let quarantine = free_journal(&mut pc).map_err(|refused| anyhow::anyhow!(refused.message))?;
    let from_sha256 = pc.digest(File::Active)?.with_context(|| {
        format!("{} is missing; {}", layout.executable.display(), by_install(&layout))
    })?;
    let from_version = pc.version_of(File::Active).with_context(|| {
        format!("{} is no agent any more; {}", layout.executable.display(), by_install(&layout))
    })?;
    let (version, sha256) =
        previous(&layout, from_sha256).map_err(|failure| anyhow::anyhow!(failure.detail))?;
    print(&format!("going back from {from_version} to {version}"));
    let wanted =
        Wanted { update_id: UpdateId::random(), version, sha256, source: Source::Previous {} };
    let from = (from_version, from_sha256);
    let journal = Journal::accepted(wanted, from, quarantine, Timestamp::now());
    let staged = stage(&mut pc, journal, Effect::Download)
        .map_err(|failure| anyhow::anyhow!(failure.detail))?;
    drop(staging);
    if let Err(error) = super::updater::release(&layout) {
        tracing::warn!("the updater could not be told to go on, and will by itself: {error:#}");
    }
    watch_outcome(&mut pc, &layout, &staged)
}

/// What helps where the engine cannot: its updater is a copy of what is installed.
fn by_install(layout: &Layout) -> String {
    format!(
        "run `\"{}\" install` to put the kept version in its place",
        layout.update_dir.join("previous.exe").display()
    )
}

fn watch_outcome(pc: &mut Pc, layout: &Layout, staged: &Journal) -> anyhow::Result<Outcome> {
    let file = JournalFile::new(&layout.journal_file);
    let until = Instant::now() + PATIENCE;
    let mut console = Console { printed: staged.history.len() };
    loop {
        // Between the updater's write and rename, or held by a scanner: look again.
        if let Ok(Some(journal)) = file.read() {
            if journal.update_id != staged.update_id {
                bail!("another update was begun meanwhile; `kenny-agent status` shows it");
            }
            console.changed(&journal);
            if !journal.is_open() {
                return Ok(outcome(&journal));
            }
        }
        if Instant::now() >= until || pc.pause(LOOK_MS) == Waited::Ending {
            print(
                "it is still going on, and goes on without this window; `kenny-agent status` shows how it ends",
            );
            return Ok(Outcome::NotBack);
        }
    }
}

fn outcome(journal: &Journal) -> Outcome {
    if journal.step == Step::Committed {
        print(&format!("done: {} runs again and is connected", journal.version));
        return Outcome::Back;
    }
    let why = journal.failure.as_ref().map(|failure| format!(": {}", failure.detail));
    print(&format!(
        "it did not work out, and {} stays{}",
        journal.from_version,
        why.unwrap_or_default()
    ));
    Outcome::NotBack
}

/// Prints each moment of an update once.
#[derive(Default)]
struct Console {
    printed: usize,
}

impl Listener for Console {
    fn changed(&mut self, journal: &Journal) {
        for moment in journal.history.iter().skip(self.printed) {
            print(&words::moment(moment));
        }
        self.printed = journal.history.len();
    }

    fn progress(&mut self, _journal: &Journal, _bytes: u64, _total: Option<u64>) {}
}
