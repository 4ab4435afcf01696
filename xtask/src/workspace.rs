//! Where things are in this checkout.

use std::env;
use std::path::{Path, PathBuf};

/// The workspace's version, which agents get unless told otherwise.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// True where this very machine is the one that agents are made for.
pub const ON_WINDOWS: bool = cfg!(windows);

/// The checkout.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies one folder below the workspace's root")
}

/// Cargo's target folder; everything that these commands make lies in it.
pub fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(folder),
        None => root().join("target"),
    }
}

/// A program of this workspace, as `cargo build` leaves it.
pub fn host_program(name: &str) -> PathBuf {
    target().join("debug").join(format!("{name}{}", env::consts::EXE_SUFFIX))
}

/// `version` with its patch number raised by one.
pub fn next_patch(version: &str) -> String {
    let core = version.split(['-', '+']).next().unwrap_or(version);
    let (front, patch) = core.rsplit_once('.').expect("a version has three numbers");
    let patch: u64 = patch.parse().expect("a version's patch is a number");
    format!("{front}.{}", patch + 1)
}
