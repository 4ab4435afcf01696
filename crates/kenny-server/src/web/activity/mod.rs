//! What happened, and who did what: as lists that grow, and as files.

mod export;
mod words;

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use jiff::Timestamp;
use kenny_proto::api::Event;
use kenny_proto::audit::{AuditOutcome, AuditRow};
use maud::{Markup, html};

use super::components::{ago, badge, empty, prose, utc};
use super::error::WebError;
use super::fields::Fields;
use super::layout::{Page, Place};
use super::live::Live;
use super::session::SignedIn;
use crate::app::App;
use crate::audit::Filter;
use crate::ops::events::Past;
use crate::ops::{self, Action};
pub use export::file;

/// Entries of a page.
const PAGE: u32 = 100;

/// What somebody wants to see of either list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Wish {
    agent: Option<String>,
    kind: Option<String>,
    account: Option<String>,
    before: Option<i64>,
}

impl Wish {
    fn read(query: Option<String>) -> Self {
        let fields = Fields::parse(query.unwrap_or_default().as_bytes()).unwrap_or_default();
        let text = |name| {
            fields.get(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
        };
        Self {
            agent: text("agent"),
            kind: text("kind"),
            account: text("account"),
            before: fields.get("before").and_then(|before| before.parse().ok()),
        }
    }

    /// Its address behind this path.
    fn path(&self, path: &str) -> String {
        let mut address = format!("{path}?");
        let encode =
            |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        for (name, value) in
            [("agent", &self.agent), ("kind", &self.kind), ("account", &self.account)]
        {
            if let Some(value) = value {
                let _ = write!(address, "{name}={}&", encode(value));
            }
        }
        if let Some(before) = self.before {
            let _ = write!(address, "before={before}&");
        }
        address.pop();
        address
    }

    fn is_narrow(&self) -> bool {
        self.agent.is_some() || self.kind.is_some() || self.account.is_some()
    }

    fn past(&self, limit: u32) -> Past {
        Past { agent: self.agent.clone(), kind: self.kind.clone(), before: self.before, limit }
    }

    fn filter(&self, limit: u32) -> Filter {
        Filter {
            agent: self.agent.clone(),
            account: self.account.clone(),
            action: self.kind.clone(),
            before: self.before.map(i64::unsigned_abs),
            limit: Some(limit),
            ..Filter::default()
        }
    }
}

const EVENTS: &str = "/activity";
const AUDIT: &str = "/activity/audit";

/// `GET /activity`: events.
pub async fn events(
    State(app): State<Arc<App>>,
    who: SignedIn,
    RawQuery(query): RawQuery,
) -> Result<Response, WebError> {
    let live = Live::all(&app);
    let wish = Wish::read(query);
    let events = ops::events::past(&app, &who.operator, wish.past(PAGE)).await?;
    let oldest = events.last().map(|event| event.id).filter(|_| events.len() == PAGE as usize);
    let now = Timestamp::now();
    let kinds = words::EVENTS.iter().map(|(kind, words)| (*kind, *words));
    let content = html! {
        (head(&who, EVENTS))
        (filters(EVENTS, &wish, "What", kinds, None))
        (log(EVENTS, &wish, oldest, events.is_empty(), &html! { (event_table(&events, now)) }))
    };
    Ok(Page::new("What happened").of(&who).at(Place::Activity).live(&live).show(&content))
}

/// `GET /activity/audit`: the audit log.
pub async fn audit(
    State(app): State<Arc<App>>,
    who: SignedIn,
    RawQuery(query): RawQuery,
) -> Result<Response, WebError> {
    let live = Live::all(&app);
    let wish = Wish::read(query);
    let rows = ops::audit::read(&app, &who.operator, wish.filter(PAGE)).await?.rows;
    let accounts = ops::accounts::list(&app, &who.operator)?.accounts;
    let accounts: Vec<&str> = accounts.iter().map(|account| account.name.as_str()).collect();
    let oldest = rows.last().filter(|_| rows.len() == PAGE as usize);
    let oldest = oldest.and_then(|row| i64::try_from(row.sequence).ok());
    let now = Timestamp::now();
    let kinds = words::ACTIONS.iter().map(|(action, words)| (*action, *words));
    let content = html! {
        (head(&who, AUDIT))
        (filters(AUDIT, &wish, "What", kinds, Some(&accounts)))
        (log(AUDIT, &wish, oldest, rows.is_empty(), &audit_table(&rows, true, now)))
    };
    Ok(Page::new("Who did what").of(&who).at(Place::Activity).live(&live).show(&content))
}

fn head(who: &SignedIn, here: &str) -> Markup {
    let tab = |path: &str, words: &str| {
        html! {
            a href=(path) aria-current=[(path == here).then_some("page")] { (words) }
        }
    };
    html! {
        div.title { h1 { "Activity" } }
        nav.tabs aria-label="Activity" {
            (tab(EVENTS, "What happened"))
            @if who.can(Action::ReadAudit) { (tab(AUDIT, "Who did what")) }
        }
    }
}

fn filters<'a>(
    path: &str,
    wish: &Wish,
    kind: &str,
    kinds: impl Iterator<Item = (&'a str, &'a str)>,
    accounts: Option<&[&str]>,
) -> Markup {
    html! {
        form.filters method="get" action=(path) hx-get=(path) hx-target="#log" hx-select="#log" hx-swap="morph:outerHTML"
            hx-replace-url="true" hx-trigger="input changed delay:250ms from:#agent, change, submit" {
            div {
                label for="agent" { "PC" }
                input #agent type="search" name="agent" value=(wish.agent.as_deref().unwrap_or_default()) placeholder="every PC"
                    maxlength="64" autocapitalize="none" spellcheck="false";
            }
            div {
                label for="kind" { (kind) }
                select #kind name="kind" {
                    option value="" { "everything" }
                    @for (value, words) in kinds {
                        option value=(value) selected[wish.kind.as_deref() == Some(value)] { (words) }
                    }
                }
            }
            @if let Some(accounts) = accounts {
                div {
                    label for="account" { "Who" }
                    select #account name="account" {
                        option value="" { "everybody" }
                        @for name in accounts {
                            option value=(name) selected[wish.account.as_deref() == Some(name)] { (name) }
                        }
                    }
                }
            }
            noscript { button type="submit" { "Show" } }
        }
    }
}

