//! Builds of the agent, one folder per version under `target/agents`.
//!
//! Only `kenny-agent`'s build script reads the version, so builds of several versions share every dependency. What
//! was built from the same source is not built again, whichever version was built last.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use anyhow::{Context, Result, bail};

use crate::arguments::Arguments;
use crate::process::{self, Step, output_of};
use crate::setup::{self, DEBIAN_CARGO, DEBIAN_RUSTC, Scope, WINDOWS_TARGET, WindowsToolchain};
use crate::workspace;

/// What a build is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Windows, 64-bit Intel.
    Windows,
    /// This Linux machine.
    Linux,
}

impl FromStr for Target {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "windows" => Ok(Self::Windows),
            "linux" => Ok(Self::Linux),
            other => bail!("--target is `windows` or `linux`, not `{other}`"),
        }
    }
}

/// An executable that can be built with a version of its own.
#[derive(Debug, Clone, Copy)]
pub struct Product {
    package: &'static str,
    /// The variable that its build script reads the version from.
    version_variable: &'static str,
    /// Folders whose contents decide what comes out.
    sources: &'static [&'static str],
}

/// The agent.
pub const AGENT: Product = Product {
    package: "kenny-agent",
    version_variable: "KENNY_AGENT_VERSION",
    sources: &["crates/kenny-agent", "crates/kenny-core", "crates/kenny-proto"],
};

/// The test rig's executable that says it is an agent and is none.
pub const BAD_CANDIDATE: Product = Product {
    package: "kenny-bad-candidate",
    version_variable: "KENNY_AGENT_VERSION",
    sources: &["crates/kenny-testkit/bad-candidate"],
};

/// `cargo xtask agent`.
pub fn command(mut arguments: Arguments) -> Result<()> {
    let target: Target =
        arguments.value("--target")?.context("--target windows|linux is needed")?.parse()?;
    let version = arguments.value("--version")?.unwrap_or_else(|| workspace::VERSION.to_owned());
    let profile = arguments.value("--profile")?.unwrap_or_else(|| "agent-test".to_owned());
    let out = arguments.value("--out")?.map(PathBuf::from);
    arguments.finish()?;
    if !["agent-test", "release"].contains(&profile.as_str()) {
        bail!("--profile is `agent-test` or `release`, not `{profile}`");
    }
    if target == Target::Windows && WindowsToolchain::find().is_none() {
        setup::ensure(Scope::WINDOWS)?;
    }
    let mut built = build(AGENT, target, &version, &profile)?;
    if let Some(out) = out {
        copy(&built, &out)?;
        built = out;
    }
    println!("{}", built.display());
    Ok(())
}

/// Builds `product` as `version` and returns where it lies.
pub fn build(product: Product, target: Target, version: &str, profile: &str) -> Result<PathBuf> {
    let recipe = Recipe::new(target)?;
    let kind = match target {
        Target::Windows => format!("windows-{profile}"),
        Target::Linux => format!("linux-{profile}"),
    };
    let suffix = if target == Target::Windows { ".exe" } else { "" };
    let folder = workspace::target().join("agents").join(kind).join(version);
    let built = folder.join(format!("{}{suffix}", product.package));
    let stamp_file = folder.join(format!("{}.stamp", product.package));
    let stamp = recipe.stamp(product, version, profile)?;
    let same = fs_err::read_to_string(&stamp_file).is_ok_and(|found| found == stamp);
    if same && built.is_file() {
        eprintln!("==> {} {version} ({profile}) is there already", product.package);
        return Ok(built);
    }

    let step = Step::begin(format!("building {} {version} ({profile})", product.package));
    let mut command = recipe.cargo("build");
    command
        .args(["--package", product.package, "--profile", profile])
        .env(product.version_variable, version);
    process::run(&mut command)?;
    let fresh = recipe.artifacts(profile).join(format!("{}{suffix}", product.package));
    copy(&fresh, &built)?;
    fs_err::write(&stamp_file, stamp)?;
    step.done();
    Ok(built)
}

/// What runs on Windows besides the agent, and is built there by whoever wants it: that it compiles is all that other
/// systems can say.
const ALSO_ON_WINDOWS: [&str; 3] = ["kenny-server", "kenny", "kenny-testkit"];

