//! Releases: what there is, who vouches for it, who runs it; and adding one.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use kenny_proto::api::{Agent, Release};
use kenny_proto::trust::{TrustMode, TrustStatus};
use maud::{Markup, html};
use semver::Version;

use super::components::{ago, badge, count, csrf_field, empty, size};
use super::error::WebError;
use super::forms::SignedInUpload;
use super::layout::{Page, Place};
use super::live::Live;
use super::session::SignedIn;
use crate::app::App;
use crate::ops::{self, Action};

/// `GET /releases`.
pub async fn show(State(app): State<Arc<App>>, who: SignedIn) -> Result<Response, WebError> {
    let live = Live::all(&app);
    let releases = ops::releases::list(&app, &who.operator)?.releases;
    let agents = ops::agents::list(&app, &who.operator)?.agents;
    let trust = ops::trust::status(&app, &who.operator)?;
    let content = html! {
        div.title { h1 { "Releases" } }
        (list(&by_version(&releases, &agents), &trust, Timestamp::now()))
        @if who.can(Action::AddRelease) { (upload_form(&who)) }
    };
    Ok(Page::new("Releases").of(&who).at(Place::Releases).live(&live).show(&content))
}

/// A version with its artifacts, and how many PCs run it.
#[derive(Debug, PartialEq)]
struct Line<'a> {
    version: &'a str,
    artifacts: Vec<&'a Release>,
    running: usize,
    wanted: usize,
}

/// All versions, the newest first; those that PCs run and that are no release here stand among them.
fn by_version<'a>(releases: &'a [Release], agents: &'a [Agent]) -> Vec<Line<'a>> {
    let mut lines: BTreeMap<(Option<Version>, &str), Line<'a>> = BTreeMap::new();
    let mut line = |version: &'a str, change: &mut dyn FnMut(&mut Line<'a>)| {
        let key = (Version::parse(version).ok(), version);
        let new = || Line { version, artifacts: Vec::new(), running: 0, wanted: 0 };
        change(lines.entry(key).or_insert_with(new));
    };
    for release in releases {
        line(&release.version, &mut |line| line.artifacts.push(release));
    }
    for agent in agents {
        if let Some(version) = &agent.version {
            line(version, &mut |line| line.running += 1);
        }
        let is_elsewhere = agent.desired_version != agent.version;
        if let Some(wanted) = agent.desired_version.as_deref().filter(|_| is_elsewhere) {
            line(wanted, &mut |line| line.wanted += 1);
        }
    }
    lines.into_values().rev().collect()
}

fn list(lines: &[Line<'_>], trust: &TrustStatus, now: Timestamp) -> Markup {
    let all: usize = lines.iter().map(|line| line.running).sum();
    html! {
        div #releases.stack hx-get="/releases" hx-trigger="changed from:body" hx-select="#releases" hx-swap="morph:outerHTML" {
            @if lines.is_empty() {
                (empty("No release yet", &html! {
                    p { "A release is the agent's executable of one version. PCs are invited with the newest one and updated to the one that you choose." }
                    p { "On a machine with the sources, " code { "cargo xtask agent --target windows --out kenny-agent.exe" } " builds one." }
                }))
            } @else {
                ul.releases { @for line in lines { (version_line(line, all, trust, now)) } }
            }
        }
    }
}

fn version_line(line: &Line<'_>, all: usize, trust: &TrustStatus, now: Timestamp) -> Markup {
    let share = (line.running * 1000).checked_div(all).unwrap_or(0);
    html! {
        li #{"release-" (line.version)} {
            div.head {
                h2 { (line.version) }
                @if line.artifacts.is_empty() { (badge("off", "not released here")) }
                @else if line.artifacts.iter().all(|it| it.withdrawn_at.is_some()) { (badge("crit", "withdrawn")) }
            }
            div.runs {
                span {
                    (count(line.running, "PC", "PCs"))
                    @if line.wanted > 0 { span.hint { ", " (line.wanted) " on the way" } }
                }
                svg.meter viewBox="0 0 1000 8" preserveAspectRatio="none" aria-hidden="true" {
                    rect.track width="1000" height="8" {}
                    rect.fill width=(share) height="8" {}
                }
            }
            @for release in &line.artifacts {
                div.artifact {
                    span { (release.os) " " (release.arch) span.hint { ", " (size(release.size_bytes)) ", added " (ago(release.added_at, now)) } }
                    (signature(release, trust))
                    @match &release.signer {
                        Some(signer) => { span.hint { "Authenticode: " (signer.common_name) } }
                        None => { span.hint { "no Authenticode signature" } }
                    }
                    details.digest { summary { "SHA-256" } code { (release.sha256) } }
                }
            }
        }
    }
}

