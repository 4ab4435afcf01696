//! The SQL of all but updates: what is a row and what a value. Called on the database's thread only.

use std::str::FromStr;

use jiff::Timestamp;
use kenny_core::health;
use kenny_proto::api::{AgentHealth, Event, Release, ReleaseSigner, TelemetryView};
use kenny_proto::rollout::AgentSettings;
use kenny_proto::{AgentId, Sha256Digest};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::auth::TokenHash;
use crate::fleet::{AgentFacts, Desired, Identity};

/// The secret that signs links to artifacts, hexadecimal.
pub const ARTIFACT_SECRET: &str = "artifact_secret";

/// Reads a setting.
pub fn setting(connection: &Connection, name: &str) -> rusqlite::Result<Option<String>> {
    connection
        .query_row("SELECT value FROM settings WHERE name = ?1", [name], |row| row.get(0))
        .optional()
}

/// Writes a setting.
pub fn set_setting(connection: &Connection, name: &str, value: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO settings (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2")?
        .execute([name, value])?;
    Ok(())
}

/// One agent as the database has it.
#[derive(Debug)]
pub struct AgentRow {
    /// Its id.
    pub id: AgentId,
    /// What it proves itself with.
    pub identity: Identity,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last heard of.
    pub last_seen_at: Option<Timestamp>,
    /// What it said of itself.
    pub facts: Option<AgentFacts>,
    /// What it should run.
    pub desired: Option<Desired>,
    /// What the operator says of it.
    pub settings: AgentSettings,
}

/// Every agent.
pub fn agents(connection: &Connection) -> rusqlite::Result<Vec<AgentRow>> {
    connection
        .prepare(
            "SELECT id, token_hash, created_at, last_seen_at, facts, desired_version, desired_allow_downgrade, legacy,
             public_key, name, owner, group_name, labels, channel, pinned, desired_rollout FROM agents",
        )?
        .query_map([], |row| {
            let (allow_downgrade, rollout) = (row.get(6)?, parsed_option(row, 15)?);
            let desired = parsed_option(row, 5)?
                .map(|version| Desired { version, allow_downgrade, rollout });
            let identity = match (parsed_option(row, 8)?, row.get(7)?) {
                (Some(key), _) => Identity::Key(key),
                (None, true) => Identity::Token(TokenHash(parsed(row, 1)?)),
                (None, false) => Identity::None,
            };
            Ok(AgentRow {
                id: parsed(row, 0)?,
                identity,
                created_at: parsed(row, 2)?,
                last_seen_at: parsed_option(row, 3)?,
                facts: json_option(row, 4)?,
                desired,
                settings: AgentSettings {
                    name: row.get(9)?,
                    owner: row.get(10)?,
                    group: row.get(11)?,
                    labels: json(row, 12)?,
                    channel: named(row, 13)?,
                    pinned: row.get(14)?,
                },
            })
        })?
        .collect()
}

/// Adds an agent that authenticates by a token. A second one of the same id violates the primary key.
pub fn insert_legacy_agent(
    connection: &Connection,
    id: &AgentId,
    token_hash: TokenHash,
    created_at: Timestamp,
) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT INTO agents (id, token_hash, created_at, legacy) VALUES (?1, ?2, ?3, 1)",
        params![id.as_str(), token_hash.0.to_string(), created_at.to_string()],
    )?;
    Ok(())
}

/// Removes an agent with its updates and telemetry.
pub fn delete_agent(connection: &Connection, id: &AgentId) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM agents WHERE id = ?1", [id.as_str()])?;
    Ok(())
}

/// Writes what an agent should run.
pub fn set_desired(
    connection: &Connection,
    id: &AgentId,
    desired: Option<&Desired>,
) -> rusqlite::Result<()> {
    connection.execute(
        "UPDATE agents SET desired_version = ?2, desired_allow_downgrade = ?3, desired_rollout = ?4 WHERE id = ?1",
        params![
            id.as_str(),
            desired.map(|desired| desired.version.to_string()),
            desired.is_some_and(|desired| desired.allow_downgrade),
            desired.and_then(|desired| desired.rollout).map(|rollout| rollout.to_string())
        ],
    )?;
    Ok(())
}

