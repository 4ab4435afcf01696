//! `cargo xtask mutants`: the engine is broken on purpose, one break after the other, and the enumeration must notice
//! each of them. A break that nothing notices is a hole in the suite.
//!
//! It works on a copy of the sources under `target/mutants`, never on the checkout.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::arguments::Arguments;
use crate::process::{self, Step};
use crate::workspace;

/// One break: in this file, this text becomes that one.
struct Mutant {
    name: &'static str,
    file: &'static str,
    find: &'static str,
    replace: &'static str,
}

const STAGE: &str = "crates/kenny-core/src/update/stage.rs";
const FINISH: &str = "crates/kenny-core/src/update/finish.rs";
const ENGINE: &str = "crates/kenny-core/src/update/engine.rs";
const WATCH: &str = "crates/kenny-core/src/update/watch.rs";
const STEP: &str = "crates/kenny-core/src/update/step.rs";

const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "previous is not flushed",
        file: STAGE,
        find: "retry_locked(host, |host| host.flush(File::PreviousNew))?;",
        replace: "",
    },
    Mutant {
        name: "the swap comes without previous being kept",
        file: STAGE,
        find: "if host.digest(File::Previous)? != Some(journal.from_sha256) {",
        replace: "if false {",
    },
    Mutant {
        name: "the kept config is not flushed",
        file: STAGE,
        find: "host.flush(File::ConfigKeptNew)?;",
        replace: "",
    },
    Mutant {
        name: "that a reboot starts the updater is not on the disk",
        file: STAGE,
        find: "host.flush_services()?;",
        replace: "",
    },
    Mutant {
        name: "the candidate is not verified after the download",
        file: STEP,
        find: "to(Step::Verifying, Effect::Verify)",
        replace: "to(Step::Staging, Effect::StartUpdater)",
    },
    Mutant {
        name: "preflight is left out",
        file: STEP,
        find: "to(Step::Preflight, Effect::Preflight)",
        replace: "to(Step::Staging, Effect::StartUpdater)",
    },
    Mutant {
        name: "a version is committed without proof",
        file: WATCH,
        find: "if self.accepted_for_ms >= limits.probation_ms {",
        replace: "if limits.probation_ms > 0 {",
    },
    Mutant {
        name: "a network that is down is blamed on the version",
        file: ENGINE,
        find: "Seen::Offline(host.reach())",
        replace: "Seen::Offline(super::watch::Reach::Reachable)",
    },
    Mutant {
        name: "a version may die for ever",
        file: STEP,
        find: "if deaths < DEATHS {",
        replace: "if deaths > 0 {",
    },
    Mutant {
        name: "steps of the updater are not journaled",
        file: FINISH,
        find: "if next != journal",
        replace: "if next.step.is_final()",
    },
    Mutant {
        name: "a failed swap is not rolled back",
        file: STEP,
        find: "journal.failed_at(Step::Restoring, failure, now), Effect::Restore",
        replace: "journal.failed_at(Step::Failed, failure, now), Effect::CleanUp",
    },
    Mutant {
        name: "the restored executable is not flushed",
        file: FINISH,
        find: "host.flush(File::ActiveNew)?;",
        replace: "",
    },
    Mutant {
        name: "the config is not restored",
        file: FINISH,
        find: "if journal.config_sha256.is_some() && ",
        replace: "if false && ",
    },
    Mutant {
        name: "the service is not started after a rollback",
        file: STEP,
        find: "(Step::Restoring, Event::Restored) => to(Step::Reviving, Effect::Revive),",
        replace: "(Step::Restoring, Event::Restored) => to(Step::RolledBack, Effect::CleanUp),",
    },
    Mutant {
        name: "the service manager's restarts race the swap",
        file: FINISH,
        find: "    let _ = host.set_recovery(false);\n    match host.stop_agent(STOP_MS) {",
        replace: "    match host.stop_agent(STOP_MS) {",
    },
    Mutant {
        name: "the service manager's restarts stay off",
        file: ENGINE,
        find: "match host.set_recovery(true) {",
        replace: "match host.set_recovery(false) {",
    },
    Mutant {
        name: "an executable that something else runs is not renamed aside",
        file: FINISH,
        find: "first.refusal == Refusal::InUse && host.rename",
        replace: "first.refusal == Refusal::Full && host.rename",
    },
    Mutant {
        name: "a lost updater is not registered again",
        file: STEP,
        find: "                AtStart::RegisterUpdater\n",
        replace: "                AtStart::EnsureUpdater\n",
    },
];

