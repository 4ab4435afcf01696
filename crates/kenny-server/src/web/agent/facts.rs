//! What is known of a PC: facts, and its last telemetry with small pictures.

use jiff::Timestamp;
use kenny_core::health;
use kenny_proto::api::{AgentDetail, AgentIdentity};
use kenny_proto::frames::{Section, Status};
use kenny_proto::rollout::Channel;
use maud::{Markup, html};
use serde_json::Value;

use crate::web::components::{ago, bar, size, status_badge, time};

/// Sections in the order in which somebody looks for them; others follow by name.
const ORDER: [(&str, &str); 8] = [
    ("disk", "Disk"),
    ("memory", "Memory"),
    ("uptime", "Uptime"),
    ("host", "System"),
    ("agent", "Agent"),
    ("trust", "Signed releases"),
    ("identity", "Identity"),
    ("policy", "Rules at the PC"),
];

/// The most volumes that are drawn.
const VOLUMES: usize = 16;

/// The facts.
pub fn facts(detail: &AgentDetail, now: Timestamp) -> Markup {
    let agent = &detail.agent;
    let row = |name: &str, value: &Markup| html! { div { dt { (name) } dd { (value) } } };
    html! {
        section aria-labelledby="facts" {
            h2 #facts { "Facts" }
            dl.facts {
                @if let Some(host) = &agent.hostname { (row("Host name", &html! { (host) })) }
                @if let Some(os) = agent.os {
                    (row("Platform", &html! { (os) @if let Some(arch) = agent.arch { " " (arch) } }))
                }
                @if let Some(version) = &agent.version { (row("Runs", &html! { (version) })) }
                (row("Should run", &html! {
                    @if let Some(wanted) = &agent.desired_version { (wanted) } @else { span.hint { "nothing in particular" } }
                }))
                @if let Some(at) = agent.connected_at { (row("Connected", &ago(at, now))) }
                @else if let Some(at) = agent.last_seen_at { (row("Last seen", &ago(at, now))) }
                (row("Added", &time(agent.created_at)))
                @if let Some(service) = agent.service {
                    (row("Runs as", &html! { @if service { "a service" } @else { "a program, not as a service" } }))
                }
                (row("Proves itself", &html! {
                    @match agent.identity {
                        AgentIdentity::Key => { "by a key that stays on the PC" }
                        AgentIdentity::Legacy => { "by a token, as 0.2 has it" }
                        AgentIdentity::None => { "not yet: nobody opened the invitation" }
                    }
                }))
                @if let Some(owner) = &agent.settings.owner { (row("Owner", &html! { (owner) })) }
                @if let Some(group) = &agent.settings.group { (row("Group", &html! { (group) })) }
                @if !agent.settings.labels.is_empty() {
                    (row("Labels", &html! { @for label in &agent.settings.labels { span.tag { (label) } " " } }))
                }
                (row("Channel", &html! {
                    @match agent.settings.channel {
                        Channel::Stable => { "stable" }
                        Channel::Beta => { "beta: versions that are not finished, too" }
                    }
                }))
                @if let Some(pinned) = &agent.settings.pinned { (row("Pinned to", &html! { (pinned) })) }
                @if let Some(protocol) = &agent.protocol { (row("Protocol", &html! { (protocol) })) }
            }
        }
    }
}

/// The last telemetry.
pub fn telemetry(detail: &AgentDetail, now: Timestamp) -> Markup {
    let Some(view) = &detail.telemetry else {
        return html! {
            section aria-labelledby="telemetry" {
                h2 #telemetry { "Health" }
                p.hint { "Nothing known yet. A PC tells how it is soon after it connects, and then again and again." }
            }
        };
    };
    let known =
        ORDER.iter().filter_map(|(name, title)| Some((*title, *name, view.snapshot.get(*name)?)));
    let others =
        view.snapshot.iter().filter(|(name, _)| !ORDER.iter().any(|(known, _)| known == name));
    let others = others.map(|(name, section)| (name.as_str(), name.as_str(), section));
    html! {
        section aria-labelledby="telemetry" {
            h2 #telemetry { "Health " small { (ago(view.received_at, now)) } }
            div.sections {
                @for (title, name, section) in known.chain(others) { (piece(title, name, section)) }
            }
        }
    }
}

fn piece(title: &str, name: &str, section: &Section) -> Markup {
    html! {
        article.piece.bent[section.status > Status::Ok] {
            header { h3 { (title) } (status_badge(section.status)) }
            p { (section.summary) }
            @match name {
                "disk" => { (volumes(section)) }
                "memory" => { (memory(section)) }
                _ => {}
            }
        }
    }
}

fn volumes(section: &Section) -> Markup {
    let list = section
        .fields
        .get("volumes")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    let read = |volume: &Value| {
        let name = volume.get("name")?.as_str()?.to_owned();
        Some((name, volume.get("free_bytes")?.as_u64()?, volume.get("total_bytes")?.as_u64()?))
    };
    html! {
        ul.bars {
            @for (name, free, total) in list.iter().take(VOLUMES).filter_map(read) {
                li {
                    span { (name) } span.hint { (size(free)) " free of " (size(total)) }
                    (bar(per_mille(total.saturating_sub(free), total), health::volume(free, total)))
                }
            }
        }
    }
}

fn memory(section: &Section) -> Markup {
    let number = |name: &str| section.fields.get(name).and_then(Value::as_u64);
    html! {
        @if let (Some(used), Some(total)) = (number("used_bytes"), number("total_bytes")) {
            ul.bars {
                li {
                    span { "Used" } span.hint { (size(used)) " of " (size(total)) }
                    (bar(per_mille(used, total), health::memory(used, total)))
                }
            }
        }
    }
}

/// An agent's numbers are its own: a part is never more than the whole here.
fn per_mille(part: u64, whole: u64) -> u64 {
    let share = u128::from(part) * 1000 / u128::from(whole.max(1));
    u64::try_from(share.min(1000)).expect("a thousand at most")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn section(fields: Value) -> Section {
        let Value::Object(fields) = fields else { panic!("not an object") };
        Section { status: Status::Ok, summary: "s".to_owned(), fields }
    }

    #[test]
    fn volumes_are_drawn_as_full_as_they_are() {
        let text = volumes(&section(json!({"volumes": [
            {"name": "C:\\", "total_bytes": 1000, "free_bytes": 20},
            {"name": "D:\\", "total_bytes": 0, "free_bytes": 5}, {"name": 5}, "x"
        ]})))
        .into_string();
        assert!(text.contains("fill crit\" width=\"980\""), "{text}");
        assert_eq!(text.matches("<li>").count(), 2, "what is no volume is left out: {text}");
    }

    #[test]
    fn what_an_agent_makes_up_breaks_nothing() {
        for fields in
            [json!({}), json!({"volumes": {}}), json!({"used_bytes": u64::MAX, "total_bytes": 1})]
        {
            let section = section(fields);
            let text = html! { (volumes(&section)) (memory(&section)) }.into_string();
            assert!(!text.contains("width=\"1001"), "{text}");
        }
        assert_eq!(per_mille(u64::MAX, 1), 1000);
    }
}
