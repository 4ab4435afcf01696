//! `status`: what is installed and how it is.

use std::path::PathBuf;
use std::process::ExitCode;

use jiff::Timestamp;
use kenny_core::image;
use kenny_core::update::{BUDGET, Journal, Quarantined};
use kenny_proto::frames::Section;
use kenny_proto::policy::Pause;
use kenny_proto::{PublicKey, UpdateReport};
use serde::Serialize;

use super::scm::{Scm, ServiceState, StartType};
use crate::cli::StatusArgs;
use crate::config::Config;
use crate::layout::Layout;
use crate::policy::{Policy, PolicyConfig};
use crate::state::AgentState;
use crate::trust::Trust;
use crate::update::{self, Kept, words};

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
    /// How it proves who it is: `key` or `legacy`.
    identity: Option<&'static str>,
    /// The server's key that was pinned.
    server_key: Option<PublicKey>,
    config_error: Option<String>,
    connected: bool,
    since: Option<Timestamp>,
    last_error: Option<String>,
    /// Who has the say over updates, as the telemetry tells it.
    trust: Section,
    /// The last update, with each step and its time.
    update: Option<UpdateReport>,
    /// What is wrong with the journal, where it cannot be used.
    update_problem: Option<String>,
    /// The version that the last update replaced, for `rollback`.
    previous: Option<Kept>,
    /// Versions that failed on this PC.
    quarantine: Vec<Quarantined>,
    /// Somebody here paused it.
    paused: Option<Pause>,
    /// What this PC never allows.
    refused_tools: Vec<String>,
    /// What the updater's service does; absent where there is none, as when no update is open.
    updater: Option<&'static str>,
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
    let scm = Scm::connect_to_look()?;
    let Some(service) = scm.open_to_look(name)? else { return Ok(None) };
    let (status, setup) = (service.status()?, service.config()?);
    let layout = Layout::new(name, setup.image.clone())?;
    let config = Config::load(&layout.config_file);
    let policy = config.as_ref().map(|config| config.policy.clone()).unwrap_or_default();
    let policy = Policy::new(&policy, layout.pause_file.clone());
    let state = AgentState::read(&layout.state_file).ok();
    let current = state.as_ref().filter(|state| Some(state.pid) == status.pid);
    let updater = scm.open_to_look(&update::updater_service(name))?;
    let updater = updater.map(|updater| updater.status()).transpose()?;
    let (journal, update_problem) = match update::journal(&layout) {
        Ok(journal) => (journal, None),
        Err(problem) => (None, Some(problem.to_string())),
    };
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
        identity: config.as_ref().ok().map(|config| match config.identity {
            Some(_) => "key",
            None => "legacy",
        }),
        server_key: config
            .as_ref()
            .ok()
            .and_then(|config| config.identity.as_ref())
            .map(|identity| identity.server_key),
        trust: Trust::new(&layout, config.as_ref().ok().cloned()).section(Timestamp::now()),
        config_error: config.err().map(|error| crate::words(&error)),
        connected: current.is_some_and(|state| state.connected),
        since: current.map(|state| state.since),
        last_error: state.and_then(|state| state.last_error).map(|error| error.text),
        update: journal.as_ref().map(|journal| update::report(&layout, journal)),
        update_problem,
        previous: update::kept(&layout),
        quarantine: journal.as_ref().map_or_else(Vec::new, quarantined),
        paused: policy.pause(Timestamp::now()),
        refused_tools: policy.refused_tools().to_vec(),
        updater: updater.map(|updater| updater.state.as_str()),
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
    match report.server_key {
        Some(key) => lines.push(format!("identity: a key of this PC; trusts the server key {key}")),
        None if report.identity.is_some() => lines.push(
            "identity: a token (legacy); an invitation of the server's operator gives it a key"
                .to_owned(),
        ),
        None => {}
    }
    match (report.connected, &report.since, &report.last_error) {
        (true, Some(since), _) => lines.push(format!("connected since {}", words::time(*since))),
        (_, _, Some(error)) => lines.push(format!("not connected: {error}")),
        (_, _, None) => lines.push("not connected".to_owned()),
    }
    let policy = PolicyConfig { refused_tools: report.refused_tools.clone() };
    let policy = Policy::new(&policy, PathBuf::new());
    lines.extend(policy.in_words(report.paused.as_ref()));
    lines.push(format!("trust: {}", report.trust.summary));
    lines.extend(update_in_words(report));
    lines.join("\n")
}

fn quarantined(journal: &Journal) -> Vec<Quarantined> {
    journal.quarantine.entries().to_vec()
}

fn update_in_words(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    match (&report.update, &report.update_problem) {
        (_, Some(problem)) => {
            lines.push(format!(
                "last update: what was written down of it cannot be used: {problem}"
            ));
        }
        (None, None) => lines.push("no update yet".to_owned()),
        (Some(update), None) => {
            let what = if update.rollback { "last update: back" } else { "last update:" };
            lines.push(format!("{what} from {} to {}", update.from_version, update.version));
            lines.extend(update.history.iter().map(|at| format!("  {}", words::moment(at))));
            if let Some(failure) = &update.failure {
                lines.push(format!("  it did not work out: {}", failure.detail));
            }
        }
    }
    if let Some(updater) = report.updater {
        lines.push(format!("an update is being finished in the background ({updater})"));
    }
    if let Some(kept) = &report.previous {
        let runs = report.installed_version.as_ref() == Some(&kept.version);
        lines.push(if runs {
            format!("kept: {}, the same that is installed", kept.version)
        } else {
            format!("kept: {} (`kenny-agent rollback` goes back to it)", kept.version)
        });
    }
    lines.extend(report.quarantine.iter().map(|entry| {
        let times = match entry.failures {
            1 => "once".to_owned(),
            failures => format!("{failures} times"),
        };
        let last = words::time(entry.last_at);
        let next = if entry.failures < BUDGET {
            "it may be tried again"
        } else {
            "it is not tried again before an operator allows it"
        };
        format!("{} failed on this PC {times}, last {last}; {next}", entry.version)
    }));
    lines
}
