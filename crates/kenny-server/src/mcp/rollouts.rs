//! Rollouts as MCP has them.

use std::sync::Arc;

use kenny_proto::rollout::{NewRollout, Resume};
use rmcp::model::{CallToolResult, JsonObject, Tool, ToolAnnotations};
use serde_json::{Value, json};

use super::invitations::answer;
use super::tools::{failed, object};
use crate::app::App;
use crate::ops::{self, Operator};

const LIST: &str = "list_rollouts";
const SHOW: &str = "show_rollout";
const PLAN: &str = "plan_rollout";
const START: &str = "start_rollout";
const PAUSE: &str = "pause_rollout";
const RESUME: &str = "resume_rollout";
const CANCEL: &str = "cancel_rollout";
const ROLL_BACK: &str = "roll_back_rollout";
const CHANNELS: &str = "show_channels";
const SET_CHANNELS: &str = "set_channels";
const ID: &str = "rollout_id";

/// The tools.
pub fn tools() -> [Tool; 10] {
    let looks = || ToolAnnotations::new().read_only(true).open_world(false);
    let changes = || ToolAnnotations::new().read_only(false).open_world(false);
    let nothing =
        object(json!({"type": "object", "properties": {}, "additionalProperties": false}));
    [
        Tool::new(CHANNELS, "Shows what publishing a release begins by itself.", nothing.clone())
            .with_annotations(looks()),
        Tool::new(
            SET_CHANNELS,
            "Says what publishing a release begins by itself: a preset for each channel; one that is left out begins nothing.",
            object(json!({
                "type": "object",
                "properties": {"stable": preset(), "beta": preset()},
                "additionalProperties": false
            })),
        )
        .with_annotations(changes().destructive(true)),
        Tool::new(LIST, "Lists the last rollouts and how their stages stand.", nothing)
            .with_annotations(looks()),
        Tool::new(SHOW, "Shows a rollout with every agent: when it gets the version, or why not.", one(&[]))
            .with_annotations(looks()),
        Tool::new(PLAN, "Shows what a rollout would do, agent by agent; nothing is begun.", wanted())
            .with_annotations(looks()),
        Tool::new(
            START,
            "Brings a version to many agents in stages, and stops by itself when it hurts. Ask plan_rollout first.",
            wanted(),
        )
        .with_annotations(changes().destructive(true)),
        Tool::new(PAUSE, "Has a rollout begin nothing for now.", one(&[]))
            .with_annotations(changes().destructive(false)),
        Tool::new(
            RESUME,
            "Has a rollout go on that was paused or halted; failures so far are forgiven.",
            one(&[("retry_failed", json!({"type": "boolean", "description": "Try those that failed once more."}))]),
        )
        .with_annotations(changes().destructive(true)),
        Tool::new(CANCEL, "Ends a rollout.", one(&[])).with_annotations(changes().destructive(true)),
        Tool::new(
            ROLL_BACK,
            "Has each agent that a rollout brought to its version go back to the one that it kept.",
            one(&[]),
        )
        .with_annotations(changes().destructive(true)),
    ]
}

fn one(more: &[(&str, Value)]) -> JsonObject {
    let mut schema = object(json!({
        "type": "object",
        "properties": {ID: {"type": "string", "description": "The rollout, as list_rollouts names it."}},
        "required": [ID],
        "additionalProperties": false
    }));
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    }
    schema
}

fn preset() -> Value {
    json!({
        "type": "string", "enum": ["careful", "normal", "now"],
        "description": "How: careful (days, at night), normal (an afternoon), now."
    })
}

fn wanted() -> JsonObject {
    let words =
        |what: &str| json!({"type": "array", "items": {"type": "string"}, "description": what});
    object(json!({
        "type": "object",
        "properties": {
            "version": {"type": "string", "description": "The version; a release of it must be there."},
            "selection": {
                "type": "object",
                "description": "Who gets it: everyone, or whoever is in each of the lists.",
                "properties": {
                    "everyone": {"type": "boolean"},
                    "agents": words("These agents."),
                    "owners": words("Those of one of these owners."),
                    "groups": words("Those in one of these groups."),
                    "labels": words("Those with each of these labels."),
                    "channels": {"type": "array", "items": {"type": "string", "enum": ["stable", "beta"]}},
                    "versions": words("Those that run one of these versions.")
                },
                "additionalProperties": false
            },
            "preset": preset(),
            "allow_downgrade": {"type": "boolean", "description": "Go there even where what runs is newer."}
        },
        "required": ["version", "selection"],
        "additionalProperties": false
    }))
}

/// Carries out one of the tools; none where the name is of another.
pub async fn call(
    app: &Arc<App>,
    operator: &Operator,
    name: &str,
    args: &JsonObject,
) -> Option<CallToolResult> {
    let mut args = args.clone();
    match name {
        LIST => return Some(answer(ops::rollouts::list(app, operator).await)),
        CHANNELS => return Some(answer(ops::rollouts::channels(app, operator))),
        SET_CHANNELS => {
            return Some(match serde_json::from_value(Value::Object(args)) {
                Ok(wanted) => answer(ops::rollouts::set_channels(app, operator, wanted).await),
                Err(error) => failed("bad_args", &error.to_string()),
            });
        }
        PLAN | START => {
            let wanted: NewRollout = match serde_json::from_value(Value::Object(args)) {
                Ok(wanted) => wanted,
                Err(error) => return Some(failed("bad_args", &error.to_string())),
            };
            return Some(if name == PLAN {
                answer(ops::rollouts::plan(app, operator, &wanted))
            } else {
                answer(ops::rollouts::start(app, operator, &wanted).await)
            });
        }
        SHOW | PAUSE | RESUME | CANCEL | ROLL_BACK => {}
        _ => return None,
    }
    let Some(Value::String(id)) = args.remove(ID) else {
        return Some(failed("bad_args", "argument `rollout_id` must be the id of a rollout"));
    };
    let how: Resume = match serde_json::from_value(Value::Object(args)) {
        Ok(how) => how,
        Err(error) => return Some(failed("bad_args", &error.to_string())),
    };
    Some(match name {
        SHOW => answer(ops::rollouts::get(app, operator, &id).await),
        PAUSE => answer(ops::rollouts::pause(app, operator, &id).await),
        RESUME => answer(ops::rollouts::resume(app, operator, &id, how).await),
        CANCEL => answer(ops::rollouts::cancel(app, operator, &id).await),
        _ => answer(ops::rollouts::roll_back(app, operator, &id).await),
    })
}
