//! What can be typed about one agent.

use clap::Subcommand;
use kenny_proto::AgentId;

use super::rollouts::AgentSetArgs;

/// About one agent.
#[derive(Debug, Subcommand)]
pub enum AgentCommand {
    /// Invite a PC to be this agent, which is made where there is none: prints a link and a one-time code
    Invite {
        /// The id that it has or will have
        id: AgentId,
        /// For how long the code is good, such as 90m, 24h or 7d
        #[arg(long, value_name = "TIME", default_value = "24h", value_parser = lifetime)]
        expires: u64,
    },
    /// List the invitations that can still be redeemed
    Invitations,
    /// Withdraw an agent's open invitation: its code is good for nothing then
    Withdraw {
        /// The agent
        id: AgentId,
    },
    /// Make an agent of 0.2, which authenticates by a token (all others are invited): prints the token, this once
    Add {
        /// The id that it will have
        id: AgentId,
        /// Say that it is to be one with a token
        #[arg(long)]
        legacy: bool,
    },
    /// Show all that is known about an agent
    Show {
        /// The agent
        id: AgentId,
    },
    /// Say something of an agent, for whoever chooses among many; an empty text takes away
    Set(AgentSetArgs),
    /// Have a version tried again that failed too often on an agent's PC, or that somebody there went back from
    ClearHold {
        /// The agent
        id: AgentId,
    },
    /// Forget an agent: its key or token is worth nothing from then on
    Remove {
        /// The agent
        id: AgentId,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// Seconds of a time such as `90m`, `24h` or `7d`.
fn lifetime(text: &str) -> Result<u64, String> {
    let wrong =
        || format!("`{text}` is no time; give minutes, hours or days, such as 90m, 24h or 7d");
    let unit_s = match text.chars().last() {
        Some('m') => 60,
        Some('h') => 60 * 60,
        Some('d') => 24 * 60 * 60,
        Some(_) | None => return Err(wrong()),
    };
    let count: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    count.checked_mul(unit_s).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_has_a_unit() {
        for (text, seconds) in [("1m", 60), ("24h", 86_400), ("7d", 604_800)] {
            assert_eq!(lifetime(text), Ok(seconds));
        }
        for bad in [
            "",
            "h",
            "-1h",
            "1.5h",
            "1 h",
            "1w",
            "99999999999999999999d",
            "9999999999999999d",
            "1ä",
        ] {
            assert!(lifetime(bad).unwrap_err().contains("24h"), "{bad}");
        }
    }
}