/// Writes what is known of an agent; nothing when the agent is gone.
pub fn save_facts(
    connection: &Connection,
    id: &AgentId,
    last_seen_at: Option<Timestamp>,
    facts: Option<&AgentFacts>,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE agents SET last_seen_at = ?2, facts = ?3 WHERE id = ?1")?
        .execute(params![id.as_str(), last_seen_at.map(|at| at.to_string()), facts.map(to_json)])?;
    Ok(())
}

/// Keeps an agent's last telemetry; nothing when the agent is gone.
pub fn save_telemetry(
    connection: &Connection,
    id: &AgentId,
    telemetry: &TelemetryView,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO telemetry (agent_id, collected_at, received_at, snapshot)
             SELECT id, ?2, ?3, ?4 FROM agents WHERE id = ?1
             ON CONFLICT (agent_id) DO UPDATE SET collected_at = ?2, received_at = ?3, snapshot = ?4",
        )?
        .execute(params![
            id.as_str(),
            telemetry.collected_at.to_string(),
            telemetry.received_at.to_string(),
            to_json(&telemetry.snapshot)
        ])?;
    Ok(())
}

/// An agent's last telemetry.
pub fn telemetry(connection: &Connection, id: &AgentId) -> rusqlite::Result<Option<TelemetryView>> {
    connection
        .query_row(
            "SELECT collected_at, received_at, snapshot FROM telemetry WHERE agent_id = ?1",
            [id.as_str()],
            |row| {
                Ok(TelemetryView {
                    collected_at: parsed(row, 0)?,
                    received_at: parsed(row, 1)?,
                    snapshot: json(row, 2)?,
                })
            },
        )
        .optional()
}

/// How every PC is by its last telemetry.
pub fn health(connection: &Connection) -> rusqlite::Result<Vec<(AgentId, AgentHealth)>> {
    connection
        .prepare("SELECT agent_id, snapshot FROM telemetry")?
        .query_map([], |row| Ok((parsed(row, 0)?, health::overall(&json(row, 1)?))))?
        .collect()
}

/// Every artifact of every release.
pub fn releases(connection: &Connection) -> rusqlite::Result<Vec<Release>> {
    connection
        .prepare(
            "SELECT version, os, arch, sha256, size_bytes, added_at, signer_name, signer_certificate_sha256,
             withdrawn_at FROM releases",
        )?
        .query_map([], |row| {
            let signer_name: Option<String> = row.get(6)?;
            let signer = signer_name.map(|common_name| {
                Ok::<_, rusqlite::Error>(ReleaseSigner { common_name, certificate_sha256: parsed(row, 7)? })
            });
            Ok(Release {
                version: row.get(0)?,
                os: parsed(row, 1)?,
                arch: parsed(row, 2)?,
                sha256: parsed(row, 3)?,
                size_bytes: row.get::<_, i64>(4)?.unsigned_abs(),
                added_at: parsed(row, 5)?,
                signer: signer.transpose()?,
                withdrawn_at: parsed_option(row, 8)?,
            })
        })?
        .collect()
}

/// Adds an artifact. Another one for the same version and platform violates the primary key.
pub fn insert_release(connection: &Connection, release: &Release) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT INTO releases (version, os, arch, sha256, size_bytes, added_at, signer_name, signer_certificate_sha256)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            release.version,
            release.os.as_str(),
            release.arch.as_str(),
            release.sha256.to_string(),
            i64::try_from(release.size_bytes).unwrap_or(i64::MAX),
            release.added_at.to_string(),
            release.signer.as_ref().map(|signer| &signer.common_name),
            release.signer.as_ref().map(|signer| signer.certificate_sha256.to_string()),
        ],
    )?;
    Ok(())
}

/// Says since when an artifact is withdrawn; nothing when it is not, or not any more.
pub fn set_withdrawn(
    connection: &Connection,
    sha256: Sha256Digest,
    at: Option<Timestamp>,
) -> rusqlite::Result<()> {
    connection.execute(
        "UPDATE releases SET withdrawn_at = ?2 WHERE sha256 = ?1",
        params![sha256.to_string(), at.map(|at| at.to_string())],
    )?;
    Ok(())
}

/// Removes a version's artifacts.
pub fn delete_releases(connection: &Connection, version: &str) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM releases WHERE version = ?1", [version]).map(drop)
}

