//! `status`: what is installed and how it is.

use std::process::ExitCode;

use kenny_core::image;
use kenny_proto::UpdateReport;
use serde::Serialize;

use super::scm::{Scm, ServiceState, StartType};
use crate::cli::StatusArgs;
use crate::config::Config;
use crate::layout::Layout;
use crate::state::AgentState;
use crate::update;

/// What `status --json` prints.
#[derive(Debug, Serialize)]
struct Report {
    installed: bool,
    service_name: String,
    state: &'static str,
    pid: Option<u32>,
    exit_code: u32,
    service_code: u32,
    auto_start: bool,
    restart_delays_ms: Vec<u64>,
    image: String,
    installed_version: Option<String>,
    running_version: Option<String>,
    server: Option<String>,
    agent_id: Option<String>,
    config_error: Option<String>,
    connected: bool,
    since: Option<jiff::Timestamp>,
    last_error: Option<String>,
    update: Option<UpdateReport>,
}

/// Prints the status. Exit code 0 when it runs, 3 when it is not installed, 4 when it does not run.
pub fn status(args: &StatusArgs) -> ExitCode {
    match look(&args.service_name) {
        Ok(Some(report)) => {
            if args.json {
                let json = serde_json::to_string(&report).expect("a report has string keys only");
                crate::cli::print(&json);
            } else {
                crate::cli::print(&in_words(&report));
            }
            if report.state == ServiceState::Running.as_str() {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(4)
            }
        }
        Ok(None) => {
            let words = format!("not installed: there is no service named {}", args.service_name);
            crate::cli::print(if args.json { r#"{"installed":false}"# } else { &words });
            ExitCode::from(3)
        }
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn look(name: &str) -> anyhow::Result<Option<Report>> {
    let Some(service) = Scm::connect_to_look()?.open_to_look(name)? else { return Ok(None) };
    let (status, setup) = (service.status()?, service.config()?);
    let layout = Layout::new(name, setup.image.clone())?;
    let config = Config::load(&layout.config_file);
    let state = AgentState::read(&layout.state_file).ok();
    let current = state.as_ref().filter(|state| Some(state.pid) == status.pid);
    let facts = fs_err::read(&setup.image).ok().and_then(|bytes| image::read_facts(&bytes).ok());
    Ok(Some(Report {
        installed: true,
        service_name: name.to_owned(),
        state: status.state.as_str(),
        pid: status.pid,
        exit_code: status.exit_code,
        service_code: status.service_code,
        auto_start: setup.start == StartType::Auto,
        restart_delays_ms: setup.restart_delays_ms,
        image: setup.image.display().to_string(),
        installed_version: facts.map(|facts| facts.version.to_string()),
        running_version: current.map(|state| state.version.clone()),
        server: config.as_ref().ok().map(|config| config.server.to_string()),
        agent_id: config.as_ref().ok().map(|config| config.agent_id.to_string()),
        config_error: config.err().map(|error| crate::words(&error)),
        connected: current.is_some_and(|state| state.connected),
        since: current.map(|state| state.since),
        last_error: state.and_then(|state| state.last_error).map(|error| error.text),
        update: update::last_report(&layout),
    }))
}

fn in_words(report: &Report) -> String {
    let unknown = || "unknown".to_owned();
    let mut lines = vec![format!(
        "{}: {}{}",
        report.service_name,
        report.state,
        report.pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
    )];
    lines.push(format!(
        "installed: {} at {}",
        report.installed_version.clone().unwrap_or_else(unknown),
        report.image
    ));
    lines.push(format!("starts with the PC: {}", if report.auto_start { "yes" } else { "no" }));
    if let Some(error) = &report.config_error {
        lines.push(format!("config: {error}"));
    }
    if let (Some(server), Some(agent_id)) = (&report.server, &report.agent_id) {
        lines.push(format!("server: {server} as {agent_id}"));
    }
    match (report.connected, &report.since, &report.last_error) {
        (true, Some(since), _) => lines.push(format!("connected since {since}")),
        (_, _, Some(error)) => lines.push(format!("not connected: {error}")),
        (_, _, None) => lines.push("not connected".to_owned()),
    }
    match &report.update {
        None => lines.push("no update yet".to_owned()),
        Some(update) => {
            let why = update.failure.as_ref().map(|failure| format!(": {}", failure.detail));
            lines.push(format!(
                "last update: {} to {}, {}{}",
                update.from_version,
                update.version,
                update.phase,
                why.unwrap_or_default()
            ));
        }
    }
    lines.join("\n")
}
