//! Which agents a rollout is for.

use kenny_proto::AgentId;
use kenny_proto::rollout::{AgentSettings, Channel, Selection};
use semver::Version;

use super::strategy::Invalid;

/// The channel that a version is published for: one with a pre-release part is for those on `beta`.
pub fn channel_of(version: &Version) -> Channel {
    if version.pre.is_empty() { Channel::Stable } else { Channel::Beta }
}

/// True when an agent on this channel takes the version.
pub fn takes(channel: Channel, version: &Version) -> bool {
    match channel {
        Channel::Beta => true,
        Channel::Stable => channel_of(version) == Channel::Stable,
    }
}

/// True when the selection, which has passed [`check`], is for this agent. `running` is the version that it registered
/// with last, as text.
pub fn matches(
    selection: &Selection,
    id: &AgentId,
    settings: &AgentSettings,
    running: Option<&str>,
) -> bool {
    if is_empty(selection) {
        return selection.everyone;
    }
    let among = |list: &std::collections::BTreeSet<String>, own: Option<&str>| {
        list.is_empty() || own.is_some_and(|own| list.contains(own))
    };
    (selection.agents.is_empty() || selection.agents.contains(id))
        && among(&selection.owners, settings.owner.as_deref())
        && among(&selection.groups, settings.group.as_deref())
        && selection.labels.is_subset(&settings.labels)
        && (selection.channels.is_empty() || selection.channels.contains(&settings.channel))
        && among(&selection.versions, running)
}

/// Refuses a selection that selects nobody in particular, contradicts itself, or cannot match. Errors name the field as
/// it is in `POST /rollouts`.
pub fn check(selection: &Selection) -> Result<(), Invalid> {
    match (selection.everyone, is_empty(selection)) {
        (false, true) => {
            return Err(Invalid::new(
                "selection",
                &"empty",
                "it has to say who is meant: give a list, or `everyone`",
            ));
        }
        (true, false) => {
            return Err(Invalid::new(
                "selection.everyone",
                &"true",
                "there are lists as well: leave it out, or them",
            ));
        }
        (true, true) | (false, false) => {}
    }
    for (field, list) in [("owners", &selection.owners), ("groups", &selection.groups)] {
        if let Some(blank) = list.iter().find(|text| text.trim().is_empty()) {
            return Err(Invalid::new(
                format!("selection.{field}"),
                &format_args!("`{blank}`"),
                "an empty text matches no agent",
            ));
        }
    }
    for label in &selection.labels {
        check_label("selection.labels", label)?;
    }
    for version in &selection.versions {
        if let Err(source) = version.parse::<Version>() {
            return Err(Invalid::new(
                "selection.versions",
                &format_args!("`{version}`"),
                format!("versions are such as 1.4.0 or 1.4.0-beta.1 ({source})"),
            ));
        }
    }
    Ok(())
}

/// Refuses a label that could not be told from two: labels are words without spaces and commas.
pub fn check_label(field: &str, label: &str) -> Result<(), Invalid> {
    let is_word = !label.is_empty()
        && !label.contains(|c: char| c == ',' || c.is_whitespace() || c.is_control());
    if is_word {
        return Ok(());
    }
    Err(Invalid::new(
        field,
        &format_args!("`{label}`"),
        "labels are words without spaces and commas",
    ))
}

fn is_empty(selection: &Selection) -> bool {
    let Selection { everyone: _, agents, owners, groups, labels, channels, versions } = selection;
    agents.is_empty()
        && owners.is_empty()
        && groups.is_empty()
        && labels.is_empty()
        && channels.is_empty()
        && versions.is_empty()
}
