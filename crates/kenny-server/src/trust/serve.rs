//! Serving the repository: metadata to everybody, targets to operators.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LOCATION};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use kenny_proto::trust::{METADATA_PATH, TARGETS_PATH};

use crate::api::problem::{ApiProblem, problem};
use crate::app::App;
use crate::auth::sha256;
use crate::ops::{self, Operator};

/// The routes. Metadata needs no token: it is signed, and an agent reads it before it trusts the server.
pub fn router() -> Router<Arc<App>> {
    Router::new()
        .route(&format!("{METADATA_PATH}{{file}}"), get(metadata))
        .route(&format!("{TARGETS_PATH}{{*path}}"), get(target))
}

async fn metadata(
    State(app): State<Arc<App>>,
    Path(file): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiProblem> {
    match app.trust.file(&file) {
        Some(bytes) => Ok(answer(&file, bytes, &headers)),
        // Clients look for the next root this way; it may be there a minute later.
        None => Err(problem(
            StatusCode::NOT_FOUND,
            "not_found",
            "Not found",
            if app.trust.is_signed() {
                format!("there is no metadata {file} here")
            } else {
                "releases are not signed on this server (`kenny keys init`)".to_owned()
            },
        )),
    }
}

fn answer(file: &str, bytes: Bytes, headers: &HeaderMap) -> Response {
    let etag = format!("\"{}\"", sha256(&bytes));
    // All but the timestamp have their version in their name.
    let cache = if file.starts_with(|first: char| first.is_ascii_digit()) {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let common = [(ETAG, etag.clone()), (CACHE_CONTROL, cache.to_owned())];
    let known =
        headers.get_all(IF_NONE_MATCH).iter().any(|value| value.as_bytes() == etag.as_bytes());
    if known {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    (common, [(CONTENT_TYPE, "application/json")], bytes).into_response()
}

async fn target(
    State(app): State<Arc<App>>,
    operator: Operator,
    Path(path): Path<String>,
) -> Result<Response, ApiProblem> {
    let link = ops::trust::target_link(&app, &operator, &path)?;
    Ok((StatusCode::TEMPORARY_REDIRECT, [(LOCATION, link), (CACHE_CONTROL, "no-store".to_owned())])
        .into_response())
}
