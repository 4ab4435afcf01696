//! What telemetry tells of the trust. Reads what is kept and asks nobody.

use jiff::{SignedDuration, Timestamp};
use kenny_proto::FailureKind;
use kenny_proto::frames::{Section, Status};
use serde_json::{Value, json};

use super::memory::Memory;
use super::metadata::expires_at;
use super::store::{Pin, Store, TrustedRoot};

/// So long before the root expires an operator should sign a new one: that takes people and their keys together.
const ROOT_NOTICE: SignedDuration = SignedDuration::from_hours(30 * 24);

/// The section `trust`.
pub fn of(store: &Store, now: Timestamp) -> Section {
    let memory = store.memory();
    let floor = memory.floor.as_ref().map(ToString::to_string);
    if matches!(store.pin(), Pin::None(_)) {
        let words =
            "hash-only: no root is pinned, so whoever has the server decides what runs here";
        return section(Status::Warn, words, json!({"mode": "hash-only", "floor": floor}));
    }
    let timestamp = store.timestamp();
    let checked = memory.checked.as_ref();
    let mut fields = json!({
        "mode": "pinned",
        "floor": floor,
        "timestamp_version": timestamp.as_ref().map(|timestamp| timestamp.version),
        "timestamp_expires_at": timestamp.as_ref().map(expires_at),
        "checked_at": checked.map(|checked| checked.at),
        "problem": checked.and_then(|checked| checked.problem.as_ref()),
    });
    let root = match store.root() {
        Ok(root) => root,
        Err(distrust) => return section(Status::Crit, &distrust.to_string(), fields),
    };
    fields["root_version"] = root.signed.signed.version.get().into();
    fields["root_expires_at"] = json!(expires_at(&root.signed.signed));
    let until = timestamp.as_ref().map(expires_at);
    let (status, words) = judge(&root, &memory, until, now);
    section(status, &words, fields)
}

fn judge(
    root: &TrustedRoot,
    memory: &Memory,
    timestamp_expires_at: Option<Timestamp>,
    now: Timestamp,
) -> (Status, String) {
    let version = root.signed.signed.version;
    let root_expires_at = expires_at(&root.signed.signed);
    if let Some(problem) = memory.checked.as_ref().and_then(|checked| checked.problem.as_ref()) {
        let is_grave = matches!(problem.kind, FailureKind::Untrusted | FailureKind::Expired);
        let status = if is_grave { Status::Crit } else { Status::Warn };
        let words =
            format!("root {version} is pinned, and updates are refused: {}", problem.detail);
        return (status, words);
    }
    if let Some(expired_at) = timestamp_expires_at.filter(|at| now >= *at) {
        let words = format!(
            "root {version} is pinned, and updates are refused: the timestamp expired at {expired_at}"
        );
        return (Status::Crit, words);
    }
    if memory.clock_went_back(now) {
        let words = format!(
            "root {version} is pinned, and the clock of this PC was set back: an old signature may look valid"
        );
        return (Status::Warn, words);
    }
    if root_expires_at.duration_since(now) <= ROOT_NOTICE {
        let words = format!("root {version} is pinned and expires at {root_expires_at}");
        return (Status::Warn, words);
    }
    let until = timestamp_expires_at.map_or_else(
        || "what is signed was not asked for yet".to_owned(),
        |at| format!("what is signed holds until {at}"),
    );
    (Status::Ok, format!("root {version} is pinned, {until}"))
}

fn section(status: Status, summary: &str, fields: Value) -> Section {
    let Value::Object(fields) = fields else { unreachable!("written as an object by the callers") };
    Section { status, summary: summary.to_owned(), fields }
}
