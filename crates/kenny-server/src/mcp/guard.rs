//! Who may speak MCP: accounts with their API tokens, programs with tokens for this very address, and no page in a browser
//! that was led here by a name of its own (DNS rebinding).

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN, WWW_AUTHENTICATE};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use kenny_proto::tools::ToolSpec;
use serde::Deserialize;
use url::{Origin, Url};

use super::{BODY_BYTES, PATH};
use crate::api::extract::{bearer, stranger};
use crate::api::problem::{ApiProblem, problem};
use crate::app::App;
use crate::limits;
use crate::oauth::grants::{self, ACCESS_PREFIX};
use crate::oauth::scope::Scope;
use crate::oauth::{RESOURCE_METADATA, audience};
use crate::ops::{Face, Operator, OpsError, Proof};

/// Lets through whoever has a token, and puts the [`Operator`] into the request for the tools.
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
    let token = bearer(request.headers()).map(ToOwned::to_owned);
    let resource_metadata = format!("{}{RESOURCE_METADATA}{PATH}", app.base_url(request.headers()));
    let token = match &token {
        Some(token) if token.starts_with(ACCESS_PREFIX) => token,
        token => {
            // An API token, which is what its account made it; programs have nothing to ask for there.
            return match Operator::authorise(&app, token.as_deref(), Face::Mcp, from) {
                Ok(operator) => {
                    limits::prove(request.extensions());
                    request.extensions_mut().insert(Arc::new(operator));
                    next.run(request).await
                }
                Err(error) => {
                    let wrong = token.is_some().then_some(Challenge::InvalidToken);
                    let challenge = wrong.unwrap_or(Challenge::NoToken);
                    match stranger(&app, Face::Mcp, from, &error) {
                        Some(wait) => limits::too_many(wait),
                        None => challenged(error, challenge, &resource_metadata),
                    }
                }
            };
        }
    };
    let resource = audience::of(&app, request.headers());
    match grants::access(&app, token, resource, Timestamp::now()).await {
        Ok(Some(access)) => {
            limits::prove(request.extensions());
            let role = access.scope.role(access.account.role);
            let proof = Proof::Permission(access.grant_id);
            let operator =
                Operator::of_account(&access.account, proof, Face::Mcp, from).limited_to(role);
            let (request, needed) = match needed_scope(request).await {
                Ok(read) => read,
                Err(refusal) => return refusal,
            };
            // A step up helps only where the account itself has the role; where not, the tool says what is missing.
            if needed > access.scope && needed.is_within(access.account.role) {
                let error =
                    OpsError::ScopeNeeded { needed: needed.list(), has: access.scope.list() };
                return challenged(error, Challenge::InsufficientScope(needed), &resource_metadata);
            }
            let mut request = request;
            request.extensions_mut().insert(Arc::new(operator));
            next.run(request).await
        }
        Ok(None) => match stranger(&app, Face::Mcp, from, &OpsError::WrongAccess) {
            Some(wait) => limits::too_many(wait),
            None => challenged(OpsError::WrongAccess, Challenge::InvalidToken, &resource_metadata),
        },
        Err(error) => ApiProblem::from(OpsError::from(error)).into_response(),
    }
}

/// Why a program has to ask a person.
#[derive(Debug, Clone, Copy)]
enum Challenge {
    NoToken,
    InvalidToken,
    InsufficientScope(Scope),
}

/// The error, with what a program needs to know to get a token (RFC 6750, section 3, RFC 9728, section 5.1).
fn challenged(error: OpsError, challenge: Challenge, resource_metadata: &str) -> Response {
    let mut response = ApiProblem::from(error).into_response();
    // At first everything is asked for, and the person decides how much of it is given.
    let (error, scope) = match challenge {
        Challenge::NoToken => ("", Scope::Operator),
        Challenge::InvalidToken => ("error=\"invalid_token\", ", Scope::Operator),
        Challenge::InsufficientScope(scope) => ("error=\"insufficient_scope\", ", scope),
    };
    let value = format!(
        "Bearer realm=\"kenny\", {error}scope=\"{}\", resource_metadata=\"{resource_metadata}\"",
        scope.list()
    );
    if let Ok(value) = HeaderValue::try_from(value) {
        response.headers_mut().insert(WWW_AUTHENTICATE, value);
    }
    response
}

/// What of a JSON-RPC message tells the scope that it needs.
#[derive(Deserialize)]
struct Call {
    method: String,
    #[serde(default)]
    params: Params,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Params {
    name: Option<String>,
}

/// Reads what a program asks for: calls of tools that change something need the wider scope.
async fn needed_scope(request: Request) -> Result<(Request, Scope), Response> {
    let (parts, body) = request.into_parts();
    let Ok(bytes) = axum::body::to_bytes(body, BODY_BYTES).await else {
        return Err(problem(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            "Too large",
            format!("a message has at most {BODY_BYTES} bytes"),
        )
        .into_response());
    };
    let call = serde_json::from_slice::<Call>(&bytes).ok();
    let tool = call.filter(|call| call.method == "tools/call").and_then(|call| call.params.name);
    let changes = tool.is_some_and(|name| match ToolSpec::find(&name) {
        Some(tool) => tool.changes,
        None => super::tools::changes_something(&name),
    });
    let scope = if changes { Scope::Operator } else { Scope::Viewer };
    Ok((Request::from_parts(parts, Body::from(bytes)), scope))
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