/// Keeps an event.
pub fn insert_event(connection: &Connection, event: &Event) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR IGNORE INTO events (id, at, kind, agent_id, summary, body, rollout_id) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?
        .execute(params![
            event.id,
            event.at.to_string(),
            event.kind,
            event.agent_id.as_ref().map(AgentId::as_str),
            event.summary,
            event.update.as_ref().map(to_json),
            event.rollout.map(|rollout| rollout.to_string())
        ])?;
    Ok(())
}

/// Events with a larger id, oldest first; only those about `agent` where one is named.
pub fn events_after(
    connection: &Connection,
    after: i64,
    agent: Option<&AgentId>,
    limit: u32,
) -> rusqlite::Result<Vec<Event>> {
    connection
        .prepare_cached(
            "SELECT id, at, kind, agent_id, summary, body, rollout_id FROM events
             WHERE id > ?1 AND (?2 IS NULL OR agent_id = ?2) ORDER BY id LIMIT ?3",
        )?
        .query_map(params![after, agent.map(AgentId::as_str), limit], read_event)?
        .collect()
}

/// Events with a smaller id, newest first; only those about `agent` and of `kind` where they are named.
pub fn events_before(
    connection: &Connection,
    before: i64,
    agent: Option<&str>,
    kind: Option<&str>,
    limit: u32,
) -> rusqlite::Result<Vec<Event>> {
    connection
        .prepare_cached(
            "SELECT id, at, kind, agent_id, summary, body, rollout_id FROM events
             WHERE id < ?1 AND (?2 IS NULL OR agent_id = ?2) AND (?3 IS NULL OR kind = ?3) ORDER BY id DESC LIMIT ?4",
        )?
        .query_map(params![before, agent, kind, limit], read_event)?
        .collect()
}

fn read_event(row: &Row<'_>) -> rusqlite::Result<Event> {
    Ok(Event {
        id: row.get(0)?,
        at: parsed(row, 1)?,
        kind: row.get(2)?,
        agent_id: parsed_option(row, 3)?,
        summary: row.get(4)?,
        update: json_option(row, 5)?,
        rollout: parsed_option(row, 6)?,
    })
}

/// The oldest event that is kept, and the newest.
pub fn event_range(connection: &Connection) -> rusqlite::Result<Option<(i64, i64)>> {
    connection.query_row("SELECT min(id), max(id) FROM events", [], |row| {
        Ok(row.get::<_, Option<i64>>(0)?.zip(row.get::<_, Option<i64>>(1)?))
    })
}

/// Deletes all but the newest `kept` events.
pub fn prune_events(connection: &Connection, kept: u32) -> rusqlite::Result<()> {
    connection.execute(
        "DELETE FROM events WHERE id <= (SELECT id FROM events ORDER BY id DESC LIMIT 1 OFFSET ?1)",
        [kept],
    )?;
    Ok(())
}

/// A value as the database keeps it.
pub fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("our types have string keys and no failing serialisers")
}

/// The wire name of a value that serialises as a plain string.
pub fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(_) | Err(_) => unreachable!("only unit variants come here"),
    }
}

fn damaged(
    column: usize,
    error: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}

/// A column that is written as text.
pub fn parsed<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    row.get_ref(column)?.as_str()?.parse().map_err(|error| damaged(column, error))
}

/// A column that is written as text, or empty.
pub fn parsed_option<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<T>>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    row.get_ref(column)?
        .as_str_or_null()?
        .map(|text| text.parse().map_err(|error| damaged(column, error)))
        .transpose()
}

/// A column that is written as JSON.
pub fn json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    serde_json::from_str(row.get_ref(column)?.as_str()?).map_err(|error| damaged(column, error))
}

pub(super) fn json_option<T: DeserializeOwned>(
    row: &Row<'_>,
    column: usize,
) -> rusqlite::Result<Option<T>> {
    row.get_ref(column)?
        .as_str_or_null()?
        .map(|text| serde_json::from_str(text).map_err(|error| damaged(column, error)))
        .transpose()
}

/// A column that holds a wire name.
pub fn named<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let word: String = row.get(column)?;
    serde_json::from_value(serde_json::Value::String(word)).map_err(|error| damaged(column, error))
}

/// Reads a 32-byte setting that is written in hexadecimal.
pub fn bytes_setting(
    connection: &Connection,
    name: &str,
) -> rusqlite::Result<Option<Sha256Digest>> {
    setting(connection, name)?
        .map(|text| text.parse().map_err(|error| damaged(0, error)))
        .transpose()
}
