//! The story of an update: each step with when it began and how long it took, and why it ended as it did.

use jiff::{SignedDuration, Timestamp};
use kenny_proto::api::{TimelineEntry, Update, UpdateOrigin, UpdateState};
use maud::{Markup, html};

use crate::web::components::{ago, badge, took};
use crate::web::progress;

/// One update; the last one stands open.
pub fn update(update: &Update, open: bool, now: Timestamp) -> Markup {
    let class = match update.state {
        UpdateState::Succeeded => "good",
        UpdateState::RolledBack | UpdateState::Failed => "crit",
        UpdateState::Unknown => "warn",
        UpdateState::Waiting | UpdateState::Running | UpdateState::Online => "busy",
        UpdateState::Superseded => "off",
    };
    let id = update.id.to_string();
    html! {
        details.update #{"update-" (id)} open[open] {
            summary {
                span.what {
                    strong { (progress::title(update)) }
                    @if let Some(from) = &update.from_version { span.hint { " from " (from) } }
                    @if update.attempt > 1 { span.hint { ", attempt " (update.attempt) } }
                }
                (badge(class, progress::state_words(update.state)))
                span.hint { (ago(update.requested_at, now)) }
            }
            @if let Some(failure) = &update.failure {
                p.notice.(if update.state == UpdateState::Superseded { "caution" } else { "bad" }) {
                    strong { (ended(update.state)) } " " (failure.detail)
                }
            }
            p.hint {
                @match update.origin {
                    UpdateOrigin::Operator => { "Asked for by an operator." }
                    UpdateOrigin::Retry => { "Tried again by the server." }
                    UpdateOrigin::Rollout => { "Begun by a rollout." }
                    UpdateOrigin::Agent => { "Started at the PC." }
                }
            }
            (timeline(update, now))
            @if !update.log.is_empty() {
                details.log {
                    summary { "The updater's log on the PC" }
                    pre tabindex="0" { @for line in &update.log { (line) "\n" } }
                }
            }
        }
    }
}

const fn ended(state: UpdateState) -> &'static str {
    match state {
        UpdateState::RolledBack => "The old version was put back.",
        UpdateState::Failed => "Nothing was changed.",
        UpdateState::Waiting
        | UpdateState::Running
        | UpdateState::Online
        | UpdateState::Unknown
        | UpdateState::Succeeded
        | UpdateState::Superseded => "",
    }
}

/// What a step says besides; why the update ended stands above all steps already.
fn said<'a>(entry: &'a TimelineEntry, update: &Update) -> Option<&'a str> {
    let why = update.failure.as_ref().map(|failure| failure.detail.as_str());
    entry.detail.as_deref().filter(|detail| Some(*detail) != why)
}

/// Steps by the server's clock, each with a bar from its begin to the next one's.
fn timeline(update: &Update, now: Timestamp) -> Markup {
    let end = update.finished_at.unwrap_or(now);
    let begin = update.timeline.first().map_or(end, |entry| entry.at);
    let whole = end.duration_since(begin).as_millis().max(1);
    let mut steps = update.timeline.iter().peekable();
    html! {
        ol.timeline {
            @while let Some(entry) = steps.next() {
                @let until = steps.peek().map_or(end, |next| next.at);
                @let time = until.duration_since(entry.at);
                @let is_last = steps.peek().is_none() && update.state.is_final();
                li {
                    time.clock datetime=(entry.at.to_string()) { (entry.at.strftime("%H:%M:%S").to_string()) }
                    span.step { (progress::step_words(&entry.step)) @if let Some(detail) = said(entry, update) { span.hint { " " (detail) } } }
                    span.took { @if !is_last { (took(time)) } }
                    @if !is_last { (span(entry.at.duration_since(begin), time, whole)) }
                }
            }
        }
        p.hint.whole { "Times in UTC. " (took(end.duration_since(begin))) " in all." }
    }
}

fn span(from: SignedDuration, time: SignedDuration, whole_ms: i128) -> Markup {
    let share = |time: SignedDuration| (time.as_millis().max(0) * 1000 / whole_ms).clamp(0, 1000);
    let (x, width) = (share(from), share(time));
    html! {
        svg.span viewBox="0 0 1000 4" preserveAspectRatio="none" aria-hidden="true" {
            rect.track width="1000" height="4" {}
            // A step that took no time is still there to be seen.
            rect.fill x=(x.min(994)) width=(width.max(6)) height="4" {}
        }
    }
}
