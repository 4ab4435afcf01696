//! The schema and its migrations: `PRAGMA user_version` counts the ones that were applied.

use rusqlite::{Connection, TransactionBehavior};

use super::StoreError;

/// Each brings the schema from its index to the next version. Never edited once released, only appended.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE settings (
        name TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE agents (
        id TEXT PRIMARY KEY,
        token_hash TEXT NOT NULL,
        created_at TEXT NOT NULL,
        last_seen_at TEXT,
        facts TEXT,
        desired_version TEXT,
        desired_allow_downgrade INTEGER NOT NULL DEFAULT 0
    ) STRICT;

    CREATE TABLE releases (
        version TEXT NOT NULL,
        os TEXT NOT NULL,
        arch TEXT NOT NULL,
        sha256 TEXT NOT NULL,
        size_bytes INTEGER NOT NULL,
        added_at TEXT NOT NULL,
        PRIMARY KEY (version, os, arch)
    ) STRICT;

    CREATE TABLE updates (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        agent_id TEXT NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
        from_version TEXT,
        version TEXT NOT NULL,
        allow_downgrade INTEGER NOT NULL,
        sha256 TEXT,
        state TEXT NOT NULL,
        phase TEXT,
        failure TEXT,
        sent INTEGER NOT NULL,
        staged_reply INTEGER NOT NULL,
        requested_at TEXT NOT NULL,
        finished_at TEXT,
        journal TEXT NOT NULL
    ) STRICT;
    CREATE INDEX updates_by_agent ON updates (agent_id, sequence);

    CREATE TABLE update_timeline (
        update_id TEXT NOT NULL REFERENCES updates (id) ON DELETE CASCADE,
        position INTEGER NOT NULL,
        step TEXT NOT NULL,
        at TEXT NOT NULL,
        detail TEXT,
        PRIMARY KEY (update_id, position)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE telemetry (
        agent_id TEXT PRIMARY KEY REFERENCES agents (id) ON DELETE CASCADE,
        collected_at TEXT NOT NULL,
        received_at TEXT NOT NULL,
        snapshot TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE events (
        id INTEGER PRIMARY KEY,
        at TEXT NOT NULL,
        kind TEXT NOT NULL,
        agent_id TEXT,
        summary TEXT NOT NULL,
        body TEXT
    ) STRICT;
    CREATE INDEX events_by_agent ON events (agent_id, id) WHERE agent_id IS NOT NULL;
",
    "
    ALTER TABLE updates ADD COLUMN kind TEXT NOT NULL DEFAULT 'update';
    ALTER TABLE updates ADD COLUMN origin TEXT NOT NULL DEFAULT 'operator';
    ALTER TABLE updates ADD COLUMN attempt INTEGER NOT NULL DEFAULT 1;
    ALTER TABLE updates ADD COLUMN tally TEXT NOT NULL DEFAULT '{}';
    ALTER TABLE updates ADD COLUMN log TEXT NOT NULL DEFAULT '[]';
    CREATE INDEX updates_by_version ON updates (agent_id, version, sequence);

    CREATE TABLE holds (
        agent_id TEXT NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
        version TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        since TEXT NOT NULL,
        reason TEXT NOT NULL,
        cleared INTEGER NOT NULL,
        PRIMARY KEY (agent_id, version)
    ) STRICT, WITHOUT ROWID;
",
];

/// The schema version that this server writes.
#[expect(clippy::cast_possible_wrap, reason = "a handful of migrations")]
pub const VERSION: i64 = MIGRATIONS.len() as i64;

/// Sets the connection up and brings the schema to [`VERSION`].
pub fn prepare(connection: &mut Connection) -> Result<(), StoreError> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // An acknowledged operator action survives a power cut; commits are shared by batches, so this is cheap.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", "ON")?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found > VERSION {
        return Err(StoreError::Newer { found, known: VERSION });
    }
    for (version, migration) in (1..).zip(MIGRATIONS) {
        if version <= found {
            continue;
        }
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use kenny_proto::UpdateId;
    use kenny_proto::api::UpdateOrigin;

    use super::*;
    use crate::store::update_rows;

    #[test]
    fn migrations_apply_once_and_a_newer_database_is_refused() {
        let mut connection = Connection::open_in_memory().unwrap();
        prepare(&mut connection).unwrap();
        prepare(&mut connection).unwrap();
        let tables: i64 = connection
            .query_row("SELECT count(*) FROM sqlite_master WHERE name = 'updates'", [], |row| {
                row.get(0)
            })
            .unwrap();
        assert_eq!(tables, 1);
        connection.pragma_update(None, "user_version", VERSION + 1).unwrap();
        let error = prepare(&mut connection).unwrap_err();
        assert!(matches!(error, StoreError::Newer { found, known } if found == known + 1));
        assert!(error.to_string().contains("newer kenny-server"), "{error}");
    }

    #[test]
    fn updates_of_the_first_schema_read_as_first_attempts() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(MIGRATIONS[0]).unwrap();
        connection.pragma_update(None, "user_version", 1).unwrap();
        let id = UpdateId::random();
        connection
            .execute_batch(&format!(
                r#"INSERT INTO agents (id, token_hash, created_at, desired_version) VALUES ('pc-1', 'x', 'x', '1.1.0');
                INSERT INTO updates (id, agent_id, version, allow_downgrade, state, failure, sent, staged_reply, requested_at,
                finished_at, journal) VALUES ('{id}', 'pc-1', '1.1.0', 0, 'failed', '{{"kind": "disk", "detail": "full"}}', 1, 0,
                '2026-11-20T10:00:00Z', '2026-11-20T10:05:00Z', '[]')"#
            ))
            .unwrap();
        prepare(&mut connection).unwrap();
        let record = update_rows::update_by_id(&connection, id).unwrap().unwrap();
        assert_eq!((record.update.attempt, record.update.log.len()), (1, 0));
        assert_eq!(record.update.origin, UpdateOrigin::Operator);
        let standings = update_rows::standings(&connection).unwrap();
        assert_eq!(standings.len(), 1);
        assert_eq!(standings[0].1.tally.excused, 1, "the disk is not the version's fault");
    }
}
