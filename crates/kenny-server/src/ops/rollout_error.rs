//! Why nothing came of what was asked about rollouts and about what agents are chosen by.

/// Why nothing came of it.
#[derive(Debug, thiserror::Error)]
pub enum RolloutError {
    /// A text that cannot be had.
    #[error("`{field}` {why}")]
    BadSetting {
        /// Which.
        field: &'static str,
        /// What it has to be.
        why: &'static str,
    },
    /// The operator said that it stays where it is.
    #[error(
        "{agent} is pinned to {pinned} and stays there; `kenny agent set {agent} --unpin` lets it go, and so does a pin to {wanted} \
         (`--pin {wanted}`)"
    )]
    Pinned {
        /// The agent.
        agent: String,
        /// Where it stays.
        pinned: String,
        /// What was asked for.
        wanted: String,
    },
}

impl RolloutError {
    /// What callers decide by, the HTTP status, and a short name.
    pub const fn facts(&self) -> (&'static str, u16, &'static str) {
        match self {
            Self::BadSetting { .. } => ("bad_setting", 400, "Not a setting"),
            Self::Pinned { .. } => ("pinned", 409, "The agent is pinned"),
        }
    }
}
