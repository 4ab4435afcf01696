//! Who notices a break: the enumeration of the update engine, or tests. Both within a time.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::copy::Copy;
use crate::process::{self, Step, seconds, which};

/// Who has to notice a break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judge {
    /// The enumeration of the update engine, with every interruption once.
    Enumeration,
    /// Tests.
    Tests {
        /// What to build, as arguments of cargo.
        of: &'static [&'static str],
        /// Whose tests they are.
        package: &'static str,
        /// Which of them to run, as nextest's filter.
        filter: &'static str,
    },
}

/// The tests inside of every package: of the whole workspace, as one package alone would compile its dependencies with
/// other features. What does not depend on the broken file is not compiled again.
const INSIDE: &[&str] = &["--workspace", "--lib"];

/// Tests inside of the server.
pub const fn server(filter: &'static str) -> Judge {
    Judge::Tests { of: INSIDE, package: "kenny-server", filter }
}

/// Tests inside of the agent.
pub const fn agent(filter: &'static str) -> Judge {
    Judge::Tests { of: INSIDE, package: "kenny-agent", filter }
}

/// Tests inside of the wire's types. Alone, as those of the core.
pub const fn proto(filter: &'static str) -> Judge {
    Judge::Tests { of: &["--package=kenny-proto", "--lib"], package: "kenny-proto", filter }
}

/// Tests inside of the core. Alone: everything else depends on it, and would be compiled as well.
pub const fn core(filter: &'static str) -> Judge {
    let of = &["--package=kenny-core", "--all-features", "--lib"];
    Judge::Tests { of, package: "kenny-core", filter }
}

/// The attacks that the specification of The Update Framework names, on the agent's trust.
pub const ATTACKS: Judge = Judge::Tests {
    of: &["--workspace", "--test=attacks"],
    package: "kenny-testkit",
    // A byte flipped after the other takes a minute, and says nothing that the others do not.
    filter: "not test(/every_flipped_byte/)",
};

/// What became of a break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The judge fails.
    Noticed,
    /// The judge does not come to an end, which is noticed as well.
    OutOfTime,
    /// The judge passes.
    Unnoticed,
    /// The code does not compile so, which shows nothing.
    DoesNotCompile,
    /// The text to break is not in its file, or more than once.
    DoesNotFit,
}

impl Verdict {
    /// True where a judge noticed.
    pub const fn is_noticed(self) -> bool {
        matches!(self, Self::Noticed | Self::OutOfTime)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Noticed => "noticed",
            Self::OutOfTime => "noticed, by running out of time",
            Self::Unnoticed => "NOT NOTICED",
            Self::DoesNotCompile => "DOES NOT COMPILE",
            Self::DoesNotFit => "NO LONGER FITS ITS FILE",
        })
    }
}

/// A broken engine that takes so many times as long as the whole one does not end.
const PATIENCE: u32 = 8;
/// Less than this says more about the machine.
const LEAST: Duration = Duration::from_secs(20);
/// A single test that takes so many times as long as all that were chosen took together hangs.
const TEST_PATIENCE: u32 = 2;
/// Less than this says more about the machine.
const LEAST_OF_A_TEST: Duration = Duration::from_mins(1);
/// The most that a test may take before that is known.
const MOST_OF_A_TEST: Duration = Duration::from_mins(10);

/// What nextest says where a test failed, and where the filter leaves none.
const TESTS_FAILED: i32 = 100;
const NO_TESTS: i32 = 4;

fn of_package(package: &str, filter: &str) -> String {
    format!("package({package}) and ({filter})")
}

/// Builds the copy and runs the judges.
pub struct Bench {
    checkout: PathBuf,
    target: PathBuf,
    /// What the compiler says of the last build: warnings without end, and errors where a break does not compile.
    log: PathBuf,
    nextest_config: PathBuf,
    /// How long the enumeration may take.
    limit: Duration,
}

impl Bench {
    /// In this copy, with a target folder of its own beside it.
    pub fn new(copy: &Copy, folder: &Path) -> Result<Self> {
        let nextest_config = folder.join("nextest.toml");
        let new = Self {
            checkout: copy.root().to_owned(),
            target: folder.join("target"),
            log: folder.join("build.log"),
            nextest_config,
            limit: LEAST,
        };
        new.bound_tests(MOST_OF_A_TEST)?;
        Ok(new)
    }

    /// From now on a single test may take so long.
    fn bound_tests(&self, limit: Duration) -> Result<()> {
        let slow = format!(
            "{{ period = \"{}s\", terminate-after = 1, grace-period = \"1s\" }}",
            limit.as_secs()
        );
        let config = format!("[profile.default]\nslow-timeout = {slow}\n");
        Ok(fs_err::write(&self.nextest_config, config)?)
    }

