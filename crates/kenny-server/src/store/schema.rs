//! The schema and its migrations: `PRAGMA user_version` counts the ones that were applied.

use rusqlite::{Connection, TransactionBehavior};

use super::StoreError;

/// Each brings the schema from its index to the next version. Never edited once released, only appended.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_fleet.sql"),
    include_str!("migrations/0002_attempts.sql"),
    include_str!("migrations/0003_accounts.sql"),
    include_str!("migrations/0004_audit.sql"),
    include_str!("migrations/0005_enrolment.sql"),
    include_str!("migrations/0006_trust.sql"),
    include_str!("migrations/0007_web.sql"),
    include_str!("migrations/0008_signer.sql"),
    include_str!("migrations/0009_withdrawn.sql"),
    include_str!("migrations/0010_rollouts.sql"),
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
    use jiff::Timestamp;
    use kenny_proto::api::UpdateOrigin;
    use kenny_proto::{Role, UpdateId};

    use super::*;
    use crate::accounts::Directory;
    use crate::auth::TokenHash;
    use crate::fleet::Identity;
    use crate::store::{account_rows, rows, update_rows};

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
    fn the_operators_token_of_the_second_schema_is_the_owners() {
        let mut connection = Connection::open_in_memory().unwrap();
        for migration in &MIGRATIONS[..2] {
            connection.execute_batch(migration).unwrap();
        }
        connection.pragma_update(None, "user_version", 2).unwrap();
        let hash = TokenHash::of("kenny_op_old");
        connection
            .execute(
                "INSERT INTO settings VALUES ('operator_token_hash', ?1), ('artifact_secret', 'x')",
                [hash.0.to_string()],
            )
            .unwrap();
        prepare(&mut connection).unwrap();
        let directory = Directory::load(&connection).unwrap();
        let token = directory.token(hash).unwrap();
        let account = directory.account(token.account).unwrap();
        assert_eq!((token.role, token.expires_at), (Role::Owner, None));
        assert_eq!((account.name.as_str(), account.role), ("owner", Role::Owner));
        assert!(!account.has_password && !account.disabled);
        let again = account_rows::first_account(&connection, Timestamp::now()).unwrap();
        assert_eq!(again, None, "there is an account, and so no further token is made");
        let settings: String = connection
            .query_row("SELECT group_concat(name) FROM settings", [], |row| row.get(0))
            .unwrap();
        assert_eq!(settings, "artifact_secret");
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

    #[test]
    fn agents_of_before_enrolment_are_legacy_and_keep_their_tokens() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(MIGRATIONS[0]).unwrap();
        connection.pragma_update(None, "user_version", 1).unwrap();
        let hash = TokenHash::of("secret");
        let insert = "INSERT INTO agents (id, token_hash, created_at) VALUES ('pc-1', ?1, '2026-11-20T10:00:00Z')";
        connection.execute(insert, [hash.0.to_string()]).unwrap();
        prepare(&mut connection).unwrap();
        let agents = rows::agents(&connection).unwrap();
        assert_eq!(agents[0].identity, Identity::Token(hash));
    }
}
