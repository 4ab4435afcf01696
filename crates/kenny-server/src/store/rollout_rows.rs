//! The SQL of rollouts and their members. Called on the database's thread only.

use jiff::Timestamp;
use kenny_proto::rollout::{MemberState, RolloutKind, StageView};
use kenny_proto::{AgentId, RolloutId};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use semver::Version;

use super::rows::{json, named, parsed, parsed_option, to_json, word};
use crate::rollout::staged::{Head, Member, Staged};

const COLUMNS: &str = "SELECT id, kind, version, selection, preset, strategy, allow_downgrade, seed, state, reason, stage, stage_since,
    started_by, started_at, ended_at, stages FROM rollouts";

/// Adds a rollout with its members.
pub fn insert(connection: &Connection, rollout: &Staged) -> rusqlite::Result<()> {
    let head = &rollout.head;
    connection.execute(
        "INSERT INTO rollouts (id, kind, version, selection, preset, strategy, allow_downgrade, seed, state, reason, stage,
         stage_since, started_by, started_at, ended_at, stages)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
        params![
            head.id.to_string(),
            word(&head.kind),
            head.version.to_string(),
            to_json(&head.selection),
            head.preset.as_ref().map(word),
            to_json(&head.strategy),
            head.allow_downgrade,
            head.seed.to_string(),
            word(&head.state),
            head.reason,
            head.stage,
            head.stage_since.to_string(),
            head.started_by,
            head.started_at.to_string(),
            head.ended_at.map(|at| at.to_string()),
            to_json(&head.stages),
        ],
    )?;
    rollout.members.values().try_for_each(|member| save_member(connection, head.id, member))
}

/// Writes how a rollout stands.
pub fn save(connection: &Connection, head: &Head) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE rollouts SET state = ?2, reason = ?3, stage = ?4, stage_since = ?5, ended_at = ?6, stages = ?7 WHERE id = ?1",
        )?
        .execute(params![
            head.id.to_string(),
            word(&head.state),
            head.reason,
            head.stage,
            head.stage_since.to_string(),
            head.ended_at.map(|at| at.to_string()),
            to_json(&head.stages),
        ])?;
    Ok(())
}

/// Writes how a member stands; nothing when its agent is gone.
pub fn save_member(
    connection: &Connection,
    rollout: RolloutId,
    member: &Member,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO rollout_members (rollout_id, agent_id, stage, state, since, begun_at, forgiven, insisted, kept, detail)
             SELECT ?1, id, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10 FROM agents WHERE id = ?2
             ON CONFLICT (rollout_id, agent_id) DO UPDATE SET stage = ?3, state = ?4, since = ?5, begun_at = ?6, forgiven = ?7,
             insisted = ?8, kept = ?9, detail = ?10",
        )?
        .execute(params![
            rollout.to_string(),
            member.agent_id.as_str(),
            member.stage,
            word(&member.state),
            member.since.to_string(),
            member.begun_at.map(|at| at.to_string()),
            member.forgiven,
            member.insisted,
            member.kept.as_ref().map(ToString::to_string),
            member.detail,
        ])?;
    Ok(())
}

/// An operator's word decides about this agent now, in every rollout that is open.
pub fn overtake(connection: &Connection, id: &AgentId, now: Timestamp) -> rusqlite::Result<()> {
    connection.execute(
        "UPDATE rollout_members SET state = 'overtaken', since = ?2, forgiven = 0 WHERE agent_id = ?1
         AND state IN ('waiting', 'in_flight') AND rollout_id IN (SELECT id FROM rollouts WHERE ended_at IS NULL)",
        params![id.as_str(), now.to_string()],
    )?;
    Ok(())
}

/// Rollouts that something is left to do about, oldest first: those that are open, and those of which an agent has an update
/// in hand.
pub fn unfinished(connection: &Connection) -> rusqlite::Result<Vec<Staged>> {
    let sql = format!(
        "{COLUMNS} WHERE ended_at IS NULL OR EXISTS (SELECT 1 FROM rollout_members WHERE rollout_id = rollouts.id
         AND rollout_members.state = '{}') ORDER BY sequence",
        word(&MemberState::InFlight)
    );
    let heads: Vec<Head> =
        connection.prepare(&sql)?.query_map([], head)?.collect::<Result<_, _>>()?;
    heads.into_iter().map(|head| with_members(connection, head)).collect()
}

/// One rollout.
pub fn get(connection: &Connection, id: RolloutId) -> rusqlite::Result<Option<Staged>> {
    let sql = format!("{COLUMNS} WHERE id = ?1");
    let head = connection.prepare_cached(&sql)?.query_row([id.to_string()], head).optional()?;
    head.map(|head| with_members(connection, head)).transpose()
}

/// The last rollouts, newest first, without members.
pub fn list(connection: &Connection, limit: u32) -> rusqlite::Result<Vec<Head>> {
    let sql = format!("{COLUMNS} ORDER BY sequence DESC LIMIT ?1");
    connection.prepare_cached(&sql)?.query_map([limit], head)?.collect()
}

/// When the newest rollout to a version was started.
pub fn newest_of(
    connection: &Connection,
    version: &Version,
) -> rusqlite::Result<Option<Timestamp>> {
    connection
        .prepare_cached(
            "SELECT started_at FROM rollouts WHERE version = ?1 AND kind = ?2 ORDER BY sequence DESC LIMIT 1",
        )?
        .query_row([version.to_string(), word(&RolloutKind::Update)], |row| parsed(row, 0))
        .optional()
}

fn head(row: &Row<'_>) -> rusqlite::Result<Head> {
    Ok(Head {
        id: parsed(row, 0)?,
        kind: named(row, 1)?,
        version: parsed(row, 2)?,
        selection: json(row, 3)?,
        preset: row.get::<_, Option<String>>(4)?.map(|_| named(row, 4)).transpose()?,
        strategy: json(row, 5)?,
        allow_downgrade: row.get(6)?,
        seed: parsed(row, 7)?,
        state: named(row, 8)?,
        reason: row.get(9)?,
        stage: row.get(10)?,
        stage_since: parsed(row, 11)?,
        started_by: row.get(12)?,
        started_at: parsed(row, 13)?,
        ended_at: parsed_option(row, 14)?,
        stages: json::<Vec<StageView>>(row, 15)?,
    })
}

fn with_members(connection: &Connection, head: Head) -> rusqlite::Result<Staged> {
    let members = connection
        .prepare_cached(
            "SELECT agent_id, stage, state, since, begun_at, forgiven, insisted, kept, detail FROM rollout_members
             WHERE rollout_id = ?1",
        )?
        .query_map([head.id.to_string()], |row| {
            let agent_id: AgentId = parsed(row, 0)?;
            let member = Member {
                agent_id: agent_id.clone(),
                stage: row.get(1)?,
                state: named(row, 2)?,
                since: parsed(row, 3)?,
                begun_at: parsed_option(row, 4)?,
                forgiven: row.get(5)?,
                insisted: row.get(6)?,
                kept: parsed_option(row, 7)?,
                detail: row.get(8)?,
            };
            Ok((agent_id, member))
        })?
        .collect::<Result<_, _>>()?;
    Ok(Staged { head, members, look_again_at: None, looked_at: None })
}
