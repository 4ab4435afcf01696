//! The one style sheet and the icon, in the executable. Pages load nothing else.

use std::sync::LazyLock;

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use crate::auth;

const STYLE: &str = include_str!("style.css");
const ICON: &str = include_str!("icon.svg");

/// Where the icon is.
pub const ICON_PATH: &str = "/assets/icon.svg";

/// The style's address changes with its content, so that browsers keep it for good and still never show an old one.
static STYLE_PATH: LazyLock<String> = LazyLock::new(|| {
    let hash = auth::sha256(STYLE.as_bytes()).to_string();
    format!("/assets/kenny-{}.css", &hash[..16])
});

/// Where the style is.
pub fn style_path() -> &'static str {
    &STYLE_PATH
}

/// The style.
pub async fn style() -> Response {
    let kept = "public, max-age=31536000, immutable";
    ([(CONTENT_TYPE, "text/css; charset=utf-8"), (CACHE_CONTROL, kept)], STYLE).into_response()
}

/// The icon.
pub async fn icon() -> Response {
    let kept = "public, max-age=86400";
    ([(CONTENT_TYPE, "image/svg+xml"), (CACHE_CONTROL, kept)], ICON).into_response()
}
