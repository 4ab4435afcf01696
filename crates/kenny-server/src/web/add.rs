//! Adding a PC: a name, then a link, and the page sees the PC come.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Redirect, Response};
use jiff::Timestamp;
use kenny_proto::api::{AgentIdentity, AgentInvited, NewInvitation, OpenInvitation};
use maud::{Markup, html};

use super::components::{ago, caution, csrf_field, problem, prose, time};
use super::error::{WebError, sentence};
use super::fields::Fields;
use super::forms::SignedInForm;
use super::layout::{Page, Place};
use super::live::Live;
use super::qr;
use super::session::SignedIn;
use crate::app::App;
use crate::ops::{self, Action, OpsError};

const PATH: &str = "/add";

/// For how long a link is good.
const LIVES: [(u64, &str); 4] = [
    (3600, "an hour"),
    (24 * 3600, "a day"),
    (7 * 24 * 3600, "a week"),
    (30 * 24 * 3600, "30 days"),
];
/// What is chosen where nobody chooses.
const USUAL_LIFE: u64 = 24 * 3600;

/// `GET /add`.
pub async fn show(
    State(app): State<Arc<App>>,
    who: SignedIn,
    RawQuery(query): RawQuery,
) -> Result<Response, WebError> {
    let fields = Fields::parse(query.unwrap_or_default().as_bytes()).unwrap_or_default();
    let name = fields.get("pc").unwrap_or_default();
    page(&app, &who, name, None).await
}

async fn page(
    app: &App,
    who: &SignedIn,
    name: &str,
    wrong: Option<&OpsError>,
) -> Result<Response, WebError> {
    let live = Live::all(app);
    let open = ops::invitations::list(app, &who.operator).await?.invitations;
    let content = html! {
        div.title { h1 { "Add a PC" } }
        @if who.can(Action::InviteAgent) { (form(who, name, wrong)) } @else {
            p { "With the role " strong { (who.account.role) } " one may not invite PCs. Ask an operator." }
        }
        (open_invitations(who, &open, Timestamp::now()))
    };
    let status = wrong.map_or(200, |error| error.facts().1);
    let status = axum::http::StatusCode::from_u16(status).expect("statuses of errors are statuses");
    Ok(Page::new("Add a PC").of(who).at(Place::Add).live(&live).with_status(status).show(&content))
}

fn form(who: &SignedIn, name: &str, wrong: Option<&OpsError>) -> Markup {
    html! {
        form.panel method="post" action=(PATH) {
            @if let Some(error) = wrong { (problem(&sentence(&error.to_string()))) }
            (csrf_field(&who.csrf))
            label for="pc" { "Name of the PC" }
            input #pc type="text" name="pc" value=(name) required maxlength="64" autocapitalize="none" autocomplete="off"
                spellcheck="false" placeholder="annas-pc" aria-describedby="pc-hint" autofocus[name.is_empty()];
            p.hint #pc-hint { "Whatever you will know it by: letters, digits, hyphens, dots and underscores." }
            label for="life" { "The link is good for" }
            select #life name="life" {
                @for (seconds, words) in LIVES { option value=(seconds) selected[seconds == USUAL_LIFE] { (words) } }
            }
            p.actions { button.primary type="submit" { "Make a link" } }
        }
    }
}

