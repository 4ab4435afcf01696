//! Where a test finds the programs of the workspace, and a folder of its own.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

/// Cargo's target folder and the profile's below it: tests lie in `target/PROFILE/deps`.
fn target() -> Result<(PathBuf, PathBuf)> {
    let test = std::env::current_exe()?;
    let profile = test.ancestors().nth(2).context("a test lies in target/PROFILE/deps")?;
    let target = profile.parent().context("a profile's folder lies in target")?;
    Ok((target.to_owned(), profile.to_owned()))
}

/// A fresh folder for one test, called so.
pub fn folder(name: &str) -> Result<PathBuf> {
    let (target, _) = target()?;
    let folder = target.join("tmp").join(name);
    if folder.exists() {
        fs_err::remove_dir_all(&folder)?;
    }
    fs_err::create_dir_all(&folder)?;
    Ok(folder)
}

/// A program of the workspace, beside the folder that this test lies in.
pub fn program(name: &str) -> Result<PathBuf> {
    let (_, profile) = target()?;
    let program = profile.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    ensure!(
        program.is_file(),
        "{} is not built; `cargo build --workspace` does it",
        program.display()
    );
    Ok(program)
}
