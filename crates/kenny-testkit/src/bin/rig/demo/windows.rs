//! Being asked to end, on Windows.

/// Returns on Ctrl-C.
pub async fn asked_to_end() {
    // Without a console nobody can ask.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
