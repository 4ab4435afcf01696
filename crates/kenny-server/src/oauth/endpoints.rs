//! What programs speak to: metadata, registration, tokens, revocation. All of it JSON, none of it with a session.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{Client, RegistrationError};
use super::grants::{self, ACCESS_LIFE, Exchange, GrantError, Redemption, Tokens};
use super::scope::{Scope, UnknownScope};
use super::{AUTHORIZE, REGISTER, REVOKE, TOKEN, audience};
use crate::app::App;
use crate::store::StoreError;
use crate::web::fields::{Fields, RepeatedField};

/// An error as OAuth writes it (RFC 6749, section 5.2).
#[derive(Debug, thiserror::Error)]
pub enum OAuthError {
    /// Not a form.
    #[error("the request's body must be application/x-www-form-urlencoded")]
    NotAForm,
    /// Not readable.
    #[error(transparent)]
    Repeated(#[from] RepeatedField),
    /// Something is missing.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// Nobody of this server's.
    #[error("this server does not know the client; register again")]
    UnknownClient,
    /// Another way to get tokens.
    #[error("`grant_type` is `authorization_code` or `refresh_token`")]
    GrantType,
    /// No such scope.
    #[error(transparent)]
    Scope(#[from] UnknownScope),
    /// No tokens.
    #[error(transparent)]
    Grant(#[from] GrantError),
    /// A registration that is not readable.
    #[error("the registration cannot be read: {0}")]
    Metadata(serde_json::Error),
    /// A registration that is not taken.
    #[error(transparent)]
    Registration(#[from] RegistrationError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl OAuthError {
    const fn facts(&self) -> (StatusCode, &'static str) {
        let code = match self {
            Self::NotAForm | Self::Repeated(_) | Self::Missing(_) => "invalid_request",
            Self::UnknownClient => return (StatusCode::UNAUTHORIZED, "invalid_client"),
            Self::GrantType => "unsupported_grant_type",
            Self::Scope(_) | Self::Grant(GrantError::Scope(_)) => "invalid_scope",
            Self::Grant(GrantError::Code | GrantError::Refresh) => "invalid_grant",
            Self::Grant(GrantError::Resource(_)) => "invalid_target",
            Self::Registration(RegistrationError::Redirect(_) | RegistrationError::Count) => {
                "invalid_redirect_uri"
            }
            Self::Metadata(_) => "invalid_client_metadata",
            Self::Store(_) | Self::Grant(GrantError::Store(_)) => {
                return (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable");
            }
        };
        (StatusCode::BAD_REQUEST, code)
    }
}

impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        let (status, code) = self.facts();
        if status.is_server_error() {
            tracing::warn!(error = %self, "a program could not be answered");
        }
        let body = json!({"error": code, "error_description": self.to_string()});
        (status, [(CACHE_CONTROL, "no-store")], Json(body)).into_response()
    }
}

/// RFC 9728: who gives tokens for the MCP address.
pub async fn resource_metadata(State(app): State<Arc<App>>, headers: HeaderMap) -> Json<Value> {
    Json(json!({
        "resource": audience::of(&app, &headers),
        "resource_name": "kenny",
        "authorization_servers": [app.base_url(&headers)],
        "bearer_methods_supported": ["header"],
        "scopes_supported": Scope::ALL.map(Scope::as_str),
    }))
}

/// RFC 8414: how this server gives them.
pub async fn server_metadata(State(app): State<Arc<App>>, headers: HeaderMap) -> Json<Value> {
    let base = app.base_url(&headers);
    Json(json!({
        "issuer": base,
        "authorization_endpoint": format!("{base}{AUTHORIZE}"),
        "token_endpoint": format!("{base}{TOKEN}"),
        "registration_endpoint": format!("{base}{REGISTER}"),
        "revocation_endpoint": format!("{base}{REVOKE}"),
        "scopes_supported": Scope::ALL.map(Scope::as_str),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["none"],
        "revocation_endpoint_auth_methods_supported": ["none"],
        "authorization_response_iss_parameter_supported": true,
        "protected_resources": [audience::of(&app, &headers)],
    }))
}

/// What of a registration counts here. The rest is passed over, as RFC 7591, section 2 has it.
#[derive(Deserialize)]
struct Registration {
    client_name: Option<String>,
    #[serde(default)]
    redirect_uris: Vec<String>,
}

/// RFC 7591. Every program is a public client: its secret would be in the hands of everybody who has the program.
pub async fn register(State(app): State<Arc<App>>, body: Bytes) -> Result<Response, OAuthError> {
    let asked: Registration = serde_json::from_slice(&body).map_err(OAuthError::Metadata)?;
    let now = Timestamp::now().as_second();
    let client = Client::new(asked.client_name.as_deref(), asked.redirect_uris, now)?;
    let mut answer = json!({
        "client_id": app.clients.id(&client),
        "client_id_issued_at": client.registered_unix,
        "redirect_uris": client.redirect_uris,
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
        "scope": Scope::Operator.list(),
    });
    if let Some(name) = client.name {
        answer["client_name"] = name.into();
    }
    Ok((StatusCode::CREATED, [(CACHE_CONTROL, "no-store")], Json(answer)).into_response())
}

/// RFC 6749, sections 4.1.3 and 6.
pub async fn token(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, OAuthError> {
    let fields = form(&headers, &body)?;
    let need = |name| fields.get(name).ok_or(OAuthError::Missing(name));
    let grant_type = need("grant_type")?;
    let client_id = known_client(&app, &fields)?;
    let now = Timestamp::now();
    let tokens = match grant_type {
        "authorization_code" => {
            let shown = Redemption {
                code: need("code")?,
                client_id,
                redirect_uri: fields.get("redirect_uri"),
                verifier: need("code_verifier")?,
                resource: fields.get("resource"),
            };
            grants::redeem(&app, shown, now).await?
        }
        "refresh_token" => {
            let shown = Exchange {
                token: need("refresh_token")?,
                client_id,
                scope: Scope::widest(fields.get("scope"))?,
                resource: fields.get("resource"),
            };
            grants::refresh(&app, shown, now).await?
        }
        _ => return Err(OAuthError::GrantType),
    };
    Ok(answer(&tokens))
}

fn answer(tokens: &Tokens) -> Response {
    let body = json!({
        "access_token": tokens.access,
        "token_type": "Bearer",
        "expires_in": ACCESS_LIFE.as_secs(),
        "refresh_token": tokens.refresh,
        "scope": tokens.scope.list(),
    });
    ([(CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

/// RFC 7009.
pub async fn revoke(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, OAuthError> {
    let fields = form(&headers, &body)?;
    let token = fields.get("token").ok_or(OAuthError::Missing("token"))?;
    let client_id = known_client(&app, &fields)?;
    grants::revoke(&app, token, client_id).await?;
    Ok(StatusCode::OK)
}

fn known_client<'a>(app: &App, fields: &'a Fields) -> Result<&'a str, OAuthError> {
    let id = fields.get("client_id").ok_or(OAuthError::Missing("client_id"))?;
    app.clients.client(id).map(|_| id).ok_or(OAuthError::UnknownClient)
}

fn form(headers: &HeaderMap, body: &[u8]) -> Result<Fields, OAuthError> {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(OAuthError::NotAForm);
    }
    Ok(Fields::parse(body)?)
}
