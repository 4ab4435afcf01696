//! The database: SQLite in the data folder, with one thread that owns the connection.
//!
//! Work reaches the thread through a bounded channel and is committed in batches; events ride along without
//! anybody waiting for them. Reads take the same way, so they see every write that was sent before them.
//! Nothing of the tunnel waits for this thread.

pub mod account_rows;
pub mod invitation_rows;
pub mod oauth_rows;
#[cfg_attr(unix, path = "private_folder_unix.rs")]
#[cfg_attr(windows, path = "private_folder_windows.rs")]
mod private_folder;
mod restricted;
pub mod rollout_rows;
pub mod rows;
mod schema;
pub mod session_rows;
pub mod settings_rows;
pub mod trust_rows;
pub mod update_rows;
mod writer;

pub use restricted::{Restricted, Right};

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kenny_proto::api::Event;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::metrics::Metrics;

/// The database's file in the data folder.
pub const DATABASE: &str = "kenny.db";

/// How many pieces of work may wait: some seconds of the busiest server's events.
const QUEUE: usize = 16_384;
/// How long a caller waits for the database before the operator is told.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long an event waits for room in the queue.
const EVENT_PATIENCE: Duration = Duration::from_secs(2);

/// Why the database gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite refused.
    #[error("the database refused the operation")]
    Database(#[from] rusqlite::Error),
    /// A batch that this work was part of could not be committed.
    #[error("the database could not keep the change: {0}")]
    NotCommitted(String),
    /// The database did not answer in time. The change may still happen.
    #[error("the database did not answer within {} s; look at the disk of the server", PATIENCE.as_secs())]
    Stalled,
    /// The server is going down.
    #[error("the server is shutting down")]
    Closed,
    /// Written by a later version.
    #[error(
        "the database has schema version {found}, this server knows up to {known}: it was written by a newer kenny-server. \
         Start that one, or restore a backup from before the upgrade"
    )]
    Newer {
        /// What the file says.
        found: i64,
        /// What this server writes.
        known: i64,
    },
    /// Another server works on the same folder.
    #[error("another kenny-server uses the data folder {}; stop it first, or give this one another --data-dir", .0.display())]
    InUse(PathBuf),
    /// The data folder cannot be used.
    #[error("the data folder {} cannot be used", .path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// The data folder, held by this process alone.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// The lock ends with the file handle.
    _lock: std::fs::File,
}

impl DataDir {
    /// Makes the folder where it is not there, and locks it.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Folder { path: path.to_owned(), source };
        private_folder::create(path).map_err(failed)?;
        let lock = std::fs::File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join("lock"))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(std::fs::TryLockError::WouldBlock) => Err(StoreError::InUse(path.to_owned())),
            Err(std::fs::TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The way to the database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    commands: mpsc::Sender<writer::Command>,
    /// True while events found no room for so long that nobody waits for room any more.
    stalled: Arc<AtomicBool>,
    metrics: Arc<Metrics>,
}

impl Store {
    /// Opens the database of the folder and starts its thread.
    pub fn open(data_dir: &DataDir, metrics: Arc<Metrics>) -> Result<Self, StoreError> {
        Self::with_connection(Connection::open(data_dir.path().join(DATABASE))?, metrics)
    }

    fn with_connection(
        mut connection: Connection,
        metrics: Arc<Metrics>,
    ) -> Result<Self, StoreError> {
        connection.busy_timeout(Duration::from_secs(5))?;
        schema::prepare(&mut connection)?;
        let (commands, receiver) = mpsc::channel(QUEUE);
        let stalled = Arc::new(AtomicBool::new(false));
        let writer =
            writer::Writer::new(connection, receiver, Arc::clone(&stalled), Arc::clone(&metrics));
        std::thread::Builder::new()
            .name("database".to_owned())
            .spawn(move || writer.run())
            .map_err(|source| StoreError::Folder { path: PathBuf::from("."), source })?;
        Ok(Self { commands, stalled, metrics })
    }

