//! The SQL of signed metadata. Called on the database's thread only.

use kenny_proto::Sha256Digest;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::rows;

/// The seed of the key of the online roles, hexadecimal.
const ONLINE_KEY: &str = "trust_online_key";
/// The seed of the key that takes its place once a root names it, hexadecimal.
const NEXT_ONLINE_KEY: &str = "trust_next_online_key";

/// How many versions of a role other than root are kept: a client that is in the middle of reading an older snapshot
/// finds what it names, and after so many it starts anew.
const KEPT: i64 = 8;

/// The bodies of a role's metadata, oldest first.
fn metadata(connection: &Connection, role: &str) -> rusqlite::Result<Vec<Vec<u8>>> {
    connection
        .prepare("SELECT body FROM trust_metadata WHERE role = ?1 ORDER BY version")?
        .query_map([role], |row| row.get(0))?
        .collect()
}

/// Keeps one version of a role's metadata; the one that is there is replaced.
pub fn keep_metadata(
    connection: &Connection,
    role: &str,
    version: u64,
    body: &[u8],
) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT OR REPLACE INTO trust_metadata (role, version, body) VALUES (?1, ?2, ?3)",
        params![role, i64::try_from(version).unwrap_or(i64::MAX), body],
    )?;
    Ok(())
}

/// Forgets all but the newest few versions of a role's metadata.
pub fn prune_metadata(connection: &Connection, role: &str) -> rusqlite::Result<()> {
    let oldest: Option<i64> = connection
        .query_row(
            "SELECT version FROM trust_metadata WHERE role = ?1 ORDER BY version DESC LIMIT 1 OFFSET ?2",
            params![role, KEPT - 1],
            |row| row.get(0),
        )
        .optional()?;
    if let Some(oldest) = oldest {
        connection.execute(
            "DELETE FROM trust_metadata WHERE role = ?1 AND version < ?2",
            params![role, oldest],
        )?;
    }
    Ok(())
}

/// All that is kept.
#[derive(Debug)]
pub struct Kept {
    /// The seed of the key of the online roles.
    pub key: Sha256Digest,
    /// The seed of the key that is to take its place.
    pub next_key: Option<Sha256Digest>,
    /// Every root, oldest first.
    pub roots: Vec<Vec<u8>>,
    /// The newest few targets, oldest first.
    pub targets: Vec<Vec<u8>>,
    /// The newest few snapshots, oldest first.
    pub snapshots: Vec<Vec<u8>>,
    /// The newest timestamps, oldest first.
    pub timestamps: Vec<Vec<u8>>,
}

/// Reads it; `new_key` is kept where there is no key yet.
pub fn kept(connection: &Connection, new_key: Sha256Digest) -> rusqlite::Result<Kept> {
    let key = if let Some(key) = rows::bytes_setting(connection, ONLINE_KEY)? {
        key
    } else {
        rows::set_setting(connection, ONLINE_KEY, &new_key.to_string())?;
        new_key
    };
    Ok(Kept {
        key,
        next_key: rows::bytes_setting(connection, NEXT_ONLINE_KEY)?,
        roots: metadata(connection, "root")?,
        targets: metadata(connection, "targets")?,
        snapshots: metadata(connection, "snapshot")?,
        timestamps: metadata(connection, "timestamp")?,
    })
}

/// Keeps the key that is to take the place of the one that signs now.
pub fn set_next_key(connection: &Connection, key: &Sha256Digest) -> rusqlite::Result<()> {
    rows::set_setting(connection, NEXT_ONLINE_KEY, &key.to_string())
}

/// The next key is the key from now on.
pub fn promote_next_key(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute(
        "UPDATE settings SET value = (SELECT value FROM settings WHERE name = ?2) WHERE name = ?1",
        [ONLINE_KEY, NEXT_ONLINE_KEY],
    )?;
    connection.execute("DELETE FROM settings WHERE name = ?1", [NEXT_ONLINE_KEY])?;
    Ok(())
}
