//! The MCP face of `ops`: Streamable HTTP at `/mcp`, behind a token of an account or of a program that one permitted, without
//! sessions.
//!
//! Every request stands for itself, so that a restart of the server ends no conversation and nothing is kept for
//! clients that never come back.

mod agent_settings;
mod guard;
mod invitations;
mod rollouts;
mod tools;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};

use crate::app::App;

/// Where it is.
pub const PATH: &str = "/mcp";

/// The most that a request's body may have: a script is the largest thing sent.
const BODY_BYTES: usize = 1024 * 1024;

/// The routes.
pub fn router(app: Arc<App>) -> Router {
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_max_request_body_bytes(BODY_BYTES)
        // `guard` knows the public address, which the list of hosts that would stand here does not.
        .disable_allowed_hosts();
    let face = tools::Tools::new(Arc::clone(&app));
    let service = StreamableHttpService::new(
        move || Ok(face.clone()),
        Arc::new(NeverSessionManager::default()),
        config,
    );
    Router::new().route_service(PATH, service).layer(from_fn_with_state(app, guard::admit))
}
