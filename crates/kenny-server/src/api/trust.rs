//! `/trust`.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use kenny_proto::Sha256Digest;
use kenny_proto::api::Problem;
use kenny_proto::trust::{OnlineKey, Publication, Published, TrustStatus};

use super::extract::ApiPath;
use super::problem::{ApiProblem, problem};
use crate::app::App;
use crate::ops::{self, Operator};

/// The most that a publication may have: a chain of roots and the targets, each escaped as a JSON string.
const PUBLICATION_BYTES: usize = 4 * 1024 * 1024;

/// Shows by whose keys releases are authorised
#[utoipa::path(
    get,
    path = "/trust",
    operation_id = "show_trust",
    tag = "trust",
    responses(
        (status = OK, body = TrustStatus),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn status(
    State(app): State<Arc<App>>,
    operator: Operator,
) -> Result<Json<TrustStatus>, ApiProblem> {
    Ok(Json(ops::trust::status(&app, &operator)?))
}

/// Gives what offline keys signed
///
/// Each document is the text that was signed. Empty while releases are not signed.
#[utoipa::path(
    get,
    path = "/trust/metadata",
    operation_id = "get_trust_metadata",
    tag = "trust",
    responses(
        (status = OK, body = Publication),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn metadata(
    State(app): State<Arc<App>>,
    operator: Operator,
) -> Result<Json<Publication>, ApiProblem> {
    Ok(Json(ops::trust::metadata(&app, &operator)?))
}

/// Publishes what offline keys signed
///
/// Root and targets metadata take the place of what is there, if the keys, versions and artifacts hold together; the
/// targets become releases. All of it or nothing.
#[utoipa::path(
    post,
    path = "/trust/metadata",
    operation_id = "publish_trust_metadata",
    tag = "trust",
    request_body = Publication,
    responses(
        (status = OK, body = Published),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
        (status = CONFLICT, description = "`release_exists`: a target's version is there with other bytes", body = Problem, content_type = "application/problem+json"),
        (status = PAYLOAD_TOO_LARGE, description = "`too_large`", body = Problem, content_type = "application/problem+json"),
        (status = UNPROCESSABLE_ENTITY, description = "`untrusted`: the detail says which rule it breaks", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn publish(
    State(app): State<Arc<App>>,
    operator: Operator,
    body: Body,
) -> Result<Json<Published>, ApiProblem> {
    let body = axum::body::to_bytes(body, PUBLICATION_BYTES).await.map_err(|_| {
        problem(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            "Too large",
            format!("a publication has at most {PUBLICATION_BYTES} bytes, and this one ended early or has more"),
        )
    })?;
    let publication: Publication = serde_json::from_slice(&body).map_err(|error| {
        problem(
            StatusCode::BAD_REQUEST,
            "bad_json",
            "The request cannot be read",
            error.to_string(),
        )
    })?;
    Ok(Json(ops::trust::publish(&app, &operator, publication).await?))
}

/// Uploads the executable of a target
///
/// It is no release before signed metadata that names it is published.
#[utoipa::path(
    put,
    path = "/trust/artifacts/{sha256}",
    operation_id = "upload_trust_artifact",
    tag = "trust",
    params(("sha256" = String, Path, description = "The digest that the file has")),
    request_body(content = inline(Vec<u8>), content_type = "application/octet-stream"),
    responses(
        (status = NO_CONTENT),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
        (status = PAYLOAD_TOO_LARGE, description = "`too_large`", body = Problem, content_type = "application/problem+json"),
        (status = UNPROCESSABLE_ENTITY, description = "`not_an_agent`, `other_artifact`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn take_artifact(
    State(app): State<Arc<App>>,
    operator: Operator,
    ApiPath(sha256): ApiPath<Sha256Digest>,
    body: Body,
) -> Result<StatusCode, ApiProblem> {
    ops::trust::take_artifact(&app, &operator, sha256, body.into_data_stream()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes the server's next online key
///
/// It signs snapshot and timestamp once a root that names it is published.
#[utoipa::path(
    post,
    path = "/trust/online-key",
    operation_id = "make_online_key",
    tag = "trust",
    responses(
        (status = CREATED, body = OnlineKey),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn make_online_key(
    State(app): State<Arc<App>>,
    operator: Operator,
) -> Result<(StatusCode, Json<OnlineKey>), ApiProblem> {
    Ok((StatusCode::CREATED, Json(ops::trust::make_online_key(&app, &operator).await?)))
}
