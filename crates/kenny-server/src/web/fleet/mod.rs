//! The fleet: every PC in a line, live.

mod select;

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use jiff::Timestamp;
use kenny_proto::api::{Agent, AgentIdentity, Update};
use maud::{Markup, html};

use super::components::{ago, badge, count, empty, grouped, pager, status_badge};
use super::error::WebError;
use super::fields::Fields;
use super::layout::{Page, Place};
use super::live::Live;
use super::progress;
use super::session::SignedIn;
use crate::app::App;
use crate::ops;
use select::{Row, Selected, Show, Sort, Wish, select};

/// `GET /`.
pub async fn show(
    State(app): State<Arc<App>>,
    who: SignedIn,
    RawQuery(query): RawQuery,
) -> Result<Response, WebError> {
    let live = Live::all(&app);
    let fields = Fields::parse(query.unwrap_or_default().as_bytes()).unwrap_or_default();
    let wish = Wish::read(&fields);
    let agents = ops::agents::list(&app, &who.operator)?.agents;
    let releases = ops::releases::list(&app, &who.operator)?.releases;
    let selected = select(agents, &releases, &wish);
    let content = html! {
        div.title {
            h1 { "Fleet" }
            @if selected.all > 0 { (search(&wish)) }
        }
        (fleet(&selected, &wish, Timestamp::now()))
    };
    Ok(Page::new("Fleet").of(&who).at(Place::Fleet).live(&live).show(&content))
}

/// Stands beside what is live, so that nobody's typing is disturbed.
fn search(wish: &Wish) -> Markup {
    html! {
        form.search role="search" method="get" action="/" hx-get="/" hx-target="#fleet" hx-select="#fleet"
            hx-swap="morph:outerHTML" hx-replace-url="true"
            hx-trigger="input changed delay:250ms from:#q, change from:#sort, submit" {
            input type="hidden" name="show" value=(wish.show.as_str());
            label.unseen for="q" { "Search by name, host name or version" }
            input #q type="search" name="q" value=(wish.search) placeholder="Name or version" maxlength="100"
                autocapitalize="none" spellcheck="false";
            label.unseen for="sort" { "Sort by" }
            select #sort name="sort" {
                @for (sort, words) in Sort::ALL {
                    option value=(sort.as_str()) selected[sort == wish.sort] { (words) }
                }
            }
            noscript { button type="submit" { "Search" } }
        }
    }
}

fn fleet(selected: &Selected, wish: &Wish, now: Timestamp) -> Markup {
    let page = Wish { page: selected.page, ..wish.clone() };
    html! {
        div #fleet hx-get=(page.path()) hx-trigger="changed from:body" hx-select="#fleet" hx-swap="morph:outerHTML" {
            @if selected.all == 0 { (nobody()) } @else {
                (tiles(selected, wish))
                @if selected.rows.is_empty() { (none_of_these(wish)) } @else {
                    table.fleet {
                        caption.unseen { (count(selected.counts[shown(wish.show)], "PC", "PCs")) }
                        thead { tr {
                            th scope="col" { "PC" } th scope="col" { "Connection" } th scope="col" { "Version" }
                            th scope="col" { "Health" }
                        } }
                        tbody { @for row in &selected.rows { (line(row, now)) } }
                    }
                    (pager(selected.page, selected.pages, |page| Wish { page, ..wish.clone() }.path()))
                }
            }
        }
    }
}

fn shown(show: Show) -> usize {
    Show::ALL.iter().position(|it| *it == show).expect("all of them are there")
}

/// The counts, which are the filters.
fn tiles(selected: &Selected, wish: &Wish) -> Markup {
    let words = |show| match show {
        Show::All => "All PCs",
        Show::Online => "Online",
        Show::Behind => "Behind",
        Show::Trouble => "In trouble",
    };
    html! {
        nav.tiles aria-label="Which PCs" {
            @for (show, number) in Show::ALL.into_iter().zip(selected.counts) {
                @let path = Wish { show, page: 1, ..wish.clone() }.path();
                a.tile #{"show-" (show.as_str())} href=(path) aria-current=[(show == wish.show).then_some("true")]
                    data-some=[(show == Show::Trouble && number > 0).then_some("trouble")] {
                    strong { (grouped(number)) } " " span { (words(show)) }
                }
            }
        }
    }
}

