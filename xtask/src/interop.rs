//! `cargo xtask interop`: clients of The Update Framework that others wrote, against the real server.
//!
//! python-tuf comes from PyPI into an environment of its own below `target/`; nothing of the machine changes.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::arguments::Arguments;
use crate::process::{self, Step, cargo, output_of};
use crate::workspace;

/// Exactly these: what they read is what is shown.
const PACKAGES: [&str; 2] = ["tuf==7.0.1", "securesystemslib[crypto]==1.6.0"];

/// Installs python-tuf where it is missing, and runs the tests that need it.
pub fn command(arguments: Arguments) -> Result<()> {
    arguments.finish()?;
    let python = python_with_tuf()?;
    let step = Step::begin("interop");
    process::run(cargo().args([
        "build",
        "--package",
        "kenny-server",
        "--package",
        "kenny",
        "--package",
        "kenny-agent",
    ]))?;
    process::run(
        cargo()
            .args(["test", "--package", "kenny-testkit", "--test", "signing", "--", "--ignored"])
            .env("KENNY_TUF_PYTHON", &python),
    )?;
    step.done();
    Ok(())
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
        .context("python3 with its module venv is needed (Debian: python3-venv)")?;
    process::run(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(PACKAGES))
        .context("pip could not install python-tuf")?;
    step.done();
    Ok(python)
}
