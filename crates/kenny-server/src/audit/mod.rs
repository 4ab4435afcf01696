//! The audit log: every change and every forwarded call, who asked for it, from where, and what became of it.
//!
//! Append-only and hash-chained. A change and its row are one transaction. A call's row is written before it is sent and
//! its outcome after, so that a crash in between leaves "outcome unknown" and not nothing. Events stay what they are:
//! for whoever watches, and not kept for ever.

mod arguments;
mod denials;
mod offline;
mod rows;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

use jiff::Timestamp;
use kenny_proto::Role;
use kenny_proto::audit::{AuditAnchor, AuditOutcome};
use rusqlite::Connection;
use uuid::Uuid;

use crate::store::{Store, StoreError};

pub use arguments::kept as kept_arguments;
use denials::Denials;
pub use offline::verify as verify_offline;
pub use rows::{Filter, append, head, page};

/// More about a row, by name.
pub type Facts = BTreeMap<String, String>;

/// Names and texts from outside are cut to so many bytes: an agent's id has 64, a path on Windows mostly less than 260.
const TEXT_BYTES: usize = 300;

/// Who did it, and through what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// The account; none where nobody was recognised.
    pub account: Option<String>,
    /// Its role.
    pub role: Option<Role>,
    /// `rest`, `mcp`, `web`, `oauth`, `console` or `tunnel`.
    pub face: &'static str,
    /// From which address.
    pub from: Option<IpAddr>,
}

impl Who {
    /// Somebody at the server itself, who needs no account.
    pub const CONSOLE: Self = Self { account: None, role: None, face: "console", from: None };

    /// Nobody that the server knows.
    pub const fn stranger(face: &'static str, from: Option<IpAddr>) -> Self {
        Self { account: None, role: None, face, from }
    }
}

/// What it was about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subject {
    /// The agent.
    pub agent_id: Option<String>,
    /// What else: a tool, a version, an account.
    pub name: Option<String>,
}

impl Subject {
    /// About an agent.
    pub fn agent(id: &str) -> Self {
        Self { agent_id: Some(cut(id)), name: None }
    }

    /// About something else.
    pub fn named(name: &str) -> Self {
        Self { agent_id: None, name: Some(cut(name)) }
    }

    /// With this name besides.
    pub fn and(self, name: &str) -> Self {
        Self { name: Some(cut(name)), ..self }
    }
}

/// A row that has no place in the chain yet.
#[derive(Debug, Clone)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub who: Who,
    /// What.
    pub action: &'static str,
    /// About what.
    pub subject: Subject,
    /// What became of it.
    pub outcome: AuditOutcome,
    /// Joins the rows of a call.
    pub call: Option<String>,
    /// More.
    pub facts: Facts,
}

impl Entry {
    /// Something that happens now.
    pub fn now(who: Who, action: &'static str, subject: Subject, outcome: AuditOutcome) -> Self {
        Self {
            at: Timestamp::now(),
            who,
            action,
            subject,
            outcome,
            call: None,
            facts: Facts::new(),
        }
    }

    /// With these facts.
    pub fn with(self, facts: Facts) -> Self {
        Self { facts, ..self }
    }
}

/// The way to the log.
#[derive(Debug)]
pub struct Audit {
    store: Store,
    denials: Denials,
}

impl Audit {
    /// The log of this database.
    pub fn new(store: Store) -> Self {
        Self { store, denials: Denials::default() }
    }

    /// Makes a change and writes its row, in one transaction.
    pub async fn change<T, F>(&self, entry: Entry, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let both = move |connection: &Connection| {
            let made = work(connection)?;
            append(connection, &entry)?;
            Ok(made)
        };
        self.store.run(both).await
    }

    /// Writes a row that goes with no change of the database, behind what waits already. Waits for room, not for the disk.
    pub async fn note(&self, entry: Entry) -> Result<(), StoreError> {
        self.store.queue(move |connection| append(connection, &entry).map(drop)).await
    }

    /// Before a call is sent. One that changes the PC waits until the row is on the disk; the row of one that reads goes
    /// out with the next batch, and waits only where the database takes nothing.
    pub async fn begin(&self, entry: Entry, changes: bool) -> Result<Call<'_>, StoreError> {
        debug_assert_eq!(entry.outcome, AuditOutcome::Sent);
        let entry = Entry { call: Some(Uuid::new_v4().to_string()), ..entry };
        let call = Entry { facts: Facts::new(), ..entry.clone() };
        if changes {
            self.store.run(move |connection| append(connection, &entry)).await?;
        } else {
            self.note(entry).await?;
        }
        Ok(Call { store: &self.store, row: Some(call) })
    }

    /// Somebody wanted what they may not have. Bounded: whoever tries for ever does not fill the disk.
    pub fn denied(&self, who: Who, action: &'static str, subject: Subject, why: &str) {
        let source = match (&who.account, who.from) {
            (Some(account), _) => account.clone(),
            (None, Some(from)) => from.to_string(),
            (None, None) => String::new(),
        };
        let Some(left_out) = self.denials.admit(&source, Instant::now()) else { return };
        let mut facts = Facts::from([("why".to_owned(), cut(why))]);
        if left_out > 0 {
            facts.insert("left_out_before".to_owned(), left_out.to_string());
        }
        let entry = Entry::now(who, action, subject, AuditOutcome::Denied).with(facts);
        self.store.queue_now(move |connection| append(connection, &entry).map(drop));
    }

    /// Where the log ends.
    pub async fn head(&self) -> Result<AuditAnchor, StoreError> {
        self.store.run(head).await
    }
}

/// A call on its way: its row is written, its outcome is not. Only this lets a call out
/// ([`crate::tunnel::Session::call`]). Whoever drops it leaves "unknown" as the outcome.
#[derive(Debug)]
#[must_use]
pub struct Call<'a> {
    store: &'a Store,
    row: Option<Entry>,
}

impl Call<'_> {
    /// Writes what became of it, behind what waits already.
    pub async fn end(mut self, outcome: AuditOutcome, facts: Facts) {
        let Some(row) = self.row.take() else { return };
        let entry = Entry { at: Timestamp::now(), outcome, facts, ..row };
        let queued = self.store.queue(move |connection| append(connection, &entry).map(drop)).await;
        if let Err(error) = queued {
            tracing::warn!(%error, "the outcome of a call is not in the audit log");
        }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let Some(row) = self.row.take() else { return };
        let facts = Facts::from([("why".to_owned(), "whoever asked stopped waiting".to_owned())]);
        let entry = Entry { at: Timestamp::now(), outcome: AuditOutcome::Unknown, facts, ..row };
        self.store.queue_now(move |connection| append(connection, &entry).map(drop));
    }
}

/// A text of somebody else's making, no longer than a row should carry.
pub fn cut(text: &str) -> String {
    if text.len() <= TEXT_BYTES {
        return text.to_owned();
    }
    let mut end = TEXT_BYTES;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}...", &text[..end])
}

#[cfg(test)]
mod tests;
