//! The Wine prefix that every machine is cloned from. It is made once per checkout and recipe.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::os::{end_prefix, wine_command};

/// Counts changes of the recipe below, so that prefixes of an older one are not used.
const RECIPE: u32 = 1;

/// The part that Wine 8 lacks.
const RANDOM_SOURCE: &str = include_str!("../../wine/bcryptprimitives.c");

/// Milliseconds in which a service has to connect to the service manager. Real Windows gives 30 s; bad candidates
/// that never connect would cost that much each.
const SERVICES_PIPE_TIMEOUT_MS: &str = "4000";

/// The template under `wine`, made if it is not there.
pub fn ensure(wine: &Path) -> Result<PathBuf> {
    let version = Command::new("wine")
        .arg("--version")
        .stderr(Stdio::null())
        .output()
        .context("Wine is not installed; `cargo xtask setup` installs it")?;
    let mut hasher = DefaultHasher::new();
    (RECIPE, RANDOM_SOURCE, SERVICES_PIPE_TIMEOUT_MS, version.stdout).hash(&mut hasher);
    let template = wine.join(format!("template-{:016x}", hasher.finish()));

    fs_err::create_dir_all(wine)?;
    let lock = fs_err::File::create(wine.join("template.lock"))?;
    lock.file().lock().context("cannot lock the template")?;
    if template.is_dir() {
        return Ok(template);
    }
    for entry in fs_err::read_dir(wine)? {
        let path = entry?.path();
        let stale =
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("template-"));
        if stale {
            end_prefix(&path);
            fs_err::remove_dir_all(path)?;
        }
    }
    let part = wine.join("template-part");
    make(&part).context("cannot make the template of Wine machines")?;
    fs_err::rename(&part, &template)?;
    Ok(template)
}

fn make(prefix: &Path) -> Result<()> {
    fs_err::create_dir_all(prefix)?;
    run(prefix, "wineboot", &["-i"])?;
    run(prefix, "wineserver", &["-w"])?;

    let random = prefix.join("drive_c/windows/system32/bcryptprimitives.dll");
    if !random.is_file() {
        compile_random(prefix, &random)?;
    }

    run(
        prefix,
        "wine",
        &["reg", "add", r"HKCU\Software\Wine", "/v", "Version", "/d", "win10", "/f"],
    )?;
    run(
        prefix,
        "wine",
        &[
            "reg",
            "add",
            r"HKLM\System\CurrentControlSet\Control",
            "/v",
            "ServicesPipeTimeout",
            "/d",
            SERVICES_PIPE_TIMEOUT_MS,
            "/f",
        ],
    )?;
    // Without -k: the registry is to be written to its files.
    run(prefix, "wineserver", &["-w"])?;
    let left = end_prefix(prefix);
    if left.is_empty() { Ok(()) } else { bail!("these processes did not end: {left:?}") }
}

fn compile_random(prefix: &Path, to: &Path) -> Result<()> {
    let source = prefix.join("bcryptprimitives.c");
    fs_err::write(&source, RANDOM_SOURCE)?;
    let status = Command::new("x86_64-w64-mingw32-gcc")
        .args(["-O2", "-s", "-shared", "-o"])
        .args([to, &source])
        .arg("-ladvapi32")
        .status()
        .context("the C compiler for Windows is not installed; `cargo xtask setup` installs it")?;
    if !status.success() {
        bail!("bcryptprimitives.c did not compile ({status})");
    }
    Ok(())
}

/// Runs a step of the recipe; Wine's chatter is dropped.
fn run(prefix: &Path, program: &str, arguments: &[&str]) -> Result<()> {
    let limit = Duration::from_mins(3);
    let mut child = wine_command(prefix, program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start `{program}`"))?;
    let Some(status) = super::os::wait(&mut child, limit)? else {
        bail!("`{program} {}` did not end within {} s", arguments.join(" "), limit.as_secs());
    };
    if !status.success() {
        bail!("`{program} {}` failed ({status})", arguments.join(" "));
    }
    Ok(())
}
