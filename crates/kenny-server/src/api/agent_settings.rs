//! `PATCH /agents/{id}`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use kenny_proto::api::{Agent, Problem};
use kenny_proto::rollout::AgentChange;

use super::extract::{ApiJson, ApiPath};
use super::problem::ApiProblem;
use crate::app::App;
use crate::ops::{self, Operator};

/// Says something of an agent: its name, owner, group, labels, channel and pin
///
/// What is absent stays; an empty text takes away. Labels are set as a whole.
#[utoipa::path(
    patch,
    path = "/agents/{id}",
    operation_id = "change_agent",
    tag = "agents",
    params(("id" = String, Path, description = "The agent's id.")),
    request_body = AgentChange,
    responses(
        (status = OK, body = Agent),
        (status = BAD_REQUEST, description = "`bad_setting`, `bad_version`", body = Problem, content_type = "application/problem+json"),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
        (status = NOT_FOUND, description = "`unknown_agent`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn change(
    State(app): State<Arc<App>>,
    operator: Operator,
    ApiPath(id): ApiPath<String>,
    ApiJson(change): ApiJson<AgentChange>,
) -> Result<Json<Agent>, ApiProblem> {
    Ok(Json(ops::agent_settings::change(&app, &operator, &id, change).await?))
}
