//! Who is signed in, by what, where else, and which tokens and programs act for them.

pub mod secrets;
pub mod tokens;

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use jiff::Timestamp;
use maud::{Markup, html};

use super::browsers;
use super::components::{row_action, time};
use super::error::WebError;
use super::forms::SignedInForm;
use super::layout::{Page, Place};
use super::session::SignedIn;
use crate::app::App;
use crate::mcp;
use crate::oauth::redirect;
use crate::oauth::scope::Scope;
use crate::ops;
use crate::store::oauth_rows::GrantRow;
use crate::store::session_rows::SessionRow;

/// Where it is.
pub const PATH: &str = "/account";

/// `GET /account`.
pub async fn show(
    State(app): State<Arc<App>>,
    headers: axum::http::HeaderMap,
    who: SignedIn,
) -> Result<Response, WebError> {
    let sessions = ops::sessions::list(&app, &who.operator).await?;
    let programs = ops::programs::list(&app, &who.operator).await?;
    let mcp_address = format!("{}{}", app.base_url(&headers), mcp::PATH);
    let tokens = ops::tokens::list(&app, &who.operator, None)?.tokens;
    let content = html! {
        div.title {
            div {
                h1 { "Your account" }
                p.hint { "Signed in as " strong { (who.account.name) } " with the role " strong { (who.account.role) } "." }
            }
        }
        div.columns {
            (secrets::password_form(&who, None))
            (secrets::second_factor(&who))
        }
        (tokens::section(&who, &tokens, Timestamp::now()))
        section aria-labelledby="programs" {
            h2 #programs { "Connected programs" }
            @if programs.is_empty() {
                p.hint { "No program acts for you. To connect one, give it the address " code { (mcp_address) } "." }
            } @else {
                ul.list { @for program in &programs { (program_row(&who, program)) } }
            }
        }
        section aria-labelledby="browsers" {
            h2 #browsers { "Signed-in browsers" }
            ul.list { @for session in &sessions { (session_row(&who, session)) } }
        }
    };
    Ok(Page::new("Your account").of(&who).at(Place::Account).show(&content))
}

fn program_row(who: &SignedIn, program: &GrantRow) -> Markup {
    let may = match program.scope {
        Scope::Viewer => "looks only",
        Scope::Operator => "looks and changes",
    };
    let name = &program.client_name;
    html! {
        li {
            div {
                h3 { (name) }
                p.hint {
                    (may) ", answers at " (redirect::place(&program.redirect_uri))
                    br;
                    "connected " (time(program.created_at))
                    @if let Some(at) = program.last_used_at { br; "last used " (time(at)) }
                }
            }
            (row_action(&who.csrf, "/account/programs/end", &program.id, "Disconnect", &format!("Disconnect {name}")))
        }
    }
}

fn session_row(who: &SignedIn, session: &SessionRow) -> Markup {
    let browser = browsers::in_words(&session.browser);
    html! {
        li {
            div {
                h3 {
                    (browser)
                    @if session.id == who.session_id { " " span.tag { "this browser" } }
                }
                p.hint {
                    @if let Some(address) = &session.address { "from " (address) br; }
                    "signed in " (time(session.created_at))
                    br;
                    "last used " (time(session.last_used_at))
                }
            }
            @if session.id != who.session_id {
                (row_action(&who.csrf, "/account/sessions/end", &session.id, "Sign out", &format!("Sign out {browser}")))
            }
        }
    }
}

/// `POST /account/sessions/end`. One that is gone already is as good.
pub async fn end_session(
    State(app): State<Arc<App>>,
    form: SignedInForm,
) -> Result<Response, WebError> {
    let id = form.fields.get("id").unwrap_or_default();
    ops::sessions::end(&app, &form.who.operator, id).await?;
    Ok(Redirect::to(PATH).into_response())
}

/// `POST /account/programs/end`. One that is gone already is as good.
pub async fn end_program(
    State(app): State<Arc<App>>,
    form: SignedInForm,
) -> Result<Response, WebError> {
    let id = form.fields.get("id").unwrap_or_default();
    ops::programs::end(&app, &form.who.operator, id).await?;
    Ok(Redirect::to(PATH).into_response())
}
