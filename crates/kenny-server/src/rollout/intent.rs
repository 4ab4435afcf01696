//! What an agent should run, on its way into the database and then into the fleet. For who holds the agent's intent.

use std::sync::Arc;

use jiff::Timestamp;
use kenny_core::rollout::Standing;
use kenny_proto::AgentId;
use rusqlite::Connection;

use super::{UpdateRecord, hold_names, tell};
use crate::app::App;
use crate::fleet::{AgentEntry, AgentState, Desired};
use crate::store::{rows, update_rows};

/// An intent with the update that stands for it.
#[derive(Debug, Clone)]
pub struct NewIntent {
    desired: Desired,
    record: UpdateRecord,
    /// The update is there already, and goes on under this intent.
    is_taken_over: bool,
    superseded: Option<Box<UpdateRecord>>,
    /// The update before it: its end may not be in the database yet.
    last: Option<Box<UpdateRecord>>,
    holds: Vec<String>,
}

impl NewIntent {
    /// An intent for an agent in this state, and the open update whose place it takes.
    pub fn new(
        state: &AgentState,
        desired: Desired,
        record: UpdateRecord,
        superseded: Option<Box<UpdateRecord>>,
    ) -> Self {
        let last = superseded.clone().or_else(|| state.update.clone());
        let holds = hold_names(state, &desired.version.to_string());
        Self { desired, record, is_taken_over: false, superseded, last, holds }
    }

    /// The agent is at it already: the open update goes on under this intent.
    pub fn taking_over(state: &AgentState, desired: Desired, open: &UpdateRecord) -> Self {
        let mut record = open.clone();
        record.update.rollout = desired.rollout;
        let holds = hold_names(state, &desired.version.to_string());
        Self { desired, record, is_taken_over: true, superseded: None, last: None, holds }
    }

    /// Whose it is.
    pub const fn agent_id(&self) -> &AgentId {
        &self.record.update.agent_id
    }

    /// The update that stands for it.
    pub const fn record(&self) -> &UpdateRecord {
        &self.record
    }

    /// Writes it, inside the transaction that is open.
    pub fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        let id = self.agent_id();
        if let Some(last) = &self.last {
            update_rows::save_update(connection, last)?;
        }
        for version in &self.holds {
            update_rows::delete_hold(connection, id, version)?;
        }
        if self.is_taken_over {
            update_rows::join_rollout(connection, &self.record)?;
        } else {
            update_rows::insert_update(connection, &self.record)?;
        }
        rows::set_desired(connection, id, Some(&self.desired))
    }

    /// Puts in place what the database has by now. False where the agent was removed meanwhile.
    pub fn put(self, app: &App, entry: &Arc<AgentEntry>) -> bool {
        let mut state = entry.lock();
        if state.removed {
            return false;
        }
        if let Some(old) = &self.superseded {
            tell(app, old, true);
        }
        state.forget_hold(&self.desired.version.to_string());
        if self.is_taken_over {
            // What it came to since it was looked at stays.
            if let Some(open) = &mut state.update {
                open.update.rollout = self.desired.rollout;
                tell(app, open, false);
            }
        } else {
            tell(app, &self.record, true);
            state.standing = self.record.standing();
            state.update = Some(Box::new(self.record));
        }
        state.desired = Some(self.desired);
        drop(state);
        // Whatever was marked before would have written the old update last.
        app.fleet.mark(entry);
        true
    }
}

/// The end of an intent: an update that was not sent yet is over, one that the agent works on goes on.
#[derive(Debug, Clone)]
pub struct EndOfIntent {
    agent_id: AgentId,
    superseded: Option<Box<UpdateRecord>>,
}

impl EndOfIntent {
    /// The end of what is wanted of an agent in this state.
    pub fn new(state: &AgentState, agent_id: &AgentId, why: &str, now: Timestamp) -> Self {
        let unsent = state.update.as_deref().filter(|record| record.is_open() && record.sent == 0);
        let superseded = unsent.cloned().map(|mut record| {
            record.superseded(why, now);
            Box::new(record)
        });
        Self { agent_id: agent_id.clone(), superseded }
    }

    /// Writes it, inside the transaction that is open.
    pub fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        if let Some(old) = &self.superseded {
            update_rows::save_update(connection, old)?;
        }
        rows::set_desired(connection, &self.agent_id, None)
    }

    /// Puts in place what the database has by now.
    pub fn put(self, app: &App, entry: &Arc<AgentEntry>) {
        let mut state = entry.lock();
        state.desired = None;
        state.standing = Standing::default();
        if let Some(record) = self.superseded {
            tell(app, &record, true);
            state.update = Some(record);
        }
        drop(state);
        app.fleet.mark(entry);
    }
}
