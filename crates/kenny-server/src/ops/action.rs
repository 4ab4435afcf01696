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
    /// Says something of an agent: its name, owner, group, labels, channel and pin.
    ChangeAgent,
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
    /// Removes a release with its files.
    RemoveRelease,
    /// Sees every rollout.
    ListRollouts,
    /// Sees one rollout.
    ShowRollout,
    /// Sees what a rollout would do.
    PlanRollout,
    /// Begins a rollout.
    StartRollout,
    /// Has a rollout begin nothing for now.
    PauseRollout,
    /// Has a rollout go on.
    ResumeRollout,
    /// Ends a rollout.
    CancelRollout,
    /// Has the agents of a rollout go back.
    RollBackRollout,
    /// Sees what publishing a release begins.
    ShowChannels,
    /// Says what publishing a release begins.
    ChangeChannels,
    /// Sees what happens.
    FollowEvents,
    /// Reads the server's numbers.
    ReadMetrics,
    /// Reads the audit log.
    ReadAudit,
    /// Sees what the server is.
    ShowServer,
    /// Sees every account.
    ListAccounts,
    /// Sees one account.
    ShowAccount,
    /// Makes an account.
    CreateAccount,
    /// Changes what an account may do.
    ChangeAccount,
    /// Gives an account a new password.
    ResetAccount,
    /// Removes an account.
    RemoveAccount,
    /// Sees the own account.
    ShowMe,
    /// Sets the own password.
    SetPassword,
    /// Makes the secret of an own second factor.
    BeginTotp,
    /// Has the own second factor count.
    ConfirmTotp,
    /// Ends the own second factor.
    EndTotp,
    /// Makes own recovery codes anew.
    MakeRecoveryCodes,
    /// Sees the own tokens.
    ListTokens,
    /// Sees the tokens of another account.
    ListOthersTokens,
    /// Makes a token of the own account, which may do no more than the request.
    CreateToken,
    /// Revokes an own token; owners any.
    RevokeToken,
    /// Sees the own signed-in browsers.
    ListSessions,
    /// Signs an own browser out.
    EndSession,
    /// Sees the programs that act for the own account.
    ListPrograms,
    /// Lets a program act for the own account, within its role.
    ApproveProgram,
    /// Ends what a program may do for the own account.
    EndProgram,
    /// Invites a PC.
    InviteAgent,
    /// Sees open invitations.
    ListInvitations,
    /// Withdraws an invitation.
    WithdrawInvitation,
    /// Sees how trust stands.
    ShowTrust,
    /// Reads what offline keys signed.
    ReadTrustMetadata,
    /// Fetches a signed executable.
    FetchTarget,
    /// Sends the executable of a target.
    TakeTargetArtifact,
    /// Publishes what offline keys signed.
    PublishTrust,
    /// Makes the server's next key.
    MakeOnlineKey,
}

