//! The whole surface as one table: the tunnel, the REST API, pages, OAuth, MCP, artifacts, health.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get, post};
use kenny_proto::TUNNEL_PATH;
use kenny_proto::enrolment::{ENROL_PATH, PROBE_PATH};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::RequestBodyTimeoutLayer;
use tower_http::trace::TraceLayer;

use crate::api::problem::problem;
use crate::app::App;
use crate::limits::Limits;
use crate::{api, enrolment, invite, limits, mcp, oauth, releases, trust, tunnel, web};

/// The most that a request's body may have, where it is not a release: a script is the largest thing sent.
const BODY_BYTES: usize = 1024 * 1024;

/// Every route.
pub fn router(app: &Arc<App>, limits: &Limits) -> Router {
    let (api, _) = api::router();
    Router::new()
        .route(TUNNEL_PATH, any(tunnel::upgrade))
        .route(PROBE_PATH, get(tunnel::probe))
        .route(ENROL_PATH, post(enrolment::enrol))
        .merge(api)
        .merge(invite::router())
        .merge(api::health::router())
        .merge(trust::router())
        .merge(oauth::router())
        .merge(web::router())
        .fallback(web::not_found)
        .method_not_allowed_fallback(api::problem::method_not_allowed)
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .with_state(Arc::clone(app))
        .merge(releases::router(
            app.releases.files.clone(),
            app.releases.signer.clone(),
            app.uplink.clone(),
        ))
        .merge(mcp::router(Arc::clone(app)))
        .layer(RequestBodyTimeoutLayer::new(limits.body_pause))
        .layer(from_fn_with_state(Arc::clone(app), limits::admit))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(Arc::clone(app), web::headers::add))
        .layer(TraceLayer::new_for_http())
}

fn panicked(_panic: Box<dyn std::any::Any + Send>) -> Response {
    tracing::error!("a request ended in a defect of the server");
    problem(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal",
        "A defect of the server",
        "the request ended in a defect of the server; its log says more",
    )
    .into_response()
}
