//! The first start: a name and a password for the owner, behind the link that the server printed.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Path, State};
use axum::http::header::SET_COOKIE;
use axum::http::{Extensions, HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Redirect, Response};
use jiff::Timestamp;
use kenny_proto::Secret;
use maud::html;

use super::components::{csrf_field, problem};
use super::error::{WebError, sentence};
use super::forms::VisitorForm;
use super::layout::{Page, card};
use super::next::HOME;
use super::session::{self, Cookie, Visitor};
use crate::accounts::FIRST_ACCOUNT;
use crate::app::App;
use crate::limits;
use crate::ops::me::let_in;
use crate::ops::setup::{self, PATH};
use crate::ops::{Face, OpsError};

/// `GET /setup/CODE`.
pub async fn show(
    State(app): State<Arc<App>>,
    Path(code): Path<String>,
    extensions: Extensions,
    headers: HeaderMap,
) -> Result<Response, WebError> {
    if !setup::is_open(&app, &code, Instant::now()) {
        let from = app.client(&extensions, &headers);
        if let Some(wait) = app.bounds.failed(from) {
            return Ok(limits::too_many(wait));
        }
        return Err(WebError::refused(OpsError::SetupOver, "/login", "the sign-in"));
    }
    let visitor = Visitor::of(&app, &headers);
    Ok(page(&app, &visitor, &code, FIRST_ACCOUNT, None, StatusCode::OK))
}

/// `POST /setup/CODE`.
pub async fn create(
    State(app): State<Arc<App>>,
    Path(code): Path<String>,
    extensions: Extensions,
    headers: HeaderMap,
    form: VisitorForm,
) -> Result<Response, WebError> {
    let VisitorForm { visitor, fields } = form;
    let from = app.client(&extensions, &headers);
    let name = fields.get("name").unwrap_or_default().trim().to_lowercase();
    let password = fields.get("password").unwrap_or_default();
    if fields.get("again").unwrap_or_default() != password {
        let words = "The two passwords are not the same. Type them again.";
        return Ok(page(&app, &visitor, &code, &name, Some(words), StatusCode::BAD_REQUEST));
    }
    let made = setup::create_owner(&app, &code, &name, Secret(password.to_owned()), from).await;
    let account = match made {
        Ok(account) => account,
        Err(error @ (OpsError::AccountName(_) | OpsError::WeakPassword(_) | OpsError::Busy(_))) => {
            let words = sentence(&error.to_string());
            let status =
                StatusCode::from_u16(error.facts().1).expect("statuses of errors are statuses");
            return Ok(page(&app, &visitor, &code, &name, Some(&words), status));
        }
        Err(error) => return Err(WebError::refused(error, "/login", "the sign-in")),
    };
    let record = let_in(&account, Face::Web, from);
    let secret = session::begin(&app, &account, &headers, from, record, Timestamp::now()).await?;
    let mut response = Redirect::to(HOME).into_response();
    let cookies = response.headers_mut();
    cookies.append(SET_COOKIE, Cookie::Session.set(&secret, app.is_secure()));
    cookies.append(SET_COOKIE, Cookie::Visitor.remove(app.is_secure()));
    Ok(response)
}

fn page(
    app: &App,
    visitor: &Visitor,
    code: &str,
    name: &str,
    wrong: Option<&str>,
    status: StatusCode,
) -> Response {
    let form = html! {
        p { "This server is new. Choose how you will sign in; you are its owner then, and can make accounts for others." }
        @if let Some(words) = wrong { (problem(words)) }
        form method="post" action={(PATH) "/" (code)} {
            (csrf_field(&visitor.csrf()))
            label for="name" { "Name" }
            input #name type="text" name="name" value=(name) autocomplete="username" autocapitalize="none" spellcheck="false"
                maxlength="64" required;
            label for="password" { "Password" }
            input #password type="password" name="password" autocomplete="new-password" minlength="12" maxlength="1024" required
                autofocus aria-describedby="password-hint";
            p.hint #password-hint { "At least 12 characters. A few words that do not belong together are good ones." }
            label for="again" { "The password again" }
            input #again type="password" name="again" autocomplete="new-password" maxlength="1024" required;
            p.actions { button.primary type="submit" { "Begin" } }
        }
    };
    let mut response =
        Page::new("Welcome").with_status(status).show(&card("Welcome to kenny", &form));
    if let Some(cookie) = visitor.cookie(app) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}
