//! What people see in a browser: signing in, permitting programs, their account. No script, nothing from elsewhere.
//!
//! A page is a handler that takes [`session::SignedIn`] and gives its content to [`layout::Page`]; a form is posted to one
//! that takes [`forms::SignedInForm`], which lets nothing in that another page sent. What they do is done by `ops`.

mod account;
mod assets;
mod browsers;
mod components;
mod consent;
mod csrf;
mod error;
pub mod fields;
mod forms;
pub mod headers;
mod layout;
mod login;
mod next;
pub mod pending;
pub mod session;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};

use crate::api;
use crate::app::App;
use crate::oauth::AUTHORIZE;
use error::WebError;

/// The most that a posted form may have: an authorization request fits.
const FORM_BYTES: usize = 16 * 1024;

/// The pages.
pub fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/", get(async || Redirect::to(next::HOME)))
        .route("/login", get(login::show).post(login::password))
        .route("/login/code", get(async || Redirect::to("/login")).post(login::code))
        .route("/logout", post(login::out))
        .route(next::HOME, get(account::show))
        .route("/account/sessions/end", post(account::end_session))
        .route("/account/programs/end", post(account::end_program))
        .route(AUTHORIZE, get(consent::show).post(consent::decide))
        .route(assets::ICON_PATH, get(assets::icon))
        .route(assets::style_path(), get(assets::style))
        .layer(DefaultBodyLimit::max(FORM_BYTES))
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
