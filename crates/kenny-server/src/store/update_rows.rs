//! The SQL of updates and of what is held. Called on the database's thread only.

use kenny_core::rollout::Standing;
use kenny_proto::api::{Hold, TimelineEntry, Update};
use kenny_proto::{AgentId, RolloutId, UpdateId};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use semver::Version;

use super::rows::{json, json_option, named, parsed, parsed_option, to_json, word};
use crate::fleet::HeldVersion;
use crate::rollout::UpdateRecord;

/// Updates of each automatic origin that are kept of one agent: a month of attempts every six hours. Nobody asks for
/// these, so that without a bound a full disk on a PC, or an agent that is out of its mind, would fill this one.
const AUTOMATIC_KEPT: u32 = 100;

/// Adds an update with its timeline.
pub fn insert_update(connection: &Connection, record: &UpdateRecord) -> rusqlite::Result<()> {
    let update = &record.update;
    connection.execute(
        "INSERT INTO updates (id, agent_id, kind, origin, attempt, tally, from_version, version, allow_downgrade, state, sent,
         staged_reply, requested_at, journal, rollout_id)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 0, 0, ?11, '[]', ?12)",
        params![
            update.id.to_string(),
            update.agent_id.as_str(),
            word(&update.kind),
            word(&update.origin),
            update.attempt,
            to_json(&record.tally),
            update.from_version,
            update.version,
            record.allow_downgrade,
            word(&update.state),
            update.requested_at.to_string(),
            update.rollout.map(|rollout| rollout.to_string())
        ],
    )?;
    save_update(connection, record)
}

/// Writes how an update stands; nothing when it is gone with its agent.
pub fn save_update(connection: &Connection, record: &UpdateRecord) -> rusqlite::Result<()> {
    let update = &record.update;
    let id = update.id.to_string();
    let changed = connection
        .prepare_cached(
            "UPDATE updates SET version = ?2, sha256 = ?3, state = ?4, phase = ?5, failure = ?6, sent = ?7, staged_reply = ?8,
             finished_at = ?9, journal = ?10, log = ?11 WHERE id = ?1",
        )?
        .execute(params![
            id,
            update.version,
            update.sha256.map(|sha256| sha256.to_string()),
            word(&update.state),
            update.phase.as_ref().map(word),
            update.failure.as_ref().map(to_json),
            record.sent,
            record.staged_reply,
            update.finished_at.map(|at| at.to_string()),
            to_json(&update.journal),
            to_json(&update.log)
        ])?;
    if changed == 0 {
        return Ok(());
    }
    let mut insert = connection.prepare_cached(
        "INSERT OR IGNORE INTO update_timeline (update_id, position, step, at, detail) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for (position, entry) in (0_i64..).zip(&update.timeline) {
        insert.execute(params![id, position, entry.step, entry.at.to_string(), entry.detail])?;
    }
    Ok(())
}

/// Says that an update is part of a rollout from now on.
pub fn join_rollout(connection: &Connection, record: &UpdateRecord) -> rusqlite::Result<()> {
    let rollout = record.update.rollout.map(|rollout| rollout.to_string());
    connection.execute(
        "UPDATE updates SET rollout_id = ?2 WHERE id = ?1",
        params![record.update.id.to_string(), rollout],
    )?;
    Ok(())
}

/// The version that an agent left when a rollout brought it to another, and that it kept therefore.
pub fn left_in_rollout(
    connection: &Connection,
    id: &AgentId,
    rollout: RolloutId,
) -> rusqlite::Result<Option<Version>> {
    let left = connection
        .prepare_cached(
            "SELECT from_version FROM updates WHERE agent_id = ?1 AND rollout_id = ?2 AND state = 'succeeded'
             AND from_version IS NOT NULL ORDER BY sequence DESC LIMIT 1",
        )?
        .query_row(params![id.as_str(), rollout.to_string()], |row| row.get::<_, String>(0))
        .optional()?;
    Ok(left.and_then(|left| left.parse().ok()))
}

