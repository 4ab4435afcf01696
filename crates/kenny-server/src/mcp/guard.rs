//! Who may speak MCP: the operator, and no page in a browser that was led here by a name of its own (DNS rebinding).

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use url::{Origin, Url};

use crate::api::extract::{bearer, stranger};
use crate::api::problem::problem;
use crate::app::App;
use crate::limits;
use crate::ops::{Face, Operator};

/// Lets the operator through, and puts the [`Operator`] into the request for the tools.
pub async fn admit(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    if !is_own_origin(request.headers(), app.public_url.as_ref()) {
        return problem(
            StatusCode::FORBIDDEN,
            "foreign_origin",
            "Not from this page",
            "a browser may use MCP only from a page of this server itself; start the server with --public-url when \
             this page is at its address",
        )
        .into_response();
    }
    let from = app.client(request.extensions(), request.headers());
    match Operator::authorise(&app, bearer(request.headers()), Face::Mcp, from) {
        Ok(operator) => {
            limits::prove(request.extensions());
            request.extensions_mut().insert(Arc::new(operator));
            next.run(request).await
        }
        Err(error) => stranger(&app, Face::Mcp, from, error),
    }
}

/// Only browsers send `Origin`. One is the server's own when it is the public address, or when it is the very host
/// that the request went to and that host cannot have been made up by a name server: an address, or `localhost`.
fn is_own_origin(headers: &HeaderMap, public_url: Option<&Url>) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return true };
    let Some(origin) = origin.to_str().ok().and_then(|origin| Url::parse(origin).ok()) else {
        return false;
    };
    let Origin::Tuple(scheme, name, port) = origin.origin() else { return false };
    if public_url.is_some_and(|url| url.origin() == origin.origin()) {
        return true;
    }
    let host = headers
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .and_then(|host| host.parse::<Authority>().ok());
    let Some(host) = host else { return false };
    let default_port = if scheme == "https" { 443 } else { 80 };
    let name = name.to_string();
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    host.host().eq_ignore_ascii_case(&name)
        && host.port_u16().unwrap_or(default_port) == port
        && (bare == "localhost" || bare.parse::<IpAddr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_own(origin: Option<&str>, host: &str, public_url: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(ORIGIN, origin.parse().unwrap());
        }
        is_own_origin(&headers, public_url.map(|url| url.parse().unwrap()).as_ref())
    }

    #[test]
    fn clients_that_are_no_browsers_come_from_anywhere() {
        assert!(is_own(None, "kenny.lan:7741", None));
    }

    #[test]
    fn a_page_of_the_server_itself_may_speak() {
        for (origin, host) in [
            ("http://127.0.0.1:7741", "127.0.0.1:7741"),
            ("http://localhost:7741", "localhost:7741"),
            ("http://192.168.1.5", "192.168.1.5"),
            ("https://[::1]:7741", "[::1]:7741"),
        ] {
            assert!(is_own(Some(origin), host, None), "{origin}");
        }
        let public = Some("https://kenny.example.net/");
        assert!(is_own(Some("https://kenny.example.net"), "kenny.example.net", public));
        assert!(is_own(Some("https://kenny.example.net"), "10.0.0.2:7741", public));
    }

    #[test]
    fn a_page_from_elsewhere_may_not() {
        let public = Some("https://kenny.example.net/");
        for (origin, host) in [
            // A rebound name: page and request agree, but the name is not ours.
            ("http://evil.example:7741", "evil.example:7741"),
            ("https://evil.example", "127.0.0.1:7741"),
            ("http://localhost:3000", "localhost:7741"),
            ("http://kenny.example.net", "kenny.example.net"),
            ("null", "127.0.0.1:7741"),
            ("file://x", "127.0.0.1:7741"),
        ] {
            assert!(!is_own(Some(origin), host, public), "{origin}");
        }
    }
}
