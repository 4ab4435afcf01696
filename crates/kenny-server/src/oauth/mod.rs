//! OAuth 2.1 for programs that speak MCP: this server is both the protected resource and its authorization server.
//!
//! As the MCP specification of 2026-07-28 asks. Pages are `web`'s; here is what programs see, and what is kept.

pub mod audience;
pub mod client;
mod endpoints;
pub mod grants;
pub mod redirect;
pub mod request;
pub mod scope;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};

use crate::app::App;
use crate::mcp;

/// Where people are asked.
pub const AUTHORIZE: &str = "/oauth/authorize";
const TOKEN: &str = "/oauth/token";
const REGISTER: &str = "/oauth/register";
const REVOKE: &str = "/oauth/revoke";

/// RFC 9728.
pub const RESOURCE_METADATA: &str = "/.well-known/oauth-protected-resource";
/// RFC 8414.
const SERVER_METADATA: &str = "/.well-known/oauth-authorization-server";
/// OpenID Connect Discovery: some clients look here alone.
const OPENID_METADATA: &str = "/.well-known/openid-configuration";

/// The most that a request's body may have: a registration with all its addresses fits easily.
const BODY_BYTES: usize = 16 * 1024;

/// The routes.
pub fn router() -> Router<Arc<App>> {
    Router::new()
        .route(RESOURCE_METADATA, get(endpoints::resource_metadata))
        .route(&format!("{RESOURCE_METADATA}{}", mcp::PATH), get(endpoints::resource_metadata))
        .route(SERVER_METADATA, get(endpoints::server_metadata))
        .route(OPENID_METADATA, get(endpoints::server_metadata))
        .route(REGISTER, post(endpoints::register))
        .route(TOKEN, post(endpoints::token))
        .route(REVOKE, post(endpoints::revoke))
        .layer(DefaultBodyLimit::max(BODY_BYTES))
}
