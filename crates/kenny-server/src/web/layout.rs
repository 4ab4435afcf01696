//! The frame of every page.

use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use maud::{DOCTYPE, Markup, html};

use super::assets;
use super::components::{caution, csrf_field};
use super::headers::content_security_policy;
use super::session::SignedIn;

/// What is around a page's content.
pub struct Page<'a> {
    title: &'a str,
    status: StatusCode,
    who: Option<&'a SignedIn>,
    form_target: Option<&'a str>,
    refresh: Option<&'a str>,
}

impl<'a> Page<'a> {
    /// A page with this title.
    pub const fn new(title: &'a str) -> Self {
        Self { title, status: StatusCode::OK, who: None, form_target: None, refresh: None }
    }

    /// Answered with another status.
    pub const fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// Of somebody who is signed in.
    pub const fn of(self, who: &'a SignedIn) -> Self {
        Self { who: Some(who), ..self }
    }

    /// Whose forms may lead to this place as well; as a Content-Security-Policy writes it.
    pub const fn with_form_target(self, target: &'a str) -> Self {
        Self { form_target: Some(target), ..self }
    }

    /// That goes on to this place at once.
    pub const fn going_on_to(self, path: &'a str) -> Self {
        Self { refresh: Some(path), ..self }
    }

    /// The answer. Pages are not kept: they show what is only the account's business, and carry the token of forms.
    pub fn show(self, content: &Markup) -> Response {
        let markup = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    @if let Some(path) = self.refresh {
                        meta http-equiv="refresh" content=(format!("0; url={path}"));
                    }
                    title { (self.title) " · kenny" }
                    link rel="icon" href=(assets::ICON_PATH) type="image/svg+xml";
                    link rel="stylesheet" href=(assets::style_path());
                }
                body {
                    a.skip href="#content" { "To the content" }
                    (header(self.who))
                    main #content {
                        @if self.who.is_some_and(|who| !who.releases_are_signed) { (unsigned()) }
                        (content)
                    }
                }
            }
        };
        let mut response = (self.status, markup).into_response();
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(CONTENT_SECURITY_POLICY, content_security_policy(self.form_target));
        response
    }
}

fn header(who: Option<&SignedIn>) -> Markup {
    html! {
        header.bar {
            a.brand href="/" {
                img src=(assets::ICON_PATH) alt="" width="24" height="24";
                "kenny"
            }
            @if let Some(who) = who {
                nav aria-label="Account" {
                    a href="/account" { (who.account.name.as_str()) }
                    form method="post" action="/logout" {
                        (csrf_field(&who.csrf))
                        button.quiet type="submit" { "Sign out" }
                    }
                }
            }
        }
    }
}

/// What every page says on a server without keys.
fn unsigned() -> Markup {
    caution(&html! {
        strong { "Releases are not signed. " }
        "PCs run what this server says, so whoever has the server has the PCs. "
        code { "kenny keys init" }
        " makes keys that the server does not have."
    })
}

/// A page of one narrow piece, with a heading.
pub fn card(title: &str, content: &Markup) -> Markup {
    html! {
        section.card {
            h1 { (title) }
            (content)
        }
    }
}
