//! What can be typed about agents' settings and rollouts.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};
use kenny_proto::AgentId;
use kenny_proto::rollout::{Channel, Preset, Selection};
use semver::Version;

/// `kenny agent set`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("change").required(true).multiple(true)
    .args(["name", "owner", "group", "label", "no_labels", "channel", "pin", "unpin"])))]
pub struct AgentSetArgs {
    /// The agent
    pub agent: AgentId,
    /// A name for people, such as "Anna's laptop"
    #[arg(long, value_name = "TEXT")]
    pub name: Option<String>,
    /// Whose PC it is
    #[arg(long, value_name = "NAME")]
    pub owner: Option<String>,
    /// Its group, such as office
    #[arg(long, value_name = "NAME")]
    pub group: Option<String>,
    /// One of its labels, which take the place of those that it has; may be given several times
    #[arg(long, value_name = "WORD")]
    pub label: Vec<String>,
    /// Take all its labels away
    #[arg(long, conflicts_with = "label")]
    pub no_labels: bool,
    /// The versions that it takes from rollouts: stable, or beta for those with a pre-release part as well
    #[arg(long, value_parser = channel)]
    pub channel: Option<Channel>,
    /// Have it stay at this version, whatever rollouts say
    #[arg(long, value_name = "VERSION")]
    pub pin: Option<Version>,
    /// Let it go with rollouts again
    #[arg(long, conflicts_with = "pin")]
    pub unpin: bool,
}

/// About rollouts.
#[derive(Debug, Subcommand)]
pub enum RolloutCommand {
    /// Bring a version to many agents in stages, which stops by itself when it hurts
    Start(RolloutStartArgs),
    /// Show which agent would get it when, and why, or why not; nothing is begun
    Plan(RolloutArgs),
    /// Stay and show how a rollout goes, until it is complete, stopped or cancelled
    Watch {
        /// The rollout: its id or the beginning of it, or its version
        rollout: String,
        /// Give up watching (the rollout goes on) after so many seconds
        #[arg(long, value_name = "SECONDS")]
        timeout: Option<u64>,
    },
    /// Begin nothing for now; what a PC has in hand goes on to its end
    Pause {
        /// The rollout: its id or the beginning of it, or its version
        rollout: String,
    },
    /// Go on after a pause or a halt; failures so far are forgiven
    Resume {
        /// The rollout: its id or the beginning of it, or its version
        rollout: String,
        /// Try the PCs that failed, went back or fell silent once more
        #[arg(long)]
        retry_failed: bool,
    },
    /// End a rollout; what a PC has in hand goes on to its end
    Cancel {
        /// The rollout: its id or the beginning of it, or its version
        rollout: String,
    },
    /// Have each PC that a rollout brought to its version go back to the one before
    RollBack {
        /// The rollout: its id or the beginning of it, or its version
        rollout: String,
    },
    /// List the last rollouts, newest first
    List,
    /// Show a rollout with every agent
    Show {
        /// The rollout: its id or the beginning of it, or its version
        rollout: String,
    },
}

/// What a rollout is to do.
#[derive(Debug, Args)]
pub struct RolloutArgs {
    /// The version; a release of it must be there
    pub version: Version,
    /// Who gets it: all, an agent's id, or group:NAME, owner:NAME, label:WORD, channel:beta, version:VERSION (that runs now);
    /// of several kinds all have to fit
    #[arg(long = "to", value_name = "WHO", required = true)]
    pub to: Vec<Target>,
    /// How: careful (two PCs, a tenth, a half, all; a day between, at night), normal (an afternoon), now
    /// [default: careful]
    #[arg(long, value_parser = preset, conflicts_with = "strategy")]
    pub preset: Option<Preset>,
    /// How, in detail: a JSON file, as `kenny --json rollout plan` shows it under `strategy`
    #[arg(long, value_name = "FILE")]
    pub strategy: Option<PathBuf>,
    /// Go there even where what runs is newer
    #[arg(long)]
    pub allow_downgrade: bool,
}

/// `kenny rollout start`.
#[derive(Debug, Args)]
pub struct RolloutStartArgs {
    /// What to do
    #[command(flatten)]
    pub rollout: RolloutArgs,
    /// Stay and show how it goes
    #[arg(long)]
    pub watch: bool,
}

/// `kenny channel`.
#[derive(Debug, Args)]
pub struct ChannelArgs {
    /// The channel: stable or beta [default: shows both]
    #[arg(value_parser = channel)]
    pub channel: Option<Channel>,
    /// Roll a release that is published into it out by itself: careful, normal or now
    #[arg(long, value_parser = preset, value_name = "PRESET", requires = "channel")]
    pub auto: Option<Preset>,
    /// Roll nothing out by itself
    #[arg(long, conflicts_with = "auto", requires = "channel")]
    pub off: bool,
}

