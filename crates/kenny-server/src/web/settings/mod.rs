//! The server's settings: who may act, and whose keys authorise releases.

pub mod accounts;
mod keys;

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use kenny_proto::Role;
use maud::html;

use super::error::WebError;
use super::layout::{Page, Place};
use super::session::SignedIn;
use crate::app::App;
use crate::ops::{self, Action};

/// Where they are.
pub const PATH: &str = "/settings";

/// `GET /settings`.
pub async fn show(State(app): State<Arc<App>>, who: SignedIn) -> Result<Response, WebError> {
    let trust = ops::trust::status(&app, &who.operator)?;
    let server = ops::server(&app, &who.operator)?;
    let accounts = if who.can(Action::ListAccounts) {
        Some(ops::accounts::list(&app, &who.operator)?.accounts)
    } else {
        None
    };
    let content = html! {
        div.title {
            div {
                h1 { "Settings" }
                p.hint { "Your own password, second factor and tokens are in " a href="/account" { "your account" } "." }
            }
        }
        @match &accounts {
            Some(accounts) => { (accounts::section(&who, accounts)) }
            None => {
                section aria-labelledby="accounts" {
                    h2 #accounts { "Accounts" }
                    p.hint { "Owners see and change who may act here. You are " (who.account.role) "." }
                }
            }
        }
        (keys::section(&trust, who.operator.role() == Role::Owner))
        section aria-labelledby="server" {
            h2 #server { "This server" }
            dl.facts {
                div { dt { "Version" } dd { (server.version) } }
                div { dt { "Its key, which PCs know it by" } dd { code.breaks { (server.server_key) } } }
            }
        }
    };
    Ok(Page::new("Settings").of(&who).at(Place::Settings).show(&content))
}
