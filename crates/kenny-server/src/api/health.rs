//! `/healthz`, `/readyz` and `/metrics`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{FromRequestParts as _, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use jiff::Timestamp;
use kenny_proto::api::Health;

use super::problem::ApiProblem;
use crate::app::App;
use crate::audit::Subject;
use crate::metrics::RoleLabel;
use crate::ops::{Action, Operator};
use crate::store::{Right, StoreError};

/// A database that takes longer is not ready: load balancers give up at about this time.
const READY_TIME: Duration = Duration::from_secs(2);

/// How long an answer of the database holds.
const READY_FOR: Duration = Duration::from_millis(250);

/// The routes.
pub fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
}

async fn health() -> Json<Health> {
    Json(status("ok"))
}

async fn ready(State(app): State<Arc<App>>) -> (StatusCode, Json<Health>) {
    let wrong = match tokio::time::timeout(READY_TIME, check(&app)).await {
        Ok(Ok(())) if app.stopping.is_cancelled() => "the server is going down".to_owned(),
        Ok(Ok(())) => return (StatusCode::OK, Json(status("ok"))),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("the database did not answer within {} s", READY_TIME.as_secs()),
    };
    (StatusCode::SERVICE_UNAVAILABLE, Json(status(&wrong)))
}

/// By this, the database is asked whether it answers.
struct Probing;

impl Right for Probing {}

/// Asks the database, one at a time and not again at once: anybody may ask here, as often as they like.
async fn check(app: &App) -> Result<(), StoreError> {
    let mut answered = app.ready.lock().await;
    if answered.is_some_and(|at| at.elapsed() < READY_FOR) {
        return Ok(());
    }
    app.store.by(&Probing).check().await?;
    *answered = Some(Instant::now());
    Ok(())
}

fn status(status: &str) -> Health {
    Health { status: status.to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() }
}

async fn metrics(State(app): State<Arc<App>>, mut parts: Parts) -> Result<Response, Response> {
    if !app.address.ip().is_loopback() {
        let operator = Operator::from_request_parts(&mut parts, &app).await?;
        operator
            .may(&app, Action::ReadMetrics, Subject::default())
            .map_err(|error| ApiProblem::from(error).into_response())?;
    }
    let served = app.releases.files.served_bytes();
    app.metrics.artifact_bytes.inner().store(served, std::sync::atomic::Ordering::Relaxed);
    let (held, unknown) = app.fleet.troubles();
    app.metrics.agents_held.set(held);
    app.metrics.updates_unknown.set(unknown);
    for role in app.trust.status(Timestamp::now()).roles {
        let gauge = app.metrics.trust_expires.get_or_create_owned(&RoleLabel { role: role.role });
        gauge.set(role.expires.as_second());
    }
    let text = app.metrics.encode();
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(CONTENT_TYPE, kind)], text).into_response())
}
