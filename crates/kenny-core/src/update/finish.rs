//! The updater's half: from the staged candidate to the outcome.

use kenny_proto::{FailureKind, UpdateId};

use super::engine::{LOCKED_MS, Pause, clean_up, failure, remove_temporary, watch};
use super::host::{AgentSeen, File, Host, HostError, Refusal, Waited, Word};
use super::journal::{Journal, JournalProblem, Source, Step, Wanted};
use super::quarantine::Quarantine;
use super::step::{Effect, Event, Facts, recover, step};

/// How long the updater waits for the word before it goes on by itself: the answer takes milliseconds, and an
/// agent that died meanwhile will not give it.
const WORD_MS: u64 = 15_000;
/// How long the agent may take to stop before exactly its process is ended; it promises 5 s.
const STOP_MS: u64 = 20_000;

/// How the updater's work ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finished {
    /// There is nothing left to do, and its service is removed.
    Done,
    /// The PC goes down, or the journal cannot be written: the service is started again and goes on.
    ToBeContinued(String),
}

/// Carries an update out from where the journal stands to its outcome. In the updater.
pub fn finish<H: Host>(host: &mut H) -> Finished {
    let mut journal = match host.read_journal() {
        Ok(Some(journal)) => journal,
        Ok(None) => return without_journal(host, None),
        Err(JournalProblem::Unreadable(words)) => return Finished::ToBeContinued(words),
        Err(problem @ (JournalProblem::Damaged(_) | JournalProblem::Newer(_))) => {
            return without_journal(host, Some(&problem));
        }
    };
    let facts = match host.digest(File::Active) {
        Ok(active_sha256) => Facts { active_sha256 },
        Err(error) => return Finished::ToBeContinued(error.words),
    };
    let mut effect = recover(&journal, facts);
    let mut candidate: Option<H::Verified> = None;
    loop {
        let event = match effect {
            Effect::Reply => match wait_for_word(host, &mut journal) {
                Heard::Event(event) => Some(event),
                Heard::Closed => {
                    clean_up(host);
                    return Finished::Done;
                }
                Heard::Ending => None,
            },
            Effect::Stop => Some(stop(host, &journal, &mut candidate)),
            Effect::Replace => Some(replace(host, &journal, &mut candidate)),
            Effect::Start => Some(start(host)),
            Effect::Watch => watch(host, &journal),
            Effect::Restore => restore(host, &journal),
            Effect::Revive => revive(host),
            Effect::CleanUp => {
                clean_up(host);
                return Finished::Done;
            }
            Effect::Download | Effect::Verify | Effect::Preflight | Effect::StartUpdater => {
                return Finished::ToBeContinued(format!("{effect:?} is the agent's to do"));
            }
        };
        let Some(event) = event else {
            return Finished::ToBeContinued("the PC goes down".to_owned());
        };
        let now = host.now();
        let (next, following) = match step(&journal, event, now) {
            Ok(next) => next,
            Err(defect) => return Finished::ToBeContinued(defect.to_string()),
        };
        if next != journal
            && let Err(words) = write_down(host, &journal, &next)
        {
            return Finished::ToBeContinued(words);
        }
        (journal, effect) = (next, following);
        host.changed(&journal);
    }
}

/// Before the first touch an update that cannot be written down is not begun. After it the PC comes first: the agent
/// must run again, and the next step writes once more. An outcome is written until it stands.
fn write_down<H: Host>(host: &mut H, before: &Journal, next: &Journal) -> Result<(), String> {
    let Err(error) = host.write_journal(next) else { return Ok(()) };
    if next.step.is_final() {
        let mut pause = Pause::default();
        loop {
            remove_temporary(host);
            let Err(error) = host.write_journal(next) else { return Ok(()) };
            if pause.wait(host) == Waited::Ending {
                return Err(error.words);
            }
        }
    }
    if before.step.is_the_updaters() { Ok(()) } else { Err(error.words) }
}

enum Heard {
    Event(Event),
    Closed,
    Ending,
}

/// Until the journal says `Staged` it is the agent's: an updater that wrote too would take it out of its hands. Only an
/// agent that is gone is started again.
fn wait_for_word<H: Host>(host: &mut H, journal: &mut Journal) -> Heard {
    loop {
        let word = host.wait_for_word(WORD_MS);
        if word == Word::Ending {
            return Heard::Ending;
        }
        // The agent wrote the journal on while this waited.
        if let Ok(Some(read)) = host.read_journal() {
            *journal = read;
        }
        if !journal.is_open() {
            return Heard::Closed;
        }
        if journal.step >= Step::Staged {
            return Heard::Event(Event::Released);
        }
        if let AgentSeen::Dead(_) = host.agent(&journal.from_version)
            && let Err(error) = host.start_agent()
        {
            host.trouble("the agent does not run", &error);
        }
    }
}

fn stop<H: Host>(host: &mut H, journal: &Journal, candidate: &mut Option<H::Verified>) -> Event {
    if candidate.is_none() {
        let verified = host
            .authorise(journal)
            .and_then(|authorised| host.verify_candidate(journal, &authorised));
        match verified {
            Ok(verified) => *candidate = Some(verified),
            Err(failed) => return Event::Failed(failed),
        }
    }
    // A service manager that restarts what is ended by force would put the old image in use again.
    let _ = host.set_recovery(false);
    match host.stop_agent(STOP_MS) {
        Ok(()) => Event::Stopped,
        Err(error) => {
            let detail = format!("the service could not be stopped: {error}");
            Event::Failed(failure(FailureKind::Stop, detail))
        }
    }
}

