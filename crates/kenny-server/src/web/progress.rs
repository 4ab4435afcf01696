//! How an update is, in words and as one number.

use kenny_proto::Phase;
use kenny_proto::api::{Update, UpdateKind, UpdateState};

/// How much of an open update is done, 0 to 100: each phase has a share of about the time that it takes. None while
/// nothing was sent.
pub fn percent(update: &Update) -> Option<u8> {
    let (from, to) = match (update.state, update.phase) {
        (UpdateState::Waiting, _) => return None,
        (UpdateState::Online, _) | (_, Some(Phase::Probation)) => (85, 98),
        (_, None | Some(Phase::Accepted)) => (2, 4),
        (_, Some(Phase::Downloading)) => (4, 50),
        (_, Some(Phase::Verifying)) => (50, 55),
        (_, Some(Phase::Preflight)) => (55, 64),
        (_, Some(Phase::Staged)) => (64, 72),
        (_, Some(Phase::Swapping)) => (72, 85),
        (_, Some(Phase::Committed | Phase::RolledBack | Phase::Failed)) => (98, 100),
    };
    let done = u16::from(update.percent.unwrap_or(0).min(100));
    Some(u8::try_from(from + (to - from) * done / 100).unwrap_or(100))
}

/// What an open update does now: `downloading, 40 %`.
pub fn doing(update: &Update) -> String {
    let phase = match (update.state, update.phase) {
        (UpdateState::Waiting, _) => return "waits until the PC is online".to_owned(),
        (UpdateState::Unknown, _) => return "no word from the PC for too long".to_owned(),
        (UpdateState::Online, _) => "online on it, being watched",
        (_, None) => "sent to the PC",
        (_, Some(phase)) => phase_words(phase),
    };
    match update.percent {
        Some(percent) if update.state == UpdateState::Running => format!("{phase}, {percent} %"),
        Some(_) | None => phase.to_owned(),
    }
}

/// A phase as something that goes on.
pub const fn phase_words(phase: Phase) -> &'static str {
    match phase {
        Phase::Accepted => "accepted by the PC",
        Phase::Downloading => "downloading",
        Phase::Verifying => "checking what was downloaded",
        Phase::Preflight => "trying it beside the old version",
        Phase::Staged => "ready to be swapped",
        Phase::Swapping => "swapping",
        Phase::Probation => "running, being watched",
        Phase::Committed => "proven",
        Phase::RolledBack => "back on the old version",
        Phase::Failed => "ended without a change",
    }
}

/// A step of a timeline: a phase's name, or one of the words that the server writes.
pub fn step_words(step: &str) -> &str {
    if let Some(phase) = Phase::ALL.into_iter().find(|phase| phase.as_str() == step) {
        return phase_words(phase);
    }
    match step {
        "requested" => "asked for",
        "told" => "told by the PC",
        "sent" => "sent to the PC",
        "stopped" => "the old version stopped",
        "started" => "the new version started",
        "online" => "online",
        "redirected" => "led to the version that the PC kept",
        "unknown" => "no word from the PC",
        "heard" => "heard of again",
        "paused" => "paused at the PC",
        "superseded" => "given up for another wish",
        other => other,
    }
}

/// How an update ended, or stands.
pub const fn state_words(state: UpdateState) -> &'static str {
    match state {
        UpdateState::Waiting => "Waiting",
        UpdateState::Running => "Running",
        UpdateState::Online => "Being watched",
        UpdateState::Unknown => "No word",
        UpdateState::Succeeded => "Done",
        UpdateState::RolledBack => "Rolled back",
        UpdateState::Failed => "Failed",
        UpdateState::Superseded => "Given up",
    }
}

/// `Update to 1.1.0`.
pub fn title(update: &Update) -> String {
    match update.kind {
        UpdateKind::Update => format!("Update to {}", update.version),
        UpdateKind::Rollback => format!("Back to {}", update.version),
    }
}