/// The list with what is around it, live while it shows the newest.
fn log(path: &str, wish: &Wish, oldest: Option<i64>, is_empty: bool, table: &Markup) -> Markup {
    let live = wish.before.is_none();
    let name = if path == AUDIT { "audit" } else { "events" };
    let all = Wish { before: None, ..wish.clone() };
    html! {
        div #log.stack hx-get=[live.then(|| wish.path(path))] hx-trigger=[live.then_some("changed from:body")]
            hx-select="#log" hx-swap="morph:outerHTML" {
            @if is_empty {
                @if wish.is_narrow() {
                    (empty("Nothing fits", &html! { p.actions { a.button href=(path) { "Show everything" } } }))
                } @else { (empty("Nothing yet", &html! { p { "What happens from now on appears here by itself." } })) }
            } @else { (table) }
            div.foot {
                nav.pager aria-label="Pages" {
                    @if !live { a.button href=(all.path(path)) { "Newest" } }
                    @if oldest.is_some() {
                        a.button rel="next" href=(Wish { before: oldest, ..wish.clone() }.path(path)) { "Older" }
                    }
                }
                @if !is_empty {
                    p.hint {
                        "All of it as a file: "
                        a href=(all.path(&format!("/activity/export/{name}.csv"))) download { "CSV" } ", "
                        a href=(all.path(&format!("/activity/export/{name}.jsonl"))) download { "JSON lines" }
                    }
                }
            }
        }
    }
}

fn event_table(events: &[Event], now: Timestamp) -> Markup {
    html! {
        table.log {
            thead.unseen { tr { th scope="col" { "When" } th scope="col" { "What" } th scope="col" { "PC" } } }
            tbody {
                @for event in events {
                    tr #{"event-" (event.id)} {
                        td.when { (ago(event.at, now)) }
                        td { (event.summary) }
                        td.pc { @if let Some(id) = &event.agent_id { a href={"/agents/" (id.as_str())} { (id.as_str()) } } }
                    }
                }
            }
        }
    }
}

/// Rows of the audit log.
pub fn audit_table(rows: &[AuditRow], with_agent: bool, now: Timestamp) -> Markup {
    html! {
        table.log {
            thead.unseen {
                tr {
                    th scope="col" { "When" } th scope="col" { "Who" } th scope="col" { "What" }
                    @if with_agent { th scope="col" { "PC" } }
                    th scope="col" { "Outcome" }
                }
            }
            tbody {
                @for row in rows {
                    tr #{"row-" (row.sequence)} {
                        td.when { (ago(row.at, now)) }
                        td.who {
                            @match &row.account { Some(name) => { (name) } None => { span.hint { (words::nobody(&row.face)) } } }
                            span.hint { (words::face(&row.face)) @if let Some(from) = &row.from { " from " (from) } }
                        }
                        td {
                            (words::action(&row.action))
                            @if let Some(subject) = &row.subject { " " strong { (subject) } }
                            @let facts = facts(row);
                            @if !facts.is_empty() { span.hint { (prose(&facts)) } }
                        }
                        @if with_agent {
                            td.pc { @if let Some(id) = &row.agent_id { a href={"/agents/" (id)} { (id) } } }
                        }
                        td.outcome { (outcome(row.outcome)) }
                    }
                }
            }
        }
    }
}

/// What else a row says, for people: the file has all of it.
fn facts(row: &AuditRow) -> String {
    let said = |value: &String| Some(value) == row.subject.as_ref();
    let facts = row.facts.iter().filter(|(name, value)| {
        !matches!(name.as_str(), "code" | "update" | "sha256" | "account_id") && !said(value)
    });
    let facts: Vec<String> = facts
        .map(|(name, value)| match name.as_str() {
            "why" => value.clone(),
            "ms" => format!("after {value} ms"),
            "expires_at" => match value.parse::<Timestamp>() {
                Ok(end) => format!("good until {}", utc(end)),
                Err(_) => format!("good until {value}"),
            },
            name => format!("{}: {value}", name.strip_prefix("arg.").unwrap_or(name)),
        })
        .collect();
    facts.join(", ")
}

fn outcome(outcome: AuditOutcome) -> Markup {
    match outcome {
        AuditOutcome::Done => badge("good", "Done"),
        AuditOutcome::Ok => badge("good", "The PC did it"),
        AuditOutcome::Sent => badge("busy", "Sent"),
        AuditOutcome::Error => badge("warn", "The PC could not"),
        AuditOutcome::Unknown => badge("warn", "Not known"),
        AuditOutcome::Refused => badge("warn", "Refused"),
        AuditOutcome::Denied => badge("crit", "Not allowed"),
    }
}
