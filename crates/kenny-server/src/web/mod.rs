//! What people see in a browser: the fleet and its PCs, releases, what happened, settings; signing in, permitting
//! programs, their account. Made here, not in the browser; nothing comes from elsewhere (ADR 16).
//!
//! A page is a handler that takes [`session::SignedIn`] and gives its content to [`layout::Page`]; a form is posted to one
//! that takes [`forms::SignedInForm`], which lets nothing in that another page sent. What they do is done by `ops`.

mod account;
mod activity;
mod add;
mod agent;
mod assets;
mod browsers;
mod components;
mod consent;
mod csrf;
mod error;
pub mod fields;
mod fleet;
mod forms;
pub mod headers;
mod layout;
mod live;
mod login;
mod next;
pub mod pending;
mod progress;
mod qr;
mod releases;
pub mod session;
mod settings;
mod setup;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, Uri};
use axum::middleware::from_fn;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};

use crate::api;
use crate::app::App;
use crate::oauth::AUTHORIZE;
use error::WebError;

/// The most that a posted form may have: a script for a PC fits.
const FORM_BYTES: usize = 256 * 1024;

/// The pages.
pub fn router() -> Router<Arc<App>> {
    Router::new()
        .route(next::HOME, get(fleet::show))
        .route("/agents/{id}", get(agent::show))
        .route("/agents/{id}/update", post(agent::actions::update))
        .route("/agents/{id}/rollback", post(agent::actions::rollback))
        .route("/agents/{id}/clear-intent", post(agent::actions::clear_intent))
        .route("/agents/{id}/clear-hold", post(agent::actions::clear_hold))
        .route("/agents/{id}/remove", post(agent::actions::remove))
        .route("/agents/{id}/tools/{tool}", get(agent::tools::show).post(agent::tools::call))
        .route("/activity", get(activity::events))
        .route("/activity/audit", get(activity::audit))
        .route("/activity/export/{file}", get(activity::file))
        .route(live::PATH, get(live::follow))
        .route("/add", get(add::show).post(add::invite))
        .route("/add/waiting", get(add::waiting))
        .route("/add/withdraw", post(add::withdraw))
        .route("/settings", get(settings::show))
        .route("/settings/accounts", post(settings::accounts::create))
        .route("/settings/accounts/{name}", get(settings::accounts::show))
        .route("/settings/accounts/{name}/role", post(settings::accounts::set_role))
        .route("/settings/accounts/{name}/disable", post(settings::accounts::disable))
        .route("/settings/accounts/{name}/enable", post(settings::accounts::enable))
        .route("/settings/accounts/{name}/reset", post(settings::accounts::reset))
        .route("/settings/accounts/{name}/remove", post(settings::accounts::remove))
        .route("/setup/{code}", get(setup::show).post(setup::create))
        .route("/login", get(login::show).post(login::password))
        .route("/login/code", get(async || Redirect::to("/login")).post(login::code))
        .route("/logout", post(login::out))
        .route(account::PATH, get(account::show))
        .route("/account/password", post(account::secrets::set_password))
        .route("/account/totp", post(account::secrets::begin_totp))
        .route("/account/totp/confirm", post(account::secrets::confirm_totp))
        .route("/account/totp/end", post(account::secrets::end_totp))
        .route("/account/recovery-codes", post(account::secrets::renew_codes))
        .route("/account/tokens", post(account::tokens::create))
        .route("/account/tokens/revoke", post(account::tokens::revoke))
        .route("/account/sessions/end", post(account::end_session))
        .route("/account/programs/end", post(account::end_program))
        // Its body is a file, and as long as files of releases may be: the limit above is for what is read as a whole.
        .route("/releases", get(releases::show).post(releases::add))
        .route(AUTHORIZE, get(consent::show).post(consent::decide))
        .route(assets::ROUTE, get(assets::serve))
        .layer(DefaultBodyLimit::max(FORM_BYTES))
        .layer(from_fn(live::lead_to_login))
}

/// What unknown addresses answer: a page to browsers, a problem document to programs.
pub async fn not_found(headers: HeaderMap, uri: Uri) -> Response {
    let wants_page = headers
        .get(ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"));
    if wants_page {
        WebError::NotFound.into_response()
    } else {
        api::problem::not_found(&uri).into_response()
    }
}
