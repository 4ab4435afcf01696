//! What is done with a PC: each a form of its own; what cannot be taken back explains itself first.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use kenny_proto::api::{Agent, NewUpdate, Release};
use maud::{Markup, html};
use semver::Version;

use crate::app::App;
use crate::ops::{self, Action, OpsError};
use crate::web::components::csrf_field;
use crate::web::error::WebError;
use crate::web::forms::SignedInForm;
use crate::web::session::SignedIn;

/// A PC's forms; nothing for who may only look.
pub fn panel(who: &SignedIn, agent: &Agent, releases: &[Release]) -> Markup {
    if !who.can(Action::RequestUpdate) {
        return html! {};
    }
    let id = agent.id.as_str();
    let versions = versions(agent, releases);
    html! {
        section aria-labelledby="actions" {
            h2 #actions { "What to do" }
            div.panel {
                @if versions.is_empty() {
                    p.hint {
                        "There is no release that this PC could go to. " a href="/releases" { "Add a release" } " first."
                    }
                } @else { (update_form(who, agent, &versions)) }
                @if agent.version.is_some() {
                    (explained(who, id, "rollback", "Go back to the version before", "Go back", &html! {
                        "The PC keeps the version that it ran before its last update. It puts that one in place again, without a download, and stays there."
                    }))
                }
                @if agent.desired_version.is_some() {
                    (explained(who, id, "clear-intent", "Let it run what it runs", "Wish for nothing", &html! {
                        "No particular version is wanted of it any more. An update that was not sent yet is given up; one that is under way goes on."
                    }))
                }
                details {
                    summary { "Invite it again" }
                    p { "After a new installation of Windows, or where the PC was replaced. The PC that is here keeps working until another one has used the link." }
                    p.actions { a.button href={"/add?pc=" (id)} { "Make a link" } }
                }
                (explained(who, id, "remove", "Remove this PC", "Remove it", &html! {
                    "Its history goes, and it is not let in any more. The agent on the PC stays until somebody uninstalls it there, in Settings, under Installed apps. To have the PC here again, invite it."
                }))
            }
        }
    }
}

fn explained(
    who: &SignedIn,
    id: &str,
    action: &str,
    title: &str,
    button: &str,
    words: &Markup,
) -> Markup {
    html! {
        details {
            summary { (title) }
            p { (words) }
            form.actions method="post" action={"/agents/" (id) "/" (action)} {
                (csrf_field(&who.csrf))
                button.danger type="submit" { (button) }
            }
        }
    }
}

fn update_form(who: &SignedIn, agent: &Agent, versions: &[Version]) -> Markup {
    let running = agent.version.as_deref().and_then(|text| Version::parse(text).ok());
    let has_older = running.as_ref().is_some_and(|running| versions.iter().any(|it| it < running));
    html! {
        form.line method="post" action={"/agents/" (agent.id.as_str()) "/update"} {
            (csrf_field(&who.csrf))
            label for="version" { "Update to" }
            select #version name="version" {
                @for version in versions {
                    option value=(version) {
                        (version)
                        @if let Some(running) = &running {
                            @if version == running { " (runs)" } @else if version < running { " (older)" }
                        }
                    }
                }
            }
            button.primary type="submit" { "Update" }
            @if has_older {
                span.check {
                    input #older type="checkbox" name="older" value="yes";
                    label for="older" { "Also to an older version than the one that runs" }
                }
            }
        }
    }
}

/// What this PC could go to, the newest first.
fn versions(agent: &Agent, releases: &[Release]) -> Vec<Version> {
    let fits = |release: &&Release| {
        agent.os.is_none_or(|os| os == release.os)
            && agent.arch.is_none_or(|arch| arch == release.arch)
    };
    let mut versions: Vec<Version> = releases
        .iter()
        .filter(fits)
        .filter_map(|release| Version::parse(&release.version).ok())
        .collect();
    versions.sort_by(|one, other| other.cmp(one));
    versions.dedup();
    versions
}

/// Back to the PC, or to what went wrong with a way back.
fn back<T>(id: &str, done: Result<T, OpsError>) -> Result<Response, WebError> {
    let path = format!("/agents/{id}");
    match done {
        Ok(_) => Ok(Redirect::to(&path).into_response()),
        Err(error) => Err(WebError::refused(error, &path, id)),
    }
}

/// `POST /agents/ID/update`.
pub async fn update(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    form: SignedInForm,
) -> Result<Response, WebError> {
    let version = form.fields.get("version").unwrap_or_default().to_owned();
    let wanted = NewUpdate { version, allow_downgrade: form.fields.get("older").is_some() };
    back(&id, ops::updates::request(&app, &form.who.operator, &id, &wanted).await)
}

/// `POST /agents/ID/rollback`.
pub async fn rollback(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    form: SignedInForm,
) -> Result<Response, WebError> {
    back(&id, ops::rollback::request(&app, &form.who.operator, &id).await)
}

/// `POST /agents/ID/clear-intent`.
pub async fn clear_intent(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    form: SignedInForm,
) -> Result<Response, WebError> {
    back(&id, ops::updates::clear(&app, &form.who.operator, &id).await)
}

/// `POST /agents/ID/clear-hold`.
pub async fn clear_hold(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    form: SignedInForm,
) -> Result<Response, WebError> {
    back(&id, ops::holds::clear(&app, &form.who.operator, &id).await)
}

/// `POST /agents/ID/remove`.
pub async fn remove(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    form: SignedInForm,
) -> Result<Response, WebError> {
    match ops::agents::remove(&app, &form.who.operator, &id).await {
        Ok(()) => Ok(Redirect::to("/").into_response()),
        Err(error) => Err(WebError::refused(error, "/", "the fleet")),
    }
}
