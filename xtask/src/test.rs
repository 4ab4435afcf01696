//! `cargo xtask test`: every check there is, as stages that each say how they ended.

use std::time::Duration;

use anyhow::{Result, bail};

use crate::arguments::Arguments;
use crate::process::{Step, cargo, run, run_and_keep, seconds, which};
use crate::setup::{self, Scope};
use crate::{enumeration, fuzz, interop, rig, workspace};

/// How a stage ended well: the lines that its runner summed itself up with.
type Outcome = Result<Vec<String>>;

/// A stage that is still to come.
type ToDo = (&'static str, Box<dyn FnOnce() -> Outcome>);

/// A stage that passed.
struct Stage {
    name: &'static str,
    took: Duration,
    summary: Vec<String>,
}

/// `cargo xtask test [--quick | --all]`.
pub fn command(mut arguments: Arguments) -> Result<()> {
    let quick = arguments.flag("--quick");
    let all = arguments.flag("--all");
    arguments.finish()?;

    let scope =
        Scope { python: !quick, windows: !quick, fuzzing: !quick, browser: !quick, ..Scope::ALL };
    // One round of kills hits every step once; three show what comes now and then.
    let live_options =
        if all { rig::LiveOptions::with_rounds(3) } else { rig::LiveOptions::default() };
    let mut stages: Vec<ToDo> = vec![
        ("setup", Box::new(move || setup::ensure(scope).map(|()| Vec::new()))),
        ("format", Box::new(format)),
        (
            "lints",
            Box::new(|| {
                quietly(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])
            }),
        ),
        ("build", Box::new(|| quietly(&["build", "--workspace", "--all-targets"]))),
        ("tests", Box::new(tests)),
        ("doc tests", Box::new(|| watched(&["test", "--workspace", "--doc"]))),
    ];
    if !quick {
        stages.push(("enumeration", Box::new(enumeration::stage)));
    }
    if !quick && !workspace::ON_WINDOWS {
        stages.push(("browser", Box::new(browser)));
        stages.push(("interop", Box::new(interop::stage)));
        stages.push(("fuzz", Box::new(fuzz::stage)));
    }
    if !quick {
        stages.push(("live suite", Box::new(move || rig::live_suite(&live_options))));
    }
    if which("cargo-deny").is_some() {
        stages.push((
            "cargo deny",
            Box::new(|| quietly(&["deny", "check", "bans", "licenses", "sources"])),
        ));
    }

    let mut done = Vec::new();
    for (name, stage) in stages {
        let step = Step::begin(format!("stage: {name}"));
        match stage() {
            Ok(summary) => done.push(Stage { name, took: step.done(), summary }),
            Err(error) => {
                let took = step.elapsed();
                print_summary(&done);
                println!("FAILED  {name:12} {:>12}", seconds(took));
                bail!("the stage `{name}` failed: {error:#}");
            }
        }
    }
    print_summary(&done);
    let left_out = if quick {
        " (--quick: the enumeration, the browser, interop, fuzzing, Windows builds and the live suite were left out)"
    } else {
        ""
    };
    println!("all {} stages of kenny {} passed{left_out}", done.len(), workspace::VERSION);
    Ok(())
}

fn print_summary(stages: &[Stage]) {
    println!();
    for stage in stages {
        println!("passed  {:12} {:>12}", stage.name, seconds(stage.took));
        for line in &stage.summary {
            println!("            {line}");
        }
    }
}

fn quietly(arguments: &[&str]) -> Outcome {
    run(cargo().args(arguments))?;
    Ok(Vec::new())
}

fn format() -> Outcome {
    quietly(&["fmt", "--all", "--check"])?;
    quietly(&["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"])
}

fn tests() -> Outcome {
    if which("cargo-nextest").is_some() {
        watched(&["nextest", "run", "--workspace", "--all-targets", "--no-fail-fast"])
    } else {
        watched(&["test", "--workspace", "--all-targets", "--no-fail-fast"])
    }
}

/// The server's pages in Chromium: tests that are left out elsewhere because they need it.
fn browser() -> Outcome {
    // Of the whole workspace: one package alone would compile its dependencies with other features.
    watched(&["test", "--workspace", "--lib", "in_chromium", "--", "--ignored"])
}

/// Runs a test runner and keeps its own words on how it went.
fn watched(arguments: &[&str]) -> Outcome {
    let is_summary = |line: &str| {
        let line = line.trim_start();
        // A target without tests says nothing that anybody would look for.
        line.starts_with("Summary [")
            || (line.starts_with("test result:") && !line.contains(" 0 passed; 0 failed;"))
    };
    let (passed, summary) = run_and_keep(cargo().args(arguments), is_summary)?;
    if !passed {
        bail!("`cargo {}` failed: {}", arguments.join(" "), summary.join("; "));
    }
    Ok(summary)
}
