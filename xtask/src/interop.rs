//! `cargo xtask interop`: clients of The Update Framework that others wrote, against the real server.
//!
//! python-tuf comes from PyPI into an environment of its own below `target/`; nothing of the machine changes.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::arguments::Arguments;
use crate::process::{self, Step, cargo, output_of};
use crate::setup::{self, Scope};
use crate::workspace;

/// Exactly these: what they read is what is shown.
const PACKAGES: [&str; 2] = ["tuf==7.0.1", "securesystemslib[crypto]==1.6.0"];

const PIP: [&str; 5] = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];

/// `cargo xtask interop`.
pub fn command(arguments: Arguments) -> Result<()> {
    arguments.finish()?;
    setup::ensure(Scope::PYTHON)?;
    // The programs that the tests start.
    process::run(cargo().args(["build", "--workspace", "--bins"]))?;
    stage().map(drop)
}

/// Installs python-tuf where it is missing, and runs the tests that need it. Returns their summary.
pub fn stage() -> Result<Vec<String>> {
    let python = python_with_tuf()?;
    // Of the whole workspace: one package alone would compile its dependencies with other features.
    let mut tests = cargo();
    tests.args(["test", "--workspace", "--test", "signing", "--", "--ignored"]);
    tests.env("KENNY_TUF_PYTHON", &python);
    let (passed, summary) =
        process::run_and_keep(&mut tests, |line| line.starts_with("test result:"))?;
    ensure!(passed, "python-tuf does not take what the server signed: {}", summary.join("; "));
    Ok(summary)
}

fn python_with_tuf() -> Result<PathBuf> {
    let folder = workspace::target().join("python-tuf");
    let bin = folder.join(if workspace::ON_WINDOWS { "Scripts" } else { "bin" });
    let python = bin.join("python");
    let [tuf, _] = PACKAGES;
    let wanted = tuf.rsplit('=').next();
    let there = output_of(&python, &["-c", "import tuf, cryptography; print(tuf.__version__)"]);
    if there.as_deref().map(str::trim) == wanted {
        return Ok(python);
    }
    let step = Step::begin("python-tuf");
    process::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))
        .context("python3 with its module venv is needed (`cargo xtask setup` installs it)")?;
    process::run(Command::new(&python).args(PIP).args(PACKAGES)).context(
        "pip could not install python-tuf; it comes from PyPI, which has to be in reach",
    )?;
    step.done();
    Ok(python)
}
