//! What an invited person gets without a token: the page of her invitation, and the installer with the invitation inside.
//! The code in the address is the permission; looking at either uses up nothing.

mod page;
mod setup;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    HOST, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{Extensions, HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::stream;
use jiff::Timestamp;
use kenny_proto::invitation::INVITE_PATH;
use kenny_proto::{InvitationCode, Sha256Digest};
use serde::Deserialize;

use crate::api::problem::ApiProblem;
use crate::app::App;
use crate::auth::sha256;
use crate::limits;
use crate::ops::OpsError;
use crate::ops::invitations;
use crate::store::Right;
use crate::store::invitation_rows::{self, Kept};
use page::{Download, Page, State as Standing};
pub use setup::{Setup, SetupError, file_name, powershell};

/// The routes. None needs a token.
pub fn router() -> Router<Arc<App>> {
    Router::new()
        .route(&format!("{INVITE_PATH}/{{code}}"), get(show))
        .route(&format!("{INVITE_PATH}/{{code}}/{{file_name}}"), get(download))
}

/// By this, invitations are looked at: who has the code needs no account.
struct Invited;

impl Right for Invited {}

/// `GET /invite/CODE`.
async fn show(
    State(app): State<Arc<App>>,
    Path(code): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiProblem> {
    let found = look(&app, &code).await?;
    Ok(answer(&app, &headers, found.as_ref()))
}

/// An invitation that was asked for, and its code.
struct Found {
    code: InvitationCode,
    kept: Kept,
}

async fn look(app: &App, code: &str) -> Result<Option<Found>, OpsError> {
    let Ok(code) = code.parse::<InvitationCode>() else { return Ok(None) };
    let hash = sha256(code.as_bytes());
    let kept = app
        .store
        .by(&Invited)
        .run(move |connection| invitation_rows::look(connection, hash))
        .await?;
    Ok(kept.map(|kept| Found { code, kept }))
}

/// The page, with the status that says the same to programs.
fn answer(app: &App, headers: &HeaderMap, found: Option<&Found>) -> Response {
    let now = Timestamp::now();
    let release = app.releases.for_setup();
    let name = found.map(|found| file_name(&found.kept.agent_id)).unwrap_or_default();
    let (status, state) = match found {
        None => (StatusCode::NOT_FOUND, Standing::Unknown),
        Some(Found { code, kept }) => {
            let agent_id = kept.agent_id.as_str();
            if kept.is_redeemed {
                (StatusCode::GONE, Standing::Used { agent_id })
            } else if kept.expires_at <= now {
                (StatusCode::GONE, Standing::Over { agent_id })
            } else {
                let download = release.as_ref().map(|release| Download {
                    href: format!("{code}/{name}"),
                    file_name: &name,
                    size_bytes: release.size_bytes,
                    signer: release.signer.as_ref().map(|signer| signer.common_name.as_str()),
                });
                (StatusCode::OK, Standing::Open { agent_id, expires_at: kept.expires_at, download })
            }
        }
    };
    let base_url = app.base_url(headers);
    let host = base_url.split_once("://").map_or(base_url.as_str(), |(_, host)| host);
    let html = page::render(&Page { host, state }, now).into_string();
    let style = STANDARD.encode(sha256(page::STYLE.as_bytes()).0);
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let content =
        [(CONTENT_TYPE, "text/html; charset=utf-8".to_owned()), (CONTENT_SECURITY_POLICY, policy)];
    (status, content, private(), html).into_response()
}

/// The address holds the code: it is not to be kept, passed on, or listed.
fn private() -> [(HeaderName, &'static str); 4] {
    [
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (HeaderName::from_static("x-robots-tag"), "noindex"),
    ]
}

/// Which installer.
#[derive(Debug, Deserialize)]
struct Wanted {
    /// The release's digest; the newest one when absent.
    release: Option<Sha256Digest>,
}

/// `GET /invite/CODE/kenny-agent-setup-NAME.exe`.
async fn download(
    State(app): State<Arc<App>>,
    Path((code, name)): Path<(String, String)>,
    Query(wanted): Query<Wanted>,
    extensions: Extensions,
    headers: HeaderMap,
) -> Result<Response, ApiProblem> {
    let found = look(&app, &code).await?;
    let open = found.as_ref().filter(|found| {
        !found.kept.is_redeemed
            && found.kept.expires_at > Timestamp::now()
            && name == file_name(&found.kept.agent_id)
    });
    let release = match wanted.release {
        Some(sha256) => app.releases.windows_by_digest(sha256),
        None => app.releases.for_setup(),
    };
    let (Some(Found { code, kept }), Some(release)) = (open, release) else {
        return Ok(answer(&app, &headers, found.as_ref()));
    };
    // The code is a permission like a signed link: the download takes as long as the line is slow.
    limits::prove(&extensions);
    let base_url = app.base_url(&headers);
    let invitation = invitations::invitation(
        &app,
        &base_url,
        kept.agent_id.clone(),
        code.clone(),
        kept.expires_at,
    );
    let setup = Setup::make(&app.releases.files, &release, &invitation).await;
    let setup = setup.map_err(OpsError::from)?;
    tracing::info!(agent.id = %kept.agent_id, version = %release.version, host = ?headers.get(HOST), "an installer is downloaded");
    let content = [
        (CONTENT_TYPE, "application/vnd.microsoft.portable-executable".to_owned()),
        (CONTENT_LENGTH, setup.size_bytes().to_string()),
        (CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
    ];
    let pieces = setup.into_pieces().into_iter().map(Ok::<_, std::convert::Infallible>);
    let body = Body::from_stream(stream::iter(pieces));
    Ok((content, private(), body).into_response())
}
