//! Preflight: the candidate proves beside the old version that it works on this PC. Here are both sides of it: what an
//! executable says of itself (`kenny-agent preflight`), and the old version that runs it and judges.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use kenny_core::image;
use kenny_core::update::{Journal, Reach};
use kenny_proto::update::Failure;
use kenny_proto::{Arch, FailureKind, Os, PROTOCOL};
use serde::{Deserialize, Serialize};
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use super::files::fail;
use super::probe::{Answer, Probe};
use crate::config::Config;
use crate::output::{Capture, Captured, decode, tail};
use crate::platform::{self, ProcessTree};

/// How long a candidate may take: a virus scanner that sees it for the first time takes seconds.
const LIMIT: Duration = Duration::from_mins(1);
/// How long a candidate that cannot be started is tried again, where a virus scanner holds it.
const HELD: Duration = Duration::from_secs(10);
/// Between two such tries.
const HELD_PAUSE: Duration = Duration::from_millis(50);
/// How long output may still come once the candidate has ended.
const LINGER: Duration = Duration::from_secs(1);
/// Bytes kept of each output; what is wanted is one line.
const KEPT: usize = 64 * 1024;

/// The exit code of an executable or a config that is of no use here.
pub const EXIT_UNFIT: u8 = 2;
/// The exit code of one that is fit and did not reach the server.
pub const EXIT_NO_SERVER: u8 = 5;

/// What an executable says of itself on this PC: one line of JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Its version.
    pub version: String,
    /// The protocol that it speaks.
    pub protocol: String,
    /// The operating system that it is for.
    pub os: Os,
    /// The machine's architecture, as it sees it.
    pub arch: Arch,
    /// What is wrong with the executable or the config, in words.
    pub problem: Option<String>,
    /// How it found the server; absent where it could not ask.
    pub server: Option<ServerSaid>,
    /// More of that, in words.
    pub detail: Option<String>,
}

/// How an executable found the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerSaid {
    /// It would accept this agent.
    Accepted,
    /// It is there and does not say more, as one of 0.2.
    Reachable,
    /// It is there and has too much to do.
    Busy,
    /// It does not know this agent, its token or its key.
    Refused,
    /// Nobody answered.
    Unreachable,
}

impl ServerSaid {
    const fn is_good(self) -> bool {
        match self {
            Self::Accepted | Self::Reachable | Self::Busy => true,
            Self::Refused | Self::Unreachable => false,
        }
    }
}

impl Said {
    /// This executable's own words, with the config of this file.
    pub async fn of_this(config_file: &Path) -> Self {
        let mut said = Self {
            version: crate::VERSION.to_owned(),
            protocol: PROTOCOL.to_owned(),
            os: platform::OS,
            arch: platform::native_arch(),
            problem: own_image_problem(),
            server: None,
            detail: None,
        };
        let config = match Config::load(config_file) {
            Ok(config) => config,
            Err(error) => {
                said.problem.get_or_insert(crate::words(&error));
                return said;
            }
        };
        match Probe::new(&config) {
            Ok(probe) => said.hear(&probe.ask().await),
            Err(error) => {
                said.problem.get_or_insert(format!("{error:#}"));
            }
        }
        said
    }

    fn hear(&mut self, answer: &Answer) {
        let (server, detail) = match answer {
            Answer::Accepted => (ServerSaid::Accepted, None),
            Answer::Present(status) => {
                (ServerSaid::Reachable, Some(format!("it answered {status}")))
            }
            Answer::Busy(status) => (ServerSaid::Busy, Some(format!("it answered {status}"))),
            Answer::Refused => {
                (ServerSaid::Refused, Some("it does not know this agent as it is here".to_owned()))
            }
            Answer::Unproven(why) | Answer::Unreachable(why) => {
                (ServerSaid::Unreachable, Some(why.clone()))
            }
        };
        (self.server, self.detail) = (Some(server), detail);
    }

    /// The exit code that goes with it: 0 where all is well.
    pub fn exit_code(&self) -> u8 {
        match (&self.problem, self.server) {
            (Some(_), _) => EXIT_UNFIT,
            (None, Some(server)) if server.is_good() => 0,
            (None, Some(_) | None) => EXIT_NO_SERVER,
        }
    }

    /// For people.
    pub fn in_words(&self) -> String {
        let mut lines = vec![format!(
            "kenny-agent {} for {} {}, protocol {}",
            self.version, self.os, self.arch, self.protocol
        )];
        lines.push(match &self.problem {
            None => "executable and config are fine".to_owned(),
            Some(problem) => format!("of no use on this PC: {problem}"),
        });
        let detail = self.detail.as_deref().map(|detail| format!(" ({detail})"));
        let server = match self.server {
            Some(ServerSaid::Accepted) => "the server would accept this agent",
            Some(ServerSaid::Reachable) => "the server is there",
            Some(ServerSaid::Busy) => "the server is there and busy",
            Some(ServerSaid::Refused) => "the server refuses this agent",
            Some(ServerSaid::Unreachable) => "the server cannot be reached",
            None => "the server was not asked",
        };
        lines.push(format!("{server}{}", detail.unwrap_or_default()));
        lines.join("\n")
    }
}

fn own_image_problem() -> Option<String> {
    let bytes = std::env::current_exe().and_then(fs_err::read);
    match bytes.map(|bytes| image::read_facts(&bytes)) {
        Err(error) => Some(format!("this executable cannot be read: {error}")),
        Ok(Err(error)) => Some(format!("this executable does not say what it is: {error}")),
        Ok(Ok(facts)) if facts.version.to_string() != crate::VERSION => {
            Some(format!("this executable says that it is {}", facts.version))
        }
        Ok(Ok(_)) => None,
    }
}

