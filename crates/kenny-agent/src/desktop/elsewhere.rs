//! Off Windows nothing starts the agent but a console or a supervisor.

use std::io;

use super::{Elevated, Look};

/// Never.
pub fn started_by_double_click() -> bool {
    false
}

/// There is none that is the agent's own.
pub fn hide_console() {}

/// On the console. Nobody is asked, so the answer is no.
pub fn show(title: &str, text: &str, look: Look) -> bool {
    match look {
        Look::Plain => tracing::info!("{title}: {text}"),
        Look::Trouble | Look::Question => tracing::warn!("{title}: {text}"),
    }
    false
}

/// Says that it cannot.
pub fn run_as_administrator(_arguments: &str) -> io::Result<Elevated> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}
