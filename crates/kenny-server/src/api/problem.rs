//! Errors as `application/problem+json`.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use kenny_proto::api::Problem;

use crate::ops::OpsError;

/// An error on its way to the client.
#[derive(Debug)]
pub struct ApiProblem {
    /// The document.
    pub problem: Problem,
    /// Seconds after which the same may be asked again, where that is known.
    pub retry_after_s: Option<u64>,
}

/// An error with these words.
pub fn problem(
    status: StatusCode,
    code: &str,
    title: &str,
    detail: impl Into<String>,
) -> ApiProblem {
    let problem = Problem {
        code: code.to_owned(),
        status: status.as_u16(),
        title: title.to_owned(),
        detail: detail.into(),
    };
    ApiProblem { problem, retry_after_s: None }
}

impl IntoResponse for ApiProblem {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after_s = self.retry_after_s;
        let mut response = (status, Json(self.problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(r#"Bearer realm="kenny""#));
        }
        if let Some(seconds) = retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<OpsError> for ApiProblem {
    fn from(error: OpsError) -> Self {
        let problem = error.problem();
        if problem.status >= 500 {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            tracing::warn!(code = problem.code, source, "{error}");
        }
        Self { problem, retry_after_s: error.retry_after_s() }
    }
}

impl From<JsonRejection> for ApiProblem {
    fn from(rejection: JsonRejection) -> Self {
        bad_request(rejection.status(), "bad_json", &rejection.body_text())
    }
}

impl From<PathRejection> for ApiProblem {
    fn from(rejection: PathRejection) -> Self {
        bad_request(rejection.status(), "bad_path", &rejection.body_text())
    }
}

impl From<QueryRejection> for ApiProblem {
    fn from(rejection: QueryRejection) -> Self {
        bad_request(rejection.status(), "bad_query", &rejection.body_text())
    }
}

fn bad_request(status: StatusCode, code: &str, detail: &str) -> ApiProblem {
    problem(status, code, "The request cannot be read", detail)
}

/// What unknown addresses answer.
pub fn not_found(uri: &Uri) -> ApiProblem {
    problem(
        StatusCode::NOT_FOUND,
        "not_found",
        "Nothing here",
        format!("there is nothing at {}; the API is described at /api/v1/openapi.json", uri.path()),
    )
}

/// What known addresses answer to other methods.
pub async fn method_not_allowed(uri: Uri) -> ApiProblem {
    problem(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "Not with this method",
        format!("{} does not take this method; see /api/v1/openapi.json", uri.path()),
    )
}
