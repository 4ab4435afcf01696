//! Events: what is missed is read from the database first, then everything as it happens.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::{Stream, StreamExt as _};
use kenny_proto::AgentId;
use kenny_proto::api::Event;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::{Action, Operator, OpsError, Permit};
use crate::app::App;
use crate::audit::Subject;
use crate::store::rows;

/// A listener that missed more than this starts over instead.
const MAX_REPLAY: u32 = 10_000;

/// Follows events, of one agent where it is named, from after `last_seen` where that is given. Ends when the server
/// goes down, and when the operator may not listen any more.
pub async fn follow(
    app: &Arc<App>,
    operator: &Operator,
    agent_name: Option<&str>,
    last_seen: Option<i64>,
) -> Result<impl Stream<Item = Arc<Event>> + Send + use<>, OpsError> {
    let permit = operator.may(app, Action::FollowEvents, Subject::default())?;
    let agent_id =
        agent_name.map(|name| permit.agent(app, name)).transpose()?.map(|entry| entry.id.clone());
    // Listening before reading: what happens in between comes twice and is sorted out by its id.
    let receiver = app.events.listen();
    let mut waiting = VecDeque::new();
    let mut newest = last_seen.unwrap_or(i64::MIN);
    if let Some(last_seen) = last_seen {
        match missed(app, &permit, agent_id.clone(), last_seen).await {
            Some(events) => waiting.extend(events.into_iter().map(Arc::new)),
            None => waiting.push_back(Arc::new(app.events.resync())),
        }
        newest = waiting.back().map_or(newest, |event| event.id);
    }
    let following = Following {
        app: Arc::clone(app),
        agent_id,
        receiver,
        waiting,
        newest,
        stopping: app.stopping.clone(),
    };
    let (app, operator) = (Arc::clone(app), operator.clone());
    // Whoever may not listen any more hears nothing any more.
    let over = Box::pin(async move { operator.until_over(&app).await });
    Ok(futures_util::stream::unfold(following, Following::next).take_until(over))
}

/// Which past events are wanted.
#[derive(Debug, Clone, Default)]
pub struct Past {
    /// Only those about this agent, which may be gone.
    pub agent: Option<String>,
    /// Only those of this kind.
    pub kind: Option<String>,
    /// Only those before this one; the newest when absent.
    pub before: Option<i64>,
    /// At most so many.
    pub limit: u32,
}

/// What happened, newest first, as far back as events are kept.
pub async fn past(app: &App, operator: &Operator, wanted: Past) -> Result<Vec<Event>, OpsError> {
    let permit = operator.may(app, Action::FollowEvents, Subject::default())?;
    let read = move |connection: &rusqlite::Connection| {
        let before = wanted.before.unwrap_or(i64::MAX);
        let (agent, kind) = (wanted.agent.as_deref(), wanted.kind.as_deref());
        rows::events_before(connection, before, agent, kind, wanted.limit)
    };
    Ok(permit.read(app, read).await?)
}

/// What came after `last_seen`, or none when that cannot be said completely.
async fn missed(
    app: &App,
    permit: &Permit<'_>,
    agent_id: Option<AgentId>,
    last_seen: i64,
) -> Option<Vec<Event>> {
    if last_seen > app.events.newest() {
        // Of another database.
        return None;
    }
    let read = permit
        .read(app, move |connection| {
            let oldest = rows::event_range(connection)?.map(|(oldest, _)| oldest);
            let events =
                rows::events_after(connection, last_seen, agent_id.as_ref(), MAX_REPLAY + 1)?;
            Ok((oldest, events))
        })
        .await;
    match read {
        Ok((oldest, events)) => {
            let complete = (last_seen <= 0 || oldest.is_none_or(|oldest| oldest <= last_seen))
                && events.len() <= MAX_REPLAY as usize;
            complete.then_some(events)
        }
        Err(error) => {
            tracing::warn!(%error, "events that a listener missed could not be read");
            None
        }
    }
}

struct Following {
    app: Arc<App>,
    agent_id: Option<AgentId>,
    receiver: broadcast::Receiver<Arc<Event>>,
    waiting: VecDeque<Arc<Event>>,
    newest: i64,
    stopping: CancellationToken,
}

impl Following {
    async fn next(mut self) -> Option<(Arc<Event>, Self)> {
        if let Some(event) = self.waiting.pop_front() {
            return Some((event, self));
        }
        loop {
            let received = tokio::select! {
                received = self.receiver.recv() => received,
                () = self.stopping.cancelled() => return None,
            };
            match received {
                Ok(event) => {
                    let about = self.agent_id.is_none() || self.agent_id == event.agent_id;
                    if event.id > self.newest && about {
                        return Some((event, self));
                    }
                }
                Err(RecvError::Lagged(_)) => {
                    return Some((Arc::new(self.app.events.resync()), self));
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }
}
