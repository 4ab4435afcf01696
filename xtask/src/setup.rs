//! What a machine needs, what of it is there, and the installation of the rest with apt.
//!
//! Nothing but Debian's packages is installed. What this cannot do, it says with the command that would.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::arguments::Arguments;
use crate::process::{self, output_of, which};
use crate::workspace;

/// What a machine has to be able to do, besides compiling for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope {
    /// Check format and lints.
    pub checks: bool,
    /// Make certificates, and executables that are signed with them.
    pub signing: bool,
    /// Run programs in Python.
    pub python: bool,
    /// Compile for Windows and run what comes out.
    pub windows: bool,
    /// Compile the fuzzer.
    pub fuzzing: bool,
    /// Look at the server's pages with a browser.
    pub browser: bool,
}

impl Scope {
    /// To compile for this machine alone.
    pub const HOST: Self = Self {
        checks: false,
        signing: false,
        python: false,
        windows: false,
        browser: false,
        fuzzing: false,
    };
    /// To make certificates.
    pub const SIGNING: Self = Self { signing: true, ..Self::HOST };
    /// To run python-tuf.
    pub const PYTHON: Self = Self { python: true, ..Self::HOST };
    /// To compile for Windows and run what comes out.
    pub const WINDOWS: Self = Self { windows: true, ..Self::HOST };
    /// To run the fuzz targets.
    pub const FUZZING: Self = Self { fuzzing: true, ..Self::HOST };
    /// Everything.
    pub const ALL: Self = Self {
        checks: true,
        signing: true,
        python: true,
        windows: true,
        fuzzing: true,
        browser: true,
    };
}

/// What a machine needs something for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Host,
    Checks,
    Signing,
    Python,
    Fuzzing,
    Windows,
    Browser,
}

/// The way in which this machine compiles Rust for Windows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WindowsToolchain {
    /// It is Windows.
    Native,
    /// rustup has the target.
    Rustup,
    /// Debian's own Rust with the library's source: the library is compiled along.
    Debian,
}

/// The target of Windows builds on other systems.
pub const WINDOWS_TARGET: &str = "x86_64-pc-windows-gnu";

/// Debian's Rust, beside which rustup may have put another one on the PATH.
pub const DEBIAN_CARGO: &str = "/usr/bin/cargo";
/// Its compiler.
pub const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_LIBRARY: &str = "/usr/lib/rustlib/src/rust/library/std/Cargo.toml";

impl WindowsToolchain {
    /// What is there, if anything is.
    pub fn find() -> Option<Self> {
        if workspace::ON_WINDOWS {
            return Some(Self::Native);
        }
        let by_rustup = output_of("rustup", &["target", "list", "--installed"])
            .is_some_and(|targets| targets.lines().any(|target| target == WINDOWS_TARGET));
        if by_rustup {
            return Some(Self::Rustup);
        }
        let by_debian = [DEBIAN_CARGO, DEBIAN_RUSTC, DEBIAN_LIBRARY]
            .iter()
            .all(|path| Path::new(path).is_file());
        by_debian.then_some(Self::Debian)
    }

    /// The compiler's own words on which one it is.
    pub fn describe(&self) -> String {
        let version = |program: &str| output_of(program, &["-V"]).unwrap_or_default();
        match self {
            Self::Native => format!("{} (this is Windows)", version("rustc")),
            Self::Rustup => format!("{} (rustup's target {WINDOWS_TARGET})", version("rustc")),
            Self::Debian => {
                format!(
                    "{} (Debian's; the standard library is compiled along)",
                    version(DEBIAN_RUSTC)
                )
            }
        }
    }
}

/// One thing that a machine needs.
struct Need {
    name: &'static str,
    purpose: Purpose,
    packages: &'static [&'static str],
    /// What to do where apt cannot.
    otherwise: &'static str,
    /// What is there, in words.
    find: fn() -> Option<String>,
}

const NEEDS: &[Need] = &[
    Need {
        name: "Rust for this machine",
        purpose: Purpose::Host,
        packages: &[],
        otherwise: "install Rust 1.95 or later with rustup (https://rustup.rs)",
        find: || output_of("cargo", &["-V"]),
    },
    Need {
        name: "rustfmt and clippy",
        purpose: Purpose::Checks,
        packages: &[],
        otherwise: "rustup component add rustfmt clippy",
        find: || {
            let formatter = output_of("cargo", &["fmt", "--version"])?;
            let linter = output_of("cargo", &["clippy", "--version"])?;
            Some(format!("{formatter}, {linter}"))
        },
    },
    Need {
        name: "Certificates and signing",
        purpose: Purpose::Signing,
        packages: &["osslsigncode", "openssl"],
        otherwise: "install osslsigncode and openssl; the tests make certificates and sign executables with them",
        find: || programs(&["osslsigncode", "openssl"]),
    },
    Need {
        name: "Python with venv",
        purpose: Purpose::Python,
        packages: &["python3", "python3-venv"],
        otherwise: "install Python 3.10 or later with its modules venv and ensurepip",
        find: || {
            let look = "import venv, ensurepip, sys; print(sys.executable)";
            output_of("python3", &["-c", look])
        },
    },
    Need {
        name: "C compiler and cmake",
        purpose: Purpose::Host,
        packages: &["gcc", "libc6-dev", "cmake"],
        otherwise: "install a C compiler and cmake",
        find: || programs(&["cc", "cmake"]),
    },
    Need {
        name: "C++ compiler",
        purpose: Purpose::Fuzzing,
        packages: &["g++"],
        otherwise: "install a C++ compiler (`c++`)",
        find: || programs(&["c++"]),
    },
    Need {
        name: "Rust for Windows",
        purpose: Purpose::Windows,
        packages: &["rustc-web", "cargo-web", "rust-web-src"],
        otherwise: "rustup target add x86_64-pc-windows-gnu",
        find: || WindowsToolchain::find().map(|toolchain| toolchain.describe()),
    },
    Need {
        name: "C compilers for Windows",
        purpose: Purpose::Windows,
        packages: &["gcc-mingw-w64-x86-64-win32", "g++-mingw-w64-x86-64-win32"],
        otherwise: "install the mingw-w64 compilers for x86_64",
        find: || programs(&["x86_64-w64-mingw32-gcc", "x86_64-w64-mingw32-g++"]),
    },
    Need {
        name: "Wine",
        purpose: Purpose::Windows,
        packages: &["wine", "wine64"],
        otherwise: "install Wine 8 or later, 64 bits are enough",
        find: || {
            which("wineserver")?;
            output_of("wine", &["--version"])
        },
    },
    Need {
        name: "Chromium",
        purpose: Purpose::Browser,
        packages: &["chromium", "fonts-dejavu-core"],
        otherwise: "install Chromium or Chrome, so that `chromium` or `google-chrome` is on the PATH",
        find: || programs(&["chromium"]).or_else(|| programs(&["google-chrome"])),
    },
];

