//! One PC: how it is, what it runs and how that came to be, and what can be done with it.

pub mod actions;
mod facts;
pub mod tools;
mod updates;

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use jiff::Timestamp;
use kenny_proto::api::{Agent, AgentDetail};
use kenny_proto::audit::AuditRow;
use maud::{Markup, html};

use super::activity::audit_table;
use super::components::{ago, caution, csrf_field, empty, time};
use super::error::{WebError, sentence};
use super::fleet::{connection, platform, update_bar};
use super::layout::{Page, Place};
use super::live::Live;
use super::progress;
use super::session::SignedIn;
use crate::app::App;
use crate::audit::Filter;
use crate::ops::{self, Action};

/// Rows of the audit log that a PC's page has; the rest is one link away.
const AUDIT_ROWS: u32 = 8;

/// `GET /agents/ID`.
pub async fn show(
    State(app): State<Arc<App>>,
    who: SignedIn,
    Path(id): Path<String>,
) -> Result<Response, WebError> {
    let live = Live::agent(&app, &id);
    let detail = ops::agents::show(&app, &who.operator, &id).await?;
    let releases = ops::releases::list(&app, &who.operator)?.releases;
    let audit = if who.can(Action::ReadAudit) {
        let filter =
            Filter { agent: Some(id.clone()), limit: Some(AUDIT_ROWS), ..Filter::default() };
        Some(ops::audit::read(&app, &who.operator, filter).await?.rows)
    } else {
        None
    };
    let now = Timestamp::now();
    let content = html! {
        div.beside {
            (facts_and_news(&who, &detail, audit.as_deref(), now))
            // Forms stand beside what is live, so that nobody's choice is undone.
            (actions::panel(&who, &detail.agent, &releases))
        }
        (tools::panel(&app, &who, &detail)?)
    };
    Ok(Page::new(&id).of(&who).at(Place::Fleet).live(&live).show(&content))
}

fn facts_and_news(
    who: &SignedIn,
    detail: &AgentDetail,
    audit: Option<&[AuditRow]>,
    now: Timestamp,
) -> Markup {
    let agent = &detail.agent;
    let id = agent.id.as_str();
    html! {
        div #pc.stack hx-get={"/agents/" (id)} hx-trigger="changed from:body" hx-select="#pc" hx-swap="morph:outerHTML" {
            div.title {
                div {
                    h1 { (id) }
                    p.hint {
                        (connection(agent, now))
                        @if let Some(words) = platform(agent) { " · " (words) }
                        @if let Some(version) = &agent.version { " · agent " strong { (version) } }
                    }
                }
                @if who.can(Action::RequestUpdate) { a.button.jump href="#actions" { "What to do" } }
            }
            (news(who, agent, now))
            (facts::facts(detail, now))
            (facts::telemetry(detail, now))
            section aria-labelledby="updates" {
                h2 #updates { "Updates" }
                @if detail.updates.is_empty() {
                    p.hint { "None yet. What this PC should run is chosen under “What to do”." }
                } @else {
                    @for (at, update) in detail.updates.iter().enumerate() { (updates::update(update, at == 0, now)) }
                }
            }
            @if let Some(rows) = audit {
                section aria-labelledby="audit" {
                    h2 #audit { "Who did what here" }
                    @if rows.is_empty() { p.hint { "Nobody did anything here yet." } } @else {
                        (audit_table(rows, false, now))
                        p { a href={"/activity/audit?agent=" (id)} { "Everything about this PC" } }
                    }
                }
            }
        }
    }
}

/// What is different from usual now.
fn news(who: &SignedIn, agent: &Agent, now: Timestamp) -> Markup {
    let id = agent.id.as_str();
    let open = agent.update.as_ref().filter(|update| !update.state.is_final());
    html! {
        @if let Some(update) = open {
            div.notice.underway #underway {
                strong { (progress::title(update)) }
                @if update.attempt > 1 { " (attempt " (update.attempt) ")" }
                (update_bar(agent, update))
            }
        }
        @if let Some(hold) = &agent.hold {
            div.notice.bad {
                p {
                    strong { (hold.version) " is not sent to this PC any more." } " " (sentence(&hold.reason)) " Held " (ago(hold.since, now)) "."
                }
                @if who.can(Action::ClearHold) {
                    form method="post" action={"/agents/" (id) "/clear-hold"} {
                        (csrf_field(&who.csrf))
                        button type="submit" { "Try it again" }
                    }
                }
            }
        }
        @if let Some(next) = &agent.next_attempt {
            (caution(&html! {
                p {
                    strong { (next.version) " is tried again " (ago(next.at, now)) } " by itself (attempt " (next.attempt) ")"
                    @if !agent.online { ", or as soon as the PC is online after that" } "."
                }
            }))
        }
        @if let Some(pause) = &agent.paused {
            (caution(&html! {
                p {
                    strong { "Somebody at the PC paused it" }
                    @if let Some(until) = pause.until { " until " (time(until)) }
                    @if let Some(reason) = &pause.reason { ": " (reason) }
                    ". It refuses what changes something, and updates wait."
                }
            }))
        }
        @if agent.version.is_none() {
            (empty("This PC was never here", &html! {
                p { "It appears as soon as somebody opens its invitation on the PC." }
                p.actions { a.button href={"/add?pc=" (id)} { "Invite it again" } }
            }))
        }
    }
}