/// `cargo xtask mutants [WORD...]`: all of them, or those whose names contain a word.
pub fn command(arguments: Arguments) -> Result<()> {
    let words = arguments.words()?;
    run(&words).map(|summary| println!("{summary}"))
}

/// Breaks the engine in each way; the error names the break that nothing noticed.
pub fn run(words: &[String]) -> Result<String> {
    let chosen: Vec<&Mutant> = MUTANTS
        .iter()
        .filter(|mutant| {
            words.is_empty() || words.iter().any(|word| mutant.name.contains(word.as_str()))
        })
        .collect();
    ensure!(!chosen.is_empty(), "no break has such a name");
    let folder = workspace::target().join("mutants");
    let copy = folder.join("checkout");
    copy_sources(&copy)?;
    let step = Step::begin("the engine as it is".to_owned());
    ensure!(holds(&copy, &folder)?, "the enumeration fails without any break");
    step.done();
    for mutant in &chosen {
        let step = Step::begin(format!("broken: {}", mutant.name));
        let path = copy.join(mutant.file);
        let source = fs_err::read_to_string(&path)?;
        if source.matches(mutant.find).count() != 1 {
            bail!("the break `{}` no longer fits {}", mutant.name, mutant.file);
        }
        fs_err::write(&path, source.replace(mutant.find, mutant.replace))?;
        let survived = holds(&copy, &folder);
        fs_err::write(&path, source)?;
        if survived? {
            bail!("nothing notices this break of the engine: {}", mutant.name);
        }
        step.done();
    }
    Ok(format!("mutants: {} of {} breaks of the engine were noticed", chosen.len(), chosen.len()))
}

/// The sources, as they are in the checkout now.
fn copy_sources(to: &Path) -> Result<()> {
    if to.exists() {
        fs_err::remove_dir_all(to)?;
    }
    fs_err::create_dir_all(to)?;
    for part in ["Cargo.toml", "Cargo.lock", "crates", "xtask", "clippy.toml"] {
        copy_all(&workspace::root().join(part), &to.join(part))?;
    }
    Ok(())
}

fn copy_all(from: &Path, to: &Path) -> Result<()> {
    if from.is_dir() {
        fs_err::create_dir_all(to)?;
        for entry in fs_err::read_dir(from)? {
            let path = entry?.path();
            let name = path.file_name().context("an entry has a name")?;
            copy_all(&path, &to.join(name))?;
        }
    } else {
        fs_err::copy(from, to)?;
    }
    Ok(())
}

/// True when the enumeration passes. A break that does not compile is none.
fn holds(copy: &Path, folder: &Path) -> Result<bool> {
    let target: PathBuf = folder.join("target");
    let cargo = |arguments: &[&str]| {
        let mut command = process::cargo();
        command
            .args(arguments)
            .current_dir(copy)
            .env("CARGO_TARGET_DIR", &target)
            .env("RUSTFLAGS", "-Awarnings");
        command
    };
    process::run(&mut cargo(&["build", "--quiet", "--package", "kenny-simulator"]))
        .context("the break does not compile")?;
    let output = Command::new(target.join("debug/enumerate"))
        .arg("--single")
        .output()
        .context("cannot start the enumeration")?;
    Ok(output.status.success())
}