impl Action {
    /// Every action.
    #[cfg(test)]
    pub const ALL: [Self; 61] = [
        Self::ListAgents,
        Self::ShowAgent,
        Self::CreateAgent,
        Self::ChangeAgent,
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
        Self::RemoveRelease,
        Self::ListRollouts,
        Self::ShowRollout,
        Self::PlanRollout,
        Self::StartRollout,
        Self::PauseRollout,
        Self::ResumeRollout,
        Self::CancelRollout,
        Self::RollBackRollout,
        Self::ShowChannels,
        Self::ChangeChannels,
        Self::FollowEvents,
        Self::ReadMetrics,
        Self::ReadAudit,
        Self::ShowServer,
        Self::ListAccounts,
        Self::ShowAccount,
        Self::CreateAccount,
        Self::ChangeAccount,
        Self::ResetAccount,
        Self::RemoveAccount,
        Self::ShowMe,
        Self::SetPassword,
        Self::BeginTotp,
        Self::ConfirmTotp,
        Self::EndTotp,
        Self::MakeRecoveryCodes,
        Self::ListTokens,
        Self::ListOthersTokens,
        Self::CreateToken,
        Self::RevokeToken,
        Self::ListSessions,
        Self::EndSession,
        Self::ListPrograms,
        Self::ApproveProgram,
        Self::EndProgram,
        Self::InviteAgent,
        Self::ListInvitations,
        Self::WithdrawInvitation,
        Self::ShowTrust,
        Self::ReadTrustMetadata,
        Self::FetchTarget,
        Self::TakeTargetArtifact,
        Self::PublishTrust,
        Self::MakeOnlineKey,
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
            Self::ChangeAgent => "agent.change",
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
            Self::RemoveRelease => "release.remove",
            Self::ListRollouts => "rollout.list",
            Self::ShowRollout => "rollout.show",
            Self::PlanRollout => "rollout.plan",
            Self::StartRollout => "rollout.start",
            Self::PauseRollout => "rollout.pause",
            Self::ResumeRollout => "rollout.resume",
            Self::CancelRollout => "rollout.cancel",
            Self::RollBackRollout => "rollout.roll_back",
            Self::ShowChannels => "channel.show",
            Self::ChangeChannels => "channel.change",
            Self::FollowEvents => "event.follow",
            Self::ReadMetrics => "metrics.read",
            Self::ReadAudit => "audit.read",
            Self::ShowServer => "server.show",
            Self::ListAccounts => "account.list",
            Self::ShowAccount => "account.show",
            Self::CreateAccount => "account.create",
            Self::ChangeAccount => "account.change",
            Self::ResetAccount => "account.reset",
            Self::RemoveAccount => "account.remove",
            Self::ShowMe => "account.me",
            Self::SetPassword => "account.password",
            Self::BeginTotp => "account.totp_begin",
            Self::ConfirmTotp => "account.totp_on",
            Self::EndTotp => "account.totp_off",
            Self::MakeRecoveryCodes => "account.recovery_codes",
            Self::ListTokens => "token.list",
            Self::ListOthersTokens => "token.list_others",
            Self::CreateToken => "token.create",
            Self::RevokeToken => "token.revoke",
            Self::ListSessions => "session.list",
            Self::EndSession => "session.end",
            Self::ListPrograms => "program.list",
            Self::ApproveProgram => "program.approve",
            Self::EndProgram => "program.end",
            Self::InviteAgent => "agent.invite",
            Self::ListInvitations => "agent.invitations",
            Self::WithdrawInvitation => "agent.withdraw_invitation",
            Self::ShowTrust => "trust.status",
            Self::ReadTrustMetadata => "trust.metadata",
            Self::FetchTarget => "trust.target",
            Self::TakeTargetArtifact => "trust.artifact",
            Self::PublishTrust => "trust.publish",
            Self::MakeOnlineKey => "trust.online_key",
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
            | Self::ListRollouts
            | Self::ShowRollout
            | Self::PlanRollout
            | Self::ShowChannels
            | Self::FollowEvents
            | Self::ReadMetrics
            | Self::ShowServer
            | Self::ShowMe
            | Self::SetPassword
            | Self::BeginTotp
            | Self::ConfirmTotp
            | Self::EndTotp
            | Self::MakeRecoveryCodes
            | Self::ListTokens
            | Self::CreateToken
            | Self::RevokeToken
            | Self::ListSessions
            | Self::EndSession
            | Self::ListPrograms
            | Self::ApproveProgram
            | Self::EndProgram
            | Self::ListInvitations
            | Self::ShowTrust
            | Self::ReadTrustMetadata
            | Self::FetchTarget => Role::Viewer,
            Self::CreateAgent
            | Self::ChangeAgent
            | Self::RemoveAgent
            | Self::RequestUpdate
            | Self::ClearIntent
            | Self::ClearHold
            | Self::RollBack
            | Self::CallTool
            | Self::StartRollout
            | Self::PauseRollout
            | Self::ResumeRollout
            | Self::CancelRollout
            | Self::RollBackRollout
            | Self::ChangeChannels
            | Self::AddRelease
            | Self::RemoveRelease
            | Self::InviteAgent
            | Self::WithdrawInvitation => Role::Operator,
            // It names accounts and addresses, and what was done on whose PC.
            Self::ReadAudit
            | Self::ListAccounts
            | Self::ShowAccount
            | Self::CreateAccount
            | Self::ChangeAccount
            | Self::ResetAccount
            | Self::RemoveAccount
            | Self::ListOthersTokens
            | Self::TakeTargetArtifact
            | Self::PublishTrust
            | Self::MakeOnlineKey => Role::Owner,
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
            let changes = [
                "create", "remove", "request", "clear", "rollback", "add", "start", "cancel",
                "change",
            ];
            let is_change = changes.iter().any(|word| action.name().ends_with(word));
            // A token of the own account may do no more than the account.
            let is_own = action.name().starts_with("token.");
            assert!(!(is_look && is_change) || is_own, "{action:?}");
        }
        assert_eq!(Action::calling(ToolSpec::find("fs.read").unwrap()).needs(), Role::Operator);
    }
}