fn line(row: &Row, now: Timestamp) -> Markup {
    let agent = &row.agent;
    html! {
        tr #{"pc-" (agent.id.as_str())} {
            th.name scope="row" {
                a #{"to-" (agent.id.as_str())} href={"/agents/" (agent.id.as_str())} { (agent.id.as_str()) }
                @if let Some(words) = platform(agent) { span.hint { (words) } }
            }
            td.connection { (connection(agent, now)) }
            td.version { (version(row)) }
            td.health { (health(row)) }
        }
    }
}

/// `ANNAS-PC, Windows x86_64`.
pub fn platform(agent: &Agent) -> Option<String> {
    let host = agent.hostname.clone().filter(|host| !host.eq_ignore_ascii_case(agent.id.as_str()));
    let os = agent.os.map(|os| match os {
        kenny_proto::Os::Windows => "Windows",
        kenny_proto::Os::Linux => "Linux",
        kenny_proto::Os::Macos => "macOS",
    });
    let parts: Vec<String> = host.into_iter().chain(os.map(ToOwned::to_owned)).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// Whether it is there, or when it was.
pub fn connection(agent: &Agent, now: Timestamp) -> Markup {
    html! {
        @if agent.online && agent.paused.is_some() { (badge("warn", "Online, paused")) }
        @else if agent.online { (badge("good", "Online")) }
        @else if let Some(at) = agent.last_seen_at { span.badge.off { "Seen " (ago(at, now)) } }
        @else if agent.identity == AgentIdentity::None { (badge("off", "Invited, not here yet")) }
        @else { (badge("off", "Not here yet")) }
    }
}

fn version(row: &Row) -> Markup {
    let agent = &row.agent;
    let open = agent.update.as_ref().filter(|update| !update.state.is_final());
    html! {
        span.versions {
            @if let Some(running) = &agent.version { span { (running) } }
            @if let Some(wanted) = open.map(|open| &open.version).or(row.behind.as_ref()) {
                @if open.is_some() || agent.desired_version.is_some() {
                    span.wanted { span.unseen { "should run " } "→ " (wanted) }
                } @else { span.hint { (wanted) " is there" } }
            }
        }
        @if let Some(update) = open { (update_bar(agent, update)) }
    }
}

/// How far an update is.
pub fn update_bar(agent: &Agent, update: &Update) -> Markup {
    html! {
        span.doing {
            @if let Some(percent) = progress::percent(update) {
                progress max="100" value=(percent) aria-label={"Update of " (agent.id.as_str())} { (percent) " %" }
            }
            span.hint { (progress::doing(update)) }
        }
    }
}

fn health(row: &Row) -> Markup {
    html! {
        @if let Some(why) = &row.trouble { (status_badge(row.rank)) " " span.hint { (why) } }
        @else if let Some(health) = &row.agent.health { (status_badge(health.status)) }
        @else if row.agent.version.is_some() { span.hint { "Nothing known yet" } }
    }
}

fn nobody() -> Markup {
    empty(
        "No PC yet",
        &html! {
            p { "Invite the first one: you get a link and send it to the person at the PC, who opens it and presses one button. A minute later the PC is here." }
            p.actions { a.button.primary href="/add" { "Add a PC" } }
        },
    )
}

fn none_of_these(wish: &Wish) -> Markup {
    let words = match (wish.search.is_empty(), wish.show) {
        (true, Show::Trouble) => "No PC is in trouble.",
        (true, Show::Behind) => "No PC is behind.",
        (true, Show::Online) => "No PC is online.",
        (_, _) => "No PC fits.",
    };
    empty(words, &html! { p.actions { a.button href="/" { "Show all PCs" } } })
}