fn replace<H: Host>(host: &mut H, journal: &Journal, candidate: &mut Option<H::Verified>) -> Event {
    let Some(mut verified) = candidate.take() else {
        // Taken up again after an interruption, where the swap may be done. Otherwise the candidate was verified, and
        // hashing the active file would only keep the PC without an agent for longer.
        if host.digest(File::Active).is_ok_and(|active| active == Some(journal.sha256)) {
            return Event::Replaced;
        }
        let detail = "the candidate is not verified".to_owned();
        return Event::Failed(failure(FailureKind::Swap, detail));
    };
    match put_in_place(host, &mut verified, LOCKED_MS) {
        Ok(()) => Event::Replaced,
        Err(error) => {
            let detail = format!("the executable could not be replaced: {error}");
            Event::Failed(failure(FailureKind::Swap, detail))
        }
    }
}

/// Replaces the active executable. Another process that runs it (a console, a tray) keeps it from being replaced, not
/// from being renamed.
fn put_in_place<H: Host>(
    host: &mut H,
    verified: &mut H::Verified,
    limit_ms: u64,
) -> Result<(), HostError> {
    let began = host.observed_ms();
    let mut pause = Pause::default();
    loop {
        let Err(first) = host.activate(verified) else { return Ok(()) };
        if first.refusal == Refusal::InUse && host.rename(File::Active, File::Displaced).is_ok() {
            let Err(second) = host.activate(verified) else { return Ok(()) };
            // Nothing stands at the active path now. Whatever could not be put there, what stood there can.
            if host.digest(File::Active).is_ok_and(|active| active.is_none()) {
                // It stood there, so it was verified before.
                let _ = host.undo_displace();
            }
            host.trouble("the new executable cannot be put in place", &second);
        }
        let over = host.observed_ms().saturating_sub(began) >= limit_ms;
        if over || first.refusal == Refusal::Full || pause.wait(host) == Waited::Ending {
            return Err(first);
        }
    }
}

fn start<H: Host>(host: &mut H) -> Event {
    match host.start_agent() {
        Ok(()) => Event::Started,
        Err(error) => Event::Died(error.words),
    }
}

/// Ends with *previous* at the active path, however long that takes.
fn restore<H: Host>(host: &mut H, journal: &Journal) -> Option<Event> {
    let _ = host.set_recovery(false);
    let mut pause = Pause::default();
    loop {
        match restored(host, journal) {
            Ok(()) => return Some(Event::Restored),
            Err(error) => host.trouble("the old version is not back yet", &error),
        }
        if pause.wait(host) == Waited::Ending {
            return None;
        }
    }
}

fn restored<H: Host>(host: &mut H, journal: &Journal) -> Result<(), HostError> {
    host.stop_agent(STOP_MS)?;
    if host.digest(File::Active)? != Some(journal.from_sha256) {
        host.copy(File::Previous, File::ActiveNew)?;
        host.flush(File::ActiveNew)?;
        let mut verified = host.verify_restored(journal)?;
        put_in_place(host, &mut verified, 0)?;
    }
    if journal.config_sha256.is_some() && host.digest(File::Config)? != journal.config_sha256 {
        host.copy(File::ConfigKept, File::ConfigNew)?;
        host.flush(File::ConfigNew)?;
        if host.digest(File::ConfigNew)? == journal.config_sha256 {
            host.rename(File::ConfigNew, File::Config)?;
        }
    }
    Ok(())
}

/// Ends with the service running, however long that takes.
fn revive<H: Host>(host: &mut H) -> Option<Event> {
    let mut pause = Pause::default();
    loop {
        match host.start_agent() {
            Ok(()) => return Some(Event::Revived),
            Err(error) => host.trouble("the old version does not run yet", &error),
        }
        if pause.wait(host) == Waited::Ending {
            return None;
        }
    }
}

/// The updater has nothing to go by: see to it that an agent runs, the one that stands there or the kept one.
fn without_journal<H: Host>(host: &mut H, problem: Option<&JournalProblem>) -> Finished {
    if let Some(problem) = problem {
        let words = problem.to_string();
        host.trouble("the journal", &HostError { refusal: Refusal::Other, words });
    }
    let facts =
        host.digest(File::Active).and_then(|active| Ok((active, host.digest(File::Previous)?)));
    let (active, previous) = match facts {
        Ok(facts) => facts,
        Err(error) => return Finished::ToBeContinued(error.words),
    };
    let running = start(host) == Event::Started;
    let whole = active.is_some() && host.version_of(File::Active).is_some();
    let (Some(previous), Some(from_version)) = (previous, host.version_of(File::Previous)) else {
        // Nothing to go back to: what stands there is all there is.
        clean_up(host);
        return Finished::Done;
    };
    if problem.is_none() && whole && running {
        clean_up(host);
        return Finished::Done;
    }
    let version = host.version_of(File::Active).unwrap_or_else(|| from_version.clone());
    let wanted = Wanted {
        update_id: UpdateId::random(),
        version,
        sha256: active.unwrap_or(previous),
        source: Source::Previous {},
    };
    let now = host.now();
    let mut journal =
        Journal::accepted(wanted, (from_version, previous), Quarantine::default(), now);
    journal.step = if whole && active != Some(previous) { Step::Watching } else { Step::Restoring };
    if journal.step == Step::Restoring {
        let detail = "the update's journal was lost".to_owned();
        journal.failure = Some(failure(FailureKind::Interrupted, detail));
    }
    let written = host.set_journal_aside().and_then(|()| host.write_journal(&journal));
    match written {
        // The journal tells the rest now.
        Ok(()) => finish(host),
        Err(error) => Finished::ToBeContinued(error.words),
    }
}
