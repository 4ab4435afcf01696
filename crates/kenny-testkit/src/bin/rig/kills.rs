//! The kill matrix: at every journaled step of an update the updater, the agent, or the whole machine is killed, and
//! each time an agent has to come back, verified, with a true outcome at the server.
//!
//! The product has no hooks for this: the journal is read as fast as it can be, and what is to die is killed when the
//! wanted step appears. The step that the journal stands at after the kill is the one that counts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures_util::{StreamExt as _, stream};
use kenny_proto::UpdateId;
use kenny_proto::api::{Update, UpdateState};
use kenny_testkit::client::pretty;
use kenny_testkit::{Machine, eventually, process};
use serde_json::Value;

use crate::cases::updates::updater_is_gone;
use crate::live::Options;
use crate::site::{SOON, Site};

/// How long one look at the journal may be after the one before.
const LOOK: Duration = Duration::from_micros(200);
/// How long the service manager would wait before it starts a service again that died; Wine's does not, so the rig does.
const RESTART: Duration = Duration::from_secs(1);
/// How long a new version may take to be accepted here; operators' agents have two minutes.
const START_TIMEOUT_S: &str = "4";
/// How often a step that goes by too quickly is tried to be hit.
const TRIES: u32 = 3;

/// Who dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    /// The updater's process.
    Updater,
    /// The agent's process.
    Agent,
    /// Every process of the machine; then it boots again.
    Machine,
}

/// Kills on one machine, one after the other.
struct Series {
    name: &'static str,
    victim: Victim,
    /// The bad candidate that is updated to; the other good version where there is none.
    failing: Option<&'static str>,
    /// As the journal spells them.
    steps: &'static [&'static str],
}

/// Every series. A version that fails three times is held, so there are at most three kills of one bad version.
const ALL: &[Series] = &[
    Series {
        name: "kill-updater",
        victim: Victim::Updater,
        failing: None,
        steps: &["staging", "staged", "stopping", "replacing", "starting", "watching"],
    },
    Series {
        name: "kill-agent",
        victim: Victim::Agent,
        failing: None,
        steps: &[
            "accepted",
            "downloading",
            "verifying",
            "preflight",
            "staging",
            "staged",
            "stopping",
            "watching",
        ],
    },
    Series {
        name: "power-cut",
        victim: Victim::Machine,
        failing: None,
        steps: &[
            "accepted",
            "downloading",
            "verifying",
            "preflight",
            "staging",
            "staged",
            "stopping",
            "replacing",
            "starting",
            "watching",
        ],
    },
    Series {
        name: "kill-updater-exits",
        victim: Victim::Updater,
        failing: Some("exits"),
        steps: &["starting", "restoring", "reviving"],
    },
    Series {
        name: "power-cut-exits",
        victim: Victim::Machine,
        failing: Some("exits"),
        steps: &["starting", "restoring", "reviving"],
    },
    Series {
        name: "kill-updater-never-connects",
        victim: Victim::Updater,
        failing: Some("never-connects"),
        steps: &["watching", "restoring", "reviving"],
    },
    Series {
        name: "power-cut-never-connects",
        victim: Victim::Machine,
        failing: Some("never-connects"),
        steps: &["watching", "restoring", "reviving"],
    },
    Series {
        name: "kill-agent-crashes-after-5",
        victim: Victim::Agent,
        failing: Some("crashes-after-5"),
        steps: &["staged", "watching", "watching"],
    },
    Series {
        name: "power-cut-breaks-config",
        victim: Victim::Machine,
        failing: Some("breaks-config"),
        steps: &["starting", "watching", "restoring"],
    },
    Series {
        name: "kill-updater-hangs",
        victim: Victim::Updater,
        failing: Some("hangs"),
        steps: &["watching", "restoring", "reviving"],
    },
    Series {
        name: "power-cut-hangs",
        victim: Victim::Machine,
        failing: Some("hangs"),
        steps: &["watching", "restoring", "reviving"],
    },
];

/// What the matrix came to.
pub struct Matrix {
    kills: u32,
    recovered: u32,
    hits: BTreeMap<String, u32>,
    /// What did not recover, with what a person would look at.
    pub failures: Vec<String>,
}

/// True when a word chooses some of the matrix.
pub fn is_series(word: &str) -> bool {
    ALL.iter().any(|series| series.name.contains(word))
}

