//! The database's thread: takes what waits, runs it in one transaction, answers after the commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kenny_proto::api::Event;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::{StoreError, rows};
use crate::metrics::Metrics;

/// At most so much in one transaction, so that nobody waits long for its end.
const BATCH: usize = 1024;
/// Events that are kept; older ones are deleted. A busy home fleet makes some thousand a day.
const EVENTS_KEPT: u32 = 100_000;
/// Old events are looked for once in so many new ones.
const PRUNE_EVERY: usize = 4096;

pub enum Command {
    Work(Box<dyn Work>),
    Event(Arc<Event>),
    Stop(oneshot::Sender<()>),
}

/// One piece of work: performed inside a savepoint, answered after the commit.
pub trait Work: Send {
    fn perform(&mut self, connection: &Connection);
    fn finish(self: Box<Self>, committed: Result<(), &rusqlite::Error>);
    fn succeeded(&self) -> bool;
}

pub struct Once<T, F> {
    work: Option<F>,
    result: Option<rusqlite::Result<T>>,
    answer: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Once<T, F> {
    pub fn new(work: F, answer: oneshot::Sender<Result<T, StoreError>>) -> Self {
        Self { work: Some(work), result: None, answer }
    }
}

impl<T, F> Work for Once<T, F>
where
    T: Send,
    F: FnOnce(&Connection) -> rusqlite::Result<T> + Send,
{
    fn perform(&mut self, connection: &Connection) {
        if let Some(work) = self.work.take() {
            self.result = Some(work(connection));
        }
    }

    fn succeeded(&self) -> bool {
        matches!(self.result, Some(Ok(_)))
    }

    fn finish(self: Box<Self>, committed: Result<(), &rusqlite::Error>) {
        let result = match (self.result, committed) {
            (Some(Err(error)), _) => Err(StoreError::Database(error)),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (Some(Ok(_)) | None, Err(error)) => Err(StoreError::NotCommitted(error.to_string())),
            (None, Ok(())) => Err(StoreError::Closed),
        };
        // Whoever asked may have stopped waiting.
        let _ = self.answer.send(result);
    }
}

pub struct Writer {
    connection: Connection,
    commands: mpsc::Receiver<Command>,
    /// Events of batches that could not be committed are tried again with the next one.
    events: Vec<Arc<Event>>,
    events_since_pruning: usize,
    stalled: Arc<AtomicBool>,
    metrics: Arc<Metrics>,
}

impl Writer {
    pub fn new(
        connection: Connection,
        commands: mpsc::Receiver<Command>,
        stalled: Arc<AtomicBool>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { connection, commands, events: Vec::new(), events_since_pruning: 0, stalled, metrics }
    }

    pub fn run(mut self) {
        while let Some(first) = self.commands.blocking_recv() {
            let mut work = Vec::new();
            let mut stop = None;
            let mut next = Some(first);
            while let Some(command) = next {
                match command {
                    Command::Work(one) => work.push(one),
                    Command::Event(event) => self.events.push(event),
                    Command::Stop(answer) => {
                        stop = Some(answer);
                        break;
                    }
                }
                if work.len() + self.events.len() >= BATCH {
                    break;
                }
                next = self.commands.try_recv().ok();
            }
            self.batch(work);
            self.stalled.store(false, Ordering::Relaxed);
            if let Some(answer) = stop {
                self.commands.close();
                let _ = self.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
                let _ = answer.send(());
                return;
            }
        }
    }

    fn batch(&mut self, mut work: Vec<Box<dyn Work>>) {
        let committed = self.transaction(&mut work);
        match &committed {
            Ok(()) => self.events.clear(),
            Err(error) => {
                self.metrics.database_errors.inc();
                tracing::warn!(%error, "the database could not keep a batch of changes");
                if !self.connection.is_autocommit() {
                    let _ = self.connection.execute_batch("ROLLBACK");
                }
                let surplus = self.events.len().saturating_sub(super::QUEUE);
                self.events.drain(..surplus);
                self.metrics.events_dropped.inc_by(surplus as u64);
            }
        }
        for one in work {
            if !one.succeeded() {
                self.metrics.database_errors.inc();
            }
            one.finish(committed.as_ref().copied());
        }
    }

    fn transaction(&mut self, work: &mut [Box<dyn Work>]) -> rusqlite::Result<()> {
        let connection = &self.connection;
        connection.execute_batch("BEGIN IMMEDIATE")?;
        // First, so that a listener's read sees every event that was told before it.
        for event in &self.events {
            rows::insert_event(connection, event)?;
        }
        for one in work {
            connection.execute_batch("SAVEPOINT work")?;
            one.perform(connection);
            if !one.succeeded() {
                connection.execute_batch("ROLLBACK TO work")?;
            }
            connection.execute_batch("RELEASE work")?;
        }
        self.events_since_pruning += self.events.len();
        if self.events_since_pruning >= PRUNE_EVERY {
            self.events_since_pruning = 0;
            rows::prune_events(connection, EVENTS_KEPT)?;
        }
        connection.execute_batch("COMMIT")
    }
}
