//! Reading requests: the operator's token, paths and bodies, each with an error that says what to do.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};
use serde::de::DeserializeOwned;

use super::problem::ApiProblem;
use crate::app::App;
use crate::audit::{Subject, Who};
use crate::limits;
use crate::ops::{Face, Operator, OpsError};

impl FromRequestParts<Arc<App>> for Operator {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Response> {
        let from = app.client(&parts.extensions, &parts.headers);
        let operator =
            Self::authorise(app, bearer(&parts.headers), Face::Rest, from).map_err(|error| {
                match stranger(app, Face::Rest, from, &error) {
                    Some(wait) => limits::too_many(wait),
                    None => ApiProblem::from(error).into_response(),
                }
            })?;
        limits::prove(&parts.extensions);
        Ok(operator)
    }
}

/// Somebody came with credentials that are none: that is recorded and counted. The time is how long its address has to
/// wait, where it was wrong too often. Who brings no credentials at all has only lost the way.
pub fn stranger(app: &App, face: Face, from: Option<IpAddr>, error: &OpsError) -> Option<Duration> {
    if matches!(error, OpsError::NoToken) {
        return None;
    }
    let who = Who::stranger(face.as_str(), from);
    app.audit.denied(who, "authorise", Subject::default(), &error.to_string());
    app.bounds.failed(from)
}

/// The token of `Authorization: Bearer`.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Parts of the path.
pub struct ApiPath<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<Arc<App>> for ApiPath<T> {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiProblem> {
        let Path(value) = Path::from_request_parts(parts, app).await?;
        Ok(Self(value))
    }
}

/// Parameters after the question mark.
pub struct ApiQuery<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<Arc<App>> for ApiQuery<T> {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiProblem> {
        let Query(value) = Query::from_request_parts(parts, app).await?;
        Ok(Self(value))
    }
}

/// A JSON body.
pub struct ApiJson<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Arc<App>> for ApiJson<T> {
    type Rejection = ApiProblem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiProblem> {
        let Json(value) = Json::from_request(request, app).await?;
        Ok(Self(value))
    }
}
