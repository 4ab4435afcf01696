//! `cargo xtask enumerate`: every interruption of every story of an update, in memory.

use anyhow::{Result, bail};

use crate::arguments::Arguments;
use crate::process::{cargo, forget_cargo_run, run, run_and_keep};
use crate::workspace;

/// `cargo xtask enumerate`.
pub fn command(arguments: Arguments) -> Result<()> {
    arguments.finish()?;
    stage().map(drop)
}

/// Runs it and returns what it says of itself.
pub fn stage() -> Result<Vec<String>> {
    run(cargo().args(["build", "--package", "kenny-simulator"]))?;
    let mut enumerate = std::process::Command::new(workspace::host_program("enumerate"));
    forget_cargo_run(&mut enumerate);
    let (passed, summary) = run_and_keep(&mut enumerate, |line| line.starts_with("enumeration:"))?;
    if !passed {
        bail!("a promise of the update engine is broken; the story stands above");
    }
    Ok(summary)
}
