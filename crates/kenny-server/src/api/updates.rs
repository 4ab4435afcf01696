//! `/agents/{id}/updates`, `/agents/{id}/desired`, `/agents/{id}/hold`, `/agents/{id}/rollback` and `/updates/{id}`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use kenny_proto::api::{NewUpdate, Problem, Update, UpdateList, UpdateRequested};

use super::extract::{ApiJson, ApiPath};
use super::problem::ApiProblem;
use crate::app::App;
use crate::ops::updates::Requested;
use crate::ops::{self, Operator};

/// Lists an agent's last updates, newest first
#[utoipa::path(
    get,
    path = "/agents/{id}/updates",
    operation_id = "list_updates",
    tag = "updates",
    params(("id" = String, Path, description = "The agent's id.")),
    responses(
        (status = OK, body = UpdateList),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
        (status = NOT_FOUND, description = "`unknown_agent`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list(
    State(app): State<Arc<App>>,
    operator: Operator,
    ApiPath(id): ApiPath<String>,
) -> Result<Json<UpdateList>, ApiProblem> {
    Ok(Json(ops::updates::list(&app, &operator, &id).await?))
}

/// Says which version an agent should run
///
/// An agent that is offline gets it when it connects. A version that failed is tried again by the server itself, later and
/// later; asking again tries it at once. One that failed there three times is held: see `DELETE /agents/{id}/hold`.
#[utoipa::path(
    post,
    path = "/agents/{id}/updates",
    operation_id = "request_update",
    tag = "updates",
    params(("id" = String, Path, description = "The agent's id.")),
    request_body = NewUpdate,
    responses(
        (status = CREATED, description = "A new update.", body = UpdateRequested),
        (status = OK, description = "The agent runs it already, or the very same update is under way.", body = UpdateRequested),
        (status = BAD_REQUEST, description = "`bad_version`", body = Problem, content_type = "application/problem+json"),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
        (status = NOT_FOUND, description = "`unknown_agent`, `no_such_release`", body = Problem, content_type = "application/problem+json"),
        (status = CONFLICT, description = "`downgrade_not_allowed`, `held`, `not_signed`, `release_withdrawn`, `update_in_progress`, `version_unknown`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn request(
    State(app): State<Arc<App>>,
    operator: Operator,
    ApiPath(id): ApiPath<String>,
    ApiJson(wanted): ApiJson<NewUpdate>,
) -> Result<(StatusCode, Json<UpdateRequested>), ApiProblem> {
    let (status, update) = match ops::updates::request(&app, &operator, &id, &wanted).await? {
        Requested::Created(update) => (StatusCode::CREATED, update),
        Requested::Standing(update) => (StatusCode::OK, update),
    };
    let warning = ops::updates::warning(&app, &update);
    Ok((status, Json(UpdateRequested { update, warning })))
}

/// Says that no particular version is wanted any more
///
/// An update that was not sent yet is over; one that the agent works on goes on.
#[utoipa::path(
    delete,
    path = "/agents/{id}/desired",
    operation_id = "clear_desired",
    tag = "updates",
    params(("id" = String, Path, description = "The agent's id.")),
    responses(
        (status = NO_CONTENT),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
        (status = NOT_FOUND, description = "`unknown_agent`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn clear(
    State(app): State<Arc<App>>,
    operator: Operator,
    ApiPath(id): ApiPath<String>,
) -> Result<StatusCode, ApiProblem> {
    ops::updates::clear(&app, &operator, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Has an agent go back to the version that it kept at its last update
///
/// The agent has to be connected. The version that it goes back to is the wanted one from then on, so that nothing pushes
/// it forward again.
#[utoipa::path(
    post,
    path = "/agents/{id}/rollback",
    operation_id = "request_rollback",
    tag = "updates",
    params(("id" = String, Path, description = "The agent's id.")),
    responses(
        (status = CREATED, description = "The update that goes back.", body = Update),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
        (status = NOT_FOUND, description = "`unknown_agent`", body = Problem, content_type = "application/problem+json"),
        (status = CONFLICT, description = "`agent_offline`, `nothing_to_go_back_to`, `rollback_unsupported`, `update_in_progress`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn rollback(
    State(app): State<Arc<App>>,
    operator: Operator,
    ApiPath(id): ApiPath<String>,
) -> Result<(StatusCode, Json<Update>), ApiProblem> {
    Ok((StatusCode::CREATED, Json(ops::rollback::request(&app, &operator, &id).await?)))
}

/// Clears what is held for an agent
///
/// Where the wanted version was held it is tried again, with a fresh budget, even if the agent has it in quarantine.
/// Without a hold nothing changes.
#[utoipa::path(
    delete,
    path = "/agents/{id}/hold",
    operation_id = "clear_hold",
    tag = "updates",
    params(("id" = String, Path, description = "The agent's id.")),
    responses(
        (status = NO_CONTENT),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
        (status = NOT_FOUND, description = "`unknown_agent`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn clear_hold(
    State(app): State<Arc<App>>,
    operator: Operator,
    ApiPath(id): ApiPath<String>,
) -> Result<StatusCode, ApiProblem> {
    ops::holds::clear(&app, &operator, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Shows an update
#[utoipa::path(
    get,
    path = "/updates/{id}",
    operation_id = "show_update",
    tag = "updates",
    params(("id" = String, Path, description = "The update's id.")),
    responses(
        (status = OK, body = Update),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
        (status = NOT_FOUND, description = "`unknown_update`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn get(
    State(app): State<Arc<App>>,
    operator: Operator,
    ApiPath(id): ApiPath<String>,
) -> Result<Json<Update>, ApiProblem> {
    Ok(Json(ops::updates::get(&app, &operator, &id).await?))
}
