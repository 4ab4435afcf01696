//! The agent's half: from the request to the staged candidate.

use kenny_proto::update::Failure;
use kenny_proto::{FailureKind, Sha256Digest};

use super::engine::{disk, failure, remove_temporary, retry_locked};
use super::host::{File, Host, HostError, Refusal};
use super::journal::{Journal, Source, Step};
use super::step::{Effect, Event, step};

/// Carries an update out up to the staged candidate, from `effect` on: [`Effect::Download`] for a new one. Returns the
/// journal at [`Step::Staged`], whose answer is to be sent before the updater gets the word; or the failure, with
/// everything closed.
pub fn stage<H: Host>(host: &mut H, journal: Journal, effect: Effect) -> Result<Journal, Failure> {
    let mut journal = journal;
    let mut effect = effect;
    let mut authorised: Option<H::Authorised> = None;
    let mut candidate: Option<H::Verified> = None;
    if journal.step == Step::Accepted {
        (journal, effect) = advance(host, &journal, Event::Begun)?;
    }
    loop {
        let event = match effect {
            Effect::Download => fetch(host, &journal, &mut authorised).map(|()| Event::Downloaded),
            Effect::Verify => verify(host, &journal, &mut authorised).map(|verified| {
                candidate = Some(verified);
                Event::Verified
            }),
            Effect::Preflight => preflight(host, &journal, &mut authorised, &mut candidate),
            Effect::StartUpdater => start_updater(host, &journal, &mut authorised),
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
    let failed = if let Event::Failed(failed) = event {
        failed
    } else {
        match written(host, event) {
            Ok(next) => return Ok(next),
            Err(failed) => failed,
        }
    };
    close_unstaged(host, journal, failed.clone());
    Err(failed)
}

/// Ends an update before anything was touched. The updater goes first: once the journal is closed nobody asks for it.
pub fn close_unstaged<H: Host>(host: &mut H, journal: &Journal, failed: Failure) {
    // One that stays finds a closed journal and removes itself.
    let _ = host.remove_updater();
    let wrong = failed.kind == FailureKind::HashMismatch || failed.kind.blames_the_version();
    let worthless = wrong && !journal.is_rollback();
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

/// What this process was told. What a process before it was told does not count: it is asked again.
fn ask<'a, H: Host>(
    host: &mut H,
    journal: &Journal,
    authorised: &'a mut Option<H::Authorised>,
) -> Result<&'a H::Authorised, Failure> {
    let told = match authorised.take() {
        Some(told) => told,
        None => host.authorise(journal)?,
    };
    Ok(authorised.insert(told))
}

fn fetch<H: Host>(
    host: &mut H,
    journal: &Journal,
    authorised: &mut Option<H::Authorised>,
) -> Result<(), Failure> {
    let authorised = ask(host, journal, authorised)?;
    match &journal.source {
        Source::Download { .. } => host.fetch(journal, authorised),
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

fn verify<H: Host>(
    host: &mut H,
    journal: &Journal,
    authorised: &mut Option<H::Authorised>,
) -> Result<H::Verified, Failure> {
    let authorised = ask(host, journal, authorised)?;
    host.verify_candidate(journal, authorised)
}

fn preflight<H: Host>(
    host: &mut H,
    journal: &Journal,
    authorised: &mut Option<H::Authorised>,
    candidate: &mut Option<H::Verified>,
) -> Result<Event, Failure> {
    // Taken up again after a restart of the agent: what was verified then was not held since.
    let candidate = match candidate.take() {
        Some(candidate) => candidate,
        None => verify(host, journal, authorised)?,
    };
    host.preflight(journal, &candidate)?;
    Ok(Event::ProvenBeside)
}

fn start_updater<H: Host>(
    host: &mut H,
    journal: &Journal,
    authorised: &mut Option<H::Authorised>,
) -> Result<Event, Failure> {
    ask(host, journal, authorised)?;
    keep_and_start(host, journal).map(Event::UpdaterReady).map_err(|error| {
        let kind = match error.refusal {
            Refusal::Full => FailureKind::Disk,
            Refusal::InUse | Refusal::Other => FailureKind::Updater,
        };
        failure(kind, format!("the updater could not be started: {error}"))
    })
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
        retry_locked(host, |host| host.flush(File::PreviousNew))?;
        if host.digest(File::PreviousNew)? != Some(journal.from_sha256) {
            return Err(HostError {
                refusal: Refusal::Other,
                words:
                    "the running executable is not the one that was started; nothing was touched"
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