/// Whether keys that the server does not have vouch for it.
fn signature(release: &Release, trust: &TrustStatus) -> Markup {
    let is_signed = trust.targets.iter().any(|target| target.sha256 == release.sha256);
    match (trust.mode, is_signed) {
        (TrustMode::HashOnly, _) => badge("off", "not signed by keys"),
        (TrustMode::Signed, true) => badge("good", "signed by your keys"),
        (TrustMode::Signed, false) => badge("warn", "not signed: PCs refuse it"),
    }
}

fn upload_form(who: &SignedIn) -> Markup {
    html! {
        section aria-labelledby="add-release" {
            h2 #add-release { "Add a release" }
            form.drop method="post" action="/releases" data-upload {
                (csrf_field(&who.csrf))
                label for="file" { "Drop the agent's executable here, or choose it" }
                input #file type="file" name="file";
                progress max="100" value="0" aria-label="How much was sent" hidden {}
                p.hint role="status" { "Version and platform are read out of it. No PC is updated by this." }
                noscript { p { "Without script the command line does it: " code { "kenny release add kenny-agent.exe" } } }
            }
        }
    }
}

/// `POST /releases`: the executable as it is, from the page's script. The answer is a sentence.
pub async fn add(State(app): State<Arc<App>>, upload: SignedInUpload) -> Response {
    let SignedInUpload { who, body } = upload;
    let (status, words) = match ops::releases::add(&app, &who.operator, body.into_data_stream())
        .await
    {
        Ok(added) => {
            let release = added.release;
            let platform = format!("{} for {} {}", release.version, release.os, release.arch);
            let words = match (added.warning, added.created) {
                (Some(warning), _) => format!("{platform} is there. But {warning}."),
                (None, true) => format!("{platform} is there. It was added."),
                (None, false) => format!("{platform} was there already. Nothing was changed."),
            };
            (StatusCode::CREATED, words)
        }
        Err(error) => {
            let status = StatusCode::from_u16(error.facts().1);
            (status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), format!("Not added: {error}."))
        }
    };
    (status, [(CONTENT_TYPE, "text/plain; charset=utf-8")], words).into_response()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn versions_are_counted_whether_they_are_released_here_or_not() {
        let release = |version: &str, os: &str| -> Release {
            serde_json::from_value(json!({
                "version": version, "os": os, "arch": "x86_64", "sha256": "0".repeat(64), "size_bytes": 1,
                "added_at": "2026-01-01T00:00:00Z"
            }))
            .unwrap()
        };
        let agent = |id: &str, version: &str, desired: Option<&str>| -> Agent {
            serde_json::from_value(json!({
                "id": id, "online": true, "created_at": "2026-01-01T00:00:00Z", "version": version, "desired_version": desired
            }))
            .unwrap()
        };
        let releases =
            [release("1.10.0", "linux"), release("1.9.0", "linux"), release("1.10.0", "windows")];
        let agents = [
            agent("a", "1.9.0", Some("1.10.0")),
            agent("b", "1.9.0", None),
            agent("c", "odd", None),
        ];
        let lines = by_version(&releases, &agents);
        let seen: Vec<_> = lines
            .iter()
            .map(|it| (it.version, it.artifacts.len(), it.running, it.wanted))
            .collect();
        assert_eq!(seen, [("1.10.0", 2, 0, 1), ("1.9.0", 1, 2, 0), ("odd", 0, 1, 0)]);
    }
}