fn programs(names: &[&str]) -> Option<String> {
    let found: Option<Vec<PathBuf>> = names.iter().map(|name| which(name)).collect();
    let found = found?;
    Some(found.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", "))
}

/// `cargo xtask setup`.
pub fn command(arguments: Arguments) -> Result<()> {
    arguments.finish()?;
    ensure(Scope::ALL)
}

/// Says what is there and installs what is not.
pub fn ensure(scope: Scope) -> Result<()> {
    let needs: Vec<&Need> = NEEDS.iter().filter(|need| need.applies(scope)).collect();
    let missing = report(&needs);
    report_optional();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().flat_map(|need| need.packages).copied().collect();
    match apt() {
        Ok(apt) if !packages.is_empty() => install(&apt, &packages)?,
        Ok(_) => {}
        Err(reason) => eprintln!("setup: nothing is installed: {reason}"),
    }
    let missing: Vec<&Need> = needs.into_iter().filter(|need| (need.find)().is_none()).collect();
    if missing.is_empty() {
        eprintln!("setup: everything is there now");
        return Ok(());
    }
    let list: Vec<String> =
        missing.iter().map(|need| format!("  {}: {}", need.name, need.otherwise)).collect();
    bail!(
        "this machine still lacks the following; what to do stands beside it\n{}",
        list.join("\n")
    )
}

impl Need {
    fn applies(&self, scope: Scope) -> bool {
        match self.purpose {
            Purpose::Host => true,
            Purpose::Checks => scope.checks,
            Purpose::Signing => scope.signing && cfg!(target_os = "linux"),
            // Others' clients see the same server on every system.
            Purpose::Python => scope.python && !workspace::ON_WINDOWS,
            // The targets are the same code on every system, and run where libFuzzer is at home.
            Purpose::Fuzzing => scope.fuzzing && !workspace::ON_WINDOWS,
            // A Windows machine is its own Wine.
            Purpose::Windows => scope.windows && !workspace::ON_WINDOWS,
            // The pages are the same on every system.
            Purpose::Browser => scope.browser && !workspace::ON_WINDOWS,
        }
    }
}

fn report<'a>(needs: &[&'a Need]) -> Vec<&'a Need> {
    let mut missing = Vec::new();
    for need in needs {
        if let Some(what) = (need.find)() {
            eprintln!("setup: ok       {:24} {what}", need.name);
        } else {
            eprintln!("setup: missing  {:24} {}", need.name, need.packages.join(" "));
            missing.push(*need);
        }
    }
    missing
}

fn report_optional() {
    for (program, without) in [
        ("cargo-nextest", "`cargo test` runs the tests instead"),
        ("cargo-deny", "licences and advisories are left to the deny job of CI"),
    ] {
        match which(program) {
            Some(path) => eprintln!("setup: ok       {program:24} {}", path.display()),
            None => eprintln!("setup: absent   {program:24} not needed: {without}"),
        }
    }
}

/// The start of an apt-get command line that may install, or why there is none.
fn apt() -> Result<Vec<&'static str>> {
    let release = fs_err::read_to_string("/etc/os-release").unwrap_or_default();
    let debian = release.lines().any(|line| line == "ID=debian");
    if !debian {
        bail!("only Debian's packages are known here, and this is another system");
    }
    which("apt-get").context("apt-get is not on the PATH")?;
    let root = output_of("id", &["-u"]).is_some_and(|id| id == "0");
    let environment = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"];
    if root {
        return Ok(environment.to_vec());
    }
    which("sudo").context("this is not root, and there is no sudo")?;
    Ok([&["sudo"], &environment[..]].concat())
}

fn install(apt: &[&str], packages: &[&str]) -> Result<()> {
    let apt_get = |arguments: &[&str]| {
        let mut command = Command::new(apt[0]);
        command.args(&apt[1..]).args(arguments);
        eprintln!("setup: $ {}", process::display(&command));
        process::run(&mut command)
    };
    // A source that is of no use here may be out of reach; whether the packages come is what counts.
    if let Err(error) = apt_get(&["update"]) {
        eprintln!("setup: {error:#}; going on with the lists that are there");
    }
    apt_get(&[&["install", "-y", "--no-install-recommends"], packages].concat())
        .context("apt could not install what is missing; its own words stand above")
}
