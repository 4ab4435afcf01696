//! `/rollouts` and `/settings/channels`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use kenny_proto::api::Problem;
use kenny_proto::channels::ChannelPolicies;
use kenny_proto::rollout::{NewRollout, Resume, Rollout, RolloutDetail, RolloutList, RolloutPlan};

use super::extract::{ApiJson, ApiPath};
use super::problem::ApiProblem;
use crate::app::App;
use crate::ops::{self, Operator};

/// Lists the last rollouts, newest first
#[utoipa::path(
    get,
    path = "/rollouts",
    operation_id = "list_rollouts",
    tag = "rollouts",
    responses(
        (status = OK, body = RolloutList),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list(
    State(app): State<Arc<App>>,
    operator: Operator,
) -> Result<Json<RolloutList>, ApiProblem> {
    Ok(Json(ops::rollouts::list(&app, &operator).await?))
}

/// Begins a rollout
///
/// The same request to `POST /rollouts/plan` shows beforehand which agent gets it when, and why.
#[utoipa::path(
    post,
    path = "/rollouts",
    operation_id = "start_rollout",
    tag = "rollouts",
    request_body = NewRollout,
    responses(
        (status = CREATED, body = Rollout),
        (status = BAD_REQUEST, description = "`bad_version`, `bad_rollout`", body = Problem, content_type = "application/problem+json"),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
        (status = NOT_FOUND, description = "`no_such_release`", body = Problem, content_type = "application/problem+json"),
        (status = CONFLICT, description = "`nobody_selected`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn start(
    State(app): State<Arc<App>>,
    operator: Operator,
    ApiJson(wanted): ApiJson<NewRollout>,
) -> Result<(StatusCode, Json<Rollout>), ApiProblem> {
    Ok((StatusCode::CREATED, Json(ops::rollouts::start(&app, &operator, &wanted).await?)))
}

/// Shows what a rollout would do
///
/// Which agent gets it when and why, or why not. Nothing is begun. The same request, started, has the same stages.
#[utoipa::path(
    post,
    path = "/rollouts/plan",
    operation_id = "plan_rollout",
    tag = "rollouts",
    request_body = NewRollout,
    responses(
        (status = OK, body = RolloutPlan),
        (status = BAD_REQUEST, description = "`bad_version`, `bad_rollout`", body = Problem, content_type = "application/problem+json"),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
        (status = NOT_FOUND, description = "`no_such_release`", body = Problem, content_type = "application/problem+json"),
        (status = CONFLICT, description = "`nobody_selected`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn plan(
    State(app): State<Arc<App>>,
    operator: Operator,
    ApiJson(wanted): ApiJson<NewRollout>,
) -> Result<Json<RolloutPlan>, ApiProblem> {
    Ok(Json(ops::rollouts::plan(&app, &operator, &wanted)?))
}

/// Shows a rollout with its members
#[utoipa::path(
    get,
    path = "/rollouts/{id}",
    operation_id = "show_rollout",
    tag = "rollouts",
    params(("id" = String, Path, description = "The rollout's id.")),
    responses(
        (status = OK, body = RolloutDetail),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
        (status = NOT_FOUND, description = "`unknown_rollout`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn show(
    State(app): State<Arc<App>>,
    operator: Operator,
    ApiPath(id): ApiPath<String>,
) -> Result<Json<RolloutDetail>, ApiProblem> {
    Ok(Json(ops::rollouts::get(&app, &operator, &id).await?))
}

/// Has a rollout begin nothing for now
///
/// What an agent has in hand goes on to its end; what was not sent yet is taken back.
#[utoipa::path(
    post,
    path = "/rollouts/{id}/pause",
    operation_id = "pause_rollout",
    tag = "rollouts",
    params(("id" = String, Path, description = "The rollout's id.")),
    responses(
        (status = OK, body = Rollout),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
        (status = NOT_FOUND, description = "`unknown_rollout`", body = Problem, content_type = "application/problem+json"),
        (status = CONFLICT, description = "`rollout_over`, `rollout_halted`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn pause(
    State(app): State<Arc<App>>,
    operator: Operator,
    ApiPath(id): ApiPath<String>,
) -> Result<Json<Rollout>, ApiProblem> {
    Ok(Json(ops::rollouts::pause(&app, &operator, &id).await?))
}

/// Has a rollout go on that was paused or halted
///
/// Failures so far are forgiven; with `retry_failed` those members are tried once more.
#[utoipa::path(
    post,
    path = "/rollouts/{id}/resume",
    operation_id = "resume_rollout",
    tag = "rollouts",
    params(("id" = String, Path, description = "The rollout's id.")),
    request_body = Resume,
    responses(
        (status = OK, body = Rollout),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
        (status = NOT_FOUND, description = "`unknown_rollout`", body = Problem, content_type = "application/problem+json"),
        (status = CONFLICT, description = "`rollout_over`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn resume(
    State(app): State<Arc<App>>,
    operator: Operator,
    ApiPath(id): ApiPath<String>,
    ApiJson(how): ApiJson<Resume>,
) -> Result<Json<Rollout>, ApiProblem> {
    Ok(Json(ops::rollouts::resume(&app, &operator, &id, how).await?))
}

/// Ends a rollout
///
/// What an agent has in hand goes on to its end; what was not sent yet is taken back.
#[utoipa::path(
    post,
    path = "/rollouts/{id}/cancel",
    operation_id = "cancel_rollout",
    tag = "rollouts",
    params(("id" = String, Path, description = "The rollout's id.")),
    responses(
        (status = OK, body = Rollout),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
        (status = NOT_FOUND, description = "`unknown_rollout`", body = Problem, content_type = "application/problem+json"),
        (status = CONFLICT, description = "`rollout_over`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn cancel(
    State(app): State<Arc<App>>,
    operator: Operator,
    ApiPath(id): ApiPath<String>,
) -> Result<Json<Rollout>, ApiProblem> {
    Ok(Json(ops::rollouts::cancel(&app, &operator, &id).await?))
}

/// Has the agents of a rollout go back
///
/// Each agent that it brought to its version goes back to the one that it kept: a rollout of its own, which is answered. The
/// first is cancelled where it is not over.
#[utoipa::path(
    post,
    path = "/rollouts/{id}/roll-back",
    operation_id = "roll_back_rollout",
    tag = "rollouts",
    params(("id" = String, Path, description = "The rollout's id.")),
    responses(
        (status = CREATED, body = Rollout),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
        (status = NOT_FOUND, description = "`unknown_rollout`", body = Problem, content_type = "application/problem+json"),
        (status = CONFLICT, description = "`nothing_to_roll_back`, `is_rollback`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn roll_back(
    State(app): State<Arc<App>>,
    operator: Operator,
    ApiPath(id): ApiPath<String>,
) -> Result<(StatusCode, Json<Rollout>), ApiProblem> {
    Ok((StatusCode::CREATED, Json(ops::rollouts::roll_back(&app, &operator, &id).await?)))
}

/// Shows what publishing a release begins by itself
#[utoipa::path(
    get,
    path = "/settings/channels",
    operation_id = "show_channels",
    tag = "rollouts",
    responses(
        (status = OK, body = ChannelPolicies),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn channels(
    State(app): State<Arc<App>>,
    operator: Operator,
) -> Result<Json<ChannelPolicies>, ApiProblem> {
    Ok(Json(ops::rollouts::channels(&app, &operator)?))
}

/// Says what publishing a release begins by itself
///
/// A channel that is null or absent begins nothing. What was published before is not rolled out by it.
#[utoipa::path(
    put,
    path = "/settings/channels",
    operation_id = "set_channels",
    tag = "rollouts",
    request_body = ChannelPolicies,
    responses(
        (status = OK, body = ChannelPolicies),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn set_channels(
    State(app): State<Arc<App>>,
    operator: Operator,
    ApiJson(wanted): ApiJson<ChannelPolicies>,
) -> Result<Json<ChannelPolicies>, ApiProblem> {
    Ok(Json(ops::rollouts::set_channels(&app, &operator, wanted).await?))
}
