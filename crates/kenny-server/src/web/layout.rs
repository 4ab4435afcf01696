//! The frame of every page.

use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use maud::{DOCTYPE, Markup, html};

use super::assets;
use super::components::csrf_field;
use super::headers::content_security_policy;
use super::live::Live;
use super::session::SignedIn;

/// How htmx behaves: nothing is evaluated, nothing is kept in the browser, and a form that was refused shows why.
const HTMX: &str = r#"{"allowEval":false,"includeIndicatorStyles":false,"historyCacheSize":0,"refreshOnHistoryMiss":true,"responseHandling":[
{"code":"204","swap":false},{"code":"[23]..","swap":true},{"code":"422","swap":true},{"code":"[45]..","swap":false,"error":true}]}"#;

/// Where a page is in the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The fleet and its PCs.
    Fleet,
    /// Releases.
    Releases,
    /// Adding a PC.
    Add,
    /// What happened.
    Activity,
    /// The server's settings.
    Settings,
    /// The own account.
    Account,
}

/// The navigation, in its order. The own account stands apart.
const PLACES: [(Place, &str, &str); 5] = [
    (Place::Fleet, "/", "Fleet"),
    (Place::Releases, "/releases", "Releases"),
    (Place::Add, "/add", "Add a PC"),
    (Place::Activity, "/activity", "Activity"),
    (Place::Settings, "/settings", "Settings"),
];

/// What is around a page's content.
pub struct Page<'a> {
    title: &'a str,
    status: StatusCode,
    who: Option<&'a SignedIn>,
    place: Option<Place>,
    live: Option<&'a Live>,
    form_target: Option<&'a str>,
    refresh: Option<&'a str>,
}

impl<'a> Page<'a> {
    /// A page with this title.
    pub const fn new(title: &'a str) -> Self {
        Self {
            title,
            status: StatusCode::OK,
            who: None,
            place: None,
            live: None,
            form_target: None,
            refresh: None,
        }
    }

    /// Answered with another status.
    pub const fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// Of somebody who is signed in.
    pub const fn of(self, who: &'a SignedIn) -> Self {
        Self { who: Some(who), ..self }
    }

    /// At this place of the navigation.
    pub const fn at(self, place: Place) -> Self {
        Self { place: Some(place), ..self }
    }

    /// That hears of changes.
    pub const fn live(self, live: &'a Live) -> Self {
        Self { live: Some(live), ..self }
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
        // Who is not signed in gets no script at all.
        let scripts = self.who.is_some();
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
                    link rel="icon" href=(assets::icon_path()) type="image/svg+xml";
                    link rel="stylesheet" href=(assets::style_path());
                    @if scripts {
                        meta name="htmx-config" content=(HTMX);
                        @for path in assets::script_paths() { script src=(path) defer {} }
                    }
                }
                body hx-ext=[scripts.then_some("morph")] data-live=[self.live.map(Live::as_str)] {
                    a.skip href="#content" { "To the content" }
                    (self.header())
                    main #content .reading[self.is_for_reading()] {
                        @if self.who.is_some_and(|who| !who.releases_are_signed) { (unsigned()) }
                        (content)
                    }
                    @if self.live.is_some() {
                        p.lostnote role="status" {
                            span.lost { "No connection to the server. What you see may be old; it is tried again by itself." }
                        }
                    }
                }
            }
        };
        let mut response = (self.status, markup).into_response();
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let policy = content_security_policy(scripts, self.form_target);
        headers.insert(CONTENT_SECURITY_POLICY, policy);
        response
    }

    /// Forms and texts are narrower than lists.
    fn is_for_reading(&self) -> bool {
        matches!(self.place, Some(Place::Add | Place::Settings | Place::Account))
    }

    fn header(&self) -> Markup {
        let here = |place: Place| (self.place == Some(place)).then_some("page");
        html! {
            header.bar {
                a.brand href="/" {
                    img src=(assets::icon_path()) alt="" width="24" height="24";
                    "kenny"
                }
                @if let Some(who) = self.who {
                    nav.places aria-label="Main" {
                        @for (place, path, words) in PLACES {
                            a href=(path) aria-current=[here(place)] { (words) }
                        }
                    }
                    nav.account aria-label="Account" {
                        a href="/account" aria-current=[here(Place::Account)] { (who.account.name.as_str()) }
                        form method="post" action="/logout" {
                            (csrf_field(&who.csrf))
                            button.quiet type="submit" { "Sign out" }
                        }
                    }
                }
            }
        }
    }
}

/// What every page says on a server without keys.
fn unsigned() -> Markup {
    html! {
        p.strip {
            strong { "Releases are not signed: " }
            "whoever has this server has the PCs. "
            a href="/settings#keys" { "What to do" }
        }
    }
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
