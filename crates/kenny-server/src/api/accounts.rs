//! `/accounts`, for owners.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use kenny_proto::accounts::{Account, AccountChange, AccountList, AccountPassword, NewAccount};
use kenny_proto::api::Problem;

use super::extract::{ApiJson, ApiPath};
use super::problem::ApiProblem;
use crate::app::App;
use crate::ops::{self, Operator};

/// Lists accounts
#[utoipa::path(
    get,
    path = "/accounts",
    operation_id = "list_accounts",
    tag = "accounts",
    responses(
        (status = OK, body = AccountList),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
        (status = FORBIDDEN, description = "`forbidden`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list(
    State(app): State<Arc<App>>,
    operator: Operator,
) -> Result<Json<AccountList>, ApiProblem> {
    Ok(Json(ops::accounts::list(&app, &operator)?))
}

/// Makes an account with a random password
///
/// The password is shown this once; whoever the account is for changes it.
#[utoipa::path(
    post,
    path = "/accounts",
    operation_id = "create_account",
    tag = "accounts",
    request_body = NewAccount,
    responses(
        (status = CREATED, body = AccountPassword),
        (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json"),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
        (status = FORBIDDEN, description = "`forbidden`", body = Problem, content_type = "application/problem+json"),
        (status = CONFLICT, description = "`account_exists`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn create(
    State(app): State<Arc<App>>,
    operator: Operator,
    ApiJson(wanted): ApiJson<NewAccount>,
) -> Result<(StatusCode, Json<AccountPassword>), ApiProblem> {
    let created = ops::accounts::create(&app, &operator, wanted).await?;
    Ok((StatusCode::CREATED, Json(created)))
}

/// Shows an account
#[utoipa::path(
    get,
    path = "/accounts/{name}",
    operation_id = "show_account",
    tag = "accounts",
    params(("name" = String, Path, description = "The account's name.")),
    responses(
        (status = OK, body = Account),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
        (status = FORBIDDEN, description = "`forbidden`", body = Problem, content_type = "application/problem+json"),
        (status = NOT_FOUND, description = "`unknown_account`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn show(
    State(app): State<Arc<App>>,
    operator: Operator,
    ApiPath(name): ApiPath<String>,
) -> Result<Json<Account>, ApiProblem> {
    Ok(Json(ops::accounts::show(&app, &operator, &name)?))
}

/// Changes an account's role, or disables or enables it
///
/// Disabling ends the account's sessions and revokes its tokens.
#[utoipa::path(
    patch,
    path = "/accounts/{name}",
    operation_id = "change_account",
    tag = "accounts",
    params(("name" = String, Path, description = "The account's name.")),
    request_body = AccountChange,
    responses(
        (status = OK, body = Account),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
        (status = FORBIDDEN, description = "`forbidden`", body = Problem, content_type = "application/problem+json"),
        (status = NOT_FOUND, description = "`unknown_account`", body = Problem, content_type = "application/problem+json"),
        (status = CONFLICT, description = "`last_owner`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn change(
    State(app): State<Arc<App>>,
    operator: Operator,
    ApiPath(name): ApiPath<String>,
    ApiJson(wanted): ApiJson<AccountChange>,
) -> Result<Json<Account>, ApiProblem> {
    Ok(Json(ops::accounts::change(&app, &operator, &name, wanted).await?))
}

/// Gives an account a random password
///
/// Its second factor, its tokens and its sessions are gone. For when somebody forgot a password or lost an authenticator.
#[utoipa::path(
    post,
    path = "/accounts/{name}/reset",
    operation_id = "reset_account",
    tag = "accounts",
    params(("name" = String, Path, description = "The account's name.")),
    responses(
        (status = OK, body = AccountPassword),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
        (status = FORBIDDEN, description = "`forbidden`", body = Problem, content_type = "application/problem+json"),
        (status = NOT_FOUND, description = "`unknown_account`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn reset(
    State(app): State<Arc<App>>,
    operator: Operator,
    ApiPath(name): ApiPath<String>,
) -> Result<Json<AccountPassword>, ApiProblem> {
    Ok(Json(ops::accounts::reset(&app, &operator, &name).await?))
}

/// Removes an account, its tokens and its sessions
#[utoipa::path(
    delete,
    path = "/accounts/{name}",
    operation_id = "remove_account",
    tag = "accounts",
    params(("name" = String, Path, description = "The account's name.")),
    responses(
        (status = NO_CONTENT),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
        (status = FORBIDDEN, description = "`forbidden`", body = Problem, content_type = "application/problem+json"),
        (status = NOT_FOUND, description = "`unknown_account`", body = Problem, content_type = "application/problem+json"),
        (status = CONFLICT, description = "`last_owner`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn remove(
    State(app): State<Arc<App>>,
    operator: Operator,
    ApiPath(name): ApiPath<String>,
) -> Result<StatusCode, ApiProblem> {
    ops::accounts::remove(&app, &operator, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
