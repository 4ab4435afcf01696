//! Signing in and out.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{RawQuery, State};
use axum::http::header::SET_COOKIE;
use axum::http::{Extensions, HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Redirect, Response};
use jiff::Timestamp;
use kenny_proto::Secret;
use maud::{Markup, html};

use super::components::{csrf_field, problem};
use super::error::WebError;
use super::fields::Fields;
use super::forms::{SignedInForm, VisitorForm};
use super::layout::{Page, card};
use super::next::LocalPath;
use super::pending::Proven;
use super::session::{self, Cookie, SignedIn, Visitor};
use crate::accounts::{self, Account, LoginError};
use crate::app::App;
use crate::ops::me::{let_in, not_let_in};
use crate::ops::{self, Face};

const PASSWORD_PATH: &str = "/login";
const CODE_PATH: &str = "/login/code";

/// `GET /login`.
pub async fn show(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, WebError> {
    let fields = Fields::parse(query.unwrap_or_default().as_bytes()).unwrap_or_default();
    let next = LocalPath::or_home(fields.get("next"));
    if SignedIn::of(&app, &headers, None).await?.is_some() {
        return Ok(Redirect::to(next.as_str()).into_response());
    }
    let visitor = Visitor::of(&app, &headers);
    Ok(password_page(&app, &visitor, &next, "", None, StatusCode::OK))
}

/// `POST /login`: name and password.
pub async fn password(
    State(app): State<Arc<App>>,
    extensions: Extensions,
    headers: HeaderMap,
    form: VisitorForm,
) -> Result<Response, WebError> {
    let VisitorForm { visitor, fields } = form;
    let next = LocalPath::or_home(fields.get("next"));
    let name = fields.get("name").unwrap_or_default().trim().to_lowercase();
    let password = fields.get("password").unwrap_or_default();
    let from = app.client(&extensions, &headers);
    match accounts::log_in(&app, &name, password, None, from).await {
        Ok(account) => enter(&app, &account, &visitor, &headers, from, &next).await,
        Err(LoginError::CodeNeeded) => {
            let proven = Proven { name, password: Secret(password.to_owned()) };
            app.pending_logins.keep(visitor.hash(), proven, Instant::now());
            Ok(code_page(&app, &visitor, &next, None, StatusCode::OK))
        }
        Err(error) => {
            not_let_in(&app, Face::Web, &name, from, &error);
            let (status, words) = in_words(error)?;
            Ok(password_page(&app, &visitor, &next, &name, Some(&words), status))
        }
    }
}

/// `POST /login/code`: the second factor.
pub async fn code(
    State(app): State<Arc<App>>,
    extensions: Extensions,
    headers: HeaderMap,
    form: VisitorForm,
) -> Result<Response, WebError> {
    let VisitorForm { visitor, fields } = form;
    let next = LocalPath::or_home(fields.get("next"));
    let Some(proven) = app.pending_logins.get(visitor.hash(), Instant::now()) else {
        let words = "That took too long. Sign in again.";
        let status = StatusCode::FORBIDDEN;
        return Ok(password_page(&app, &visitor, &next, "", Some(words), status));
    };
    let from = app.client(&extensions, &headers);
    let code = fields.get("code").unwrap_or_default();
    let password = proven.password.expose();
    match accounts::log_in(&app, &proven.name, password, Some(code), from).await {
        Ok(account) => {
            app.pending_logins.forget(visitor.hash());
            enter(&app, &account, &visitor, &headers, from, &next).await
        }
        Err(LoginError::Wrong | LoginError::Disabled) => {
            app.pending_logins.forget(visitor.hash());
            let words = "The account changed meanwhile. Sign in again.";
            let status = StatusCode::FORBIDDEN;
            Ok(password_page(&app, &visitor, &next, "", Some(words), status))
        }
        Err(error) => {
            not_let_in(&app, Face::Web, &proven.name, from, &error);
            let (status, words) = in_words(error)?;
            Ok(code_page(&app, &visitor, &next, Some(&words), status))
        }
    }
}

/// `POST /logout`.
pub async fn out(State(app): State<Arc<App>>, form: SignedInForm) -> Result<Response, WebError> {
    let SignedInForm { who, .. } = form;
    ops::sessions::end(&app, &who.operator, &who.session_id).await?;
    let cookie = Cookie::Session.remove(app.is_secure());
    Ok(([(SET_COOKIE, cookie)], Redirect::to(PASSWORD_PATH)).into_response())
}

async fn enter(
    app: &App,
    account: &Account,
    visitor: &Visitor,
    headers: &HeaderMap,
    from: Option<IpAddr>,
    next: &LocalPath,
) -> Result<Response, WebError> {
    app.pending_logins.forget(visitor.hash());
    let record = let_in(account, Face::Web, from);
    let secret = session::begin(app, account, headers, from, record, Timestamp::now()).await?;
    let mut response = Redirect::to(next.as_str()).into_response();
    let cookies = response.headers_mut();
    cookies.append(SET_COOKIE, Cookie::Session.set(&secret, app.is_secure()));
    cookies.append(SET_COOKIE, Cookie::Visitor.remove(app.is_secure()));
    Ok(response)
}

/// What a person is told, and the status that goes with it.
fn in_words(error: LoginError) -> Result<(StatusCode, String), WebError> {
    let (status, words) = match error {
        LoginError::Wrong | LoginError::PasswordNeeded => {
            (StatusCode::FORBIDDEN, "The name or the password is not right.".to_owned())
        }
        LoginError::WrongCode | LoginError::CodeNeeded => (
            StatusCode::FORBIDDEN,
            "The code is not right, or was used before. Wait for the next one; if that is not right either, the clocks of \
             the server and of your phone do not agree."
                .to_owned(),
        ),
        LoginError::Throttled(wait) => (
            StatusCode::TOO_MANY_REQUESTS,
            format!("Too many sign-ins failed. Try again in {}.", in_minutes(accounts::seconds(wait))),
        ),
        LoginError::Disabled => (
            StatusCode::FORBIDDEN,
            "The account is switched off. An owner can switch it on again.".to_owned(),
        ),
        LoginError::Busy(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "Too many people sign in at this moment. Try again in a few seconds.".to_owned(),
        ),
        LoginError::Store(error) => return Err(error.into()),
    };
    Ok((status, words))
}

fn in_minutes(seconds: u64) -> String {
    match seconds {
        0..=1 => "a second".to_owned(),
        2..120 => format!("{seconds} seconds"),
        _ => format!("{} minutes", seconds.div_ceil(60)),
    }
}

fn password_page(
    app: &App,
    visitor: &Visitor,
    next: &LocalPath,
    name: &str,
    wrong: Option<&str>,
    status: StatusCode,
) -> Response {
    let fields = html! {
        label for="name" { "Name" }
        input #name type="text" name="name" value=(name) autocomplete="username" autocapitalize="none"
            spellcheck="false" maxlength="64" required autofocus[name.is_empty()];
        label for="password" { "Password" }
        input #password type="password" name="password" autocomplete="current-password" maxlength="1024" required
            autofocus[!name.is_empty()];
        p.actions { button.primary type="submit" { "Sign in" } }
    };
    let page = html! {
        (form(visitor, PASSWORD_PATH, next, wrong, &fields))
        details {
            summary { "No password yet, or forgotten?" }
            p {
                "An owner gives you a new one with " code { "kenny account reset NAME" } ". An owner without one sets it with "
                code { "kenny account password" } ", and makes a token for that with "
                code { "kenny-server reset-token" } " on the server itself."
            }
        }
    };
    respond(app, visitor, "Sign in", &page, status)
}

fn code_page(
    app: &App,
    visitor: &Visitor,
    next: &LocalPath,
    wrong: Option<&str>,
    status: StatusCode,
) -> Response {
    let fields = html! {
        label for="code" { "Code" }
        input #code type="text" name="code" autocomplete="one-time-code" autocapitalize="none" spellcheck="false"
            maxlength="64" aria-describedby="code-hint" required autofocus;
        p.hint #code-hint { "The six digits that your authenticator app shows now, or one of your recovery codes." }
        p.actions {
            button.primary type="submit" { "Go on" }
            a.button href=(next.through_login()) { "Start over" }
        }
    };
    let page = form(visitor, CODE_PATH, next, wrong, &fields);
    respond(app, visitor, "One more step", &page, status)
}

/// What a visitor fills in, with what was wrong with the last try.
fn form(
    visitor: &Visitor,
    action: &str,
    next: &LocalPath,
    wrong: Option<&str>,
    fields: &Markup,
) -> Markup {
    html! {
        @if let Some(words) = wrong { (problem(words)) }
        form method="post" action=(action) {
            (csrf_field(&visitor.csrf()))
            input type="hidden" name="next" value=(next);
            (fields)
        }
    }
}

fn respond(
    app: &App,
    visitor: &Visitor,
    title: &str,
    body: &Markup,
    status: StatusCode,
) -> Response {
    let mut response = Page::new(title).with_status(status).show(&card(title, body));
    if let Some(cookie) = visitor.cookie(app) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}
