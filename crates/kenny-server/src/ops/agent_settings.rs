//! What the operator says of an agent, for whoever chooses among many: its name, owner, group, labels, channel and pin.

use std::sync::Arc;

use jiff::Timestamp;
use kenny_proto::api::Agent;
use kenny_proto::rollout::{AgentChange, AgentSettings};
use semver::Version;

use super::{Action, Operator, OpsError, Permit, RolloutError};
use crate::app::App;
use crate::audit::{Facts, Subject, cut};
use crate::events::kind;
use crate::store::rows::{to_json, word};
use crate::store::settings_rows;

/// Characters of a name, an owner or a group, at most.
const TEXT_CHARS: usize = 100;
/// Characters of a label, at most.
const LABEL_CHARS: usize = 64;
/// Labels of an agent, at most.
const LABELS: usize = 32;

/// Changes what is said of an agent; what is not named stays.
pub async fn change(
    app: &Arc<App>,
    operator: &Operator,
    id: &str,
    change: AgentChange,
) -> Result<Agent, OpsError> {
    let permit = operator.may(app, Action::ChangeAgent, Subject::agent(id))?;
    permit.carry_out(app, apply(app, &permit, id, change)).await
}

async fn apply(
    app: &Arc<App>,
    permit: &Permit<'_>,
    id: &str,
    change: AgentChange,
) -> Result<Agent, OpsError> {
    let entry = permit.agent(app, id)?;
    let _intent = entry.intent.lock().await;
    let before = {
        let state = entry.lock();
        if state.removed {
            return Err(OpsError::UnknownAgent(id.to_owned()));
        }
        (*state.settings).clone()
    };
    let (settings, facts) = changed(before.clone(), change)?;
    if settings != before {
        let (agent_id, row) = (entry.id.clone(), settings.clone());
        let words: Vec<String> =
            facts.iter().map(|(name, value)| format!("{name} {value}")).collect();
        permit
            .change(app, facts, move |connection| settings_rows::save(connection, &agent_id, &row))
            .await?;
        *entry.lock().settings = settings;
        app.rollouts.wake();
        let summary = format!("{} is described anew: {}", entry.id, words.join(", "));
        app.events.publish(kind::AGENT_CHANGED, Some(&entry.id), summary);
    }
    Ok(entry.view(&app.releases.withdrawn(), &app.pace, Timestamp::now()))
}

/// The settings after a change, and what changed in words.
fn changed(
    mut settings: AgentSettings,
    change: AgentChange,
) -> Result<(AgentSettings, Facts), OpsError> {
    let AgentChange { name, owner, group, labels, channel, pinned } = change;
    let mut facts = Facts::new();
    let texts = [
        ("name", name, &mut settings.name),
        ("owner", owner, &mut settings.owner),
        ("group", group, &mut settings.group),
    ];
    for (field, text, setting) in texts {
        let Some(text) = text else { continue };
        *setting = line(field, &text)?;
        facts.insert(field.to_owned(), cut(setting.as_deref().unwrap_or("(none)")));
    }
    if let Some(labels) = labels {
        if labels.len() > LABELS || !labels.iter().all(|label| is_label(label)) {
            let why = "are at most 32 words of 1 to 64 characters, without spaces and commas";
            return Err(RolloutError::BadSetting { field: "labels", why }.into());
        }
        facts.insert("labels".to_owned(), cut(&to_json(&labels)));
        settings.labels = labels;
    }
    if let Some(channel) = channel {
        facts.insert("channel".to_owned(), word(&channel));
        settings.channel = channel;
    }
    if let Some(pinned) = pinned {
        settings.pinned = match pinned.trim() {
            "" => None,
            text => {
                let version =
                    Version::parse(text).map_err(|_| OpsError::BadVersion(text.to_owned()))?;
                Some(version.to_string())
            }
        };
        let words = settings.pinned.clone().unwrap_or_else(|| "(none)".to_owned());
        facts.insert("pinned".to_owned(), words);
    }
    Ok((settings, facts))
}

/// One line of text; none where it is empty.
fn line(field: &'static str, text: &str) -> Result<Option<String>, OpsError> {
    let text = text.trim();
    if text.chars().count() > TEXT_CHARS || text.chars().any(char::is_control) {
        let why = "is one line of at most 100 characters";
        return Err(RolloutError::BadSetting { field, why }.into());
    }
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

fn is_label(label: &str) -> bool {
    let fits = (1..=LABEL_CHARS).contains(&label.chars().count());
    fits && !label.chars().any(|char| char.is_whitespace() || char.is_control() || char == ',')
}