    /// Runs the work on the database's thread. It is committed, durably, when this returns `Ok`.
    pub async fn run<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let work = writer::Command::Work(Box::new(writer::Once::new(work, answer)));
        let finished = async {
            self.commands.send(work).await.map_err(|_| StoreError::Closed)?;
            answered.await.map_err(|_| StoreError::Closed)?
        };
        tokio::time::timeout(PATIENCE, finished).await.unwrap_or_else(|_| {
            self.metrics.database_errors.inc();
            Err(StoreError::Stalled)
        })
    }

    /// Has the work done with the next batch. Waits for room in the queue and not for the disk: what was queued is kept by a
    /// clean stop, and may be lost with the power.
    pub async fn queue<F>(&self, work: F) -> Result<(), StoreError>
    where
        F: FnOnce(&Connection) -> rusqlite::Result<()> + Send + 'static,
    {
        let (answer, _) = oneshot::channel();
        let work = writer::Command::Work(Box::new(writer::Once::new(work, answer)));
        let queued = tokio::time::timeout(PATIENCE, self.commands.send(work)).await;
        queued
            .map_err(|_| {
                self.metrics.database_errors.inc();
                StoreError::Stalled
            })?
            .map_err(|_| StoreError::Closed)
    }

    /// Like [`Store::queue`], for who cannot wait: where there is no room the work is lost, and counted.
    pub fn queue_now<F>(&self, work: F)
    where
        F: FnOnce(&Connection) -> rusqlite::Result<()> + Send + 'static,
    {
        let (answer, _) = oneshot::channel();
        let work = writer::Command::Work(Box::new(writer::Once::new(work, answer)));
        if self.commands.try_send(work).is_err() {
            self.metrics.database_errors.inc();
        }
    }

    /// Answers once the database does.
    pub async fn check(&self) -> Result<(), StoreError> {
        self.run(|connection| connection.query_row("SELECT 1", [], |_| Ok(()))).await
    }

    /// Waits for room for one more event, so that a busy server slows its callers instead of losing events; a
    /// database that takes nothing at all is not waited for.
    pub async fn room_for_event(&self) {
        if self.commands.capacity() > 0 || self.stalled.load(Ordering::Relaxed) {
            return;
        }
        if tokio::time::timeout(EVENT_PATIENCE, self.commands.reserve()).await.is_err() {
            self.stalled.store(true, Ordering::Relaxed);
        }
    }

    /// Keeps the event with the next batch. Never waits; what finds no room is counted and lost.
    pub fn keep_event(&self, event: Arc<Event>) {
        if self.commands.try_send(writer::Command::Event(event)).is_err() {
            self.metrics.events_dropped.inc();
            if !self.stalled.swap(true, Ordering::Relaxed) {
                tracing::warn!("the database takes no events; they are lost until it does");
            }
        }
    }

    /// Commits everything that was sent so far and ends the thread.
    pub async fn close(&self) {
        let (answer, answered) = oneshot::channel();
        if self.commands.send(writer::Command::Stop(answer)).await.is_ok() {
            let _ = answered.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory() -> Store {
        Store::with_connection(Connection::open_in_memory().unwrap(), Arc::new(Metrics::default()))
            .unwrap()
    }

    fn set(name: &'static str) -> impl FnOnce(&Connection) -> rusqlite::Result<()> + Send {
        move |connection| {
            connection.execute("INSERT INTO settings VALUES (?1, 'x')", [name])?;
            Ok(())
        }
    }

    #[tokio::test]
    async fn work_that_fails_does_not_take_its_batch_along() {
        let store = memory();
        let (first, again, other) =
            tokio::join!(store.run(set("a")), store.run(set("a")), store.run(set("b")));
        first.unwrap();
        assert!(matches!(again, Err(StoreError::Database(_))));
        other.unwrap();
        let count: i64 = store
            .run(|connection| {
                connection.query_row("SELECT count(*) FROM settings", [], |row| row.get(0))
            })
            .await
            .unwrap();
        assert_eq!(count, 2);
    }

    #[tokio::test]
    async fn closing_keeps_what_was_sent() {
        let folder = crate::testing::TempDir::new();
        let data_dir = DataDir::open(folder.path()).unwrap();
        let store = Store::open(&data_dir, Arc::default()).unwrap();
        for id in 1..=500 {
            store.keep_event(Arc::new(crate::testing::event(id)));
        }
        store.close().await;
        assert!(matches!(store.check().await, Err(StoreError::Closed)));
        let store = Store::open(&data_dir, Arc::default()).unwrap();
        let events =
            store.run(|connection| rows::events_after(connection, 0, None, 1000)).await.unwrap();
        assert_eq!(events.len(), 500);
    }

    #[test]
    fn a_folder_serves_one_server() {
        let folder = crate::testing::TempDir::new();
        let held = DataDir::open(folder.path()).unwrap();
        let error = DataDir::open(folder.path()).unwrap_err();
        assert!(error.to_string().contains("another kenny-server"), "{error}");
        drop(held);
        DataDir::open(folder.path()).unwrap();
    }
}
