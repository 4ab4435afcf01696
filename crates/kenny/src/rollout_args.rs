//! What can be typed about agents' settings and rollouts.

use clap::{ArgGroup, Args};
use kenny_proto::AgentId;
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

pub use kenny_proto::rollout::Channel;

fn channel(text: &str) -> Result<Channel, String> {
    word(text, "stable or beta")
}

/// A value of a type that the wire writes as one word.
fn word<T: serde::de::DeserializeOwned>(text: &str, known: &str) -> Result<T, String> {
    serde_json::from_value(serde_json::Value::String(text.to_owned()))
        .map_err(|_| format!("it is {known}"))
}
