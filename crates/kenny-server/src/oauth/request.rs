//! What a program asks a person for: the authorization request, read and checked before anybody sees it.

use axum::http::HeaderMap;
use url::Url;

use super::client::Client;
use super::scope::{Scope, UnknownScope};
use super::{audience, redirect};
use crate::app::App;
use crate::web::fields::{Fields, RepeatedField};

/// The most of `state` that is sent back.
const MAX_STATE_BYTES: usize = 2000;

/// A request that a person can answer.
#[derive(Debug)]
pub struct Authorization {
    /// Who asks.
    pub client: Client,
    /// Its id, as sent.
    pub client_id: String,
    /// Where the answer goes.
    pub redirect: Redirect,
    /// The hash that the verifier has to have (PKCE, S256).
    pub code_challenge: String,
    /// What the tokens are for: this server's MCP address.
    pub resource: String,
    /// The most that it wants.
    pub scope: Scope,
}

/// Where an answer goes, and what it carries in any case.
#[derive(Debug)]
pub struct Redirect {
    /// The address, which the program registered.
    pub uri: Url,
    /// The program's own mark, sent back as it came.
    state: Option<String>,
    /// Who answers (RFC 9207).
    issuer: String,
}

impl Redirect {
    /// The address with these values added.
    pub fn with(&self, values: &[(&str, &str)]) -> Url {
        let mut url = self.uri.clone();
        {
            let mut pairs = url.query_pairs_mut();
            pairs.extend_pairs(values);
            pairs.extend_pairs(self.state.iter().map(|state| ("state", state)));
            pairs.append_pair("iss", &self.issuer);
        }
        url
    }

    /// The address for an error.
    pub fn with_error(&self, code: &str, description: &str) -> Url {
        self.with(&[("error", code), ("error_description", description)])
    }
}

/// Nothing that this request says can be trusted enough to send an answer anywhere: the person is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    /// Not readable.
    #[error(transparent)]
    Repeated(#[from] RepeatedField),
    /// Nobody asks.
    #[error("the program did not say which it is (`client_id`)")]
    NoClient,
    /// Nobody of this server's.
    #[error(
        "this server does not know the program. Remove the connection from the program and add it again, so that it \
         registers anew"
    )]
    UnknownClient,
    /// The answer would go somewhere else.
    #[error(
        "the program wants the answer at an address that it did not register (`redirect_uri`). If you did not start this \
         yourself, close the page: somebody may be trying to get hold of your permission"
    )]
    ForeignRedirect,
}

/// What the program is told of its mistake, at its registered address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// Not the code flow.
    #[error("`response_type` must be `code`")]
    ResponseType,
    /// No PKCE, or the plain one.
    #[error("PKCE is needed: `code_challenge` with `code_challenge_method=S256`")]
    Challenge,
    /// Tokens for another server.
    #[error("`resource` must be {0}")]
    Resource(String),
    /// No such scope.
    #[error(transparent)]
    Scope(#[from] UnknownScope),
    /// Too long to be sent back.
    #[error("`state` has at most {MAX_STATE_BYTES} bytes")]
    State,
}

impl BadRequest {
    /// The error as OAuth calls it.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::ResponseType => "unsupported_response_type",
            Self::Challenge | Self::State => "invalid_request",
            Self::Resource(_) => "invalid_target",
            Self::Scope(_) => "invalid_scope",
        }
    }
}

/// A request that cannot be answered.
#[derive(Debug)]
pub enum Refused {
    /// The person is told.
    Here(Untrusted),
    /// The program is told.
    There(Box<Redirect>, BadRequest),
}

impl From<Untrusted> for Refused {
    fn from(why: Untrusted) -> Self {
        Self::Here(why)
    }
}

impl Authorization {
    /// Reads a query: first who asks and where the answer may go, then the rest.
    pub fn read(app: &App, headers: &HeaderMap, query: &str) -> Result<Self, Refused> {
        let fields = Fields::parse(query.as_bytes()).map_err(Untrusted::from)?;
        let client_id = fields.get("client_id").ok_or(Untrusted::NoClient)?;
        let client = app.clients.client(client_id).ok_or(Untrusted::UnknownClient)?;
        let uri = fields
            .get("redirect_uri")
            .and_then(|asked| redirect::find(&client.redirect_uris, asked))
            .ok_or(Untrusted::ForeignRedirect)?;
        let state = fields.get("state").map(ToOwned::to_owned);
        let mut redirect = Redirect { uri, state, issuer: app.base_url(headers) };
        match Self::read_rest(app, headers, &fields, &mut redirect) {
            Ok((scope, code_challenge, resource)) => Ok(Self {
                client_id: client_id.to_owned(),
                client,
                redirect,
                code_challenge,
                resource,
                scope,
            }),
            Err(why) => Err(Refused::There(Box::new(redirect), why)),
        }
    }

    fn read_rest(
        app: &App,
        headers: &HeaderMap,
        fields: &Fields,
        redirect: &mut Redirect,
    ) -> Result<(Scope, String, String), BadRequest> {
        if redirect.state.as_ref().is_some_and(|state| state.len() > MAX_STATE_BYTES) {
            redirect.state = None;
            return Err(BadRequest::State);
        }
        if fields.get("response_type") != Some("code") {
            return Err(BadRequest::ResponseType);
        }
        // Without a method RFC 7636 means `plain`.
        let challenge = fields
            .get("code_challenge")
            .filter(|challenge| is_sha256(challenge))
            .filter(|_| fields.get("code_challenge_method") == Some("S256"))
            .ok_or(BadRequest::Challenge)?;
        let resource = audience::of(app, headers);
        if fields.get("resource").is_some_and(|asked| !audience::is_same(asked, &resource)) {
            return Err(BadRequest::Resource(resource));
        }
        let scope = Scope::widest(fields.get("scope"))?.unwrap_or(Scope::Operator);
        Ok((scope, challenge.to_owned(), resource))
    }
}

/// True for a SHA-256 in base64url.
fn is_sha256(text: &str) -> bool {
    text.len() == 43
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}
