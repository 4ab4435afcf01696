//! What both halves of the engine do in the same way.

use kenny_proto::FailureKind;
use kenny_proto::update::Failure;
use semver::Version;

use super::host::{AgentSeen, File, Host, HostError, Refusal, Waited};
use super::journal::Journal;
use super::step::Event;
use super::watch::{Seen, Verdict, Watch};

/// How long files that a virus scanner holds are tried again (update-guarantees: 30 s).
pub const LOCKED_MS: u64 = 30_000;
/// How often the service manager is asked to restart the agent by itself again: about half a minute. Each start of the
/// agent asks too.
const CLEANING_TRIES: u32 = 10;
/// Shortest and longest pause between two tries of what must work in the end.
const FIRST_PAUSE_MS: u64 = 20;
const LONGEST_PAUSE_MS: u64 = 15_000;
/// Between two looks of the watch at first: a version that is accepted at once is not kept waiting.
const LOOK_MS: u64 = 100;
/// Between two looks once a minute has gone by.
const LATE_LOOK_MS: u64 = 1_000;
/// After so many looks the watch takes its time.
const EARLY_LOOKS: u32 = 600;

/// Watches the new version until a verdict; none when this process has to end first.
pub fn watch<H: Host>(host: &mut H, journal: &Journal) -> Option<Event> {
    let limits = host.limits();
    let mut watch = Watch::default();
    let mut last_ms = host.observed_ms();
    let mut looks: u32 = 0;
    loop {
        let seen = look(host, &journal.version);
        let now_ms = host.observed_ms();
        let since_last_ms = now_ms.saturating_sub(last_ms);
        last_ms = now_ms;
        let starts = host.starts(journal.update_id);
        match watch.look(seen, since_last_ms, starts, limits) {
            Verdict::Wait => {}
            Verdict::Died(detail) => return Some(Event::Died(detail)),
            Verdict::Proven => return Some(Event::Proven),
            Verdict::RollBack(failed) => return Some(Event::Failed(failed)),
        }
        looks += 1;
        let pause_ms = if looks < EARLY_LOOKS { LOOK_MS } else { LATE_LOOK_MS };
        if host.pause(pause_ms) == Waited::Ending {
            return None;
        }
    }
}

fn look<H: Host>(host: &mut H, expected: &Version) -> Seen {
    match host.agent(expected) {
        AgentSeen::Dead(detail) => Seen::Dead(detail),
        AgentSeen::Starting => Seen::Starting,
        AgentSeen::Running { accepted: true } => Seen::Online,
        AgentSeen::Running { accepted: false } => Seen::Offline(host.reach()),
    }
}

/// Removes what an update leaves, the updater's own service last.
pub fn clean_up<H: Host>(host: &mut H) {
    let mut pause = Pause::default();
    for _ in 0..CLEANING_TRIES {
        match host.set_recovery(true) {
            Ok(()) => break,
            Err(error) => host.trouble("the service's own restarts are still off", &error),
        }
        if pause.wait(host) == Waited::Ending {
            // The updater is started again and comes here.
            return;
        }
    }
    remove_temporary(host);
    let _ = host.remove_updater();
}

/// Removes what is of no use once an update is over.
pub fn remove_temporary<H: Host>(host: &mut H) {
    for file in File::TEMPORARY {
        // What something still holds goes with the next update.
        let _ = host.remove(file);
    }
}

/// Between two tries of what must work in the end.
pub struct Pause {
    next_ms: u64,
}

impl Default for Pause {
    fn default() -> Self {
        Self { next_ms: FIRST_PAUSE_MS }
    }
}

impl Pause {
    /// Waits, each time longer.
    pub fn wait<H: Host>(&mut self, host: &mut H) -> Waited {
        let waited = host.pause(self.next_ms);
        self.next_ms = (self.next_ms * 2).min(LONGEST_PAUSE_MS);
        waited
    }
}

/// Tries again while something holds a file.
pub fn retry_locked<H: Host>(
    host: &mut H,
    mut attempt: impl FnMut(&mut H) -> Result<(), HostError>,
) -> Result<(), HostError> {
    let began = host.observed_ms();
    let mut pause = Pause::default();
    loop {
        let Err(error) = attempt(host) else { return Ok(()) };
        let over = host.observed_ms().saturating_sub(began) >= LOCKED_MS;
        if error.refusal != Refusal::InUse || over || pause.wait(host) == Waited::Ending {
            return Err(error);
        }
    }
}

/// A failure in words.
pub fn failure(kind: FailureKind, detail: String) -> Failure {
    Failure { kind, detail }
}

/// What the disk said no to.
pub fn disk(error: &HostError) -> Failure {
    failure(FailureKind::Disk, error.to_string())
}
