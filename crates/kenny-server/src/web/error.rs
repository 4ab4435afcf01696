//! What goes wrong in a browser, said so that somebody knows what to do.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use maud::html;

use super::components::prose;
use super::layout::{Page, card};
use super::next::LocalPath;
use crate::oauth::request::Untrusted;
use crate::ops::OpsError;
use crate::store::StoreError;

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// Nobody is signed in; the place is where to go afterwards.
    #[error("sign in first")]
    NotSignedIn(LocalPath),
    /// The form is not of this server's page, or of another session.
    #[error(
        "The form did not come from a page of this server, or somebody signed in or out since that page was opened. Nothing was \
         changed. Open the page again and repeat what you did."
    )]
    ForeignForm,
    /// Not a form.
    #[error(
        "The server could not read what was sent. Nothing was changed. Open the page again and repeat what you did."
    )]
    Unreadable,
    /// A program asks in a way that cannot be answered.
    #[error("The request of the program cannot be answered: {0}.")]
    Program(#[from] Untrusted),
    /// The account may not give away so much.
    #[error(
        "Your account may not permit that. Go back and choose less, or ask an owner to change your role."
    )]
    TooMuch,
    /// Nothing there.
    #[error("There is no such page here. The link may be old, or mistyped.")]
    NotFound,
    /// The action was refused.
    #[error(transparent)]
    Ops(#[from] OpsError),
    /// The action was refused, on a page that one goes back to.
    #[error("{}", .0.error)]
    Refused(Box<Refused>),
    /// The database.
    #[error(
        "The server's database does not answer. Try again in a minute; if that does not help, look at the server's disk and its log."
    )]
    Store(#[from] StoreError),
}

/// What was refused, and where.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    error: OpsError,
    /// The page.
    path: String,
    /// What it is called.
    page: String,
}

impl WebError {
    /// An action that was refused on this page.
    pub fn refused(error: OpsError, path: &str, page: &str) -> Self {
        Self::Refused(Box::new(Refused { error, path: path.to_owned(), page: page.to_owned() }))
    }
}

impl IntoResponse for WebError {
    fn into_response(self) -> Response {
        let (status, title) = match &self {
            Self::NotSignedIn(next) => return Redirect::to(&next.through_login()).into_response(),
            Self::ForeignForm => (StatusCode::FORBIDDEN, "Not accepted"),
            Self::Unreadable => (StatusCode::BAD_REQUEST, "Not readable"),
            Self::Program(_) => (StatusCode::BAD_REQUEST, "The program cannot be connected"),
            Self::TooMuch => (StatusCode::FORBIDDEN, "Not with your role"),
            Self::NotFound => (StatusCode::NOT_FOUND, "Nothing here"),
            Self::Ops(error) => of(error),
            Self::Refused(refused) => of(&refused.error),
            Self::Store(error) => {
                tracing::warn!(%error, "a page could not be shown");
                (StatusCode::SERVICE_UNAVAILABLE, "Not now")
            }
        };
        let (back, page) = match &self {
            Self::Refused(refused) => (refused.path.as_str(), format!("Back to {}", refused.page)),
            Self::NotSignedIn(_)
            | Self::ForeignForm
            | Self::Unreadable
            | Self::Program(_)
            | Self::TooMuch
            | Self::NotFound
            | Self::Ops(_)
            | Self::Store(_) => ("/", "To the start page".to_owned()),
        };
        let words = html! {
            p { (prose(&sentence(&self.to_string()))) }
            p.actions { a.button href=(back) { (page) } }
        };
        Page::new(title).with_status(status).show(&card(title, &words))
    }
}

/// Status and title of a refused action.
fn of(error: &OpsError) -> (StatusCode, &'static str) {
    let (_, status, title) = error.facts();
    (StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), title)
}

/// As a sentence: the API's words begin small and end without a stop.
pub fn sentence(words: &str) -> String {
    let mut characters = words.chars();
    let first: String = characters.next().into_iter().flat_map(char::to_uppercase).collect();
    let stop = if words.ends_with(['.', '?', '!', ')']) { "" } else { "." };
    format!("{first}{}{stop}", characters.as_str())
}