/// Deletes all but the newest updates that the server began by itself without success, and that the agent told of.
pub fn prune(connection: &Connection, id: &AgentId) -> rusqlite::Result<()> {
    for origin in ["origin = 'retry' AND state <> 'succeeded'", "origin = 'agent'"] {
        connection
            .prepare_cached(&format!(
                "DELETE FROM updates WHERE agent_id = ?1 AND {origin} AND sequence <=
                 (SELECT sequence FROM updates WHERE agent_id = ?1 AND {origin} ORDER BY sequence DESC LIMIT 1 OFFSET ?2)"
            ))?
            .execute(params![id.as_str(), AUTOMATIC_KEPT])?;
    }
    Ok(())
}

const UPDATE_COLUMNS: &str = "SELECT id, agent_id, from_version, version, allow_downgrade, sha256, state, phase, failure, sent,
    staged_reply, requested_at, finished_at, journal, kind, origin, attempt, tally, log, rollout_id FROM updates";

/// The update of every agent that matters most: the open one, or else the newest.
pub fn last_updates(connection: &Connection) -> rusqlite::Result<Vec<UpdateRecord>> {
    let sql = format!(
        "{UPDATE_COLUMNS} WHERE sequence IN
         (SELECT coalesce(max(CASE WHEN finished_at IS NULL THEN sequence END), max(sequence)) FROM updates GROUP BY agent_id)"
    );
    with_timelines(
        connection,
        connection.prepare(&sql)?.query_map([], update)?.collect::<Result<_, _>>()?,
    )
}

/// What the wanted version came to so far, of every agent of which one is wanted and was tried.
pub fn standings(connection: &Connection) -> rusqlite::Result<Vec<(AgentId, Standing)>> {
    let sql = format!(
        "{UPDATE_COLUMNS} WHERE sequence IN
         (SELECT max(updates.sequence) FROM updates JOIN agents ON agents.id = updates.agent_id
          AND agents.desired_version = updates.version GROUP BY updates.agent_id)"
    );
    connection
        .prepare(&sql)?
        .query_map([], |row| {
            let record = update(row)?;
            Ok((record.update.agent_id.clone(), record.standing()))
        })?
        .collect()
}

/// What a version came to so far on an agent.
pub fn standing(
    connection: &Connection,
    id: &AgentId,
    version: &str,
) -> rusqlite::Result<Standing> {
    let sql = format!(
        "{UPDATE_COLUMNS} WHERE agent_id = ?1 AND version = ?2 ORDER BY sequence DESC LIMIT 1"
    );
    let record = connection
        .prepare_cached(&sql)?
        .query_row(params![id.as_str(), version], update)
        .optional()?;
    Ok(record.map(|record| record.standing()).unwrap_or_default())
}

/// The newest update that changed what an agent runs.
pub fn last_change(
    connection: &Connection,
    id: &AgentId,
) -> rusqlite::Result<Option<UpdateRecord>> {
    let sql = format!(
        "{UPDATE_COLUMNS} WHERE agent_id = ?1 AND state = 'succeeded' AND from_version IS NOT NULL
         AND from_version <> version ORDER BY sequence DESC LIMIT 1"
    );
    connection.prepare_cached(&sql)?.query_row([id.as_str()], update).optional()
}

/// An agent's updates, newest first.
pub fn updates_of(
    connection: &Connection,
    id: &AgentId,
    limit: u32,
) -> rusqlite::Result<Vec<UpdateRecord>> {
    let sql = format!("{UPDATE_COLUMNS} WHERE agent_id = ?1 ORDER BY sequence DESC LIMIT ?2");
    let records = connection
        .prepare_cached(&sql)?
        .query_map(params![id.as_str(), limit], update)?
        .collect::<Result<_, _>>()?;
    with_timelines(connection, records)
}

/// One update.
pub fn update_by_id(
    connection: &Connection,
    id: UpdateId,
) -> rusqlite::Result<Option<UpdateRecord>> {
    let sql = format!("{UPDATE_COLUMNS} WHERE id = ?1");
    let record = connection.prepare_cached(&sql)?.query_row([id.to_string()], update).optional()?;
    let mut records = with_timelines(connection, Vec::from_iter(record))?;
    Ok(records.pop())
}

