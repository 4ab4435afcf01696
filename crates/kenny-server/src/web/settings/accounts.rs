//! Accounts: who may act on this server. For owners.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use jiff::Timestamp;
use kenny_proto::Role;
use kenny_proto::accounts::{Account, AccountChange, AccountPassword, NewAccount};
use maud::{Markup, html};

use super::PATH;
use crate::app::App;
use crate::ops::{self, OpsError};
use crate::web::account::tokens::{self, may};
use crate::web::components::{badge, count, csrf_field, time};
use crate::web::error::WebError;
use crate::web::forms::SignedInForm;
use crate::web::layout::{Page, Place, card};
use crate::web::session::SignedIn;

const ROLES: [Role; 3] = [Role::Viewer, Role::Operator, Role::Owner];

/// Every account, and the form for another one.
pub fn section(who: &SignedIn, accounts: &[Account]) -> Markup {
    html! {
        section aria-labelledby="accounts" {
            h2 #accounts { "Accounts" }
            ul.list {
                @for account in accounts {
                    @let name = account.name.as_str();
                    li {
                        div {
                            h3 { a href={"/settings/accounts/" (name)} { (name) } " " span.tag { (account.role) } }
                            p.hint { (count(account.tokens, "token", "tokens")) @if account.has_totp { ", second factor" } @if !account.has_password { ", no password" } }
                        }
                        @if account.disabled { (badge("warn", "Switched off")) }
                        @if account.name == who.account.name { span.tag { "you" } }
                    }
                }
            }
            details {
                summary { "Make an account" }
                form.panel method="post" action="/settings/accounts" {
                    (csrf_field(&who.csrf))
                    label for="name" { "Name" }
                    input #name type="text" name="name" maxlength="64" required autocapitalize="none" autocomplete="off" spellcheck="false"
                        placeholder="bert" aria-describedby="name-hint";
                    p.hint #name-hint { "Lower-case letters, digits or any of . _ - @" }
                    (role_field(Role::Operator))
                    p.actions { button type="submit" { "Make it" } }
                }
            }
        }
    }
}

fn role_field(role: Role) -> Markup {
    html! {
        label for="role" { "Role" }
        select #role name="role" {
            @for one in ROLES { option value=(one) selected[one == role] { (may(one)) } }
        }
    }
}

fn refused(error: OpsError) -> WebError {
    WebError::refused(error, PATH, "the settings")
}

/// `GET /settings/accounts/NAME`.
pub async fn show(
    State(app): State<Arc<App>>,
    who: SignedIn,
    Path(name): Path<String>,
) -> Result<Response, WebError> {
    let account = ops::accounts::show(&app, &who.operator, &name)?;
    let tokens = ops::tokens::list(&app, &who.operator, Some(&name))?.tokens;
    let action = |what: &str| format!("/settings/accounts/{name}/{what}");
    let content = html! {
        div.title {
            div {
                p.up { a href=(PATH) { "Settings" } }
                h1 { (name) }
                p.hint {
                    "since " (time(account.created_at))
                    @if account.disabled { ", " strong { "switched off" } }
                    @if account.has_totp { ", with a second factor" }
                }
            }
        }
        div.columns {
            section aria-labelledby="change" {
                h2 #change { "What this account may do" }
                form.panel method="post" action=(action("role")) {
                    (csrf_field(&who.csrf))
                    (role_field(account.role))
                    p.actions { button type="submit" { "Change it" } }
                }
            }
            section aria-labelledby="more" {
                h2 #more { "More" }
                div.panel {
                    @if account.disabled {
                        form method="post" action=(action("enable")) { (csrf_field(&who.csrf)) button type="submit" { "Switch it on" } }
                    } @else {
                        (explained(&who, &action("disable"), "Switch it off", "Its browsers are signed out and its tokens are revoked. Nobody acts through it until an owner switches it on again."))
                    }
                    (explained(&who, &action("reset"), "Give it a new password", "You get a random one to pass on. Its second factor, tokens and browsers are gone."))
                    (explained(&who, &action("remove"), "Remove it", "With its tokens and browsers. What it did stays in the audit log."))
                }
            }
        }
        section aria-labelledby="tokens" {
            h2 #tokens { "API tokens" }
            @if tokens.is_empty() { p.hint { "None." } } @else { (tokens::list(&who, &tokens, &format!("{PATH}/accounts/{name}"), Timestamp::now())) }
        }
    };
    Ok(Page::new(&name).of(&who).at(Place::Settings).show(&content))
}

fn explained(who: &SignedIn, action: &str, title: &str, words: &str) -> Markup {
    html! {
        details {
            summary { (title) }
            p { (words) }
            form.actions method="post" action=(action) { (csrf_field(&who.csrf)) button.danger type="submit" { (title) } }
        }
    }
}

/// `POST /settings/accounts`.
pub async fn create(State(app): State<Arc<App>>, form: SignedInForm) -> Result<Response, WebError> {
    let SignedInForm { who, fields } = form;
    let name = fields.get("name").unwrap_or_default().trim().to_lowercase();
    let name = name.parse().map_err(|error| refused(OpsError::AccountName(error)))?;
    let role = fields.get("role").and_then(|role| role.parse().ok()).ok_or(WebError::Unreadable)?;
    let made = ops::accounts::create(&app, &who.operator, NewAccount { name, role }).await;
    Ok(password_page(&who, &made.map_err(refused)?))
}

fn password_page(who: &SignedIn, made: &AccountPassword) -> Response {
    let content = html! {
        p { "The password of " strong { (made.account.name) } ", shown this once. Pass it on; whoever gets it should change it." }
        div.copy {
            input #password.code type="text" readonly value=(made.password.expose()) aria-label="The password";
            button type="button" data-copy="#password" { "Copy" }
        }
        p.actions { a.button.primary href=(PATH) { "I have it" } }
    };
    Page::new("A password").of(who).at(Place::Settings).show(&card("A password", &content))
}

async fn change(
    app: &App,
    form: SignedInForm,
    name: &str,
    wanted: AccountChange,
) -> Result<Response, WebError> {
    ops::accounts::change(app, &form.who.operator, name, wanted).await.map_err(refused)?;
    Ok(Redirect::to(&format!("{PATH}/accounts/{name}")).into_response())
}

/// `POST /settings/accounts/NAME/role`.
pub async fn set_role(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    form: SignedInForm,
) -> Result<Response, WebError> {
    let role =
        form.fields.get("role").and_then(|role| role.parse().ok()).ok_or(WebError::Unreadable)?;
    change(&app, form, &name, AccountChange { role: Some(role), disabled: None }).await
}

/// `POST /settings/accounts/NAME/disable`.
pub async fn disable(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    form: SignedInForm,
) -> Result<Response, WebError> {
    change(&app, form, &name, AccountChange { role: None, disabled: Some(true) }).await
}

/// `POST /settings/accounts/NAME/enable`.
pub async fn enable(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    form: SignedInForm,
) -> Result<Response, WebError> {
    change(&app, form, &name, AccountChange { role: None, disabled: Some(false) }).await
}

/// `POST /settings/accounts/NAME/reset`.
pub async fn reset(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    form: SignedInForm,
) -> Result<Response, WebError> {
    let made = ops::accounts::reset(&app, &form.who.operator, &name).await.map_err(refused)?;
    Ok(password_page(&form.who, &made))
}

/// `POST /settings/accounts/NAME/remove`.
pub async fn remove(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    form: SignedInForm,
) -> Result<Response, WebError> {
    ops::accounts::remove(&app, &form.who.operator, &name).await.map_err(refused)?;
    Ok(Redirect::to(PATH).into_response())
}
