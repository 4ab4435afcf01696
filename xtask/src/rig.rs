//! Starts the test rig (`kenny-testkit`'s program `rig`) with everything that it needs built first: the live suite,
//! the bench of the downtime, and the demo.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use crate::agents::{self, AGENT, BAD_CANDIDATE, Target};
use crate::arguments::Arguments;
use crate::process::{Step, cargo, forget_cargo_run, hand_over, run, run_and_keep};
use crate::setup::{self, Scope};
use crate::workspace;

/// The ways in which candidates fail (`crates/kenny-testkit/bad-candidate` says what each does).
const FAILINGS: [&str; 7] = [
    "exits",
    "hangs",
    "never-connects",
    "crashes-after-5",
    "crashes-after-30",
    "fails-preflight",
    "breaks-config",
];

/// The build profile of agents that are only pushed around.
const PROFILE: &str = "agent-test";

/// What part of the live suite to run, and how.
#[derive(Debug, Default)]
pub struct LiveOptions {
    updates: Option<String>,
    jobs: Option<String>,
    rounds: Option<String>,
    cases: Vec<String>,
}

impl LiveOptions {
    /// Everything, and the kill matrix so often.
    pub fn with_rounds(rounds: u32) -> Self {
        Self { rounds: Some(rounds.to_string()), ..Self::default() }
    }
}

/// `cargo xtask live`.
pub fn live(mut arguments: Arguments) -> Result<()> {
    if arguments.flag("--native") && !workspace::ON_WINDOWS {
        bail!("--native runs the suite on a Windows machine; without it, Wine is used here");
    }
    let options = LiveOptions {
        updates: arguments.value("--updates")?,
        jobs: arguments.value("--jobs")?,
        rounds: arguments.value("--rounds")?,
        cases: arguments.words()?,
    };
    setup::ensure(Scope::WINDOWS)?;
    build_host()?;
    live_suite(&options).map(drop)
}

/// Builds the agents and runs the suite; the host's programs are there already. Returns the suite's summary.
pub fn live_suite(options: &LiveOptions) -> Result<Vec<String>> {
    let mut rig = rig_command("live", PROFILE)?;
    for failing in FAILINGS {
        rig.arg("--bad").arg(bad_candidate(failing)?);
    }
    for (name, value) in
        [("--updates", &options.updates), ("--jobs", &options.jobs), ("--rounds", &options.rounds)]
    {
        if let Some(value) = value {
            rig.args([name, value]);
        }
    }
    rig.args(&options.cases);
    let is_summary = |line: &str| {
        line.starts_with("live suite:")
            || line.starts_with("kills: ")
            || line.starts_with("offline ")
            || line.starts_with("request to online")
    };
    let (passed, summary) = run_and_keep(&mut rig, is_summary)?;
    if !passed {
        bail!("the live suite failed: {}", summary.join("; "));
    }
    Ok(summary)
}

/// `cargo xtask bench downtime|rollback|hostile|load`.
pub fn bench(mut arguments: Arguments) -> Result<()> {
    let what = arguments.word();
    match what.as_deref() {
        Some("hostile") => return hostile(arguments),
        Some("load") => return load(arguments),
        Some(_) | None => {}
    }
    let updates = arguments.value("--updates")?;
    let release = arguments.flag("--release");
    arguments.finish()?;
    let profile = if release { "release" } else { PROFILE };
    setup::ensure(Scope::WINDOWS)?;
    build_host()?;
    match what.as_deref() {
        Some("downtime") => {
            let mut rig = rig_command("downtime", profile)?;
            if let Some(updates) = &updates {
                rig.args(["--updates", updates]);
            }
            run(&mut rig)
        }
        Some("rollback") => {
            let mut rig = rig_command("rollback-times", profile)?;
            for failing in ["exits", "hangs", "never-connects"] {
                rig.arg("--bad").arg(bad_candidate(failing)?);
            }
            run(&mut rig)
        }
        Some(_) | None => bail!(
            "`downtime`, `rollback`, `hostile` and `load` can be measured: \
             cargo xtask bench downtime|rollback [--updates N] [--release], \
             cargo xtask bench hostile [--seconds N] [--agents N] [--attackers N], cargo xtask bench load [--release]"
        ),
    }
}

