//! `/login`.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use kenny_proto::accounts::{NewLogin, TokenCreated};
use kenny_proto::api::Problem;

use super::extract::ApiJson;
use super::problem::ApiProblem;
use crate::app::App;
use crate::ops;

/// Logs in with a password, for a new token
///
/// The token is shown this once. With `code_needed` the account asks for a second factor: ask for it and send all again.
#[utoipa::path(
    post,
    path = "/login",
    operation_id = "log_in",
    tag = "accounts",
    security(()),
    request_body = NewLogin,
    responses(
        (status = CREATED, body = TokenCreated),
        (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json"),
        (status = UNAUTHORIZED, description = "`wrong_login`, `code_needed`, `wrong_code`", body = Problem, content_type = "application/problem+json"),
        (status = FORBIDDEN, description = "`account_disabled`", body = Problem, content_type = "application/problem+json"),
        (status = TOO_MANY_REQUESTS, description = "`too_many_logins`, with `Retry-After`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn log_in(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    ApiJson(login): ApiJson<NewLogin>,
) -> Result<(StatusCode, Json<TokenCreated>), ApiProblem> {
    let from = Some(peer.ip().to_canonical());
    Ok((StatusCode::CREATED, Json(ops::accounts::log_in(&app, login, from).await?)))
}
