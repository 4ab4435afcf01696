//! The SQL of the audit log. Called on the database's thread only.

use jiff::Timestamp;
use kenny_proto::audit::{AUDIT_PAGE_ROWS, AuditAnchor, AuditPage, AuditRow, GENESIS};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::Entry;
use crate::auth::sha256;
use crate::store::rows::{json, named, parsed, parsed_option, set_setting, setting, to_json, word};

/// Where the log ends, kept apart from its rows: the next row follows it, so that an end that was cut off leaves a gap.
const HEAD: &str = "audit_head";

const COLUMNS: &str = "sequence, at, account, role, face, from_address, action, agent_id, subject, outcome, call, facts, \
                       previous, hash";

/// Adds a row to the end of the chain, inside the transaction that is open.
pub fn append(connection: &Connection, entry: &Entry) -> rusqlite::Result<AuditAnchor> {
    let end = head(connection)?;
    let mut row = AuditRow {
        sequence: end.sequence + 1,
        at: entry.at,
        account: entry.who.account.clone(),
        role: entry.who.role,
        face: entry.who.face.to_owned(),
        from: entry.who.from.map(|from| from.to_string()),
        action: entry.action.to_owned(),
        agent_id: entry.subject.agent_id.clone(),
        subject: entry.subject.name.clone(),
        outcome: entry.outcome,
        call: entry.call.clone(),
        facts: entry.facts.clone(),
        previous: end.hash,
        hash: GENESIS,
    };
    row.hash = sha256(&row.hashed_bytes());
    connection
        .prepare_cached(
            "INSERT INTO audit (sequence, at, account, role, face, from_address, action, agent_id, subject, outcome, call,
             facts, previous, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        )?
        .execute(params![
            i64::try_from(row.sequence).unwrap_or(i64::MAX),
            row.at.to_string(),
            row.account,
            row.role.as_ref().map(word),
            row.face,
            row.from,
            row.action,
            row.agent_id,
            row.subject,
            word(&row.outcome),
            row.call,
            to_json(&row.facts),
            row.previous.to_string(),
            row.hash.to_string(),
        ])?;
    set_setting(connection, HEAD, &row.anchor().to_string())?;
    Ok(row.anchor())
}

/// Where the log ends. Where the place for it is empty, its last row says so: a log must go on even then.
pub fn head(connection: &Connection) -> rusqlite::Result<AuditAnchor> {
    if let Some(head) = setting(connection, HEAD)?.and_then(|head| head.parse().ok()) {
        return Ok(head);
    }
    let last = connection
        .prepare_cached("SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1")?
        .query_row([], |row| {
            let sequence = row.get::<_, i64>(0)?.unsigned_abs();
            Ok(AuditAnchor { sequence, hash: parsed(row, 1)? })
        })
        .optional()?;
    Ok(last.unwrap_or(AuditAnchor::START))
}

/// Which rows are wanted.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this agent.
    pub agent: Option<String>,
    /// Of this account.
    pub account: Option<String>,
    /// Of this action, or of all that begin with it where it ends with `.`.
    pub action: Option<String>,
    /// From this time on.
    pub since: Option<Timestamp>,
    /// Up to this time.
    pub until: Option<Timestamp>,
    /// Only rows before this one, newest first.
    pub before: Option<u64>,
    /// Only rows after this one, oldest first.
    pub after: Option<u64>,
    /// At most so many.
    pub limit: Option<u32>,
}

/// The wanted rows.
pub fn page(connection: &Connection, filter: &Filter) -> rusqlite::Result<AuditPage> {
    let order = if filter.after.is_some() { "ASC" } else { "DESC" };
    // Times are compared as times: text of different lengths does not sort by them.
    let sql = format!(
        "SELECT {COLUMNS} FROM audit
         WHERE (?1 IS NULL OR agent_id = ?1) AND (?2 IS NULL OR account = ?2)
         AND (?3 IS NULL OR action = ?3 OR (substr(?3, -1) = '.' AND substr(action, 1, length(?3)) = ?3))
         AND (?4 IS NULL OR julianday(at) >= julianday(?4)) AND (?5 IS NULL OR julianday(at) <= julianday(?5))
         AND sequence < ?6 AND sequence > ?7 ORDER BY sequence {order} LIMIT ?8"
    );
    let number = |place: Option<u64>, otherwise: i64| {
        place.map_or(otherwise, |place| i64::try_from(place).unwrap_or(i64::MAX))
    };
    let rows = connection
        .prepare_cached(&sql)?
        .query_map(
            params![
                filter.agent,
                filter.account,
                filter.action,
                filter.since.map(|at| at.to_string()),
                filter.until.map(|at| at.to_string()),
                number(filter.before, i64::MAX),
                number(filter.after, 0),
                filter.limit.unwrap_or(100).min(AUDIT_PAGE_ROWS),
            ],
            read,
        )?
        .collect::<rusqlite::Result<_>>()?;
    Ok(AuditPage { rows, head: head(connection)? })
}

fn read(row: &Row<'_>) -> rusqlite::Result<AuditRow> {
    Ok(AuditRow {
        sequence: row.get::<_, i64>(0)?.unsigned_abs(),
        at: parsed(row, 1)?,
        account: row.get(2)?,
        role: parsed_option(row, 3)?,
        face: row.get(4)?,
        from: row.get(5)?,
        action: row.get(6)?,
        agent_id: row.get(7)?,
        subject: row.get(8)?,
        outcome: named(row, 9)?,
        call: row.get(10)?,
        facts: json(row, 11)?,
        previous: parsed(row, 12)?,
        hash: parsed(row, 13)?,
    })
}
