//! `kenny agent set`, and how settings read.

use kenny_proto::rollout::{AgentChange, AgentSettings, Channel};

use crate::cli::rollouts::AgentSetArgs;
use crate::client::Client;
use crate::error::CliError;
use crate::output::{self, Output};

/// `kenny agent set`.
pub async fn set(client: &Client, output: Output, args: AgentSetArgs) -> Result<(), CliError> {
    let AgentSetArgs { agent, name, owner, group, label, no_labels, channel, pin, unpin } = args;
    let change = AgentChange {
        name,
        owner,
        group,
        labels: (no_labels || !label.is_empty()).then(|| label.into_iter().collect()),
        channel,
        pinned: pin.map(|version| version.to_string()).or_else(|| unpin.then(String::new)),
    };
    let changed = client.change_agent(&agent, &change).await?;
    if output.json {
        return output::document(&changed);
    }
    let about =
        description(&changed.settings).unwrap_or_else(|| "nothing is said of it".to_owned());
    output::note(&format!("{agent}: {about}"));
    Ok(())
}

/// Its labels, where it has any.
pub fn labels(settings: &AgentSettings) -> Option<String> {
    let labels: Vec<&str> = settings.labels.iter().map(String::as_str).collect();
    (!labels.is_empty()).then(|| labels.join(", "))
}

/// Its channel, where it is not the one of everybody.
pub fn channel(settings: &AgentSettings) -> Option<String> {
    match settings.channel {
        Channel::Stable => None,
        Channel::Beta => Some("beta".to_owned()),
    }
}

/// All that was said, in one line; none where nothing was.
pub fn description(settings: &AgentSettings) -> Option<String> {
    let group = settings.group.as_ref().map(|group| format!("group {group}"));
    let labels = settings.labels.iter().map(|label| format!("#{label}"));
    let pinned = settings.pinned.as_ref().map(|pinned| format!("pinned to {pinned}"));
    let said: Vec<String> = [settings.name.clone(), settings.owner.clone(), group]
        .into_iter()
        .flatten()
        .chain(labels)
        .chain(channel(settings))
        .chain(pinned)
        .collect();
    (!said.is_empty()).then(|| said.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_is_one_line() {
        assert_eq!(description(&AgentSettings::default()), None);
        let settings = AgentSettings {
            name: Some("Anna's laptop".to_owned()),
            owner: Some("anna".to_owned()),
            group: Some("office".to_owned()),
            labels: ["fast".to_owned(), "laptop".to_owned()].into(),
            channel: Channel::Beta,
            pinned: Some("1.2.0".to_owned()),
        };
        assert_eq!(
            description(&settings).unwrap(),
            "Anna's laptop, anna, group office, #fast, #laptop, beta, pinned to 1.2.0"
        );
    }
}
