//! Invitations as MCP has them: making one, listing those that are open, withdrawing.

use std::sync::Arc;

use axum::http::HeaderMap;
use kenny_proto::api::NewInvitation;
use rmcp::model::{CallToolResult, JsonObject, Tool, ToolAnnotations};
use serde::Serialize;
use serde_json::{Value, json};

use super::tools::{AGENT_ID, failed, object, refused};
use crate::app::App;
use crate::ops::{self, Operator, OpsError};

const INVITE: &str = "invite_agent";
const LIST: &str = "list_invitations";
const WITHDRAW: &str = "withdraw_invitation";
const EXPIRES_S: &str = "expires_s";

/// The tools.
pub fn tools() -> [Tool; 3] {
    let agent = json!({"type": "string", "description": "The agent, as list_agents names it; invite_agent makes a new one."});
    let invite = object(json!({
        "type": "object",
        "properties": {
            AGENT_ID: agent,
            EXPIRES_S: {"type": "integer", "description": "For how many seconds the code is good; a day when absent."}
        },
        "required": [AGENT_ID],
        "additionalProperties": false
    }));
    let nothing =
        object(json!({"type": "object", "properties": {}, "additionalProperties": false}));
    let one = object(json!({
        "type": "object", "properties": {AGENT_ID: agent}, "required": [AGENT_ID], "additionalProperties": false
    }));
    let changes = ToolAnnotations::new().read_only(false).open_world(false);
    [
        Tool::new(
            INVITE,
            "Invites a PC to be this agent: a link and a one-time code for whoever sits there. The code is a secret. A PC that \
             is this agent already stays so until another has enrolled.",
            invite,
        )
        .with_annotations(changes.clone().destructive(true)),
        Tool::new(LIST, "Lists invitations that can still be redeemed, without their codes.", nothing)
            .with_annotations(ToolAnnotations::new().read_only(true).open_world(false)),
        Tool::new(WITHDRAW, "Withdraws the open invitation of an agent: its code is good for nothing.", one)
            .with_annotations(changes.destructive(true)),
    ]
}

/// Carries out one of the tools; none where the name is of another.
pub async fn call(
    app: &Arc<App>,
    operator: &Operator,
    name: &str,
    args: &JsonObject,
    headers: &HeaderMap,
) -> Option<CallToolResult> {
    let agent = args.get(AGENT_ID).and_then(Value::as_str);
    Some(match (name, agent) {
        (LIST, _) => answer(ops::invitations::list(app, operator).await),
        (INVITE | WITHDRAW, None) => {
            failed("bad_args", "argument `agent_id` must be the id of an agent")
        }
        (INVITE, Some(agent)) => {
            let expires_s = match args.get(EXPIRES_S) {
                None => None,
                Some(value) => match value.as_u64() {
                    Some(seconds) => Some(seconds),
                    None => {
                        return Some(failed("bad_args", "argument `expires_s` must be seconds"));
                    }
                },
            };
            let wanted = NewInvitation { expires_s };
            let base_url = app.base_url(headers);
            answer(ops::invitations::invite(app, operator, agent, &wanted, &base_url).await)
        }
        (WITHDRAW, Some(agent)) => {
            let withdrawn = ops::invitations::withdraw(app, operator, agent).await;
            answer(withdrawn.map(|()| json!({"ok": true})))
        }
        (_, _) => return None,
    })
}

/// What an operation of ours came to.
pub fn answer(result: Result<impl Serialize, OpsError>) -> CallToolResult {
    match result {
        Ok(value) => {
            CallToolResult::structured(serde_json::to_value(value).expect("our types serialise"))
        }
        Err(error) => refused(error),
    }
}
