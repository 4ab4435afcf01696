//! `/agents`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use kenny_proto::api::{AgentCreated, AgentDetail, AgentList, NewAgent, Problem};

use super::extract::{ApiJson, ApiPath};
use super::problem::ApiProblem;
use crate::app::App;
use crate::ops::{self, Operator};

/// Lists agents
#[utoipa::path(
    get,
    path = "/agents",
    operation_id = "list_agents",
    tag = "agents",
    responses(
        (status = OK, body = AgentList),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list(
    State(app): State<Arc<App>>,
    operator: Operator,
) -> Result<Json<AgentList>, ApiProblem> {
    Ok(Json(ops::agents::list(&app, &operator)?))
}

/// Makes a legacy agent and its token
///
/// For agents of 0.2; all others are invited (`POST /agents/{id}/invite`). The token is shown this once.
#[utoipa::path(
    post,
    path = "/agents",
    operation_id = "create_agent",
    tag = "agents",
    request_body = NewAgent,
    responses(
        (status = CREATED, body = AgentCreated),
        (status = BAD_REQUEST, description = "`invite_instead` without `legacy`", body = Problem, content_type = "application/problem+json"),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
        (status = CONFLICT, description = "`agent_exists`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn create(
    State(app): State<Arc<App>>,
    operator: Operator,
    headers: HeaderMap,
    ApiJson(wanted): ApiJson<NewAgent>,
) -> Result<(StatusCode, Json<AgentCreated>), ApiProblem> {
    let base_url = app.base_url(&headers);
    let created = ops::agents::create(&app, &operator, wanted, &base_url).await?;
    Ok((StatusCode::CREATED, Json(created)))
}

/// Shows an agent with its last updates and telemetry
#[utoipa::path(
    get,
    path = "/agents/{id}",
    operation_id = "show_agent",
    tag = "agents",
    params(("id" = String, Path, description = "The agent's id.")),
    responses(
        (status = OK, body = AgentDetail),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
        (status = NOT_FOUND, description = "`unknown_agent`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn show(
    State(app): State<Arc<App>>,
    operator: Operator,
    ApiPath(id): ApiPath<String>,
) -> Result<Json<AgentDetail>, ApiProblem> {
    Ok(Json(ops::agents::show(&app, &operator, &id).await?))
}

/// Removes an agent, its history and its connection
#[utoipa::path(
    delete,
    path = "/agents/{id}",
    operation_id = "remove_agent",
    tag = "agents",
    params(("id" = String, Path, description = "The agent's id.")),
    responses(
        (status = NO_CONTENT),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
        (status = NOT_FOUND, description = "`unknown_agent`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn remove(
    State(app): State<Arc<App>>,
    operator: Operator,
    ApiPath(id): ApiPath<String>,
) -> Result<StatusCode, ApiProblem> {
    ops::agents::remove(&app, &operator, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
