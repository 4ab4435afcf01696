//! What can be typed about updates.

use clap::Args;
use kenny_proto::AgentId;
use semver::Version;

/// `kenny update`.
#[derive(Debug, Args)]
pub struct UpdateArgs {
    /// The agent
    pub agent: AgentId,
    /// The version that it should run
    #[arg(long, value_name = "VERSION", required_unless_present = "cancel")]
    pub to: Option<Version>,
    /// Go there even if it is older than what runs
    #[arg(long, requires = "to")]
    pub allow_downgrade: bool,
    /// Whether to stay
    #[command(flatten)]
    pub stay: WatchArgs,
    /// Want no particular version any more; an update that was not sent yet will not be
    #[arg(long, conflicts_with_all = ["to", "watch", "allow_downgrade"])]
    pub cancel: bool,
}

/// `kenny rollback`.
#[derive(Debug, Args)]
pub struct RollbackArgs {
    /// The agent
    pub agent: AgentId,
    /// Whether to stay
    #[command(flatten)]
    pub stay: WatchArgs,
}

/// Whether to stay until the outcome is known.
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// Stay and show each phase, until the outcome is known
    #[arg(long)]
    pub watch: bool,
    /// With --watch: give up watching (what was asked for goes on) after so many seconds [default: wait for the outcome]
    #[arg(long, value_name = "SECONDS", requires = "watch")]
    pub timeout: Option<u64>,
}
