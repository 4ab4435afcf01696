//! Forms are posted from this server's own pages, or they are refused.
//!
//! Three checks, each enough for today's browsers: the session's cookie is `SameSite=Strict`, the browser's own word on
//! where the request comes from (`Sec-Fetch-Site`, `Origin`), and a token in the form that no other page can read.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use axum::http::HeaderMap;
use axum::http::header::{HOST, ORIGIN};
use axum::http::uri::Authority;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use url::{Origin, Url};

/// The name of the token's field.
pub const FIELD: &str = "csrf";

/// What forms carry: made of the cookie's secret, so that it is as long-lived and needs no place of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsrfToken(String);

impl CsrfToken {
    /// The token that belongs to the cookie with this secret.
    pub fn of(secret: &str) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        Self(URL_SAFE_NO_PAD.encode(hmac::sign(&key, b"kenny form v1")))
    }

    /// As it stands in a form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True when the form carried it; in constant time.
    pub fn matches(&self, posted: Option<&str>) -> bool {
        posted.is_some_and(|posted| {
            verify_slices_are_equal(self.0.as_bytes(), posted.as_bytes()).is_ok()
        })
    }
}

/// Whether the browser says that the request comes from a page of this server. What says nothing at all is no browser
/// of this decade, and is refused as well.
pub fn is_from_own_page(headers: &HeaderMap, public_url: Option<&Url>) -> bool {
    let site = headers.get("sec-fetch-site").map(|site| site.as_bytes() == b"same-origin");
    let origin = headers.get(ORIGIN).map(|origin| {
        origin
            .to_str()
            .ok()
            .and_then(|origin| Url::parse(origin).ok())
            .is_some_and(|origin| is_own(&origin, headers, public_url))
    });
    match (site, origin) {
        (Some(site), Some(origin)) => site && origin,
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => false,
    }
}

/// True for the public address, and for the host that the request itself went to. The scheme is left out of the latter:
/// a proxy in front may speak another one.
fn is_own(origin: &Url, headers: &HeaderMap, public_url: Option<&Url>) -> bool {
    let Origin::Tuple(scheme, name, port) = origin.origin() else { return false };
    if public_url.is_some_and(|url| url.origin() == origin.origin()) {
        return true;
    }
    let host = headers
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .and_then(|host| host.parse::<Authority>().ok());
    let default_port = if scheme == "https" { 443 } else { 80 };
    host.is_some_and(|host| {
        host.host().eq_ignore_ascii_case(&name.to_string())
            && host.port_u16().unwrap_or(default_port) == port
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(site: Option<&str>, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, "kenny.example.net:7741".parse().unwrap());
        for (name, value) in [("sec-fetch-site", site), ("origin", origin)] {
            if let Some(value) = value {
                headers.insert(name, value.parse().unwrap());
            }
        }
        is_from_own_page(&headers, Some(&"https://pcs.example.org".parse().unwrap()))
    }

    #[test]
    fn own_pages_may_post() {
        assert!(allowed(Some("same-origin"), Some("http://kenny.example.net:7741")));
        assert!(allowed(Some("same-origin"), None));
        assert!(allowed(None, Some("https://kenny.example.net:7741")));
        assert!(allowed(None, Some("https://pcs.example.org")));
    }

    #[test]
    fn all_others_may_not() {
        let own = Some("http://kenny.example.net:7741");
        for (site, origin) in [
            (None, None),
            (Some("cross-site"), own),
            (Some("same-site"), own),
            (Some("none"), None),
            (Some("same-origin"), Some("https://evil.example")),
            (None, Some("https://evil.example")),
            (None, Some("null")),
            (None, Some("http://kenny.example.net:7742")),
            (None, Some("http://kenny.example.net")),
            (None, Some("http://pcs.example.org")),
        ] {
            assert!(!allowed(site, origin), "{site:?} {origin:?}");
        }
    }

    #[test]
    fn a_token_belongs_to_one_cookie() {
        let token = CsrfToken::of("a");
        assert!(token.matches(Some(CsrfToken::of("a").as_str())));
        for other in [None, Some(""), Some(CsrfToken::of("b").as_str())] {
            assert!(!token.matches(other));
        }
    }
}
