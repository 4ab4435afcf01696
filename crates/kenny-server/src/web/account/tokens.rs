//! API tokens: one's own on the account's page, anybody's for owners.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use jiff::{SignedDuration, Timestamp};
use kenny_proto::Role;
use kenny_proto::accounts::{NewToken, Token};
use maud::{Markup, html};

use super::PATH;
use crate::app::App;
use crate::ops;
use crate::web::components::{ago, csrf_field, time};
use crate::web::error::WebError;
use crate::web::forms::SignedInForm;
use crate::web::layout::{Page, Place, card};
use crate::web::next::LocalPath;
use crate::web::session::SignedIn;

/// For how long a token is good, in days; 0 is without an end.
const LIVES: [(i64, &str); 4] =
    [(30, "30 days"), (90, "90 days"), (365, "a year"), (0, "without an end")];
const USUAL_LIFE: i64 = 90;

/// The own tokens, and the form for another one.
pub fn section(who: &SignedIn, tokens: &[Token], now: Timestamp) -> Markup {
    html! {
        section aria-labelledby="tokens" {
            h2 #tokens { "API tokens" }
            @if tokens.is_empty() { p.hint { "None. A token lets a script or the command line act for you." } }
            @else { (list(who, tokens, PATH, now)) }
            details {
                summary { "Make a token" }
                form.panel method="post" action="/account/tokens" {
                    (csrf_field(&who.csrf))
                    label for="token-name" { "What it is for" }
                    input #token-name type="text" name="name" maxlength="100" required placeholder="backup script" autocomplete="off";
                    div.pair {
                        div {
                            label for="token-role" { "It may" }
                            select #token-role name="role" {
                                @for role in [Role::Viewer, Role::Operator, Role::Owner] {
                                    @if role <= who.account.role { option value=(role) { (may(role)) } }
                                }
                            }
                        }
                        div {
                            label for="token-life" { "It is good for" }
                            select #token-life name="days" {
                                @for (days, words) in LIVES { option value=(days) selected[days == USUAL_LIFE] { (words) } }
                            }
                        }
                    }
                    p.actions { button type="submit" { "Make it" } }
                }
            }
        }
    }
}

/// A role as what it includes.
pub const fn may(role: Role) -> &'static str {
    match role {
        Role::Viewer => "Viewer: looks only",
        Role::Operator => "Operator: PCs and releases",
        Role::Owner => "Owner: everything",
    }
}

/// Tokens of a page, each with a way to end it.
pub fn list(who: &SignedIn, tokens: &[Token], page: &str, now: Timestamp) -> Markup {
    html! {
        ul.list {
            @for token in tokens {
                li {
                    div {
                        h3 { (token.name) " " span.tag { (token.role) } }
                        p.hint {
                            "made " (ago(token.created_at, now))
                            @match token.last_used_at { Some(at) => { ", used " (ago(at, now)) } None => { ", never used" } }
                            @if let Some(end) = token.expires_at { ", good until " (time(end)) }
                        }
                    }
                    form method="post" action="/account/tokens/revoke" {
                        (csrf_field(&who.csrf))
                        input type="hidden" name="next" value=(page);
                        input type="hidden" name="id" value=(token.id);
                        button.danger type="submit" aria-label={ "Revoke " (token.name) } { "Revoke" }
                    }
                }
            }
        }
    }
}

/// `POST /account/tokens`.
pub async fn create(State(app): State<Arc<App>>, form: SignedInForm) -> Result<Response, WebError> {
    let SignedInForm { who, fields } = form;
    let days: i64 = fields.get("days").and_then(|days| days.parse().ok()).unwrap_or(USUAL_LIFE);
    let expires_at =
        (days > 0).then(|| Timestamp::now() + SignedDuration::from_hours(24 * days.min(3650)));
    let wanted = NewToken {
        name: fields.get("name").unwrap_or_default().to_owned(),
        role: fields.get("role").and_then(|role| role.parse().ok()),
        expires_at,
    };
    let made = ops::tokens::create(&app, &who.operator, wanted).await;
    let made = made.map_err(|error| WebError::refused(error, PATH, "your account"))?;
    let content = html! {
        p { "This is the token " strong { (made.token.name) } ". It is shown this once; only its hash is kept." }
        div.copy {
            input #token.code type="text" readonly value=(made.secret.expose()) aria-label="The token";
            button type="button" data-copy="#token" { "Copy" }
        }
        p.actions { a.button.primary href=(PATH) { "I have it" } }
    };
    Ok(Page::new("A new token").of(&who).at(Place::Account).show(&card("A new token", &content)))
}

/// `POST /account/tokens/revoke`.
pub async fn revoke(State(app): State<Arc<App>>, form: SignedInForm) -> Result<Response, WebError> {
    let id = form.fields.get("id").and_then(|id| id.parse().ok()).ok_or(WebError::Unreadable)?;
    let next = LocalPath::or_home(form.fields.get("next"));
    match ops::tokens::revoke(&app, &form.who.operator, id).await {
        // Revoked meanwhile is as good.
        Ok(()) | Err(ops::OpsError::UnknownToken(_)) => {
            Ok(Redirect::to(next.as_str()).into_response())
        }
        Err(error) => Err(WebError::refused(error, next.as_str(), "the tokens")),
    }
}
