//! A double click: what a person who is no operator sees, from the downloaded file to the running agent.
//!
//! The words are for her: no jargon, what will happen, and whom to ask where it does not.

use std::process::ExitCode;

use jiff::Timestamp;
use kenny_proto::Invitation;
use url::Url;

use crate::carried::{self, Carried, CarriedError};
use crate::desktop::{self, Elevated, Look};

const TITLE: &str = "Kenny";
/// How this executable is called to install itself by the invitation inside it, and to say in a message how it went.
const INSTALL: &str = "install --dialog";

/// What a double click finds.
#[derive(Debug)]
pub enum Opened {
    /// An invitation that can be used.
    Invited(Box<Invitation>),
    /// An invitation whose time is over.
    Expired(Box<Invitation>),
    /// An invitation that cannot be used, in words.
    Damaged(String),
    /// No invitation.
    Plain,
}

impl Opened {
    /// What this executable carries, at this time.
    pub fn look(now: Timestamp) -> Self {
        let carried = std::env::current_exe()
            .map_err(CarriedError::Unreadable)
            .and_then(|own| carried::look_into(&own));
        Self::of(carried, now)
    }

    fn of(carried: Result<Option<Carried>, CarriedError>, now: Timestamp) -> Self {
        match carried {
            Ok(Some(Carried { invitation, .. })) if invitation.expires_at <= now => {
                Self::Expired(Box::new(invitation))
            }
            Ok(Some(Carried { invitation, .. })) => Self::Invited(Box::new(invitation)),
            Ok(None) => Self::Plain,
            Err(error) => Self::Damaged(crate::words(&error)),
        }
    }

    /// What she reads first.
    pub fn words(&self) -> String {
        match self {
            Self::Invited(invitation) => format!(
                "This connects this PC, as \u{201c}{}\u{201d}, to\n\n        {}\n\nso that the person who invited you can look \
                 after it from afar: see how it is, keep it up to date, and put things right.\n\nIf you press OK, Windows asks \
                 whether this program may make changes. Answer Yes. It takes less than a minute.\n\nOnly go on if you know who \
                 invited you. You can remove it at any time in Settings, under Installed apps.",
                invitation.agent_id,
                host(invitation)
            ),
            Self::Expired(invitation) => format!(
                "This invitation is no longer valid: its time was over on {} (UTC).\n\nAsk the person who sent it to you for a \
                 new one. You can delete this file.",
                invitation.expires_at.strftime("%d %B %Y, %H:%M")
            ),
            Self::Damaged(why) => format!(
                "This file is damaged and was not started.\n\nDownload it once more from the page of your invitation. If that \
                 does not help, tell the person who invited you:\n\n{why}"
            ),
            Self::Plain => "This is the agent of kenny, with which somebody looks after PCs from afar. It is not set up by a \
                double click: this file carries no invitation.\n\nIf somebody invited you, open the page of the invitation and \
                download the file from there.\n\nIf you run the server: `kenny agent invite NAME` makes an invitation, and \
                `kenny-agent --help` in a console tells the rest."
                .to_owned(),
        }
    }
}

/// The server's name, as she may know it.
fn host(invitation: &Invitation) -> String {
    let url = Url::parse(&invitation.server).ok();
    url.as_ref().and_then(Url::host_str).unwrap_or(&invitation.server).to_owned()
}

/// Answers a double click. Its console window goes first.
pub fn open() -> ExitCode {
    let opened = Opened::look(Timestamp::now());
    desktop::hide_console();
    match &opened {
        Opened::Invited(_) => {
            if !desktop::show(TITLE, &opened.words(), Look::Question) {
                return ExitCode::SUCCESS;
            }
        }
        Opened::Expired(_) | Opened::Damaged(_) => {
            desktop::show(TITLE, &opened.words(), Look::Trouble);
            return ExitCode::FAILURE;
        }
        Opened::Plain => {
            desktop::show(TITLE, &opened.words(), Look::Plain);
            return ExitCode::SUCCESS;
        }
    }
    // What is installed says itself how it went.
    match desktop::run_as_administrator(INSTALL) {
        Ok(Elevated::Ended(code)) => ExitCode::from(code),
        Ok(Elevated::Declined) => {
            let words = "Nothing was changed, because Windows' question was answered with No.\n\nOpen this file once more if \
                you want to go on. If Windows asks for a password that you do not know, ask the person who owns this PC.";
            desktop::show(TITLE, words, Look::Trouble);
            ExitCode::FAILURE
        }
        Err(error) => {
            let words = format!(
                "Nothing was changed: Windows did not start the installation.\n\nTell the person who invited you:\n\n{error}"
            );
            desktop::show(TITLE, &words, Look::Trouble);
            ExitCode::FAILURE
        }
    }
}

/// Says how an installation that a double click began went.
pub fn say(outcome: &Result<String, String>) {
    match outcome {
        Ok(server) => {
            let words = format!(
                "Done. This PC is connected to {server}.\n\nYou need not do anything else, and you can delete the file that \
                 you downloaded."
            );
            desktop::show(TITLE, &words, Look::Plain);
        }
        Err(why) => {
            let words = format!(
                "This did not work out. Tell the person who invited you:\n\n{why}\n\nYou may open the file once more."
            );
            desktop::show(TITLE, &words, Look::Trouble);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invitation() -> Box<Invitation> {
        let text = r#"{"v":1,"server":"wss://kenny.example:8443/agent/ws","agent_id":"annas-pc",
            "code":"7K2M-9QXT-4HBC-W0ZD-3NVR-8JFP-6SYA","server_key":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",
            "expires_at":"2026-11-26T10:00:00Z"}"#;
        Box::new(Invitation::parse(text).unwrap())
    }

    #[test]
    fn the_words_name_server_and_pc_and_never_the_code() {
        for opened in [
            Opened::Invited(invitation()),
            Opened::Expired(invitation()),
            Opened::Damaged("its SHA-256 does not match".to_owned()),
            Opened::Plain,
        ] {
            let words = opened.words();
            assert!(!words.contains("7K2M"), "{words}");
            assert!(words.len() < 900, "{} bytes are more than a message", words.len());
        }
        let words = Opened::Invited(invitation()).words();
        assert!(words.contains("annas-pc") && words.contains("kenny.example"), "{words}");
        let words = Opened::Expired(invitation()).words();
        assert!(words.contains("26 November 2026, 10:00"), "{words}");
    }

    #[test]
    fn an_invitation_whose_time_is_over_is_not_used() {
        let at = |now: &str| {
            let carried = Carried { invitation: *invitation(), executable: Vec::new() };
            Opened::of(Ok(Some(carried)), now.parse().unwrap())
        };
        assert!(matches!(at("2026-11-26T09:59:59Z"), Opened::Invited(_)));
        assert!(matches!(at("2026-11-26T10:00:00Z"), Opened::Expired(_)));
        assert!(matches!(at("2027-01-01T00:00:00Z"), Opened::Expired(_)));
    }

    #[test]
    fn the_tests_own_executable_carries_none() {
        assert!(matches!(Opened::look(Timestamp::UNIX_EPOCH), Opened::Plain));
    }
}
