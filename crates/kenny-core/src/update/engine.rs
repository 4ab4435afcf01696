//! Carries an update out on a [`Host`]: [`stage`] in the agent, [`finish`] in the updater, [`settle`] at an agent's
//! start. What is one effect in the journal is here a handful of steps in an order that a power cut can come between.

use kenny_proto::update::Failure;
use kenny_proto::{FailureKind, Sha256Digest, UpdateId};
use semver::Version;

use super::host::{AgentSeen, File, Host, HostError, Refusal, Waited, Word};
use super::journal::{Journal, JournalProblem, Source, Step, Wanted};
use super::quarantine::Quarantine;
use super::step::{
    AtStart, Effect, Event, Facts, StartFacts, at_agent_start, closed_as_rolled_back, recover,
    resumed, step,
};
use super::watch::{Seen, Verdict, Watch};

/// How long the updater waits for the word before it goes on by itself: the answer takes milliseconds, and an
/// agent that died meanwhile will not give it.
const WORD_MS: u64 = 15_000;
/// How long the agent may take to stop before exactly its process is ended; it promises 5 s.
const STOP_MS: u64 = 20_000;
/// How long files that a virus scanner holds are tried again (update-guarantees: 30 s).
const LOCKED_MS: u64 = 30_000;
/// Shortest and longest pause between two tries of what must work in the end.
const FIRST_PAUSE_MS: u64 = 20;
const LONGEST_PAUSE_MS: u64 = 15_000;
/// Between two looks of the watch at first: a version that is accepted at once is not kept waiting.
const LOOK_MS: u64 = 100;
/// Between two looks once a minute has gone by.
const LATE_LOOK_MS: u64 = 1_000;
/// After so many looks the watch takes its time.
const EARLY_LOOKS: u32 = 600;

/// Carries an update out up to the staged candidate, from `effect` on: [`Effect::Download`] for a new one. Returns the
/// journal at [`Step::Staged`], whose answer is to be sent before the updater gets the word; or the failure, with
/// everything closed.
pub fn stage<H: Host>(
    host: &mut H,
    journal: Journal,
    effect: Effect,
) -> Result<Journal, Failure> {
    let mut journal = journal;
    let mut effect = effect;
    let mut candidate: Option<H::Verified> = None;
    if journal.step == Step::Accepted {
        (journal, effect) = advance(host, &journal, Event::Begun)?;
    }
    loop {
        let event = match effect {
            Effect::Download => fetch(host, &journal).map(|()| Event::Downloaded),
            Effect::Verify => verify(host, &journal).map(|verified| {
                candidate = Some(verified);
                Event::Verified
            }),
            Effect::Preflight => preflight(host, &journal, &mut candidate),
            Effect::StartUpdater => {
                keep_and_start(host, &journal).map(Event::UpdaterReady).map_err(|error| {
                    let kind = match error.refusal {
                        Refusal::Full => FailureKind::Disk,
                        Refusal::InUse | Refusal::Other => FailureKind::Updater,
                    };
                    failure(kind, format!("the updater could not be started: {error}"))
                })
            }
            Effect::Reply => return Ok(journal),
            Effect::Stop
            | Effect::Replace
            | Effect::Start
            | Effect::Watch
            | Effect::Restore
            | Effect::Revive
            | Effect::CleanUp => {
                Err(failure(FailureKind::Other, format!("{effect:?} is not the agent's to do")))
            }
        };
        (journal, effect) = advance(host, &journal, event.unwrap_or_else(Event::Failed))?;
    }
}

/// One step of the agent's half, written down. A failure closes the update.
fn advance<H: Host>(
    host: &mut H,
    journal: &Journal,
    event: Event,
) -> Result<(Journal, Effect), Failure> {
    let written = |host: &mut H, event: Event| -> Result<(Journal, Effect), Failure> {
        let now = host.now();
        let next = step(journal, event, now)
            .map_err(|defect| failure(FailureKind::Other, defect.to_string()))?;
        host.write_journal(&next.0)
            .map_err(|error| failure(FailureKind::Disk, format!("the journal: {error}")))?;
        host.changed(&next.0);
        Ok(next)
    };
    let failed = match event {
        Event::Failed(failed) => failed,
        event => match written(host, event) {
            Ok(next) => return Ok(next),
            Err(failed) => failed,
        },
    };
    close_unstaged(host, journal, failed.clone());
    Err(failed)
}