/// One word of who is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Everybody.
    All,
    /// One agent.
    Agent(AgentId),
    /// Those of an owner.
    Owner(String),
    /// Those in a group.
    Group(String),
    /// Those with a label.
    Label(String),
    /// Those on a channel.
    Channel(Channel),
    /// Those that run a version.
    Version(String),
}

impl std::str::FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let agent = |id: &str| id.parse().map(Self::Agent).map_err(|error| format!("{error}"));
        match text.split_once(':') {
            None if text == "all" => Ok(Self::All),
            None => agent(text),
            Some((_, "")) => Err("a name has to follow the colon".to_owned()),
            Some(("agent", id)) => agent(id),
            Some(("owner", name)) => Ok(Self::Owner(name.to_owned())),
            Some(("group", name)) => Ok(Self::Group(name.to_owned())),
            Some(("label", word)) => Ok(Self::Label(word.to_owned())),
            Some(("channel", name)) => channel(name).map(Self::Channel),
            Some(("version", version)) => Ok(Self::Version(version.to_owned())),
            Some((kind, _)) => Err(format!(
                "`{kind}` is no kind; there are agent, owner, group, label, channel and version"
            )),
        }
    }
}

/// Who is meant by all of them together.
pub fn selection(targets: &[Target]) -> Selection {
    let mut selection = Selection::default();
    for target in targets.iter().cloned() {
        match target {
            Target::All => selection.everyone = true,
            Target::Agent(id) => drop(selection.agents.insert(id)),
            Target::Owner(owner) => drop(selection.owners.insert(owner)),
            Target::Group(group) => drop(selection.groups.insert(group)),
            Target::Label(label) => drop(selection.labels.insert(label)),
            Target::Channel(channel) => drop(selection.channels.insert(channel)),
            Target::Version(version) => drop(selection.versions.insert(version)),
        }
    }
    selection
}

fn channel(text: &str) -> Result<Channel, String> {
    word(text, "stable or beta")
}

fn preset(text: &str) -> Result<Preset, String> {
    word(text, "careful, normal or now")
}

/// A value of a type that the wire writes as one word.
fn word<T: serde::de::DeserializeOwned>(text: &str, known: &str) -> Result<T, String> {
    serde_json::from_value(serde_json::Value::String(text.to_owned()))
        .map_err(|_| format!("it is {known}"))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::Cli;

    fn accepted(line: &str) -> bool {
        Cli::try_parse_from(line.split(' ')).is_ok()
    }

    #[test]
    fn a_rollout_needs_somebody_and_settings_need_a_change() {
        assert!(accepted("kenny rollout start 1.2.0 --to group:office --preset careful --watch"));
        assert!(accepted("kenny rollout plan 1.2.0 --to all --strategy how.json"));
        assert!(!accepted("kenny rollout start 1.2.0"));
        assert!(!accepted("kenny rollout start 1.2 --to all"));
        assert!(!accepted("kenny rollout start 1.2.0 --to all --preset brave"));
        assert!(!accepted("kenny rollout plan 1.2.0 --to all --preset now --strategy how.json"));
        assert!(accepted("kenny rollout resume 1.2.0 --retry-failed"));
        assert!(accepted("kenny rollout roll-back 6f1c6f5e"));
        assert!(accepted("kenny agent set pc-1 --owner anna --label a --label b --pin 1.2.0"));
        assert!(!accepted("kenny agent set pc-1"));
        assert!(!accepted("kenny agent set pc-1 --pin 1.2.0 --unpin"));
        assert!(accepted("kenny channel") && accepted("kenny channel stable --auto careful"));
        assert!(!accepted("kenny channel --off"));
        assert!(!accepted("kenny channel stable --off --auto now"));
    }

    #[test]
    fn who_is_meant_is_said_by_kind_and_name() {
        let targets: Result<Vec<Target>, String> =
            ["group:office", "label:fast", "label:new", "version:1.2.0", "channel:beta"]
                .map(str::parse)
                .into_iter()
                .collect();
        let selection = selection(&targets.unwrap());
        assert!(selection.groups.contains("office") && !selection.everyone);
        assert_eq!(selection.labels.len(), 2);
        assert!(selection.versions.contains("1.2.0"));
        assert!(selection.channels.contains(&Channel::Beta));
        assert_eq!("all".parse(), Ok(Target::All));
        assert_eq!("pc-1".parse(), Ok(Target::Agent("pc-1".parse().unwrap())));
        for bad in ["group:", "team:x", "channel:daily", "a b"] {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
    }
}