/// Runs the matrix `rounds` times; two machines at a time.
pub async fn run(options: &Options, rounds: usize) -> Result<Matrix> {
    let series = ALL
        .iter()
        .filter(|series| series.victim != Victim::Machine || Machine::CAN_REBOOT)
        .filter(|series| {
            options.only.is_empty()
                || options.only.iter().any(|word| word == "kills" || series.name.contains(word))
        });
    let mut matrix = Matrix { kills: 0, recovered: 0, hits: BTreeMap::new(), failures: Vec::new() };
    for _ in 0..rounds {
        let mut done: Vec<(&Series, Result<Matrix>)> = stream::iter(series.clone())
            .map(|series| async move { (series, run_series(options, series).await) })
            .buffer_unordered(options.jobs.max(1))
            .collect()
            .await;
        for (series, outcome) in done.drain(..) {
            match outcome {
                Ok(part) => matrix.add(part),
                Err(error) => matrix.failures.push(format!("{}: {error:#}", series.name)),
            }
        }
    }
    Ok(matrix)
}

impl Matrix {
    fn add(&mut self, other: Self) {
        self.kills += other.kills;
        self.recovered += other.recovered;
        self.failures.extend(other.failures);
        for (step, hits) in other.hits {
            *self.hits.entry(step).or_default() += hits;
        }
    }

    /// True when there were kills, and each was recovered from.
    pub fn is_good(&self) -> bool {
        self.kills > 0 && self.recovered == self.kills && self.failures.is_empty()
    }
}

impl std::fmt::Display for Matrix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "kills: recovered {} of {} (", self.recovered, self.kills)?;
        for (at, (step, hits)) in self.hits.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{step} {hits}")?;
        }
        f.write_str(")")
    }
}

async fn run_series(options: &Options, series: &Series) -> Result<Matrix> {
    let site = Site::create(&options.assets, series.name).await?;
    let mut matrix = Matrix { kills: 0, recovered: 0, hits: BTreeMap::new(), failures: Vec::new() };
    match kill_in_turn(&site, options, series, &mut matrix).await {
        Ok(()) => site.close().await?,
        Err(error) => {
            matrix.failures.push(format!("{}: {error:#}\n{}", series.name, site.evidence()));
        }
    }
    println!("{:9} {:28} {} of {}", "kills", series.name, matrix.recovered, matrix.kills);
    Ok(matrix)
}

async fn kill_in_turn(
    site: &Site,
    options: &Options,
    series: &Series,
    matrix: &mut Matrix,
) -> Result<()> {
    site.install_with(&["--start-timeout-secs", START_TIMEOUT_S]).await?;
    for agent in [&site.assets.old, &site.assets.new] {
        site.client().add_release(agent).await?;
    }
    let bad = match series.failing {
        Some(failing) => {
            let release = options.bad(failing)?;
            Some((site.client().add_release(release).await?.release.version, release.clone()))
        }
        None => None,
    };
    for step in series.steps {
        // A bad version has three tries in all.
        let tries = if bad.is_some() { 1 } else { TRIES };
        for _ in 0..tries {
            let hit = kill_once(site, series.victim, bad.as_ref(), step, &mut matrix.kills)
                .await
                .with_context(|| format!("{:?} killed at {step}", series.victim))?;
            // Nobody died: the step went by before its victim was there.
            let Some(hit) = hit else { continue };
            matrix.recovered += 1;
            let reached = hit == *step;
            *matrix.hits.entry(hit).or_default() += 1;
            if reached {
                break;
            }
        }
    }
    Ok(())
}

/// Updates, kills at the step, and waits for the recovery. Returns the step that the
/// journal really stood at, where somebody died.
async fn kill_once(
    site: &Site,
    victim: Victim,
    bad: Option<&(String, PathBuf)>,
    step: &str,
    kills: &mut u32,
) -> Result<Option<String>> {
    let (old, new) = (site.assets.old_version(), site.assets.new_version());
    let runs = site.client().online(&site.agent, None, SOON).await?.version;
    updater_is_gone(site).await?;
    let wanted = match bad {
        Some((version, _)) => version.clone(),
        None if runs.as_deref() == Some(new.as_str()) => old.clone(),
        None => new.clone(),
    };
    let last = journal(site).map(|(id, _)| id);
    let killer = Killer::arm(site, victim, step, last);
    let update = site.client().update(&site.agent, &wanted, true).await?;
    let killed = killer.wait().await?;
    let hit = journal(site).map_or_else(|| "none".to_owned(), |(_, step)| step);
    if killed {
        *kills += 1;
        bring_back(site, victim).await?;
    }
    let update = outcome(site, update.id, victim).await?;
    check(site, &update, bad.map(|(_, release)| release.as_path())).await?;
    Ok(killed.then_some(hit))
}

