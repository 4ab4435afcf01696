//! What the tunnel learns of agents is marked, and written by one task, which tries again while the database does not take
//! it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use kenny_proto::AgentId;
use kenny_proto::api::TelemetryView;

use super::{AgentEntry, AgentFacts, Fleet, HeldVersion};
use crate::rollout::UpdateRecord;
use crate::store::rows;
use crate::store::update_rows;
use crate::store::{Store, StoreError};

/// So many agents are written in one piece of work.
const CHUNK: usize = 256;
/// Between two tries of a database that does not take what was learnt.
const RETRY: Duration = Duration::from_secs(1);

impl Fleet {
    /// Something of this agent is to be written. Never waits.
    pub fn mark(&self, entry: &Arc<AgentEntry>) {
        if !entry.marked.swap(true, Ordering::AcqRel) {
            self.marked.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(entry));
            self.wake.notify_one();
        }
    }

    /// Writes what is marked, for ever.
    pub async fn write_behind(&self, store: &Store) {
        loop {
            self.wake.notified().await;
            while let Err(error) = self.flush(store).await {
                tracing::warn!(%error, "what agents reported is not in the database yet; trying again");
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    /// Writes what is marked, once.
    pub async fn flush(&self, store: &Store) -> Result<(), StoreError> {
        let marked =
            std::mem::take(&mut *self.marked.lock().unwrap_or_else(PoisonError::into_inner));
        let mut chunks = marked.chunks(CHUNK);
        for chunk in chunks.by_ref() {
            if let Err(error) = Self::write(store, chunk).await {
                // This chunk marked itself again; the rest was not reached.
                let rest: Vec<_> = chunk.iter().chain(chunks.flatten()).cloned().collect();
                self.marked.lock().unwrap_or_else(PoisonError::into_inner).extend(rest);
                return Err(error);
            }
        }
        Ok(())
    }

    async fn write(store: &Store, entries: &[Arc<AgentEntry>]) -> Result<(), StoreError> {
        let pictures: Vec<Picture> = entries.iter().map(Picture::take).collect();
        let pictures = Arc::new(pictures);
        let written = Arc::clone(&pictures);
        let result = store
            .run(move |connection| {
                for picture in written.iter() {
                    picture.write(connection)?;
                }
                Ok(())
            })
            .await;
        if result.is_err() {
            for (entry, picture) in entries.iter().zip(pictures.iter()) {
                picture.put_back(entry);
            }
        }
        result
    }
}

/// What is to be written of one agent.
struct Picture {
    id: AgentId,
    last_seen_at: Option<Timestamp>,
    facts: Option<Box<AgentFacts>>,
    update: Option<Box<UpdateRecord>>,
    holds: Vec<HeldVersion>,
    telemetry: Option<Box<TelemetryView>>,
}

impl Picture {
    fn take(entry: &Arc<AgentEntry>) -> Self {
        // Unmarked first: what changes from here on marks it again.
        entry.marked.store(false, Ordering::Release);
        let mut state = entry.lock();
        let seen = state.session.as_ref().map(|session| session.last_frame_at());
        Self {
            id: entry.id.clone(),
            last_seen_at: seen.or(state.last_seen_at),
            facts: state.facts.clone(),
            update: state.update.clone(),
            holds: state.holds.clone(),
            telemetry: state.telemetry.take(),
        }
    }

    fn write(&self, connection: &rusqlite::Connection) -> rusqlite::Result<()> {
        rows::save_facts(connection, &self.id, self.last_seen_at, self.facts.as_deref())?;
        if let Some(update) = &self.update {
            update_rows::save_update(connection, update)?;
        }
        for held in &self.holds {
            update_rows::keep_hold(connection, &self.id, held)?;
        }
        if let Some(telemetry) = &self.telemetry {
            rows::save_telemetry(connection, &self.id, telemetry)?;
        }
        Ok(())
    }

    /// Keeps the entry marked; it stands in the list again already or is put there by the caller.
    fn put_back(&self, entry: &Arc<AgentEntry>) {
        let mut state = entry.lock();
        if state.telemetry.is_none() {
            state.telemetry.clone_from(&self.telemetry);
        }
    }
}
