//! A copy of the sources that may be broken.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::workspace;

/// What a build and its tests read.
const PARTS: [&str; 7] =
    ["Cargo.toml", "Cargo.lock", "clippy.toml", "rust-toolchain.toml", "crates", "docs", "xtask"];

/// The copy.
pub struct Copy {
    root: PathBuf,
}

/// A file that is broken for as long as this is kept.
pub struct Broken {
    path: PathBuf,
    whole: String,
}

impl Drop for Broken {
    fn drop(&mut self) {
        if let Err(error) = fs_err::write(&self.path, &self.whole) {
            eprintln!("mutants: {error}; the next run mends it");
        }
    }
}

impl Copy {
    /// The sources as they are in the checkout now. What has not changed since the last copy keeps its time, so that it
    /// is not compiled again.
    pub fn of_the_checkout(folder: &Path) -> Result<Self> {
        let root = folder.join("checkout");
        fs_err::create_dir_all(&root)?;
        for part in PARTS {
            mirror(&workspace::root().join(part), &root.join(part))?;
        }
        Ok(Self { root })
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Breaks a file. None where it is not there, or does not hold `find` exactly once.
    pub fn broken(&self, file: &str, find: &str, replace: &str) -> Result<Option<Broken>> {
        let path = self.root.join(file);
        if !path.is_file() {
            return Ok(None);
        }
        let whole = fs_err::read_to_string(&path)?;
        if whole.matches(find).count() != 1 {
            return Ok(None);
        }
        let text = whole.replace(find, replace);
        let broken = Broken { path, whole };
        fs_err::write(&broken.path, text)?;
        Ok(Some(broken))
    }
}

fn mirror(from: &Path, to: &Path) -> Result<()> {
    if !from.is_dir() {
        let bytes = fs_err::read(from)?;
        if fs_err::read(to).is_ok_and(|there| there == bytes) {
            return Ok(());
        }
        return Ok(fs_err::write(to, bytes)?);
    }
    fs_err::create_dir_all(to)?;
    for entry in fs_err::read_dir(from)? {
        let path = entry?.path();
        let name = path.file_name().context("an entry has a name")?;
        mirror(&path, &to.join(name))?;
    }
    for entry in fs_err::read_dir(to)? {
        let gone = entry?.path();
        let name = gone.file_name().context("an entry has a name")?;
        if from.join(name).exists() {
            continue;
        }
        if gone.is_dir() {
            fs_err::remove_dir_all(&gone)?;
        } else {
            fs_err::remove_file(&gone)?;
        }
    }
    Ok(())
}
