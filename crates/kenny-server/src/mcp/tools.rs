//! The tools as MCP has them: `list_agents`, and every forwarded tool with the agent as one more argument.

use std::sync::Arc;

use axum::http::request::Parts;
use kenny_proto::api::{Problem, ToolCall, ToolOutcome};
use kenny_proto::tools::{CATALOGUE, ToolSpec};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData,
    Implementation, JsonObject, ListToolsResult, PaginatedRequestParams, ServerCapabilities,
    ServerConfig, Tool, ToolAnnotations,
};
use rmcp::service::RequestContext;
use rmcp::{RoleServer, ServerHandler};
use serde_json::{Value, json};

use super::{agent_settings, invitations, rollouts};
use crate::api::problem::ApiProblem;
use crate::app::App;
use crate::ops::{self, Operator, OpsError};

const LIST_AGENTS: &str = "list_agents";
/// The argument that names an agent.
pub const AGENT_ID: &str = "agent_id";

const INSTRUCTIONS: &str = "\
Looks after PCs. Each runs an agent, named by its agent_id; list_agents says which there are and which are online. \
All other tools act on the one agent that agent_id names, and fail with `agent_offline` when it is not connected.";

/// Serves the tools.
#[derive(Clone)]
pub struct Tools {
    app: Arc<App>,
    tools: Arc<[Tool]>,
}

impl Tools {
    /// The tools of this server.
    pub fn new(app: Arc<App>) -> Self {
        let tools = own().chain(CATALOGUE.iter().map(forwarded)).collect();
        Self { app, tools }
    }
}

impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("kenny", env!("CARGO_PKG_VERSION")))
            .with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(self.tools.to_vec()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let operator = operator(&context)?;
        if request.name == LIST_AGENTS {
            let list = ops::agents::list(&self.app, &operator);
            let list = list.map(|list| serde_json::to_value(list).expect("our types serialise"));
            return Ok(list.map_or_else(refused, CallToolResult::structured).into());
        }
        let mut args = request.arguments.unwrap_or_default();
        let headers = &parts(&context)?.headers;
        let own = invitations::call(&self.app, &operator, &request.name, &args, headers).await;
        if let Some(answer) = own {
            return Ok(answer.into());
        }
        let own = rollouts::call(&self.app, &operator, &request.name, &args).await;
        if let Some(answer) = own {
            return Ok(answer.into());
        }
        let own = agent_settings::call(&self.app, &operator, &request.name, &args).await;
        if let Some(answer) = own {
            return Ok(answer.into());
        }
        let Some(tool) = ToolSpec::find(&request.name) else {
            let message = format!("there is no tool `{}`; tools/list names them", request.name);
            return Err(ErrorData::invalid_params(message, None));
        };
        let Some(Value::String(agent)) = args.remove(AGENT_ID) else {
            let message = "argument `agent_id` must be the id of an agent; list_agents names them";
            return Ok(failed("bad_args", message).into());
        };
        let call = ToolCall { args, timeout_ms: None };
        let called = ops::tools::call(&self.app, &operator, &agent, tool.name, call);
        let result = tokio::select! {
            result = called => result,
            () = context.ct.cancelled() => {
                return Err(ErrorData::internal_error("the call was cancelled", None));
            }
        };
        Ok(match result {
            Ok(outcome) => answer(outcome),
            Err(error) => refused(error),
        }
        .into())
    }
}

/// The HTTP request that the call came with.
fn parts(context: &RequestContext<RoleServer>) -> Result<&Parts, ErrorData> {
    let parts = context.extensions.get::<Parts>();
    parts.ok_or_else(|| ErrorData::internal_error("the call came without a request", None))
}

/// Whom `guard` let through.
fn operator(context: &RequestContext<RoleServer>) -> Result<Arc<Operator>, ErrorData> {
    let operator = parts(context)?.extensions.get::<Arc<Operator>>();
    operator.cloned().ok_or_else(|| ErrorData::internal_error("the request has no operator", None))
}