fn update(row: &Row<'_>) -> rusqlite::Result<UpdateRecord> {
    Ok(UpdateRecord {
        update: Update {
            id: parsed(row, 0)?,
            agent_id: parsed(row, 1)?,
            kind: named(row, 14)?,
            origin: named(row, 15)?,
            attempt: row.get(16)?,
            rollout: parsed_option(row, 19)?,
            from_version: row.get(2)?,
            version: row.get(3)?,
            sha256: parsed_option(row, 5)?,
            state: named(row, 6)?,
            phase: row.get::<_, Option<String>>(7)?.map(|_| named(row, 7)).transpose()?,
            percent: None,
            failure: json_option(row, 8)?,
            requested_at: parsed(row, 11)?,
            finished_at: parsed_option(row, 12)?,
            timeline: Vec::new(),
            journal: json(row, 13)?,
            log: json(row, 18)?,
        },
        allow_downgrade: row.get(4)?,
        tally: json(row, 17)?,
        sent: row.get(9)?,
        staged_reply: row.get(10)?,
        session: None,
        heard_at: None,
    })
}

fn with_timelines(
    connection: &Connection,
    mut records: Vec<UpdateRecord>,
) -> rusqlite::Result<Vec<UpdateRecord>> {
    let mut timeline = connection.prepare_cached(
        "SELECT step, at, detail FROM update_timeline WHERE update_id = ?1 ORDER BY position",
    )?;
    for record in &mut records {
        record.update.timeline = timeline
            .query_map([record.update.id.to_string()], |row| {
                Ok(TimelineEntry { step: row.get(0)?, at: parsed(row, 1)?, detail: row.get(2)? })
            })?
            .collect::<Result<_, _>>()?;
    }
    Ok(records)
}

/// Every hold of every agent, the cleared ones too.
pub fn holds(connection: &Connection) -> rusqlite::Result<Vec<(AgentId, HeldVersion)>> {
    connection
        .prepare(
            "SELECT agent_id, version, attempts, since, reason, cleared FROM holds ORDER BY since",
        )?
        .query_map([], |row| {
            let hold = Hold {
                version: row.get(1)?,
                attempts: row.get(2)?,
                since: parsed(row, 3)?,
                reason: row.get(4)?,
            };
            Ok((parsed(row, 0)?, HeldVersion { hold, cleared: row.get(5)? }))
        })?
        .collect()
}

/// Keeps a hold that came of an update; what is kept of the version already stays, and nothing happens when the agent
/// is gone.
pub fn keep_hold(
    connection: &Connection,
    id: &AgentId,
    held: &HeldVersion,
) -> rusqlite::Result<()> {
    write_hold(connection, id, held, "DO NOTHING")
}

/// Writes a hold as it is now.
pub fn set_hold(connection: &Connection, id: &AgentId, held: &HeldVersion) -> rusqlite::Result<()> {
    write_hold(
        connection,
        id,
        held,
        "DO UPDATE SET attempts = ?3, since = ?4, reason = ?5, cleared = ?6",
    )
}

fn write_hold(
    connection: &Connection,
    id: &AgentId,
    held: &HeldVersion,
    on_conflict: &str,
) -> rusqlite::Result<()> {
    let HeldVersion { hold, cleared } = held;
    connection
        .prepare_cached(&format!(
            "INSERT INTO holds (agent_id, version, attempts, since, reason, cleared)
             SELECT id, ?2, ?3, ?4, ?5, ?6 FROM agents WHERE id = ?1 ON CONFLICT (agent_id, version) {on_conflict}"
        ))?
        .execute(params![
            id.as_str(),
            hold.version,
            hold.attempts,
            hold.since.to_string(),
            hold.reason,
            cleared
        ])?;
    Ok(())
}

