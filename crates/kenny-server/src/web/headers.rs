//! The headers that every answer of the server carries, so that a browser does as little as possible with it.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    CONTENT_SECURITY_POLICY, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

use crate::app::App;

const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// What no page of the server uses.
const UNUSED: &str = "accelerometer=(), autoplay=(), camera=(), display-capture=(), encrypted-media=(), fullscreen=(), \
     geolocation=(), gyroscope=(), magnetometer=(), microphone=(), midi=(), payment=(), \
     picture-in-picture=(), publickey-credentials-get=(), screen-wake-lock=(), usb=(), \
     xr-spatial-tracking=()";

/// A year: after the first visit by HTTPS a browser never tries without.
const TRANSPORT: &str = "max-age=31536000";

/// The policy of pages: their own style and icon, forms to this server, in no frame, and scripts of this server where the
/// page has some, never such that stand in the page. `form_target` is one more place that a form's answer may lead to
/// (browsers apply `form-action` to redirects as well).
pub fn content_security_policy(scripts: bool, form_target: Option<&str>) -> HeaderValue {
    let (space, target) = form_target.map_or(("", ""), |target| (" ", target));
    let scripts = if scripts { "script-src 'self'; connect-src 'self'; " } else { "" };
    HeaderValue::try_from(format!(
        "default-src 'none'; {scripts}style-src 'self'; img-src 'self'; form-action 'self'{space}{target}; \
         base-uri 'none'; frame-ancestors 'none'"
    ))
    .expect("an origin is a header's value")
}

/// Adds the headers to an answer. What a page says itself stays: one whose address is a secret lets no referrer out at all.
pub async fn add(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.entry(CONTENT_SECURITY_POLICY).or_insert_with(|| content_security_policy(false, None));
    for (name, value) in [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // For what does not know `frame-ancestors`.
        (X_FRAME_OPTIONS, "DENY"),
        // Not `no-referrer`, with which forms would post `Origin: null`.
        (REFERRER_POLICY, "same-origin"),
        (OPENER_POLICY, "same-origin"),
        (RESOURCE_POLICY, "same-origin"),
        (PERMISSIONS_POLICY, UNUSED),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if app.is_secure() {
        headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(TRANSPORT));
    }
    response
}
