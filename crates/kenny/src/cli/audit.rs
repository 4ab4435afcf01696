//! What can be typed about the audit log.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use kenny_proto::AgentId;
use kenny_proto::audit::AuditAnchor;

/// About the audit log.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// List the last rows: every change, every call to an agent, and who was denied
    List(AuditListArgs),
    /// Find out whether a row was changed, is missing, stands elsewhere or was cut off; prints where the log ends
    Verify(AuditVerifyArgs),
    /// Print the whole log, one row per line as JSON
    Export,
}

/// `kenny audit list`.
#[derive(Debug, Args)]
pub struct AuditListArgs {
    /// Only those about this agent
    #[arg(long, value_name = "ID")]
    pub agent: Option<AgentId>,
    /// Only those of this account
    #[arg(long, value_name = "NAME")]
    pub account: Option<String>,
    /// Only those of this action, such as agent.create; `agent.` names all that begin with it
    #[arg(long, value_name = "ACTION")]
    pub action: Option<String>,
    /// Only those from this time on, such as 2026-11-25T10:00:00Z
    #[arg(long, value_name = "TIME")]
    pub since: Option<Timestamp>,
    /// Only those up to this time
    #[arg(long, value_name = "TIME")]
    pub until: Option<Timestamp>,
    /// Only those before this row: what stands further up
    #[arg(long, value_name = "ROW")]
    pub before: Option<u64>,
    /// How many at most
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub last: u32,
}

/// `kenny audit verify`.
#[derive(Debug, Clone, Args)]
pub struct AuditVerifyArgs {
    /// A place that the log had once, as this command printed it then; may be given several times
    #[arg(long, value_name = "ROW:HASH")]
    pub anchor: Vec<AuditAnchor>,
    /// Look at an export instead of the server's log
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
}
