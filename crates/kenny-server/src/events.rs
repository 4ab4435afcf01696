//! What happened, told to whoever listens and kept in the database.
//!
//! An event's id is given here and not by the database, so that listening works while the database does not.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use kenny_proto::api::{Event, Update, UpdateKind};
use kenny_proto::{AgentId, RolloutId};
use tokio::sync::broadcast;

use crate::store::Store;

/// How far a listener may fall behind before it is told to start over.
const BACKLOG: usize = 4096;

/// The kinds of events, as the REST API documents them.
pub mod kind {
    /// An agent registered.
    pub const AGENT_ONLINE: &str = "agent_online";
    /// An agent's connection ended.
    pub const AGENT_OFFLINE: &str = "agent_offline";
    /// The operator made an agent.
    pub const AGENT_CREATED: &str = "agent_created";
    /// The operator said something of an agent.
    pub const AGENT_CHANGED: &str = "agent_changed";
    /// The operator removed an agent.
    pub const AGENT_REMOVED: &str = "agent_removed";
    /// The operator invited a PC to be an agent.
    pub const AGENT_INVITED: &str = "agent_invited";
    /// The operator withdrew an invitation.
    pub const INVITATION_WITHDRAWN: &str = "invitation_withdrawn";
    /// A PC enrolled: its key is the agent's from now on.
    pub const AGENT_ENROLLED: &str = "agent_enrolled";
    /// A PC that wanted to enrol was turned away.
    pub const ENROLMENT_REJECTED: &str = "enrolment_rejected";
    /// An agent was turned away.
    pub const AGENT_REJECTED: &str = "agent_rejected";
    /// An artifact was added.
    pub const RELEASE_ADDED: &str = "release_added";
    /// A version was removed with its files.
    pub const RELEASE_REMOVED: &str = "release_removed";
    /// An update changed.
    pub const UPDATE_CHANGED: &str = "update_changed";
    /// The operator called a tool.
    pub const TOOL_CALLED: &str = "tool_called";
    /// The operator wants no particular version of an agent any more.
    pub const INTENT_CLEARED: &str = "intent_cleared";
    /// A version is not sent to an agent any more until the operator clears the hold.
    pub const AGENT_HELD: &str = "agent_held";
    /// The operator cleared a hold.
    pub const HOLD_CLEARED: &str = "hold_cleared";
    /// The operator said what publishing a release starts by itself.
    pub const CHANNELS_CHANGED: &str = "channels_changed";
    /// A rollout began.
    pub const ROLLOUT_STARTED: &str = "rollout_started";
    /// A rollout reached its next stage.
    pub const ROLLOUT_STAGE: &str = "rollout_stage";
    /// A member of a rollout has its outcome.
    pub const ROLLOUT_MEMBER: &str = "rollout_member";
    /// The operator paused a rollout.
    pub const ROLLOUT_PAUSED: &str = "rollout_paused";
    /// The operator had a rollout go on.
    pub const ROLLOUT_RESUMED: &str = "rollout_resumed";
    /// A rollout stopped itself.
    pub const ROLLOUT_HALTED: &str = "rollout_halted";
    /// Every member of a rollout has its outcome.
    pub const ROLLOUT_COMPLETED: &str = "rollout_completed";
    /// The operator ended a rollout.
    pub const ROLLOUT_CANCELLED: &str = "rollout_cancelled";
    /// Signed metadata was published.
    pub const TRUST_CHANGED: &str = "trust_changed";
    /// The end of signed metadata comes near, or is there.
    pub const TRUST_EXPIRING: &str = "trust_expiring";
    /// The listener missed events: it should read everything anew. Never kept.
    pub const RESYNC: &str = "resync";
}

/// Tells and keeps events.
#[derive(Debug)]
pub struct Events {
    next_id: AtomicI64,
    /// Keeping and telling happen in the order of the ids.
    order: Mutex<()>,
    listeners: broadcast::Sender<Arc<Event>>,
    store: Store,
}

