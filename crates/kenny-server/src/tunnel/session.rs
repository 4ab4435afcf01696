//! One accepted connection of an agent: its outgoing queue, and the calls that wait for its answers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::ws::Utf8Bytes;
use jiff::Timestamp;
use kenny_proto::frames::{Request, Response, ToolError};
use kenny_proto::{AgentId, CloseCode, RequestId, ServerFrame, SessionId, UpdateId};
use serde_json::{Map, Value};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use crate::audit::Call;

/// Frames that may wait for a peer that does not read. Callers beyond that wait, each for its own deadline.
pub const OUTBOUND_FRAMES: usize = 256;

/// A tool's result, or its error.
pub type Outcome = Result<Map<String, Value>, ToolError>;

/// Why a call has no outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The connection had ended already.
    #[error("the agent is offline")]
    Offline,
    /// The connection ended while the call ran.
    #[error("the connection to the agent ended before its answer came")]
    ConnectionLost,
    /// No answer in time.
    #[error("the agent did not answer within {} ms", .0.as_millis())]
    Timeout(Duration),
}

/// One accepted connection.
#[derive(Debug)]
pub struct Session {
    /// Its name.
    pub id: SessionId,
    /// Whose it is.
    pub agent_id: AgentId,
    /// The agent understands `welcome`, `cancel`, `deadline_ms` and update ids.
    pub speaks_0_3: bool,
    /// The server's address as this agent reached it: where links to artifacts begin.
    pub base_url: Box<str>,
    /// Since when.
    pub connected_at: Timestamp,
    started: Instant,
    /// Milliseconds from `started` to the last frame.
    last_frame_ms: AtomicU64,
    /// Milliseconds from `started` to the next ping.
    next_ping_ms: AtomicU64,
    outbound: mpsc::Sender<Utf8Bytes>,
    /// `None` once the connection has ended.
    pending: Mutex<Option<HashMap<RequestId, oneshot::Sender<Outcome>>>>,
    /// The request that carries an update: its answer belongs to the rollout, whoever else waits for it.
    update: Mutex<Option<(RequestId, UpdateId)>>,
    closing: Mutex<Option<(CloseCode, String)>>,
    close_asked: Notify,
}

impl Session {
    /// A session of an agent that was just accepted, and the queue of what goes out to it.
    pub fn new(
        agent_id: AgentId,
        speaks_0_3: bool,
        base_url: String,
        heartbeat: Duration,
    ) -> (Self, mpsc::Receiver<Utf8Bytes>) {
        let (outbound, queue) = mpsc::channel(OUTBOUND_FRAMES);
        let session = Self {
            id: SessionId::random(),
            agent_id,
            speaks_0_3,
            base_url: base_url.into_boxed_str(),
            connected_at: Timestamp::now(),
            started: Instant::now(),
            last_frame_ms: AtomicU64::new(0),
            next_ping_ms: AtomicU64::new(milliseconds(heartbeat)),
            outbound,
            pending: Mutex::new(Some(HashMap::new())),
            update: Mutex::new(None),
            closing: Mutex::new(None),
            close_asked: Notify::new(),
        };
        (session, queue)
    }

    /// Sends a frame if there is room for it; a peer that reads nothing loses it.
    pub fn send_if_room(&self, frame: &ServerFrame) -> bool {
        self.outbound.try_send(frame.to_json().into()).is_ok()
    }

    /// Calls a tool and waits for its answer, until the connection ends or the time is over. Dropping the future
    /// abandons the call. `_record` shows that the audit log has it.
    pub async fn call(
        &self,
        _record: &Call<'_>,
        tool: &str,
        args: Map<String, Value>,
        time: Duration,
    ) -> Result<Outcome, CallError> {
        self.call_as(RequestId::random(), tool, args, time).await
    }

    /// Like [`Session::call`], with an id that was chosen before.
    pub async fn call_as(
        &self,
        id: RequestId,
        tool: &str,
        args: Map<String, Value>,
        time: Duration,
    ) -> Result<Outcome, CallError> {
        let (sender, receiver) = oneshot::channel();
        self.pending().as_mut().ok_or(CallError::Offline)?.insert(id, sender);
        let mut waiting = Waiting { session: self, id, answered: false };
        let request = ServerFrame::Request(Request {
            id,
            tool: tool.to_owned(),
            args,
            deadline_ms: self.speaks_0_3.then(|| milliseconds(time)),
        });
        let text: Utf8Bytes = request.to_json().into();
        let exchange = async {
            self.outbound.send(text).await.map_err(|_| CallError::ConnectionLost)?;
            receiver.await.map_err(|_| CallError::ConnectionLost)
        };
        let Ok(result) = tokio::time::timeout(time, exchange).await else {
            return Err(CallError::Timeout(time));
        };
        waiting.answered = true;
        result
    }

    /// The request of this id carries this update.
    pub fn carries_update(&self, request: RequestId, update: UpdateId) {
        *self.update.lock().unwrap_or_else(PoisonError::into_inner) = Some((request, update));
    }

    /// The update that the request carried.
    pub fn update_of(&self, request: RequestId) -> Option<UpdateId> {
        let carried = *self.update.lock().unwrap_or_else(PoisonError::into_inner);
        carried.filter(|(id, _)| *id == request).map(|(_, update)| update)
    }