/// Forgets a hold: its version is tried, or runs.
pub fn delete_hold(connection: &Connection, id: &AgentId, version: &str) -> rusqlite::Result<()> {
    connection.execute(
        "DELETE FROM holds WHERE agent_id = ?1 AND version = ?2",
        params![id.as_str(), version],
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use kenny_core::rollout::Tally;
    use kenny_proto::api::{UpdateKind, UpdateOrigin, UpdateState};

    use super::*;
    use crate::auth::TokenHash;
    use crate::rollout::Wanted;
    use crate::store::rows;

    fn database() -> (Connection, AgentId) {
        let mut connection = Connection::open_in_memory().unwrap();
        super::super::schema::prepare(&mut connection).unwrap();
        let id: AgentId = "pc-1".parse().unwrap();
        let now = Timestamp::UNIX_EPOCH;
        rows::insert_legacy_agent(&connection, &id, TokenHash::of("x"), now).unwrap();
        (connection, id)
    }

    fn record(id: &AgentId, origin: UpdateOrigin, state: UpdateState) -> UpdateRecord {
        let wanted = Wanted {
            agent_id: id.clone(),
            kind: UpdateKind::Update,
            origin,
            rollout: None,
            from_version: Some("1.0.0".to_owned()),
            version: Version::new(1, 1, 0),
            allow_downgrade: false,
            tally: Tally { attempts: 7, blamed: 1, excused: 2, insisted: true },
        };
        let mut record = UpdateRecord::requested(wanted, Timestamp::UNIX_EPOCH);
        record.update.state = state;
        record.update.log = vec!["a line".to_owned()];
        record.heard_at = None;
        record
    }

    #[test]
    fn an_update_is_read_as_it_was_written() {
        let (connection, id) = database();
        let written = record(&id, UpdateOrigin::Retry, UpdateState::Unknown);
        insert_update(&connection, &written).unwrap();
        assert_eq!(update_by_id(&connection, written.update.id).unwrap(), Some(written.clone()));
        let standing = standing(&connection, &id, "1.1.0").unwrap();
        assert_eq!(standing, written.standing());
        assert!(standing.tally.insisted);
    }

    #[test]
    fn what_nobody_asked_for_is_kept_within_bounds_and_what_matters_stays() {
        let (connection, id) = database();
        let first = record(&id, UpdateOrigin::Operator, UpdateState::Failed);
        let reached = record(&id, UpdateOrigin::Retry, UpdateState::Succeeded);
        insert_update(&connection, &first).unwrap();
        insert_update(&connection, &reached).unwrap();
        let told = record(&id, UpdateOrigin::Agent, UpdateState::Failed);
        insert_update(&connection, &told).unwrap();
        for _ in 0..AUTOMATIC_KEPT + 5 {
            let retry = record(&id, UpdateOrigin::Retry, UpdateState::Failed);
            insert_update(&connection, &retry).unwrap();
            prune(&connection, &id).unwrap();
        }
        let kept = updates_of(&connection, &id, 1_000).unwrap();
        assert_eq!(kept.len(), AUTOMATIC_KEPT as usize + 3);
        for record in [&first, &reached, &told] {
            assert!(kept.iter().any(|it| it.update.id == record.update.id));
        }
    }

    #[test]
    fn a_hold_is_kept_once_and_never_outlives_its_agent() {
        let (connection, id) = database();
        let hold = Hold {
            version: "1.1.0".to_owned(),
            attempts: 3,
            since: Timestamp::UNIX_EPOCH,
            reason: "it ended".to_owned(),
        };
        let held = HeldVersion { hold, cleared: false };
        keep_hold(&connection, &id, &held).unwrap();
        let cleared = HeldVersion { cleared: true, ..held.clone() };
        set_hold(&connection, &id, &cleared).unwrap();
        keep_hold(&connection, &id, &held).unwrap();
        assert_eq!(holds(&connection).unwrap(), [(id.clone(), cleared)], "a late picture loses");
        rows::delete_agent(&connection, &id).unwrap();
        assert_eq!(holds(&connection).unwrap(), []);
        keep_hold(&connection, &id, &held).unwrap();
        assert_eq!(holds(&connection).unwrap(), [], "nothing happens when the agent is gone");
    }
}