/// `cargo xtask windows`.
pub fn check_command(arguments: Arguments) -> Result<()> {
    arguments.finish()?;
    if WindowsToolchain::find().is_none() {
        setup::ensure(Scope::WINDOWS)?;
    }
    check_for_windows()
}

/// Server, command line and rig compile for Windows.
pub fn check_for_windows() -> Result<()> {
    let recipe = Recipe::new(Target::Windows)?;
    let mut command = recipe.cargo("check");
    // The profile of the agents that are built anyway: build scripts and macros are there already.
    command.args(["--profile", "agent-test", "--all-targets"]);
    for package in ALSO_ON_WINDOWS {
        command.args(["--package", package]);
    }
    process::run(&mut command)
}

/// How to compile for one target on this machine.
struct Recipe {
    target: Target,
    toolchain: Option<WindowsToolchain>,
}

impl Recipe {
    fn new(target: Target) -> Result<Self> {
        let toolchain = match target {
            Target::Linux if workspace::ON_WINDOWS => bail!("Linux agents are built on Linux"),
            Target::Linux => None,
            Target::Windows => Some(WindowsToolchain::find().context(
                "this machine cannot compile for Windows; `cargo xtask setup` says what is missing",
            )?),
        };
        Ok(Self { target, toolchain })
    }

    /// The start of a command line of cargo that does this for the target.
    fn cargo(&self, what: &str) -> Command {
        let mut command = match self.toolchain {
            Some(WindowsToolchain::Debian) => {
                let mut command = Command::new(DEBIAN_CARGO);
                command.current_dir(workspace::root());
                process::forget_cargo_run(&mut command);
                // The standard library's source comes with the compiler, and to compile it along is not stable yet.
                command.env("RUSTC", DEBIAN_RUSTC).env("RUSTC_BOOTSTRAP", "1");
                command.args([what, "-Zbuild-std=std,panic_abort,panic_unwind"]);
                command
            }
            Some(WindowsToolchain::Native | WindowsToolchain::Rustup) | None => {
                let mut command = process::cargo();
                command.arg(what);
                command
            }
        };
        if self.crosses() {
            command.args(["--target", WINDOWS_TARGET]);
        }
        command
    }

    fn crosses(&self) -> bool {
        match self.toolchain {
            Some(WindowsToolchain::Debian | WindowsToolchain::Rustup) => true,
            Some(WindowsToolchain::Native) | None => false,
        }
    }

    fn artifacts(&self, profile: &str) -> PathBuf {
        let target = workspace::target();
        if self.crosses() {
            target.join(WINDOWS_TARGET).join(profile)
        } else {
            target.join(profile)
        }
    }

    /// Stands for everything that decides what comes out.
    fn stamp(&self, product: Product, version: &str, profile: &str) -> Result<String> {
        let mut hasher = DefaultHasher::new();
        (version, profile, self.target == Target::Windows, self.crosses()).hash(&mut hasher);
        let compiler = match self.toolchain {
            Some(WindowsToolchain::Debian) => output_of(DEBIAN_RUSTC, &["-vV"]),
            Some(WindowsToolchain::Native | WindowsToolchain::Rustup) | None => {
                output_of("rustc", &["-vV"])
            }
        };
        compiler.hash(&mut hasher);
        std::env::var_os("RUSTFLAGS").hash(&mut hasher);
        for file in ["Cargo.lock", "Cargo.toml", ".cargo/config.toml"] {
            fs_err::read(workspace::root().join(file))?.hash(&mut hasher);
        }
        for folder in product.sources {
            hash_folder(&workspace::root().join(folder), &mut hasher)?;
        }
        Ok(format!("{:016x}\n", hasher.finish()))
    }
}

fn hash_folder(folder: &Path, hasher: &mut DefaultHasher) -> Result<()> {
    let mut entries: Vec<PathBuf> =
        fs_err::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    entries.sort();
    for path in entries {
        path.hash(hasher);
        if path.is_dir() {
            hash_folder(&path, hasher)?;
        } else {
            fs_err::read(&path)?.hash(hasher);
        }
    }
    Ok(())
}

/// Copies beside the goal first, so that nobody ever finds half a file there.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(folder) = to.parent() {
        fs_err::create_dir_all(folder)?;
    }
    let mut part = to.as_os_str().to_owned();
    part.push(".part");
    fs_err::copy(from, &part)?;
    fs_err::rename(&part, to)?;
    Ok(())
}