    /// An answer came. False when nobody waits for it any more.
    pub fn answer(&self, response: Response) -> bool {
        let waiting = self.pending().as_mut().and_then(|pending| pending.remove(&response.id));
        waiting.is_some_and(|waiting| waiting.send(response.outcome).is_ok())
    }

    /// The connection has ended: its calls fail, now.
    pub fn fail_pending(&self) {
        // Dropping the senders wakes the callers; outside of the lock.
        let pending = self.pending().take();
        drop(pending);
    }

    /// Asks the connection's task to close it. The first reason counts.
    pub fn close(&self, code: CloseCode, reason: impl Into<String>) {
        self.closing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_with(|| (code, reason.into()));
        self.close_asked.notify_one();
    }

    /// Waits until somebody asks to close the connection.
    pub async fn close_asked(&self) {
        self.close_asked.notified().await;
    }

    /// Why the connection is to be closed, if somebody asked.
    pub fn closing(&self) -> Option<(CloseCode, String)> {
        self.closing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A frame came.
    pub fn heard(&self) {
        self.last_frame_ms.store(milliseconds(self.started.elapsed()), Ordering::Relaxed);
    }

    /// When the last frame came.
    pub fn last_frame_at(&self) -> Timestamp {
        let since = Duration::from_millis(self.last_frame_ms.load(Ordering::Relaxed));
        self.connected_at.checked_add(since).unwrap_or(self.connected_at)
    }

    /// How long the agent has been silent at `now`.
    pub fn silent_for(&self, now: Instant) -> Duration {
        let last = self.started + Duration::from_millis(self.last_frame_ms.load(Ordering::Relaxed));
        now.saturating_duration_since(last)
    }

    /// True when a ping is due at `now`; the next one is then due one interval later.
    pub fn ping_due(&self, now: Instant, heartbeat: Duration) -> bool {
        let now_ms = milliseconds(now.saturating_duration_since(self.started));
        if now_ms < self.next_ping_ms.load(Ordering::Relaxed) {
            return false;
        }
        self.next_ping_ms.store(now_ms + milliseconds(heartbeat), Ordering::Relaxed);
        true
    }

    fn pending(&self) -> MutexGuard<'_, Option<HashMap<RequestId, oneshot::Sender<Outcome>>>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that waits. Whoever stops waiting tells the agent, if the agent understands it.
struct Waiting<'a> {
    session: &'a Session,
    id: RequestId,
    answered: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        let waited = self.session.pending().as_mut().and_then(|pending| pending.remove(&self.id));
        if waited.is_some() && self.session.speaks_0_3 {
            self.session.send_if_room(&ServerFrame::Cancel { id: self.id });
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kenny_proto::Parsed;

    fn session(speaks_0_3: bool) -> (Session, mpsc::Receiver<Utf8Bytes>) {
        let id = "pc-1".parse().unwrap();
        Session::new(id, speaks_0_3, "http://x".to_owned(), Duration::from_secs(30))
    }

    async fn called(
        session: &Session,
        tool: &str,
        args: Map<String, Value>,
        time: Duration,
    ) -> Result<Outcome, CallError> {
        session.call_as(RequestId::random(), tool, args, time).await
    }

    fn request(text: &str) -> Request {
        let Ok(Parsed::Frame(ServerFrame::Request(request))) = ServerFrame::parse(text) else {
            panic!("{text}")
        };
        request
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_takes_too_long_is_cancelled_where_the_agent_understands_it() {
        for speaks_0_3 in [true, false] {
            let (session, mut queue) = session(speaks_0_3);
            let time = Duration::from_mins(1);
            let result = called(&session, "fs.list", Map::new(), time).await;
            assert_eq!(result, Err(CallError::Timeout(time)));
            let request = request(&queue.recv().await.unwrap());
            assert_eq!(request.deadline_ms, speaks_0_3.then_some(60_000));
            let cancel = queue.try_recv().ok().map(|text| text.to_string());
            assert_eq!(cancel.is_some_and(|text| text.contains("cancel")), speaks_0_3);
            let late = Response { id: request.id, outcome: Ok(Map::new()) };
            assert!(!session.answer(late), "late answers are ignored");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_a_connection_fails_its_calls_at_once() {
        let (session, mut queue) = session(true);
        let before = Instant::now();
        let call = called(&session, "fs.list", Map::new(), Duration::from_mins(1));
        let end = async {
            queue.recv().await.unwrap();
            session.fail_pending();
        };
        let (result, ()) = tokio::join!(call, end);
        assert_eq!(result, Err(CallError::ConnectionLost));
        assert_eq!(before.elapsed(), Duration::ZERO);
        let after = called(&session, "fs.list", Map::new(), Duration::from_mins(1)).await;
        assert_eq!(after, Err(CallError::Offline));
    }

    #[tokio::test(start_paused = true)]
    async fn answers_find_their_calls_in_any_order() {
        let (session, mut queue) = session(false);
        let call = |name: &'static str| called(&session, name, Map::new(), Duration::from_mins(1));
        let agent = async {
            let first = request(&queue.recv().await.unwrap());
            let second = request(&queue.recv().await.unwrap());
            for request in [second, first] {
                let result = Map::from_iter([("tool".to_owned(), request.tool.into())]);
                assert!(session.answer(Response { id: request.id, outcome: Ok(result) }));
            }
        };
        let (one, two, ()) = tokio::join!(call("a"), call("b"), agent);
        assert_eq!(one.unwrap().unwrap()["tool"], "a");
        assert_eq!(two.unwrap().unwrap()["tool"], "b");
    }
}
