//! `/agents/{id}/invite`, `/invitations` and `/server`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use kenny_proto::api::{AgentInvited, InvitationList, NewInvitation, Problem, ServerInfo};

use super::extract::{ApiJson, ApiPath};
use super::problem::ApiProblem;
use crate::app::App;
use crate::ops::{self, Operator};

/// Invites a PC to be this agent
///
/// An agent that is not there is made. The code is shown this once; what the agent proves itself with so far holds until
/// a PC has enrolled with it. An open invitation of the agent is withdrawn.
#[utoipa::path(
    post,
    path = "/agents/{id}/invite",
    operation_id = "invite_agent",
    tag = "agents",
    params(("id" = String, Path, description = "The agent's id.")),
    request_body = NewInvitation,
    responses(
        (status = CREATED, body = AgentInvited),
        (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json"),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn invite(
    State(app): State<Arc<App>>,
    operator: Operator,
    ApiPath(id): ApiPath<String>,
    headers: HeaderMap,
    ApiJson(wanted): ApiJson<NewInvitation>,
) -> Result<(StatusCode, Json<AgentInvited>), ApiProblem> {
    let base_url = app.base_url(&headers);
    let invited = ops::invitations::invite(&app, &operator, &id, &wanted, &base_url).await?;
    Ok((StatusCode::CREATED, Json(invited)))
}

/// Withdraws an agent's open invitation
#[utoipa::path(
    delete,
    path = "/agents/{id}/invite",
    operation_id = "withdraw_invitation",
    tag = "agents",
    params(("id" = String, Path, description = "The agent's id.")),
    responses(
        (status = NO_CONTENT),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
        (status = NOT_FOUND, description = "`unknown_agent`, `no_invitation`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn withdraw(
    State(app): State<Arc<App>>,
    operator: Operator,
    ApiPath(id): ApiPath<String>,
) -> Result<StatusCode, ApiProblem> {
    ops::invitations::withdraw(&app, &operator, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lists invitations that can still be redeemed
#[utoipa::path(
    get,
    path = "/invitations",
    operation_id = "list_invitations",
    tag = "agents",
    responses(
        (status = OK, body = InvitationList),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list(
    State(app): State<Arc<App>>,
    operator: Operator,
) -> Result<Json<InvitationList>, ApiProblem> {
    Ok(Json(ops::invitations::list(&app, &operator).await?))
}

/// Shows the server itself
#[utoipa::path(
    get,
    path = "/server",
    operation_id = "show_server",
    tag = "server",
    responses(
        (status = OK, body = ServerInfo),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn server(
    State(app): State<Arc<App>>,
    operator: Operator,
) -> Result<Json<ServerInfo>, ApiProblem> {
    Ok(Json(ops::server(&app, &operator)?))
}
