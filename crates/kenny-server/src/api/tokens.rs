//! `/tokens`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use kenny_proto::accounts::{NewToken, TokenCreated, TokenList};
use kenny_proto::api::Problem;
use serde::Deserialize;

use super::extract::{ApiJson, ApiPath, ApiQuery};
use super::problem::ApiProblem;
use crate::app::App;
use crate::ops::{self, Operator};

/// Whose tokens.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Whose {
    /// Those of this account; for owners. Without it the own ones.
    account: Option<String>,
}

/// Lists the own tokens, or those of another account
#[utoipa::path(
    get,
    path = "/tokens",
    operation_id = "list_tokens",
    tag = "accounts",
    params(Whose),
    responses(
        (status = OK, body = TokenList),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
        (status = FORBIDDEN, description = "`forbidden`", body = Problem, content_type = "application/problem+json"),
        (status = NOT_FOUND, description = "`unknown_account`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list(
    State(app): State<Arc<App>>,
    operator: Operator,
    ApiQuery(whose): ApiQuery<Whose>,
) -> Result<Json<TokenList>, ApiProblem> {
    Ok(Json(ops::tokens::list(&app, &operator, whose.account.as_deref())?))
}

/// Makes a token of the own account
///
/// The token is shown this once. It may do no more than the request that makes it, and does not outlive the token that
/// the request came with.
#[utoipa::path(
    post,
    path = "/tokens",
    operation_id = "create_token",
    tag = "accounts",
    request_body = NewToken,
    responses(
        (status = CREATED, body = TokenCreated),
        (status = BAD_REQUEST, description = "`bad_token_name`, `bad_expiry`", body = Problem, content_type = "application/problem+json"),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
        (status = FORBIDDEN, description = "`forbidden`", body = Problem, content_type = "application/problem+json"),
        (status = CONFLICT, description = "`too_many_tokens`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn create(
    State(app): State<Arc<App>>,
    operator: Operator,
    ApiJson(wanted): ApiJson<NewToken>,
) -> Result<(StatusCode, Json<TokenCreated>), ApiProblem> {
    let created = ops::tokens::create(&app, &operator, wanted).await?;
    Ok((StatusCode::CREATED, Json(created)))
}

/// Revokes a token: an own one, or for owners any
///
/// It is refused from the moment of the answer.
#[utoipa::path(
    delete,
    path = "/tokens/{id}",
    operation_id = "revoke_token",
    tag = "accounts",
    params(("id" = i64, Path, description = "The token's id.")),
    responses(
        (status = NO_CONTENT),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
        (status = NOT_FOUND, description = "`unknown_token`", body = Problem, content_type = "application/problem+json"),
        (status = CONFLICT, description = "`last_owner`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn revoke(
    State(app): State<Arc<App>>,
    operator: Operator,
    ApiPath(id): ApiPath<i64>,
) -> Result<StatusCode, ApiProblem> {
    ops::tokens::revoke(&app, &operator, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
