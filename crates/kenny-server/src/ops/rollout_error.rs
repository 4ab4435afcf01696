//! Why nothing came of what was asked about rollouts and about what agents are chosen by.

use kenny_core::rollout::strategy::Invalid;

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
    /// Not what a rollout can be.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// No agent.
    #[error(
        "no agent is selected: `kenny agents` lists them, and `kenny agent set ID --group NAME` puts one into a group"
    )]
    NobodySelected,
    /// No such rollout.
    #[error("there is no rollout `{0}`; `kenny rollout list` names them")]
    Unknown(String),
    /// It is over.
    #[error("{what} is over ({state}); `kenny rollout start` begins another")]
    Over {
        /// Which.
        what: String,
        /// How it ended.
        state: &'static str,
    },
    /// It stopped already.
    #[error("{what} stopped itself already, and begins nothing: {reason} Resume it or cancel it")]
    Halted {
        /// Which.
        what: String,
        /// Why.
        reason: String,
    },
    /// Nobody went along.
    #[error("no agent went along with {0}, so that there is nothing to go back from")]
    NothingToRollBack(String),
    /// It goes back itself.
    #[error("{0} goes back itself; `kenny rollout start` goes forward again")]
    IsRollback(String),
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
            Self::Invalid(_) => ("bad_rollout", 400, "Not a rollout"),
            Self::NobodySelected => ("nobody_selected", 409, "No agent is selected"),
            Self::Unknown(_) => ("unknown_rollout", 404, "No such rollout"),
            Self::Over { .. } => ("rollout_over", 409, "The rollout is over"),
            Self::Halted { .. } => ("rollout_halted", 409, "The rollout is halted"),
            Self::NothingToRollBack(_) => ("nothing_to_roll_back", 409, "Nobody went along"),
            Self::IsRollback(_) => ("is_rollback", 409, "It goes back itself"),
            Self::Pinned { .. } => ("pinned", 409, "The agent is pinned"),
        }
    }
}