/// `cargo xtask bench hostile`: it needs no Windows.
fn hostile(mut arguments: Arguments) -> Result<()> {
    let mut wanted = Vec::new();
    for name in ["--seconds", "--agents", "--attackers"] {
        if let Some(value) = arguments.value(name)? {
            wanted.extend([name.to_owned(), value]);
        }
    }
    arguments.finish()?;
    setup::ensure(Scope::SIGNING)?;
    build_host()?;
    let mut rig = Command::new(workspace::host_program("rig"));
    forget_cargo_run(&mut rig);
    rig.current_dir(workspace::root())
        .args(["hostile", "--work"])
        .arg(workspace::target())
        .arg("--server")
        .arg(workspace::host_program("kenny-server"))
        .arg("--agent")
        .arg(workspace::host_program("kenny-agent"))
        .args(&wanted);
    run(&mut rig)
}

/// `cargo xtask bench load`: tests of the server that are left out elsewhere, because their numbers are the machine's.
fn load(mut arguments: Arguments) -> Result<()> {
    let release = arguments.flag("--release");
    arguments.finish()?;
    setup::ensure(Scope::HOST)?;
    let mut tests = cargo();
    // Of the whole workspace: one package alone would compile its dependencies with other features.
    tests.args(["test", "--workspace", "--lib"]);
    if release {
        tests.arg("--release");
    }
    tests.args(["scenarios::load::", "--", "--ignored", "--nocapture", "--test-threads", "1"]);
    run(&mut tests)
}

/// The candidate that fails in this way.
fn bad_candidate(failing: &str) -> Result<PathBuf> {
    agents::build(BAD_CANDIDATE, Target::Windows, &format!("9.0.0-{failing}"), PROFILE)
}

/// `cargo xtask demo`.
pub fn demo(mut arguments: Arguments) -> Result<()> {
    let once = arguments.flag("--once");
    arguments.finish()?;
    let step = Step::begin("looking at what this machine has");
    setup::ensure(Scope::WINDOWS)?;
    step.done();
    build_host()?;
    let mut rig = rig_command("demo", PROFILE)?;
    if once {
        rig.arg("--once");
    }
    hand_over(rig)
}

/// Builds server, command line and rig, with the features that the tests' build of the whole workspace has, so that
/// nothing is compiled twice.
fn build_host() -> Result<()> {
    let step = Step::begin("building the server, the command line and the rig");
    let mut command = cargo();
    command.arg("build");
    if workspace::ON_WINDOWS {
        // All but xtask, which runs and cannot be replaced there.
        command.args(["--workspace", "--bins", "--exclude", "xtask"]);
    } else {
        command.args(["--workspace", "--bins"]);
    }
    run(&mut command)?;
    step.done();
    Ok(())
}

/// The rig's command line with the two agents, which are built for it.
fn rig_command(command: &str, profile: &str) -> Result<Command> {
    let old = workspace::VERSION;
    let new = workspace::next_patch(old);
    let build = |version: &str| -> Result<PathBuf> {
        agents::build(AGENT, Target::Windows, version, profile)
    };
    let mut rig = Command::new(workspace::host_program("rig"));
    forget_cargo_run(&mut rig);
    rig.current_dir(workspace::root())
        .arg(command)
        .arg("--work")
        .arg(workspace::target())
        .arg("--server")
        .arg(workspace::host_program("kenny-server"))
        .arg("--cli")
        .arg(workspace::host_program("kenny"))
        .arg("--old")
        .arg(build(old)?)
        .arg("--new")
        .arg(build(&new)?);
    Ok(rig)
}
