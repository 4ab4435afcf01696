//! Being asked to end, on Unix.

use tokio::signal::unix::{SignalKind, signal};

/// Returns on Ctrl-C and on SIGTERM.
pub async fn asked_to_end() {
    let mut terminate = signal(SignalKind::terminate()).expect("SIGTERM can be caught");
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
