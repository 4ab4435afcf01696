//! An agent's start: what it makes of an update that an interruption left open.

use kenny_proto::{FailureKind, Sha256Digest};

use super::engine::{clean_up, failure, watch};
use super::host::{File, Host, HostError, Refusal};
use super::journal::{Journal, JournalProblem, Step};
use super::stage::close_unstaged;
use super::step::{
    AtStart, Effect, Event, StartFacts, at_agent_start, closed_as_rolled_back, resumed, step,
};

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
    // Only where somebody has to go back to it: hashing it would slow the start of every new version down.
    let previous_kept = !registered
        && host.digest(File::Previous).is_ok_and(|kept| kept == Some(journal.from_sha256));
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