/// What the service manager does on a real PC.
async fn bring_back(site: &Site, victim: Victim) -> Result<()> {
    let name = match victim {
        Victim::Machine => return site.machine.reboot().await,
        Victim::Updater => site.updater(),
        Victim::Agent => site.machine.service_name().to_owned(),
    };
    tokio::time::sleep(RESTART).await;
    // Wine says that it runs as long as its process is not looked for; a service that is gone needs nothing.
    drop(site.machine.start_service(&name).await?);
    Ok(())
}

/// Waits for the update's outcome at the server. An agent that dies while nobody watches it is started again, as the
/// service manager would.
async fn outcome(site: &Site, update: UpdateId, victim: Victim) -> Result<Update> {
    let began = Instant::now();
    loop {
        let now = site.client().update_by_id(update).await?;
        if now.state.is_final() {
            return Ok(now);
        }
        if began.elapsed() > SOON {
            bail!("no outcome within {} s:\n{}", SOON.as_secs(), pretty(&now));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        let idle =
            site.service_process().is_none() && site.machine.processes("run-updater").is_empty();
        if victim != Victim::Machine && idle {
            drop(site.machine.start_service(site.machine.service_name()).await?);
        }
    }
}

/// A verified agent runs, the server's outcome is true, and nothing of the update is left.
async fn check(site: &Site, update: &Update, bad: Option<&Path>) -> Result<()> {
    let agent = site.client().online(&site.agent, None, SOON).await?;
    updater_is_gone(site).await?;
    let active = fs_err::read(site.active())?;
    let (old, new) = (fs_err::read(&site.assets.old)?, fs_err::read(&site.assets.new)?);
    ensure!(active == old || active == new, "the active executable is neither version");
    let running = if active == old { site.assets.old_version() } else { site.assets.new_version() };
    ensure!(agent.version.as_ref() == Some(&running), "{running} is active, and {agent:?} runs");
    let reached = update.version == running;
    let told = update.state == UpdateState::Succeeded;
    ensure!(reached == told, "{running} runs, and the server says:\n{}", pretty(update));
    ensure!(told || update.failure.is_some(), "no reason:\n{}", pretty(update));
    if bad.is_some() {
        ensure!(!told, "a bad version succeeded:\n{}", pretty(update));
    }
    serde_json::from_slice::<Value>(&fs_err::read(site.config())?)
        .context("the config is broken")?;
    eventually("one process of the agent", SOON, async || {
        Ok((site.machine.processes("run-service").len() == 1).then_some(()))
    })
    .await
}

/// Update and step that the journal stands at.
fn journal(site: &Site) -> Option<(String, String)> {
    read_journal(&site.machine.state_dir().join("journal.json"))
}

fn read_journal(file: &Path) -> Option<(String, String)> {
    let text = std::fs::read_to_string(file).ok()?;
    let journal: Value = serde_json::from_str(text.lines().next()?).ok()?;
    Some((journal["update_id"].as_str()?.to_owned(), journal["step"].as_str()?.to_owned()))
}

/// Waits for the step on a thread of its own and kills.
struct Killer {
    thread: thread::JoinHandle<bool>,
    over: Arc<AtomicBool>,
}

impl Killer {
    fn arm(site: &Site, victim: Victim, step: &str, last: Option<String>) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let given_up = Arc::clone(&over);
        let file = site.machine.state_dir().join("journal.json");
        let lister = site.machine.lister();
        let step = step.to_owned();
        let needle = match victim {
            Victim::Updater => "run-updater",
            Victim::Agent => "run-service",
            // Not Wine's server, which stands for the hardware: it writes the registry down as it goes.
            Victim::Machine => ".exe",
        };
        let thread = thread::spawn(move || {
            let mut victims = lister(needle);
            let mut seen = String::new();
            while !given_up.load(Ordering::Relaxed) {
                if let Some((update, now)) = read_journal(&file)
                    && Some(&update) != last.as_ref()
                {
                    let is_final = matches!(now.as_str(), "committed" | "rolled_back" | "failed");
                    if is_final && now != step {
                        return false;
                    }
                    if now == step {
                        if victims.is_empty() {
                            victims = lister(needle);
                        }
                        for victim in &victims {
                            // It may have ended by itself.
                            drop(process::end(*victim));
                        }
                        return !victims.is_empty();
                    }
                    // Looking for processes takes milliseconds: before the step, not at it.
                    if now != seen && matches!(now.as_str(), "staged" | "watching") {
                        victims = lister(needle);
                    }
                    seen = now;
                }
                thread::sleep(LOOK);
            }
            false
        });
        Self { thread, over }
    }

    /// Waits for the kill; false when the step never came.
    async fn wait(self) -> Result<bool> {
        let began = Instant::now();
        while !self.thread.is_finished() && began.elapsed() < SOON {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the killer panicked"))
    }
}
