//! The tunnel: dials out, registers, moves frames, and dials again. Tools never run on its loops.

mod backoff;
mod connect;
mod handshake;
mod session;
mod sleep;

use std::sync::{Arc, Mutex, PoisonError};

use kenny_proto::AgentFrame;
use tokio::sync::{mpsc, oneshot};

pub use backoff::Backoff;
pub use connect::{Busy, connect, tls_config};
pub use session::{End, Session};

/// A frame on its way to the server.
#[derive(Debug)]
pub struct Outbound {
    /// The frame.
    pub frame: AgentFrame,
    /// Told once the frame was flushed to the socket.
    pub sent: Option<oneshot::Sender<()>>,
}

/// How many frames may wait for the socket. A tool's answer waits for room; a push that finds none is dropped.
pub const QUEUE: usize = 256;

/// Where pushes go: to the connection that stands, or nowhere. Cheap to clone, survives reconnects.
#[derive(Debug, Clone, Default)]
pub struct Outbox {
    current: Arc<Mutex<Option<mpsc::Sender<Outbound>>>>,
}

impl Outbox {
    /// Sends a frame if there is a connection with room.
    pub fn push(&self, frame: AgentFrame) {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(sender) = current.as_ref() else { return };
        if sender.try_send(Outbound { frame, sent: None }).is_err() {
            tracing::debug!("a push was dropped: the connection is gone or stuck");
        }
    }

    pub(crate) fn attach(&self, sender: Option<mpsc::Sender<Outbound>>) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = sender;
    }
}