/// Ends an update before anything was touched. The updater goes first: once the journal is closed nobody asks for it.
fn close_unstaged<H: Host>(host: &mut H, journal: &Journal, failed: Failure) {
    // One that stays finds a closed journal and removes itself.
    let _ = host.remove_updater();
    let worthless = failed.kind.blames_the_version() && !journal.is_rollback();
    if let Ok((closed, _)) = step(journal, Event::Failed(failed), host.now()) {
        if host.write_journal(&closed).is_err() {
            // The disk is full: what this update left on it is the first thing to go.
            remove_temporary(host);
            let _ = host.write_journal(&closed);
        }
        host.changed(&closed);
    }
    // A download that broke off is taken up again by the next try; one with wrong bytes never becomes right.
    let keep = |file: &File| *file != File::Candidate || worthless;
    for file in File::TEMPORARY.into_iter().filter(keep) {
        let _ = host.remove(file);
    }
}

fn fetch<H: Host>(host: &mut H, journal: &Journal) -> Result<(), Failure> {
    match &journal.source {
        Source::Download { .. } => host.fetch(journal),
        Source::Previous {} => {
            let kept = host.digest(File::Previous).map_err(|error| disk(&error))?;
            if kept != Some(journal.sha256) {
                let detail = "the version to go back to is no longer kept on this PC".to_owned();
                return Err(failure(FailureKind::NoPrevious, detail));
            }
            host.copy(File::Previous, File::Candidate)
                .and_then(|()| host.flush(File::Candidate))
                .map_err(|error| disk(&error))
        }
    }
}

fn verify<H: Host>(host: &mut H, journal: &Journal) -> Result<H::Verified, Failure> {
    host.verify_candidate(journal)
}

fn preflight<H: Host>(
    host: &mut H,
    journal: &Journal,
    candidate: &mut Option<H::Verified>,
) -> Result<Event, Failure> {
    // Taken up again after a restart of the agent: what was verified then was not held since.
    let candidate = match candidate.take() {
        Some(candidate) => candidate,
        None => host.verify_candidate(journal)?,
    };
    host.preflight(journal, &candidate)?;
    Ok(Event::ProvenBeside)
}

/// Keeps *previous* and the config, registers the updater and proves that it runs. Returns the kept config's digest.
fn keep_and_start<H: Host>(
    host: &mut H,
    journal: &Journal,
) -> Result<Option<Sha256Digest>, HostError> {
    // An earlier try may have left one: its image is in the way of the new *previous*.
    host.remove_updater()?;
    if host.digest(File::Previous)? != Some(journal.from_sha256) {
        retry_locked(host, |host| host.copy(File::Active, File::PreviousNew))?;
        host.flush(File::PreviousNew)?;
        if host.digest(File::PreviousNew)? != Some(journal.from_sha256) {
            return Err(HostError {
                refusal: Refusal::Other,
                words: "the running executable is not the one that was started; nothing was touched"
                    .to_owned(),
            });
        }
        retry_locked(host, |host| host.rename(File::PreviousNew, File::Previous))?;
    }
    let config = host.digest(File::Config)?;
    if config.is_some() && host.digest(File::ConfigKept)? != config {
        host.copy(File::Config, File::ConfigKeptNew)?;
        host.flush(File::ConfigKeptNew)?;
        host.rename(File::ConfigKeptNew, File::ConfigKept)?;
    }
    host.register_updater()?;
    // From here on a new version may stand at the active path: that a reboot starts the updater is on the disk first.
    host.flush_services()?;
    host.start_updater()?;
    Ok(config)
}

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
            return without_journal(host, Some(problem));
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
            Effect::Stop => stop(host, &journal, &mut candidate),
            Effect::Replace => replace(host, &journal, &mut candidate),
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

