//! What the operator says of an agent, as MCP has it.

use std::sync::Arc;

use kenny_proto::rollout::AgentChange;
use rmcp::model::{CallToolResult, JsonObject, Tool, ToolAnnotations};
use serde_json::{Value, json};

use super::invitations::answer;
use super::tools::{AGENT_ID, failed, object};
use crate::app::App;
use crate::ops::{self, Operator};

const SET: &str = "set_agent";

/// The tools.
pub fn tools() -> [Tool; 1] {
    let text = |what: &str| json!({"type": "string", "description": what});
    let schema = object(json!({
        "type": "object",
        "properties": {
            AGENT_ID: text("The agent, as list_agents names it."),
            "name": text("A name for people."),
            "owner": text("Whose PC it is."),
            "group": text("Its group."),
            "labels": {"type": "array", "items": {"type": "string"}, "description": "All of its labels."},
            "channel": {"type": "string", "enum": ["stable", "beta"], "description": "The versions that it takes from rollouts."},
            "pinned": text("The version that it stays at, whatever rollouts say.")
        },
        "required": [AGENT_ID],
        "additionalProperties": false
    }));
    let description = "Says something of an agent, for whoever chooses among many: what is not named stays, an empty text takes away.";
    let hints = ToolAnnotations::new().read_only(false).destructive(false).open_world(false);
    [Tool::new(SET, description, schema).with_annotations(hints)]
}

/// Carries out the tool; none where the name is of another.
pub async fn call(
    app: &Arc<App>,
    operator: &Operator,
    name: &str,
    args: &JsonObject,
) -> Option<CallToolResult> {
    if name != SET {
        return None;
    }
    let mut args = args.clone();
    let Some(Value::String(agent)) = args.remove(AGENT_ID) else {
        return Some(failed("bad_args", "argument `agent_id` must be the id of an agent"));
    };
    Some(match serde_json::from_value::<AgentChange>(Value::Object(args)) {
        Ok(change) => answer(ops::agent_settings::change(app, operator, &agent, change).await),
        Err(error) => failed("bad_args", &error.to_string()),
    })
}
