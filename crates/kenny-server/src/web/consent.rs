//! Whether a program may act for somebody: the page where a person decides, and the answer to the program.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse as _, Redirect, Response};
use kenny_proto::Role;
use maud::{Markup, html};
use url::Url;

use super::components::{caution, csrf_field};
use super::error::WebError;
use super::forms::SignedInForm;
use super::layout::{Page, card};
use super::next::LocalPath;
use super::session::SignedIn;
use crate::app::App;
use crate::oauth::request::{Authorization, Refused};
use crate::oauth::scope::Scope;
use crate::oauth::{AUTHORIZE, redirect};
use crate::ops;

/// `GET /oauth/authorize`.
pub async fn show(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, WebError> {
    let query = query.unwrap_or_default();
    let asked = match read(&app, &headers, &query)? {
        Ok(asked) => asked,
        Err(answer) => return Ok(answer),
    };
    let here = LocalPath::or_home(Some(&format!("{AUTHORIZE}?{query}")));
    if let Some(who) = SignedIn::of(&app, &headers, None).await? {
        return Ok(ask(&who, &asked, &query));
    }
    if comes_from_another_site(&headers) {
        return Ok(come_again(&here));
    }
    Err(WebError::NotSignedIn(here))
}

/// The request, or the answer that goes back to the program at once.
fn read(
    app: &App,
    headers: &HeaderMap,
    query: &str,
) -> Result<Result<Authorization, Response>, WebError> {
    match Authorization::read(app, headers, query) {
        Ok(asked) => Ok(Ok(asked)),
        Err(Refused::Here(why)) => {
            tracing::info!(%why, "a program's request was refused");
            Err(why.into())
        }
        Err(Refused::There(redirect, why)) => {
            tracing::info!(%why, "a program's request was refused");
            Ok(Err(send(&redirect.with_error(why.code(), &why.to_string()))))
        }
    }
}

fn send(to: &Url) -> Response {
    ([(CACHE_CONTROL, "no-store")], Redirect::to(to.as_str())).into_response()
}

/// A link on another site led here, and with such a request browsers send no `SameSite=Strict` cookie.
fn comes_from_another_site(headers: &HeaderMap) -> bool {
    headers
        .get("sec-fetch-site")
        .is_some_and(|site| matches!(site.as_bytes(), b"cross-site" | b"same-site"))
}

/// A page that leads to the same place once more, this time from this server, so that the cookie comes along. Nothing but
/// a question is shown there.
fn come_again(here: &LocalPath) -> Response {
    let words = html! {
        p { "One moment…" }
        p.actions { a.button.primary href=(here) { "Go on" } }
    };
    Page::new("Connect a program")
        .going_on_to(here.as_str())
        .show(&card("Connect a program", &words))
}

fn ask(who: &SignedIn, asked: &Authorization, query: &str) -> Response {
    let name = name(asked);
    let account = &who.account;
    let offered: Vec<Scope> = Scope::ALL
        .into_iter()
        .filter(|scope| *scope <= asked.scope && scope.is_within(account.role))
        .collect();
    let is_loopback = redirect::is_loopback(&asked.redirect.uri);
    let content = html! {
        p.lead {
            "“" strong { (name) } "” wants to act on your PCs as " strong { (account.name) }
            " (" (account.role) "). It runs at " strong { (redirect::place(asked.redirect.uri.as_str())) } "."
        }
        (caution(&html! {
            p {
                @if is_loopback {
                    "It is a program on the computer that you sit at. Approve only if you started the connection in that \
                     program yourself, just now: its name is what it says of itself, and nobody has checked it."
                } @else {
                    "Approve only if you know this host and started the connection there yourself, just now. The program's name \
                     is what it says of itself, and nobody has checked it."
                }
            }
        }))
        form method="post" action=(AUTHORIZE) {
            (csrf_field(&who.csrf))
            input type="hidden" name="request" value=(query);
            fieldset {
                legend { "What it may do" }
                @for (place, scope) in offered.iter().enumerate() { (choice(*scope, place == 0)) }
            }
            @if account.role == Role::Viewer && asked.scope > Scope::Viewer {
                p.hint { "It asks for more. Your role is viewer, so that it can only look." }
            }
            p.hint {
                "You can disconnect it at any time under “Your account”. It never gets to decide who else may act, nor your \
                 password."
            }
            p.actions {
                button.primary type="submit" name="decision" value="approve" { "Approve" }
                button type="submit" name="decision" value="deny" { "Deny" }
            }
        }
    };
    Page::new("Connect a program")
        .of(who)
        .with_form_target(&redirect::policy_source(&asked.redirect.uri))
        .show(&card("Connect a program?", &content))
}

fn choice(scope: Scope, is_first: bool) -> Markup {
    let (words, hint) = match scope {
        Scope::Viewer => {
            ("Look only", "See the PCs, their state and their files. The role viewer.")
        }
        Scope::Operator => (
            "Look and change",
            "Run commands as administrator, change files and settings, update and restart. The role operator.",
        ),
    };
    let (id, hint_id) = (format!("scope-{scope}"), format!("scope-{scope}-hint"));
    html! {
        div.choice {
            input type="radio" name="scope" id=(id) value=(scope) checked[is_first] aria-describedby=(hint_id);
            div {
                label for=(id) { (words) }
                p.hint id=(hint_id) { (hint) }
            }
        }
    }
}

fn name(asked: &Authorization) -> &str {
    asked.client.name.as_deref().unwrap_or("A program without a name")
}

/// `POST /oauth/authorize`.
pub async fn decide(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    form: SignedInForm,
) -> Result<Response, WebError> {
    let SignedInForm { who, fields } = form;
    let query = fields.get("request").unwrap_or_default();
    // What the page was made of comes back, and is checked again as if it came for the first time.
    let asked = match read(&app, &headers, query)? {
        Ok(asked) => asked,
        Err(answer) => return Ok(answer),
    };
    match fields.get("decision") {
        Some("approve") => {}
        Some("deny") => {
            let words = "the person at the browser said no";
            return Ok(send(&asked.redirect.with_error("access_denied", words)));
        }
        _ => return Err(WebError::Unreadable),
    }
    let scope: Scope =
        fields.get("scope").and_then(|scope| scope.parse().ok()).ok_or(WebError::Unreadable)?;
    if scope > asked.scope || !scope.is_within(who.account.role) {
        return Err(WebError::TooMuch);
    }
    let code =
        ops::programs::approve(&app, &who.operator, &who.account, &asked, name(&asked), scope)
            .await?;
    Ok(send(&asked.redirect.with(&[("code", &code)])))
}