fn stop<H: Host>(
    host: &mut H,
    journal: &Journal,
    candidate: &mut Option<H::Verified>,
) -> Option<Event> {
    if candidate.is_none() {
        match host.verify_candidate(journal) {
            Ok(verified) => *candidate = Some(verified),
            Err(failed) => return Some(Event::Failed(failed)),
        }
    }
    // A service manager that restarts what is ended by force would put the old image in use again.
    let _ = host.set_recovery(false);
    Some(match host.stop_agent(STOP_MS) {
        Ok(()) => Event::Stopped,
        Err(error) => {
            let detail = format!("the service could not be stopped: {error}");
            Event::Failed(failure(FailureKind::Stop, detail))
        }
    })
}

fn replace<H: Host>(
    host: &mut H,
    journal: &Journal,
    candidate: &mut Option<H::Verified>,
) -> Option<Event> {
    if host.digest(File::Active).is_ok_and(|active| active == Some(journal.sha256)) {
        return Some(Event::Replaced);
    }
    let Some(mut verified) = candidate.take() else {
        let detail = "the candidate is not verified".to_owned();
        return Some(Event::Failed(failure(FailureKind::Swap, detail)));
    };
    Some(match put_in_place(host, &mut verified, LOCKED_MS) {
        Ok(()) => Event::Replaced,
        Err(error) => {
            let detail = format!("the executable could not be replaced: {error}");
            Event::Failed(failure(FailureKind::Swap, detail))
        }
    })
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

fn watch<H: Host>(host: &mut H, journal: &Journal) -> Option<Event> {
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
fn without_journal<H: Host>(host: &mut H, problem: Option<JournalProblem>) -> Finished {
    if let Some(problem) = &problem {
        let words = problem.to_string();
        host.trouble("the journal", &HostError { refusal: Refusal::Other, words });
    }
    let facts = host.digest(File::Active).and_then(|active| Ok((active, host.digest(File::Previous)?)));
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

/// Removes what an update leaves, the updater's own service last.
fn clean_up<H: Host>(host: &mut H) {
    let _ = host.set_recovery(true);
    remove_temporary(host);
    let _ = host.remove_updater();
}

fn remove_temporary<H: Host>(host: &mut H) {
    for file in File::TEMPORARY {
        // What something still holds goes with the next update.
        let _ = host.remove(file);
    }
}

/// What an agent does next about the update that it found at its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// Nothing is open.
    Nothing,
    /// It was closed just now.
    Closed(Box<Journal>),
    /// Take it up again: [`stage`] from this effect on.
    Resume(Box<Journal>, Effect),
    /// The updater is at it.
    WithUpdater,
    /// The updater cannot be brought back just now: ask again in a minute.
    Later(String),
    /// Neither updater nor *previous* is left: [`prove_alone`].
    ProveAlone(Box<Journal>),
}

/// Settles what an interruption left. In the agent, at its start as a service, and again while that says
/// [`Settled::Later`]. `first` is true at the start itself, which counts.
pub fn settle<H: Host>(host: &mut H, running_sha256: Sha256Digest, first: bool) -> Settled {
    let journal = match host.read_journal() {
        Ok(None) => None,
        Ok(Some(journal)) => Some(journal),
        Err(JournalProblem::Unreadable(words)) => return Settled::Later(words),
        Err(problem @ (JournalProblem::Damaged(_) | JournalProblem::Newer(_))) => {
            // An updater that is there makes sense of what it finds better than an agent that may be the candidate.
            if host.updater_is_registered().unwrap_or(false) && host.start_updater().is_ok() {
                return Settled::WithUpdater;
            }
            let words = problem.to_string();
            host.trouble("the journal", &HostError { refusal: Refusal::Other, words });
            match host.set_journal_aside() {
                Ok(()) => None,
                Err(error) => return Settled::Later(error.words),
            }
        }
    };
    let Some(journal) = journal.filter(Journal::is_open) else {
        let _ = host.set_recovery(true);
        return Settled::Nothing;
    };
    if first && running_sha256 == journal.sha256 {
        host.count_start(journal.update_id);
    }
    let registered = match host.updater_is_registered() {
        Ok(registered) => registered,
        Err(error) => return Settled::Later(error.words),
    };
    let previous_kept =
        host.digest(File::Previous).is_ok_and(|kept| kept == Some(journal.from_sha256));
    let facts = StartFacts { running_sha256, updater_registered: registered, previous_kept };
    let ensure = |host: &mut H| match host.start_updater() {
        Ok(()) => Settled::WithUpdater,
        Err(error) => Settled::Later(error.words),
    };
    match at_agent_start(&journal, facts) {
        AtStart::Nothing => Settled::Nothing,
        AtStart::Resume(effect) => {
            let journal = resumed(&journal);
            match host.write_journal(&journal) {
                Ok(()) => Settled::Resume(Box::new(journal), effect),
                Err(error) => Settled::Later(error.words),
            }
        }
        AtStart::CloseInterrupted => {
            let detail = format!("the agent was restarted while {}", journal.step);
            close_unstaged(host, &journal, failure(FailureKind::Interrupted, detail));
            closed(host)
        }
        AtStart::EnsureUpdater => ensure(host),
        AtStart::RegisterUpdater => {
            let registered = host.register_updater().and_then(|()| host.flush_services());
            match registered {
                Ok(()) => ensure(host),
                Err(error) => Settled::Later(error.words),
            }
        }
        AtStart::CloseRolledBack => {
            let journal = closed_as_rolled_back(&journal, host.now());
            match host.write_journal(&journal) {
                Ok(()) => {
                    host.changed(&journal);
                    clean_up(host);
                    Settled::Closed(Box::new(journal))
                }
                Err(error) => Settled::Later(error.words),
            }
        }
        AtStart::ProveAlone => Settled::ProveAlone(Box::new(journal)),
    }
}

fn closed<H: Host>(host: &mut H) -> Settled {
    match host.read_journal() {
        Ok(Some(journal)) if !journal.is_open() => Settled::Closed(Box::new(journal)),
        Ok(_) => Settled::Later("the journal cannot be closed".to_owned()),
        Err(problem) => Settled::Later(problem.to_string()),
    }
}

/// The new version runs, and nothing is left to go back to: it stays, and the update ends once it has proved itself.
/// Blocks as long as the proof takes; false when this process has to end first.
pub fn prove_alone<H: Host>(host: &mut H, journal: &Journal) -> bool {
    let Some(event) = watch(host, journal) else { return false };
    let now = host.now();
    let closed = match event {
        Event::Proven => {
            let mut committed = journal.clone();
            committed.step = Step::Watching;
            step(&committed, Event::Proven, now).map(|(journal, _)| journal).ok()
        }
        // It runs all the same: there is no other. The server learns that it was not proven.
        Event::Failed(failed) => {
            let mut stays = journal.clone();
            stays.failure = Some(failed);
            Some(stays.at(Step::Committed, now))
        }
        Event::Begun
        | Event::Downloaded
        | Event::Verified
        | Event::ProvenBeside
        | Event::UpdaterReady(_)
        | Event::Released
        | Event::Stopped
        | Event::Replaced
        | Event::Started
        | Event::Died(_)
        | Event::Restored
        | Event::Revived => None,
    };
    let Some(closed) = closed else { return false };
    if host.write_journal(&closed).is_err() {
        return false;
    }
    host.changed(&closed);
    clean_up(host);
    true
}

/// Between two tries of what must work in the end.
struct Pause {
    next_ms: u64,
}

impl Default for Pause {
    fn default() -> Self {
        Self { next_ms: FIRST_PAUSE_MS }
    }
}

impl Pause {
    fn wait<H: Host>(&mut self, host: &mut H) -> Waited {
        let waited = host.pause(self.next_ms);
        self.next_ms = (self.next_ms * 2).min(LONGEST_PAUSE_MS);
        waited
    }
}

/// Tries again while something holds a file.
fn retry_locked<H: Host>(
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

fn failure(kind: FailureKind, detail: String) -> Failure {
    Failure { kind, detail }
}

fn disk(error: &HostError) -> Failure {
    failure(FailureKind::Disk, error.to_string())
}