impl Events {
    /// `newest` is the newest event that is kept. Ids go on from there or, so that an id that was told but lost
    /// in a crash is never given twice, from the clock's microseconds.
    pub fn new(store: Store, newest: Option<i64>, now: Timestamp) -> Self {
        let next = newest.unwrap_or(0).max(now.as_microsecond()) + 1;
        Self {
            next_id: AtomicI64::new(next),
            order: Mutex::new(()),
            listeners: broadcast::Sender::new(BACKLOG),
            store,
        }
    }

    /// Waits until an event can be kept. Operator actions call it, so that a slow disk slows them down instead of
    /// losing their record.
    pub async fn room(&self) {
        self.store.room_for_event().await;
    }

    /// Tells and keeps an event about an agent, or about none.
    pub fn publish(&self, kind: &str, agent_id: Option<&AgentId>, summary: String) {
        self.send(Self::event(kind, agent_id, summary, None), true);
    }

    /// Tells and keeps an event about a rollout, and about one of its agents where it is named.
    pub fn rollout(
        &self,
        kind: &str,
        rollout: RolloutId,
        agent_id: Option<&AgentId>,
        summary: String,
    ) {
        let event = Self::event(kind, agent_id, summary, None);
        self.send(Event { rollout: Some(rollout), ..event }, true);
    }

    /// Tells and keeps that an update changed.
    pub fn update_changed(&self, update: &Update) {
        let summary = summary(update);
        self.send(
            Self::event(kind::UPDATE_CHANGED, Some(&update.agent_id), summary, Some(update)),
            true,
        );
    }

    /// Tells how far an update is, without keeping it.
    pub fn update_progress(&self, update: &Update) {
        if self.listeners.receiver_count() > 0 {
            let summary = summary(update);
            self.send(
                Self::event(kind::UPDATE_CHANGED, Some(&update.agent_id), summary, Some(update)),
                false,
            );
        }
    }

    /// Everything from now on.
    pub fn listen(&self) -> broadcast::Receiver<Arc<Event>> {
        let _order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        self.listeners.subscribe()
    }

    /// The id of the last event that was told.
    pub fn newest(&self) -> i64 {
        self.next_id.load(Ordering::Relaxed) - 1
    }

    /// An event that tells a listener to start over.
    pub fn resync(&self) -> Event {
        Event {
            id: self.newest(),
            ..Self::event(
                kind::RESYNC,
                None,
                "events were missed: read the current state anew".to_owned(),
                None,
            )
        }
    }

    fn event(
        kind: &str,
        agent_id: Option<&AgentId>,
        summary: String,
        update: Option<&Update>,
    ) -> Event {
        Event {
            id: 0,
            at: Timestamp::now(),
            kind: kind.to_owned(),
            agent_id: agent_id.cloned(),
            summary,
            rollout: update.and_then(|update| update.rollout),
            update: update.map(|update| Box::new(Update { log: Vec::new(), ..update.clone() })),
        }
    }

    fn send(&self, mut event: Event, keep: bool) {
        let _order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        event.id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let event = Arc::new(event);
        if keep {
            self.store.keep_event(Arc::clone(&event));
        }
        // Nobody may be listening.
        let _ = self.listeners.send(event);
    }
}

fn summary(update: &Update) -> String {
    let step = update.timeline.last().map_or("requested", |entry| entry.step.as_str());
    let percent = update.percent.map(|percent| format!(" {percent} %")).unwrap_or_default();
    let why =
        update.failure.as_ref().map(|failure| format!(": {}", failure.detail)).unwrap_or_default();
    let what = match update.kind {
        UpdateKind::Update => "update",
        UpdateKind::Rollback => "rollback",
    };
    let attempt = match update.attempt {
        ..=1 => String::new(),
        attempt => format!(" (attempt {attempt})"),
    };
    format!("{what} of {} to {}{attempt}: {step}{percent}{why}", update.agent_id, update.version)
}
