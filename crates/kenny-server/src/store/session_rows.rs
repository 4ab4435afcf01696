//! Rows of browser sessions.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::rows::parsed;
use crate::accounts::AccountId;
use crate::auth::TokenHash;

/// A browser that is signed in.
#[derive(Debug, Clone)]
pub struct SessionRow {
    /// Names it where it is ended.
    pub id: String,
    /// Whose it is.
    pub account_id: AccountId,
    /// The account's generation when it signed in.
    pub generation: i64,
    /// Since when.
    pub created_at: Timestamp,
    /// When it was last used, to the minute.
    pub last_used_at: Timestamp,
    /// What the browser calls itself.
    pub browser: String,
    /// The address that it signed in from.
    pub address: Option<String>,
}

const SESSION: &str = "id, account_id, generation, created_at, last_used_at, browser, address";

fn session(row: &Row<'_>) -> rusqlite::Result<SessionRow> {
    Ok(SessionRow {
        id: row.get(0)?,
        account_id: AccountId(row.get(1)?),
        generation: row.get(2)?,
        created_at: parsed(row, 3)?,
        last_used_at: parsed(row, 4)?,
        browser: row.get(5)?,
        address: row.get(6)?,
    })
}

/// Keeps a new session.
pub fn insert_session(
    connection: &Connection,
    session: &SessionRow,
    secret: TokenHash,
) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT INTO sessions (id, secret_hash, account_id, generation, created_at, last_used_at, browser, address) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            session.id,
            secret.0.to_string(),
            session.account_id.0,
            session.generation,
            session.created_at.to_string(),
            session.last_used_at.to_string(),
            session.browser,
            session.address,
        ],
    )?;
    Ok(())
}

/// The session with this secret.
pub fn session_by_secret(
    connection: &Connection,
    secret: TokenHash,
) -> rusqlite::Result<Option<SessionRow>> {
    connection
        .prepare_cached(&format!("SELECT {SESSION} FROM sessions WHERE secret_hash = ?1"))?
        .query_row([secret.0.to_string()], session)
        .optional()
}

/// Every session of an account, the one that was used last first.
pub fn sessions_of(
    connection: &Connection,
    account_id: AccountId,
) -> rusqlite::Result<Vec<SessionRow>> {
    let sql =
        format!("SELECT {SESSION} FROM sessions WHERE account_id = ?1 ORDER BY last_used_at DESC");
    connection.prepare(&sql)?.query_map([account_id.0], session)?.collect()
}

/// Keeps when a session was last used.
pub fn touch_session(connection: &Connection, id: &str, now: Timestamp) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE sessions SET last_used_at = ?2 WHERE id = ?1")?
        .execute([id, &now.to_string()])?;
    Ok(())
}

/// Ends a session of this account; false when it has none such.
pub fn delete_session(
    connection: &Connection,
    account_id: AccountId,
    id: &str,
) -> rusqlite::Result<bool> {
    let sql = "DELETE FROM sessions WHERE id = ?1 AND account_id = ?2";
    Ok(connection.execute(sql, params![id, account_id.0])? > 0)
}