/// The tools that are the server's own.
fn own() -> impl Iterator<Item = Tool> {
    std::iter::once(list_agents())
        .chain(agent_settings::tools())
        .chain(rollouts::tools())
        .chain(invitations::tools())
}

/// True for a tool of the server's own that changes something.
pub fn changes_something(name: &str) -> bool {
    let is_look = |tool: &Tool| {
        tool.annotations.as_ref().is_some_and(|hints| hints.read_only_hint == Some(true))
    };
    own().any(|tool| tool.name == name && !is_look(&tool))
}

fn list_agents() -> Tool {
    let schema = object(json!({"type": "object", "properties": {}, "additionalProperties": false}));
    let description =
        "Lists every agent: whether it is online, its PC, its version and its last update.";
    Tool::new(LIST_AGENTS, description, schema)
        .with_annotations(ToolAnnotations::new().read_only(true).open_world(false))
}

fn forwarded(tool: &ToolSpec) -> Tool {
    let mut schema = tool.input_schema(true);
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        let agent = json!({"type": "string", "description": "The agent to act on, as list_agents names it."});
        properties.insert(AGENT_ID.to_owned(), agent);
    }
    if let Some(Value::Array(required)) = schema.get_mut("required") {
        required.insert(0, AGENT_ID.into());
    }
    let hints = ToolAnnotations::new().read_only(!tool.changes);
    let hints = if tool.changes { hints.destructive(true) } else { hints };
    Tool::new(tool.underscore_name(), tool.description, schema).with_annotations(hints)
}

/// A schema that is written as an object.
pub fn object(value: Value) -> JsonObject {
    let Value::Object(object) = value else { unreachable!("written as an object") };
    object
}

fn answer(outcome: ToolOutcome) -> CallToolResult {
    if let Some(error) = outcome.error {
        return failed(&error.code.to_string(), &error.message);
    }
    let mut result = outcome.result.unwrap_or_default();
    // A picture goes as one: as text it would be a million letters that say nothing.
    if result.get("format").and_then(Value::as_str) == Some("png")
        && let Some(Value::String(image)) = result.remove("image_b64")
    {
        let mut answer = CallToolResult::structured(Value::Object(result));
        answer.content.insert(0, ContentBlock::image(image, "image/png"));
        return answer;
    }
    CallToolResult::structured(Value::Object(result))
}

/// What an operation of ours was refused with.
pub fn refused(error: OpsError) -> CallToolResult {
    let Problem { code, detail, .. } = ApiProblem::from(error).problem;
    failed(&code, &detail)
}

/// A tool's error.
pub fn failed(code: &str, message: &str) -> CallToolResult {
    CallToolResult::structured_error(json!({"code": code, "message": message}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forwarded_tool_takes_the_agent_and_what_the_operator_gives() {
        let tool = forwarded(ToolSpec::find("agent.update").unwrap());
        assert_eq!(tool.name, "agent_update");
        assert_eq!(tool.input_schema["required"], json!(["agent_id", "version"]));
        assert!(tool.input_schema["properties"]["agent_id"].is_object());
        let hints = tool.annotations.unwrap();
        assert_eq!((hints.read_only_hint, hints.destructive_hint), (Some(false), Some(true)));
        let hints = forwarded(ToolSpec::find("fs.list").unwrap()).annotations.unwrap();
        assert_eq!((hints.read_only_hint, hints.destructive_hint), (Some(true), None));
    }

    #[test]
    fn a_picture_is_answered_as_one() {
        let result = object(json!({"image_b64": "AAAA", "format": "png"}));
        let outcome = ToolOutcome { ok: true, result: Some(result), error: None, duration_ms: 1 };
        let answer = serde_json::to_value(answer(outcome)).unwrap();
        assert_eq!(answer["content"][0]["type"], "image");
        assert_eq!(answer["content"][0]["data"], "AAAA");
        assert_eq!(answer["structuredContent"], json!({"format": "png"}));
    }
}
