//! The REST API under `/api/v1`: a thin face of `ops`.

mod accounts;
mod agent_settings;
mod agents;
mod audit;
mod events;
pub mod extract;
pub mod health;
mod invitations;
mod me;
pub mod problem;
mod releases;
mod rollouts;
mod tokens;
mod tools;
mod trust;
mod updates;

use std::sync::Arc;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse as _;
use axum::routing::get;
use utoipa::OpenApi as _;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;

/// Where the API begins.
pub const PREFIX: &str = "/api/v1";

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "kenny",
        description = "Times are RFC 3339 in UTC, sizes bytes, durations milliseconds. Errors are `Problem` documents (RFC 9457).",
        version = "v1",
        license(name = "Apache-2.0 OR MIT", identifier = "Apache-2.0 OR MIT"),
        contact(name = "the kenny project")
    ),
    modifiers(&Bearer),
    security(("operator" = []))
)]
struct Document;

struct Bearer;

impl utoipa::Modify for Bearer {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("An API token: the one that the first start of the server printed, or one that `POST /login` or `POST /tokens` made."))
            .build();
        openapi
            .components
            .get_or_insert_default()
            .add_security_scheme("operator", SecurityScheme::Http(bearer));
    }
}

/// The routes and their document.
pub fn router() -> (Router<Arc<App>>, utoipa::openapi::OpenApi) {
    let routes = OpenApiRouter::new()
        .routes(routes!(me::log_in))
        .routes(routes!(me::log_out))
        .routes(routes!(me::show))
        .routes(routes!(me::set_password))
        .routes(routes!(me::begin_totp))
        .routes(routes!(me::confirm_totp))
        .routes(routes!(me::end_totp))
        .routes(routes!(me::renew_recovery_codes))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::revoke))
        .routes(routes!(accounts::list, accounts::create))
        .routes(routes!(accounts::show, accounts::change, accounts::remove))
        .routes(routes!(accounts::reset))
        .routes(routes!(agents::list, agents::create))
        .routes(routes!(agents::show, agent_settings::change, agents::remove))
        .routes(routes!(invitations::invite, invitations::withdraw))
        .routes(routes!(invitations::list))
        .routes(routes!(invitations::server))
        .routes(routes!(updates::list, updates::request))
        .routes(routes!(updates::clear))
        .routes(routes!(updates::clear_hold))
        .routes(routes!(updates::rollback))
        .routes(routes!(updates::get))
        .routes(routes!(tools::list))
        .routes(routes!(tools::call))
        .routes(routes!(releases::list, releases::add))
        .routes(routes!(releases::remove))
        .routes(routes!(trust::status))
        .routes(routes!(trust::metadata, trust::publish))
        .routes(routes!(trust::take_artifact))
        .routes(routes!(trust::make_online_key))
        .routes(routes!(rollouts::list, rollouts::start))
        .routes(routes!(rollouts::plan))
        .routes(routes!(rollouts::show))
        .routes(routes!(rollouts::pause))
        .routes(routes!(rollouts::resume))
        .routes(routes!(rollouts::cancel))
        .routes(routes!(rollouts::roll_back))
        .routes(routes!(rollouts::channels, rollouts::set_channels))
        .routes(routes!(events::follow))
        .routes(routes!(audit::read));
    let (routes, document) =
        OpenApiRouter::with_openapi(Document::openapi()).nest(PREFIX, routes).split_for_parts();
    let json: Arc<str> = to_json(&document).into();
    let answer = move || {
        let json = Arc::clone(&json);
        async move { ([(CONTENT_TYPE, "application/json")], json.to_string()).into_response() }
    };
    (routes.route(&format!("{PREFIX}/openapi.json"), get(answer)), document)
}

/// The OpenAPI document, with a line break at its end.
pub fn openapi_json() -> String {
    to_json(&router().1)
}

fn to_json(document: &utoipa::openapi::OpenApi) -> String {
    let mut json = document.to_pretty_json().expect("the document serialises");
    json.push('\n');
    json
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_document_in_git_is_the_one_of_this_code() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
        let kept = fs_err::read_to_string(path).unwrap_or_default();
        assert!(
            kept.replace("\r\n", "\n") == super::openapi_json(),
            "docs/openapi.json is not what this code says; write it anew with\n  \
             cargo run -p kenny-server -- openapi > docs/openapi.json"
        );
    }
}