/// What a candidate left behind.
#[derive(Debug)]
enum Ended {
    /// It ended, with this exit code.
    With { code: Option<i32>, stdout: String, stderr: String },
    /// It had to be ended.
    Not { last_words: Option<String> },
}

/// Runs a candidate beside this version, with everything that it starts, and ends what does not end. The outer error is
/// this PC's: it could not be started.
async fn run(candidate: &Path, config_file: &Path, limit: Duration) -> std::io::Result<Ended> {
    let mut command = Command::new(candidate);
    command
        .args(["preflight", "--json", "--config"])
        .arg(config_file)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    if let Some(folder) = candidate.parent() {
        command.current_dir(folder);
    }
    platform::without_window(&mut command);
    let began = Instant::now();
    let (mut child, tree) = loop {
        match ProcessTree::spawn(&mut command) {
            Err(error) if platform::is_in_use(&error) && began.elapsed() < HELD => {
                sleep(HELD_PAUSE).await;
            }
            spawned => break spawned?,
        }
    };
    let stdout = Capture::start(child.stdout.take(), KEPT);
    let stderr = Capture::start(child.stderr.take(), KEPT);
    let ended = timeout(limit, child.wait()).await;
    tree.kill();
    let until = Instant::now() + LINGER;
    let text = |captured: Captured| decode(&captured.bytes);
    let (stdout, stderr) = (text(stdout.finish(until).await), text(stderr.finish(until).await));
    let Ok(status) = ended else {
        // Its image is in use until it is gone for good.
        drop(timeout(LINGER, child.wait()).await);
        return Ok(Ended::Not { last_words: last_words(&stdout, &stderr) });
    };
    Ok(Ended::With { code: status?.code(), stdout, stderr })
}

fn last_words(stdout: &str, stderr: &str) -> Option<String> {
    tail(stderr).or_else(|| tail(stdout)).map(str::to_owned)
}

/// Lets the candidate of this journal prove itself. `reach` says whether this version reaches the server, and is asked
/// only where the candidate did not.
pub async fn prove(
    candidate: &Path,
    config_file: &Path,
    journal: &Journal,
) -> Result<Option<String>, Failure> {
    prove_within(candidate, config_file, journal, LIMIT).await
}

async fn prove_within(
    candidate: &Path,
    config_file: &Path,
    journal: &Journal,
    limit: Duration,
) -> Result<Option<String>, Failure> {
    let ended = run(candidate, config_file, limit).await;
    let ended = ended
        .map_err(|error| unfit(format!("the new version could not be started: {error}"), None))?;
    match ended {
        Ended::With { code, stdout, stderr } => judge(code, &stdout, &stderr, journal),
        Ended::Not { last_words } => {
            let detail = format!(
                "the new version did not answer within {} s and was ended",
                limit.as_secs()
            );
            Err(unfit(detail, last_words))
        }
    }
}

/// The verdict on what it said; words where it is fit and did not reach the server, for that says nothing yet.
fn judge(
    code: Option<i32>,
    stdout: &str,
    stderr: &str,
    journal: &Journal,
) -> Result<Option<String>, Failure> {
    let words = || last_words(stdout, stderr);
    let line = stdout.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let Ok(said) = serde_json::from_str::<Said>(line) else {
        let code = code.map_or("no exit code".to_owned(), |code| format!("exit code {code}"));
        let detail = format!("the new version did not say how it is on this PC ({code})");
        return Err(unfit(detail, words()));
    };
    if let Some(problem) = said.problem {
        return Err(unfit(format!("the new version is of no use on this PC: {problem}"), None));
    }
    if said.version != journal.version.to_string() {
        let detail = format!(
            "the new version says that it is {}, the request names {}",
            said.version, journal.version
        );
        return Err(unfit(detail, None));
    }
    if (said.os, said.arch) != (platform::OS, platform::native_arch()) {
        let detail = format!("the new version is for {} {}", said.os, said.arch);
        return Err(unfit(detail, None));
    }
    let numbers: Vec<_> = said.protocol.split('.').map(str::parse::<u32>).collect();
    if numbers.len() != 2 || numbers.iter().any(Result::is_err) {
        return Err(unfit(
            format!("the new version speaks the protocol `{}`", said.protocol),
            None,
        ));
    }
    let good = said.server.is_some_and(ServerSaid::is_good);
    match (code, good) {
        (Some(0), true) => Ok(None),
        (Some(code), false) if code == i32::from(EXIT_NO_SERVER) => {
            Ok(Some(said.detail.unwrap_or_else(|| "it does not say why".to_owned())))
        }
        (code, _) => {
            let code = code.map_or("no exit code".to_owned(), |code| format!("exit code {code}"));
            let detail =
                format!("the new version says that it is well here and ended otherwise ({code})");
            Err(unfit(detail, words()))
        }
    }
}

/// The verdict on a version that is fit and did not reach the server: what the old version finds decides.
pub fn without_server(why: &str, reach: Reach) -> Failure {
    match reach {
        Reach::Reachable => unfit(
            format!("the new version does not reach the server, as this one does: {why}"),
            None,
        ),
        Reach::Busy => fail(
            FailureKind::Network,
            format!("the server is busy, and the new version did not get through: {why}"),
        ),
        Reach::Unreachable => fail(
            FailureKind::Network,
            format!("neither the new version nor this one reaches the server: {why}"),
        ),
    }
}

fn unfit(detail: String, last_words: Option<String>) -> Failure {
    let detail = match last_words {
        None => detail,
        Some(words) => format!("{detail}; its last words: {words}"),
    };
    fail(FailureKind::Preflight, detail)
}

#[cfg(test)]
#[cfg(unix)]
#[path = "preflight_tests.rs"]
mod tests;
