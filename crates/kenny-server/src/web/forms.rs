//! Posted forms, as handlers get them: from this server's own page, with its token, or not at all.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts as _, Request};
use axum::http::{HeaderMap, HeaderName};

use super::csrf::{self, CsrfToken};
use super::error::WebError;
use super::fields::Fields;
use super::session::{SignedIn, Visitor};
use crate::app::App;
use crate::ops::Action;

/// Carries the token of a form where the body is a file.
const FORM_TOKEN: HeaderName = HeaderName::from_static("x-kenny-form");

/// A form of somebody who is signed in.
pub struct SignedInForm {
    /// Who.
    pub who: SignedIn,
    /// What.
    pub fields: Fields,
}

impl FromRequest<Arc<App>> for SignedInForm {
    type Rejection = WebError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, WebError> {
        let (mut parts, body) = request.into_parts();
        check_page(app, &parts.headers)?;
        let who = SignedIn::from_request_parts(&mut parts, app).await?;
        let fields = read(Request::from_parts(parts, body), app, &who.csrf).await?;
        Ok(Self { who, fields })
    }
}

impl SignedIn {
    /// Whether a button for it is worth showing. The action itself asks again.
    pub fn can(&self, action: Action) -> bool {
        self.operator.role() >= action.needs()
    }
}

/// A file as the whole body of a request that a script of a page made; its token comes in a header.
pub struct SignedInUpload {
    /// Who.
    pub who: SignedIn,
    /// What.
    pub body: Body,
}

impl FromRequest<Arc<App>> for SignedInUpload {
    type Rejection = WebError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, WebError> {
        let (mut parts, body) = request.into_parts();
        check_page(app, &parts.headers)?;
        let who = SignedIn::from_request_parts(&mut parts, app).await?;
        let token = parts.headers.get(FORM_TOKEN).and_then(|token| token.to_str().ok());
        if who.csrf.matches(token) { Ok(Self { who, body }) } else { Err(WebError::ForeignForm) }
    }
}

/// A form of somebody who is not.
pub struct VisitorForm {
    /// Whose browser.
    pub visitor: Visitor,
    /// What.
    pub fields: Fields,
}

impl FromRequest<Arc<App>> for VisitorForm {
    type Rejection = WebError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, WebError> {
        check_page(app, request.headers())?;
        let visitor = Visitor::of(app, request.headers());
        let fields = read(request, app, &visitor.csrf()).await?;
        Ok(Self { visitor, fields })
    }
}

fn check_page(app: &App, headers: &HeaderMap) -> Result<(), WebError> {
    if csrf::is_from_own_page(headers, app.public_url.as_ref()) {
        return Ok(());
    }
    tracing::warn!("a form from another page was refused");
    Err(WebError::ForeignForm)
}

async fn read(request: Request, app: &Arc<App>, csrf: &CsrfToken) -> Result<Fields, WebError> {
    let body = Bytes::from_request(request, app).await.map_err(|_| WebError::Unreadable)?;
    let fields = Fields::parse(&body).map_err(|_| WebError::Unreadable)?;
    if csrf.matches(fields.get(csrf::FIELD)) { Ok(fields) } else { Err(WebError::ForeignForm) }
}
