//! Styles, scripts and the icon, in the executable. Pages load nothing else, and nothing from elsewhere.
//!
//! Addresses change with the content, so that browsers keep it for good and still never show an old one.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use super::error::WebError;
use crate::auth;

const STYLE: &str = concat!(
    include_str!("style/base.css"),
    include_str!("style/frame.css"),
    include_str!("style/forms.css"),
    include_str!("style/parts.css"),
    include_str!("style/fleet.css"),
    include_str!("style/agent.css"),
    include_str!("style/pages.css"),
);
/// Versions and licences stand beside the files.
const HTMX: &str = include_str!("vendor/htmx-2.0.11.min.js");
const MORPH: &str = include_str!("vendor/idiomorph-ext-0.8.0.min.js");
const SCRIPT: &str = include_str!("script/kenny.js");
const ICON: &str = include_str!("icon.svg");

/// Where they are.
pub const ROUTE: &str = "/assets/{file}";

/// One file.
struct Asset {
    path: String,
    content_type: &'static str,
    content: &'static str,
}

impl Asset {
    fn new(stem: &str, kind: &str, content_type: &'static str, content: &'static str) -> Self {
        let hash = auth::sha256(content.as_bytes()).to_string();
        Self { path: format!("/assets/{stem}-{}.{kind}", &hash[..16]), content_type, content }
    }
}

static ASSETS: LazyLock<[Asset; 5]> = LazyLock::new(|| {
    const CSS: &str = "text/css; charset=utf-8";
    const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
    [
        Asset::new("kenny", "css", CSS, STYLE),
        Asset::new("icon", "svg", "image/svg+xml", ICON),
        Asset::new("htmx", "js", JAVASCRIPT, HTMX),
        Asset::new("morph", "js", JAVASCRIPT, MORPH),
        Asset::new("kenny", "js", JAVASCRIPT, SCRIPT),
    ]
});

/// Where the style is.
pub fn style_path() -> &'static str {
    &ASSETS[0].path
}

/// Where the icon is.
pub fn icon_path() -> &'static str {
    &ASSETS[1].path
}

/// Where the scripts are, in the order in which they are loaded.
pub fn script_paths() -> impl Iterator<Item = &'static str> {
    ASSETS[2..].iter().map(|asset| asset.path.as_str())
}

/// `GET /assets/FILE`.
pub async fn serve(Path(file): Path<String>) -> Result<Response, WebError> {
    let wanted = format!("/assets/{file}");
    let asset = ASSETS.iter().find(|asset| asset.path == wanted).ok_or(WebError::NotFound)?;
    let kept = "public, max-age=31536000, immutable";
    let headers = [(CONTENT_TYPE, asset.content_type), (CACHE_CONTROL, kept)];
    Ok((headers, asset.content).into_response())
}
