//! The SQL of what the operator says of agents. Called on the database's thread only.

use kenny_proto::AgentId;
use kenny_proto::rollout::AgentSettings;
use rusqlite::{Connection, params};

use super::rows::{to_json, word};

/// Writes what the operator says of an agent; nothing when the agent is gone.
pub fn save(
    connection: &Connection,
    id: &AgentId,
    settings: &AgentSettings,
) -> rusqlite::Result<()> {
    let AgentSettings { name, owner, group, labels, channel, pinned } = settings;
    connection.execute(
        "UPDATE agents SET name = ?2, owner = ?3, group_name = ?4, labels = ?5, channel = ?6, pinned = ?7 WHERE id = ?1",
        params![id.as_str(), name, owner, group, to_json(labels), word(channel), pinned],
    )?;
    Ok(())
}