    /// Without a break every judge has to pass, and to be there. Takes their times.
    pub fn check_without_breaks<'a>(
        &mut self,
        judges: impl Iterator<Item = &'a Judge>,
    ) -> Result<()> {
        let mut tests: Vec<(&[&str], BTreeSet<String>)> = Vec::new();
        let mut enumeration = false;
        for judge in judges {
            match judge {
                Judge::Enumeration => enumeration = true,
                Judge::Tests { of, package, filter } => {
                    let filter = of_package(package, filter);
                    match tests.iter_mut().find(|(known, _)| known == of) {
                        Some((_, filters)) => drop(filters.insert(filter)),
                        None => tests.push((of, BTreeSet::from([filter]))),
                    }
                }
            }
        }
        if enumeration {
            ensure!(self.build_enumeration()?, "the sources do not compile; see {}", self.log());
            let step = Step::begin("the enumeration without a break");
            let passed = self.enumerate(None)?.is_some_and(|passed| passed);
            self.limit = (step.done() * PATIENCE).max(LEAST);
            ensure!(passed, "the enumeration fails without any break");
            eprintln!("==> a broken engine gets {}", seconds(self.limit));
        }
        if !tests.is_empty() {
            ensure!(
                which("cargo-nextest").is_some(),
                "the tests are run by cargo-nextest (cargo install --locked cargo-nextest); \
                 `cargo xtask mutants engine` does without"
            );
        }
        let mut longest = LEAST_OF_A_TEST;
        for (of, filters) in tests {
            let step = Step::begin(format!("the tests of {} without a break", of.join(" ")));
            ensure!(self.build_tests(of)?, "the tests do not compile; see {}", self.log());
            for filter in filters {
                let began = Instant::now();
                let passed = self.run_tests(of, &filter)?;
                ensure!(passed, "tests of {} ({filter}) fail without any break", of.join(" "));
                longest = longest.max(began.elapsed() * TEST_PATIENCE);
            }
            step.done();
        }
        self.bound_tests(longest)
    }

    /// What a judge says of the copy as it is now.
    pub fn verdict(&self, judge: &Judge) -> Result<Verdict> {
        let passed = match judge {
            Judge::Enumeration => {
                if !self.build_enumeration()? {
                    return Ok(Verdict::DoesNotCompile);
                }
                match self.enumerate(Some(self.limit))? {
                    Some(passed) => passed,
                    None => return Ok(Verdict::OutOfTime),
                }
            }
            Judge::Tests { of, package, filter } => {
                if !self.build_tests(of)? {
                    return Ok(Verdict::DoesNotCompile);
                }
                self.run_tests(of, &of_package(package, filter))?
            }
        };
        Ok(if passed { Verdict::Unnoticed } else { Verdict::Noticed })
    }

    fn log(&self) -> std::path::Display<'_> {
        self.log.display()
    }

    /// False where it does not compile.
    fn build_enumeration(&self) -> Result<bool> {
        let mut command = self.cargo();
        command.args(["build", "--quiet", "--package", "kenny-simulator"]);
        self.build(&mut command)
    }

    /// Whether the enumeration passes; none where it takes longer than this.
    fn enumerate(&self, limit: Option<Duration>) -> Result<Option<bool>> {
        let mut command = Command::new(self.target.join("debug/enumerate"));
        // A broken promise is told with its whole story, which nobody reads here.
        command.arg("--single").stdout(Stdio::null()).stderr(Stdio::null());
        process::run_within(&mut command, limit)
    }

    /// False where they do not compile.
    fn build_tests(&self, of: &[&str]) -> Result<bool> {
        let mut command = self.nextest(of);
        command.arg("--no-run");
        self.build(&mut command)
    }

    fn build(&self, command: &mut Command) -> Result<bool> {
        let (log, _) = fs_err::File::create(&self.log)?.into_parts();
        let status = command.stderr(log).status().context("cannot start cargo")?;
        Ok(status.success())
    }

    /// Whether these tests pass, each in its time. The first that does not ends the run.
    fn run_tests(&self, of: &[&str], filter: &str) -> Result<bool> {
        let mut command = self.nextest(of);
        command.args(["--status-level", "none", "--final-status-level", "fail"]);
        command.args(["--failure-output", "never", "--show-progress", "none"]);
        command.args(["-E", filter]);
        match command.status().context("cannot start cargo")?.code() {
            Some(0) => Ok(true),
            Some(TESTS_FAILED) => Ok(false),
            Some(NO_TESTS) => bail!("no test of {} is chosen by {filter}", of.join(" ")),
            other => bail!("`{}` ended with {other:?}", process::display(&command)),
        }
    }

    fn nextest(&self, of: &[&str]) -> Command {
        let mut command = self.cargo();
        command.args(["nextest", "run", "--cargo-quiet", "--config-file"]);
        command.arg(&self.nextest_config).args(of);
        // Optimised for the enumeration, which the tests can do without: they compile three times as fast.
        command.args(["--config", "profile.dev.package.kenny-core.opt-level=0"]);
        command
    }

    fn cargo(&self) -> Command {
        let mut command = process::cargo();
        command
            .current_dir(&self.checkout)
            .env("CARGO_TARGET_DIR", &self.target)
            // Nobody debugs what is broken on purpose, and it is linked sooner without.
            .env("CARGO_PROFILE_DEV_DEBUG", "0");
        command
    }
}