fn open_invitations(who: &SignedIn, open: &[OpenInvitation], now: Timestamp) -> Markup {
    html! {
        section #invitations aria-labelledby="open" hx-get=(PATH) hx-trigger="changed from:body" hx-select="#invitations"
            hx-swap="morph:outerHTML" {
            h2 #open { "Open links" }
            @if open.is_empty() { p.hint { "None. A link is shown once, when it is made; here is who has one that was not used yet." } }
            @else {
                ul.list {
                    @for invitation in open {
                        @let id = invitation.agent_id.as_str();
                        li {
                            div {
                                h3 { a href={"/agents/" (id)} { (id) } }
                                p.hint {
                                    "made by " (invitation.created_by) " " (ago(invitation.created_at, now))
                                    ", good until " (time(invitation.expires_at))
                                }
                            }
                            @if who.can(Action::WithdrawInvitation) {
                                form method="post" action="/add/withdraw" {
                                    (csrf_field(&who.csrf))
                                    input type="hidden" name="pc" value=(id);
                                    button.danger type="submit" aria-label={"Withdraw the link of " (id)} { "Withdraw" }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// `POST /add`.
pub async fn invite(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    form: SignedInForm,
) -> Result<Response, WebError> {
    let SignedInForm { who, fields } = form;
    let live = Live::all(&app);
    let name = fields.get("pc").unwrap_or_default().trim();
    let wanted = NewInvitation { expires_s: fields.get("life").and_then(|life| life.parse().ok()) };
    let base_url = app.base_url(&headers);
    // Its own connection before this moment is not the one that is waited for.
    let since = Timestamp::now();
    let invited =
        match ops::invitations::invite(&app, &who.operator, name, &wanted, &base_url).await {
            Ok(invited) => invited,
            Err(error @ OpsError::Forbidden { .. }) => {
                return Err(WebError::refused(error, PATH, "the links"));
            }
            Err(error) => return page(&app, &who, name, Some(&error)).await,
        };
    let content = html! {
        div.title { h1 { "A link for " (name) } }
        (link(&invited))
        (wait(&app, &who, name, since)?)
        p.actions { a.button href=(PATH) { "Add another PC" } }
    };
    Ok(Page::new("Add a PC").of(&who).at(Place::Add).live(&live).show(&content))
}

fn link(invited: &AgentInvited) -> Markup {
    let id = invited.invitation.agent_id.as_str();
    html! {
        @if let Some(words) = &invited.problem {
            (caution(&html! { p { (prose(&sentence(words))) } p { a href="/releases" { "Add a release" } " first; the link is good all the same." } }))
        }
        @match invited.replaces {
            AgentIdentity::None => {}
            AgentIdentity::Key | AgentIdentity::Legacy => {
                (caution(&html! { p { strong { (id) " is here already." } " It goes on working until a PC has used this link, which takes its place then." } }))
            }
        }
        div.panel.invitation {
            div {
                label for="link" { "Send this link to the person at the PC" }
                div.copy {
                    input #link.code type="text" readonly value=(invited.link);
                    button type="button" data-copy="#link" { "Copy" }
                }
                p.hint {
                    "It works once, until " (time(invited.invitation.expires_at)) ", and is shown this once. Whoever has it can make a PC be "
                    strong { (id) } "."
                }
                p { "The person opens it on the PC, presses the one button, opens what was downloaded, and answers Windows with Yes." }
                @if let Some(line) = &invited.powershell {
                    details {
                        summary { "You sit at the PC yourself?" }
                        p { "Paste this into PowerShell as administrator:" }
                        div.copy {
                            input #line.code type="text" readonly value=(line) aria-label="Line for PowerShell";
                            button type="button" data-copy="#line" { "Copy" }
                        }
                    }
                }
            }
            (qr::code(&invited.link, "The link as a QR code"))
        }
    }
}

/// `GET /add/waiting`: what the page of a link asks for again and again.
pub async fn waiting(
    State(app): State<Arc<App>>,
    who: SignedIn,
    RawQuery(query): RawQuery,
) -> Result<Response, WebError> {
    let live = Live::all(&app);
    let fields = Fields::parse(query.unwrap_or_default().as_bytes()).unwrap_or_default();
    let id = fields.get("pc").ok_or(WebError::NotFound)?;
    let since =
        fields.get("since").and_then(|since| since.parse().ok()).ok_or(WebError::NotFound)?;
    let content = html! { div.title { h1 { "Add " (id) } } (wait(&app, &who, id, since)?) };
    Ok(Page::new("Add a PC").of(&who).at(Place::Add).live(&live).show(&content))
}

/// Waits for a PC to connect after this time, and says when it did.
fn wait(app: &App, who: &SignedIn, id: &str, since: Timestamp) -> Result<Markup, OpsError> {
    let agent = ops::agents::get(app, &who.operator, id)?;
    let is_here = agent.connected_at.is_some_and(|at| at >= since);
    let path = format!("/add/waiting?pc={id}&since={since}");
    Ok(html! {
        div #waiting.waitroom.here[is_here] role="status" hx-get=(path) hx-trigger="changed from:body" hx-select="#waiting"
            hx-swap="morph:outerHTML" {
            @if is_here {
                h2 { (id) " is here" }
                p {
                    @if let Some(host) = &agent.hostname { "It calls itself " strong { (host) } @if let Some(version) = &agent.version { " and runs the agent " (version) } ". " }
                }
                p.actions { a.button.primary href={"/agents/" (id)} { "Look at it" } }
            } @else {
                h2 { "Waiting for it to appear" }
                p.hint { "This page says so by itself as soon as the PC is here. You may leave it: the PC will be in the fleet." }
                noscript { p { a href=(path) { "Look again" } } }
            }
        }
    })
}

/// `POST /add/withdraw`.
pub async fn withdraw(
    State(app): State<Arc<App>>,
    form: SignedInForm,
) -> Result<Response, WebError> {
    let id = form.fields.get("pc").unwrap_or_default();
    match ops::invitations::withdraw(&app, &form.who.operator, id).await {
        // Used or withdrawn meanwhile is as good.
        Ok(()) | Err(OpsError::NoInvitation(_)) => Ok(Redirect::to(PATH).into_response()),
        Err(error) => Err(WebError::refused(error, PATH, "the links")),
    }
}
