//! Waiting for something to become true, with a deadline.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How often it is looked. A look is a file or a request to loopback, never a `wine` call, which would cost 0.1 s.
const INTERVAL: Duration = Duration::from_millis(20);

/// Looks until `look` finds something. The error after `within` says `what` was waited for and what was seen last.
pub async fn eventually<T>(
    what: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let began = Instant::now();
    loop {
        let seen = look().await;
        let too_late = began.elapsed() >= within;
        let in_vain = || format!("waited {} s in vain: {what}", within.as_secs());
        match seen {
            Ok(Some(found)) => return Ok(found),
            Ok(None) if too_late => bail!(in_vain()),
            Err(error) if too_late => return Err(error).with_context(in_vain),
            Ok(None) | Err(_) => {}
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
