//! `/me` and `/accounts`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use kenny_proto::accounts::{AccountList, Me};
use kenny_proto::api::Problem;

use super::problem::ApiProblem;
use crate::app::App;
use crate::ops::{self, Operator};

/// Says who asks
#[utoipa::path(
    get,
    path = "/me",
    operation_id = "who_am_i",
    tag = "accounts",
    responses(
        (status = OK, body = Me),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn me(State(app): State<Arc<App>>, operator: Operator) -> Result<Json<Me>, ApiProblem> {
    Ok(Json(ops::accounts::me(&app, &operator)?))
}

/// Lists accounts
#[utoipa::path(
    get,
    path = "/accounts",
    operation_id = "list_accounts",
    tag = "accounts",
    responses(
        (status = OK, body = AccountList),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
        (status = FORBIDDEN, description = "`role_needed`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list(
    State(app): State<Arc<App>>,
    operator: Operator,
) -> Result<Json<AccountList>, ApiProblem> {
    Ok(Json(ops::accounts::list(&app, &operator)?))
}
