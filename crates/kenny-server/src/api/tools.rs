//! `/tools` and `/agents/{id}/tools/{tool}`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use kenny_proto::api::{Problem, ToolCall, ToolList, ToolOutcome};

use super::extract::{ApiJson, ApiPath};
use super::problem::ApiProblem;
use crate::app::App;
use crate::ops::{self, Operator};

/// Lists the tools that agents have
#[utoipa::path(
    get,
    path = "/tools",
    operation_id = "list_tools",
    tag = "tools",
    responses(
        (status = OK, body = ToolList),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list(
    State(app): State<Arc<App>>,
    operator: Operator,
) -> Result<Json<ToolList>, ApiProblem> {
    Ok(Json(ops::tools::list(&app, &operator)?))
}

/// Calls a tool of an agent and waits for its answer
///
/// The answer is 200 also when the tool itself failed: `error` says so then.
#[utoipa::path(
    post,
    path = "/agents/{id}/tools/{tool}",
    operation_id = "call_tool",
    tag = "tools",
    params(
        ("id" = String, Path, description = "The agent's id."),
        ("tool" = String, Path, description = "The tool's name, with dots or underscores.")
    ),
    request_body = ToolCall,
    responses(
        (status = OK, body = ToolOutcome),
        (status = BAD_REQUEST, description = "`bad_args`", body = Problem, content_type = "application/problem+json"),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
        (status = NOT_FOUND, description = "`unknown_agent`, `unknown_tool`", body = Problem, content_type = "application/problem+json"),
        (status = CONFLICT, description = "`agent_offline`", body = Problem, content_type = "application/problem+json"),
        (status = BAD_GATEWAY, description = "`connection_lost`", body = Problem, content_type = "application/problem+json"),
        (status = GATEWAY_TIMEOUT, description = "`timeout`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn call(
    State(app): State<Arc<App>>,
    operator: Operator,
    ApiPath((id, tool)): ApiPath<(String, String)>,
    ApiJson(call): ApiJson<ToolCall>,
) -> Result<Json<ToolOutcome>, ApiProblem> {
    Ok(Json(ops::tools::call(&app, &operator, &id, &tool, call).await?))
}
