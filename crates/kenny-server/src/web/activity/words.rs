//! Kinds of events and actions of the audit log in words.

use crate::events::kind;

/// Kinds of events, as they are offered.
pub const EVENTS: [(&str, &str); 28] = [
    (kind::AGENT_ONLINE, "a PC came"),
    (kind::AGENT_OFFLINE, "a PC went"),
    (kind::UPDATE_CHANGED, "an update went on"),
    (kind::AGENT_HELD, "a version was held"),
    (kind::HOLD_CLEARED, "a hold was cleared"),
    (kind::INTENT_CLEARED, "no version is wanted any more"),
    (kind::TOOL_CALLED, "a tool was called"),
    (kind::RELEASE_ADDED, "a release was added"),
    (kind::RELEASE_REMOVED, "a release was removed"),
    (kind::CHANNELS_CHANGED, "what publishing begins changed"),
    (kind::ROLLOUT_STARTED, "a rollout began"),
    (kind::ROLLOUT_STAGE, "a rollout reached a stage"),
    (kind::ROLLOUT_MEMBER, "a PC of a rollout went on"),
    (kind::ROLLOUT_PAUSED, "a rollout was paused"),
    (kind::ROLLOUT_RESUMED, "a rollout went on"),
    (kind::ROLLOUT_HALTED, "a rollout stopped itself"),
    (kind::ROLLOUT_COMPLETED, "a rollout was completed"),
    (kind::ROLLOUT_CANCELLED, "a rollout was cancelled"),
    (kind::AGENT_INVITED, "a PC was invited"),
    (kind::INVITATION_WITHDRAWN, "an invitation was withdrawn"),
    (kind::AGENT_ENROLLED, "a PC enrolled"),
    (kind::ENROLMENT_REJECTED, "a PC could not enrol"),
    (kind::AGENT_REJECTED, "a PC was turned away"),
    (kind::AGENT_CREATED, "a PC was added"),
    (kind::AGENT_CHANGED, "the settings of a PC changed"),
    (kind::AGENT_REMOVED, "a PC was removed"),
    (kind::TRUST_CHANGED, "signatures were published"),
    (kind::TRUST_EXPIRING, "signatures come to their end"),
];

/// Actions of the audit log, as they are offered and as rows say them.
pub const ACTIONS: [(&str, &str); 40] = [
    ("account.login", "signed in"),
    ("update.request", "asked for the version"),
    ("update.rollback", "sent it back"),
    ("update.clear", "wants no particular version"),
    ("hold.clear", "cleared the hold"),
    ("tool.call", "called"),
    ("release.add", "added a release"),
    ("release.remove", "removed the release"),
    ("rollout.plan", "asked what a rollout would do"),
    ("rollout.start", "began a rollout of"),
    ("rollout.pause", "paused the rollout"),
    ("rollout.resume", "had the rollout go on"),
    ("rollout.cancel", "cancelled the rollout"),
    ("rollout.roll_back", "rolled the rollout back"),
    ("channel.change", "changed what publishing begins"),
    ("agent.invite", "invited a PC"),
    ("agent.withdraw_invitation", "withdrew the invitation"),
    ("agent.enrol", "enrolled"),
    ("agent.create", "added a PC with a token"),
    ("agent.change", "changed the settings of the PC"),
    ("agent.remove", "removed the PC"),
    ("account.create", "made the account"),
    ("account.change", "changed the account"),
    ("account.reset", "gave a new password to"),
    ("account.remove", "removed the account"),
    ("account.setup", "set the first account up"),
    ("account.password", "changed the own password"),
    ("account.totp_begin", "began a second factor"),
    ("account.totp_on", "switched the second factor on"),
    ("account.totp_off", "switched the second factor off"),
    ("account.recovery_codes", "made new recovery codes"),
    ("token.create", "made the token"),
    ("token.revoke", "revoked the token"),
    ("session.end", "signed a browser out"),
    ("program.approve", "connected the program"),
    ("program.end", "disconnected a program"),
    ("trust.publish", "published signatures"),
    ("trust.artifact", "sent a signed executable"),
    ("trust.online_key", "made the server's next key"),
    ("authorise", "came with a token that is none"),
];

/// An action of a row; its own name where it has no words.
pub fn action(name: &str) -> &str {
    ACTIONS.iter().find(|(action, _)| *action == name).map_or(name, |(_, words)| words)
}

/// Through what.
pub fn face(face: &str) -> &str {
    match face {
        "rest" => "by the API",
        "mcp" => "by a program (MCP)",
        "web" => "in the browser",
        "oauth" => "by a program (OAuth)",
        "console" => "at the server",
        "tunnel" => "by the PC",
        other => other,
    }
}

/// Who it was where there is no account.
pub fn nobody(face: &str) -> &'static str {
    match face {
        "console" => "administrator",
        "tunnel" => "a PC",
        _ => "a stranger",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Action;

    #[test]
    fn every_action_that_can_stand_in_the_log_has_words() {
        for listed in Action::ALL {
            let name = listed.name();
            // What only looks is there when it was denied, and then says its name.
            let is_look = [
                ".list",
                ".show",
                ".status",
                ".follow",
                ".read",
                ".me",
                ".metadata",
                ".target",
                ".invitations",
                ".list_others",
            ];
            if !is_look.iter().any(|end| name.ends_with(end)) {
                assert_ne!(action(name), name, "{name} has no words");
            }
        }
    }
}
