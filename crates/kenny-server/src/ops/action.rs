//! What operators can do, each by the name that it has in the audit log, and the role that it needs.

use kenny_proto::Role;
use kenny_proto::tools::{TELEMETRY_COLLECT, ToolSpec};

/// One thing that an operator can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Sees every agent.
    ListAgents,
    /// Sees one agent, with its telemetry.
    ShowAgent,
    /// Makes an agent.
    CreateAgent,
    /// Removes an agent.
    RemoveAgent,
    /// Sees an agent's updates.
    ListUpdates,
    /// Sees one update.
    ShowUpdate,
    /// Wants a version of an agent.
    RequestUpdate,
    /// Wants no version of an agent any more.
    ClearIntent,
    /// Has a held version tried again.
    ClearHold,
    /// Has an agent go back.
    RollBack,
    /// Sees the catalogue of tools.
    ListTools,
    /// Has an agent tell its telemetry now: what viewers see anyway.
    CollectTelemetry,
    /// Calls any other tool. Those that only read are among them: they read what is private on somebody's PC.
    CallTool,
    /// Sees every release.
    ListReleases,
    /// Adds a release.
    AddRelease,
    /// Sees what happens.
    FollowEvents,
    /// Reads the server's numbers.
    ReadMetrics,
    /// Reads the audit log.
    ReadAudit,
}

impl Action {
    /// Every action.
    #[cfg(test)]
    pub const ALL: [Self; 18] = [
        Self::ListAgents,
        Self::ShowAgent,
        Self::CreateAgent,
        Self::RemoveAgent,
        Self::ListUpdates,
        Self::ShowUpdate,
        Self::RequestUpdate,
        Self::ClearIntent,
        Self::ClearHold,
        Self::RollBack,
        Self::ListTools,
        Self::CollectTelemetry,
        Self::CallTool,
        Self::ListReleases,
        Self::AddRelease,
        Self::FollowEvents,
        Self::ReadMetrics,
        Self::ReadAudit,
    ];

    /// Calling this tool.
    pub fn calling(tool: &ToolSpec) -> Self {
        match tool.name {
            TELEMETRY_COLLECT => Self::CollectTelemetry,
            _ => Self::CallTool,
        }
    }

    /// Its name in the audit log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ListAgents => "agent.list",
            Self::ShowAgent => "agent.show",
            Self::CreateAgent => "agent.create",
            Self::RemoveAgent => "agent.remove",
            Self::ListUpdates => "update.list",
            Self::ShowUpdate => "update.show",
            Self::RequestUpdate => "update.request",
            Self::ClearIntent => "update.clear",
            Self::ClearHold => "hold.clear",
            Self::RollBack => "update.rollback",
            Self::ListTools => "tool.list",
            Self::CollectTelemetry | Self::CallTool => "tool.call",
            Self::ListReleases => "release.list",
            Self::AddRelease => "release.add",
            Self::FollowEvents => "event.follow",
            Self::ReadMetrics => "metrics.read",
            Self::ReadAudit => "audit.read",
        }
    }

    /// The least role that may do it.
    pub const fn needs(self) -> Role {
        match self {
            Self::ListAgents
            | Self::ShowAgent
            | Self::ListUpdates
            | Self::ShowUpdate
            | Self::ListTools
            | Self::CollectTelemetry
            | Self::ListReleases
            | Self::FollowEvents
            | Self::ReadMetrics => Role::Viewer,
            Self::CreateAgent
            | Self::RemoveAgent
            | Self::RequestUpdate
            | Self::ClearIntent
            | Self::ClearHold
            | Self::RollBack
            | Self::CallTool
            | Self::AddRelease => Role::Operator,
            // It names accounts and addresses, and what was done on whose PC.
            Self::ReadAudit => Role::Owner,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_tell_actions_apart() {
        let names: HashSet<&str> = Action::ALL.iter().map(|action| action.name()).collect();
        assert_eq!(names.len(), Action::ALL.len() - 1, "calls share one");
    }

    #[test]
    fn what_changes_something_or_reads_a_pc_is_beyond_viewers() {
        for action in Action::ALL {
            let is_look = action.needs() == Role::Viewer;
            let changes = ["create", "remove", "request", "clear", "rollback", "add"];
            let is_change = changes.iter().any(|word| action.name().ends_with(word));
            assert!(!(is_look && is_change), "{action:?}");
        }
        assert_eq!(Action::calling(ToolSpec::find("fs.read").unwrap()).needs(), Role::Operator);
    }
}
