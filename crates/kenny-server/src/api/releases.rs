//! `/releases`.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use kenny_proto::api::{Problem, ReleaseAdded, ReleaseList};

use super::extract::ApiPath;
use super::problem::ApiProblem;
use crate::app::App;
use crate::ops::{self, Operator};

/// Lists releases, newest version first
#[utoipa::path(
    get,
    path = "/releases",
    operation_id = "list_releases",
    tag = "releases",
    responses(
        (status = OK, body = ReleaseList),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list(
    State(app): State<Arc<App>>,
    operator: Operator,
) -> Result<Json<ReleaseList>, ApiProblem> {
    Ok(Json(ops::releases::list(&app, &operator)?))
}

/// Adds an artifact
///
/// The body is the executable. Version, operating system and architecture are read out of it, and the signer where it
/// carries an Authenticode signature; the signature is not checked by the server.
#[utoipa::path(
    post,
    path = "/releases",
    operation_id = "add_release",
    tag = "releases",
    request_body(content = inline(Vec<u8>), content_type = "application/octet-stream"),
    responses(
        (status = CREATED, body = ReleaseAdded),
        (status = OK, description = "Exactly this artifact is there already.", body = ReleaseAdded),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
        (status = CONFLICT, description = "`release_exists`: with other bytes", body = Problem, content_type = "application/problem+json"),
        (status = PAYLOAD_TOO_LARGE, description = "`too_large`", body = Problem, content_type = "application/problem+json"),
        (status = UNPROCESSABLE_ENTITY, description = "`not_an_agent`, `carries_invitation`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn add(
    State(app): State<Arc<App>>,
    operator: Operator,
    body: Body,
) -> Result<(StatusCode, Json<ReleaseAdded>), ApiProblem> {
    let added = ops::releases::add(&app, &operator, body.into_data_stream()).await?;
    let status = if added.created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(added)))
}

/// Removes a version, for every platform, with its files
///
/// What is signed is withdrawn first: `kenny release sign --withdraw`.
#[utoipa::path(
    delete,
    path = "/releases/{version}",
    operation_id = "remove_release",
    tag = "releases",
    params(("version" = String, Path, description = "The version.")),
    responses(
        (status = NO_CONTENT),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
        (status = FORBIDDEN, description = "`forbidden`", body = Problem, content_type = "application/problem+json"),
        (status = NOT_FOUND, description = "`no_such_release`", body = Problem, content_type = "application/problem+json"),
        (status = CONFLICT, description = "`release_signed`, `release_wanted`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn remove(
    State(app): State<Arc<App>>,
    operator: Operator,
    ApiPath(version): ApiPath<String>,
) -> Result<StatusCode, ApiProblem> {
    ops::releases::remove(&app, &operator, &version).await?;
    Ok(StatusCode::NO_CONTENT)
}
