//! `/login`, `/logout` and `/me`: the own account.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{Extensions, HeaderMap, StatusCode};
use jiff::Timestamp;
use kenny_proto::accounts::{
    Confirmation, Me, NewLogin, NewPassword, RecoveryCodes, TokenCreated, TotpCode, TotpEnrolment,
};
use kenny_proto::api::Problem;

use super::extract::ApiJson;
use super::problem::ApiProblem;
use crate::app::App;
use crate::ops::{self, Operator};

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
        (status = SERVICE_UNAVAILABLE, description = "`busy`, with `Retry-After`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn log_in(
    State(app): State<Arc<App>>,
    extensions: Extensions,
    headers: HeaderMap,
    ApiJson(login): ApiJson<NewLogin>,
) -> Result<(StatusCode, Json<TokenCreated>), ApiProblem> {
    let from = app.client(&extensions, &headers);
    let created = ops::me::log_in(&app, login, from).await?;
    Ok((StatusCode::CREATED, Json(created)))
}

/// Revokes the token that the request comes with
#[utoipa::path(
    post,
    path = "/logout",
    operation_id = "log_out",
    tag = "accounts",
    responses(
        (status = NO_CONTENT),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
        (status = CONFLICT, description = "`last_owner`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn log_out(
    State(app): State<Arc<App>>,
    operator: Operator,
) -> Result<StatusCode, ApiProblem> {
    ops::me::log_out(&app, &operator).await?;
    Ok(StatusCode::NO_CONTENT)
}

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
pub async fn show(State(app): State<Arc<App>>, operator: Operator) -> Result<Json<Me>, ApiProblem> {
    Ok(Json(ops::me::me(&app, &operator)?))
}

/// Sets the own password
///
/// Ends the account's sessions; its tokens stay.
#[utoipa::path(
    put,
    path = "/me/password",
    operation_id = "set_password",
    tag = "accounts",
    request_body = NewPassword,
    responses(
        (status = NO_CONTENT),
        (status = BAD_REQUEST, description = "`password_needed`, `weak_password`", body = Problem, content_type = "application/problem+json"),
        (status = UNAUTHORIZED, description = "`unauthorized`, `wrong_login`", body = Problem, content_type = "application/problem+json"),
        (status = FORBIDDEN, description = "`forbidden`", body = Problem, content_type = "application/problem+json"),
        (status = TOO_MANY_REQUESTS, description = "`too_many_logins`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn set_password(
    State(app): State<Arc<App>>,
    operator: Operator,
    ApiJson(wanted): ApiJson<NewPassword>,
) -> Result<StatusCode, ApiProblem> {
    ops::me::set_password(&app, &operator, wanted).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes the secret of a second factor
///
/// It counts once `POST /me/totp/confirm` got a code of it.
#[utoipa::path(
    post,
    path = "/me/totp",
    operation_id = "begin_totp",
    tag = "accounts",
    request_body = Confirmation,
    responses(
        (status = OK, body = TotpEnrolment),
        (status = BAD_REQUEST, description = "`password_needed`", body = Problem, content_type = "application/problem+json"),
        (status = UNAUTHORIZED, description = "`unauthorized`, `wrong_login`", body = Problem, content_type = "application/problem+json"),
        (status = FORBIDDEN, description = "`forbidden`", body = Problem, content_type = "application/problem+json"),
        (status = CONFLICT, description = "`no_password`, `totp_there`", body = Problem, content_type = "application/problem+json"),
        (status = TOO_MANY_REQUESTS, description = "`too_many_logins`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn begin_totp(
    State(app): State<Arc<App>>,
    operator: Operator,
    ApiJson(confirmation): ApiJson<Confirmation>,
) -> Result<Json<TotpEnrolment>, ApiProblem> {
    Ok(Json(ops::me::begin_totp(&app, &operator, confirmation).await?))
}

/// Has the second factor count, and makes recovery codes
#[utoipa::path(
    post,
    path = "/me/totp/confirm",
    operation_id = "confirm_totp",
    tag = "accounts",
    request_body = TotpCode,
    responses(
        (status = OK, body = RecoveryCodes),
        (status = UNAUTHORIZED, description = "`unauthorized`, `wrong_code`", body = Problem, content_type = "application/problem+json"),
        (status = FORBIDDEN, description = "`forbidden`", body = Problem, content_type = "application/problem+json"),
        (status = CONFLICT, description = "`totp_not_begun`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn confirm_totp(
    State(app): State<Arc<App>>,
    operator: Operator,
    ApiJson(code): ApiJson<TotpCode>,
) -> Result<Json<RecoveryCodes>, ApiProblem> {
    Ok(Json(ops::me::confirm_totp(&app, &operator, code, Timestamp::now()).await?))
}

/// Has logging in need the password alone
///
/// Ends the account's sessions; its recovery codes are gone.
#[utoipa::path(
    post,
    path = "/me/totp/disable",
    operation_id = "end_totp",
    tag = "accounts",
    request_body = Confirmation,
    responses(
        (status = NO_CONTENT),
        (status = BAD_REQUEST, description = "`password_needed`", body = Problem, content_type = "application/problem+json"),
        (status = UNAUTHORIZED, description = "`unauthorized`, `wrong_login`", body = Problem, content_type = "application/problem+json"),
        (status = FORBIDDEN, description = "`forbidden`", body = Problem, content_type = "application/problem+json"),
        (status = TOO_MANY_REQUESTS, description = "`too_many_logins`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn end_totp(
    State(app): State<Arc<App>>,
    operator: Operator,
    ApiJson(confirmation): ApiJson<Confirmation>,
) -> Result<StatusCode, ApiProblem> {
    ops::me::end_totp(&app, &operator, confirmation).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes new recovery codes
///
/// The ones before are worth nothing from then on.
#[utoipa::path(
    post,
    path = "/me/recovery-codes",
    operation_id = "renew_recovery_codes",
    tag = "accounts",
    request_body = Confirmation,
    responses(
        (status = OK, body = RecoveryCodes),
        (status = BAD_REQUEST, description = "`password_needed`", body = Problem, content_type = "application/problem+json"),
        (status = UNAUTHORIZED, description = "`unauthorized`, `wrong_login`", body = Problem, content_type = "application/problem+json"),
        (status = FORBIDDEN, description = "`forbidden`", body = Problem, content_type = "application/problem+json"),
        (status = CONFLICT, description = "`totp_not_begun`", body = Problem, content_type = "application/problem+json"),
        (status = TOO_MANY_REQUESTS, description = "`too_many_logins`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn renew_recovery_codes(
    State(app): State<Arc<App>>,
    operator: Operator,
    ApiJson(confirmation): ApiJson<Confirmation>,
) -> Result<Json<RecoveryCodes>, ApiProblem> {
    Ok(Json(ops::me::renew_recovery_codes(&app, &operator, confirmation).await?))
}
