//! `cargo xtask fuzz`: builds the targets of `fuzz/` with cargo-fuzz and runs each of them over its corpus for a while.
//!
//! What a run finds lands below the target folder. Into git's corpus it comes only when somebody says so (`--keep`).

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, Result, bail};

use crate::arguments::Arguments;
use crate::process::{self, Step, cargo, display, forget_cargo_run, output_of, which};
use crate::setup::{self, Scope};
use crate::workspace;

/// The cargo-fuzz that is installed where there is none.
const CARGO_FUZZ_VERSION: &str = "0.13.2";
/// How long each target runs unless told otherwise.
const SECONDS: u64 = 60;

/// One parser under test.
#[derive(Debug, Clone, Copy)]
struct Target {
    name: &'static str,
    /// Longest input. Every branch is reached with far less, and long inputs only make a run slow.
    max_bytes: u32,
    /// Folders with further inputs to start from.
    seeds: &'static [&'static str],
}

const TARGETS: [Target; 4] = [
    Target {
        name: "frames",
        max_bytes: 8 * 1024,
        seeds: &["crates/kenny-proto/fixtures/agent", "crates/kenny-proto/fixtures/server"],
    },
    Target { name: "image", max_bytes: 16 * 1024, seeds: &[] },
    Target { name: "invitation", max_bytes: 16 * 1024, seeds: &[] },
    Target { name: "journal", max_bytes: 8 * 1024, seeds: &[] },
];

impl Target {
    /// What git has.
    fn corpus(self) -> PathBuf {
        workspace::root().join("fuzz/corpus").join(self.name)
    }

    /// What runs found that reaches new code.
    fn finds(self) -> PathBuf {
        workspace::target().join("fuzz-corpus").join(self.name)
    }

    /// What runs found that breaks.
    fn crashes(self) -> PathBuf {
        workspace::target().join("fuzz-crashes").join(self.name)
    }

    fn log(self) -> PathBuf {
        workspace::target().join("fuzz-crashes").join(format!("{}.log", self.name))
    }
}

/// `cargo xtask fuzz`.
pub fn command(mut arguments: Arguments) -> Result<()> {
    let seconds = match arguments.value("--seconds")? {
        Some(text) => text.parse().with_context(|| format!("--seconds is no number: `{text}`"))?,
        None => SECONDS,
    };
    let input = arguments.value("--input")?;
    let keep = arguments.flag("--keep");
    let targets = chosen(&arguments.words()?)?;
    let input = match (input, &targets[..]) {
        (None, _) => None,
        (Some(path), [target]) => Some((*target, std::path::absolute(path)?)),
        (Some(_), _) => bail!("--input is for one target: cargo xtask fuzz TARGET --input FILE"),
    };
    if workspace::ON_WINDOWS {
        bail!("the fuzz targets run on Linux; they are the same code on every system");
    }
    setup::ensure(Scope::FUZZING)?;
    let fuzzer = Fuzzer::build()?;
    if let Some((target, input)) = input {
        return fuzzer.reproduce(target, &input);
    }
    if keep {
        return targets.into_iter().try_for_each(|target| fuzzer.keep(target));
    }
    for line in fuzzer.run_all(&targets, seconds)? {
        println!("{line}");
    }
    Ok(())
}

/// Every target for the usual time; what the machine needs is there. Returns a line for each.
pub fn stage() -> Result<Vec<String>> {
    Fuzzer::build()?.run_all(&TARGETS, SECONDS)
}

fn chosen(names: &[String]) -> Result<Vec<Target>> {
    if names.is_empty() {
        return Ok(TARGETS.to_vec());
    }
    let known = |name: &String| {
        TARGETS.into_iter().find(|target| target.name == name).with_context(|| {
            let all = TARGETS.map(|target| target.name).join(", ");
            format!("there is no target `{name}`; there are {all}")
        })
    };
    names.iter().map(known).collect()
}

/// The targets, built.
struct Fuzzer {
    programs: PathBuf,
}

impl Fuzzer {
    fn build() -> Result<Self> {
        let tool = cargo_fuzz()?;
        let version = output_of("rustc", &["-vV"]).context("rustc does not say its version")?;
        let host = version
            .lines()
            .find_map(|line| line.strip_prefix("host: "))
            .context("rustc does not say for what it compiles")?;
        let checks_memory = has_address_sanitizer(host);
        let sanitizer = if checks_memory { "address" } else { "none" };
        let step = Step::begin(format!("building the fuzz targets (sanitizer: {sanitizer})"));
        // A folder of its own: the flags of the coverage make every dependency another one.
        let folder = workspace::target().join("fuzz");
        let mut command = Command::new(tool);
        forget_cargo_run(&mut command);
        command
            .current_dir(workspace::root())
            .args(["fuzz", "build", "--fuzz-dir", "fuzz", "--target", host])
            .args(["--sanitizer", sanitizer, "--target-dir"])
            .arg(&folder);
        if checks_memory {
            // The switch that turns a sanitizer on is not stable yet.
            command.env("RUSTC_BOOTSTRAP", "1");
        }
        process::run(&mut command)?;
        step.done();
        Ok(Self { programs: folder.join(host).join("release") })
    }

    /// A target's command line up to its inputs.
    fn program(&self, target: Target) -> Command {
        let mut command = Command::new(self.programs.join(target.name));
        forget_cargo_run(&mut command);
        command
            .current_dir(workspace::root())
            // As cargo-fuzz runs it: the fuzzer's own code is in every target twice.
            .env("ASAN_OPTIONS", "detect_odr_violation=0")
            .args([
                // Seconds for one input, MiB in all, and MiB at once: a size that an input claims is not to be believed.
                "-timeout=10",
                "-rss_limit_mb=1024",
                "-malloc_limit_mb=64",
                // Safe code may leak, and looking for leaks needs rights that a container may not give.
                "-detect_leaks=0",
            ])
            .arg(format!("-max_len={}", target.max_bytes))
            .arg(format!("-artifact_prefix={}/", target.crashes().display()));
        command
    }

    /// Runs the targets, as many at a time as there are cores, and returns a line for each. Fails when one crashed.
    fn run_all(&self, targets: &[Target], seconds: u64) -> Result<Vec<String>> {
        let cores = thread::available_parallelism()?.get();
        let waiting = Mutex::new(targets.iter().copied().collect::<VecDeque<_>>());
        let next = || waiting.lock().expect("nobody panics with the queue").pop_front();
        let ended = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for _ in 0..cores.min(targets.len()) {
                scope.spawn(|| {
                    while let Some(target) = next() {
                        let run = self.run(target, seconds);
                        ended.lock().expect("nobody panics with the list").push((target, run));
                    }
                });
            }
        });
        let mut ended = ended.into_inner().expect("nobody panics with the list");
        ended.sort_by_key(|(target, _)| target.name);
        let mut lines = Vec::new();
        let mut crashed = Vec::new();
        for (target, run) in ended {
            let run = run.with_context(|| format!("the target {} did not run", target.name))?;
            if run.failed {
                crashed.push(target.name);
                report_crash(target, &run);
            }
            lines.push(run.line(target));
        }
        if !crashed.is_empty() {
            bail!("found inputs that break {}:\n{}", crashed.join(" and "), lines.join("\n"));
        }
        Ok(lines)
    }

    fn run(&self, target: Target, seconds: u64) -> Result<Run> {
        let step = Step::begin(format!("fuzzing {} for {seconds} s", target.name));
        fs_err::create_dir_all(target.finds())?;
        fs_err::create_dir_all(target.crashes())?;
        let mut command = self.program(target);
        command
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-dict=fuzz/dictionaries/{}.dict", target.name))
            .arg("-print_final_stats=1")
            // The first folder is the one that finds are written to; what crashed before is tried again.
            .args([target.finds(), target.corpus(), target.crashes()])
            .args(target.seeds);
        let text = display(&command);
        let log = fs_err::File::create(target.log())?;
        let status = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.into_file())
            .status()
            .with_context(|| format!("cannot start `{text}`"))?;
        let log = String::from_utf8_lossy(&fs_err::read(target.log())?).into_owned();
        let mut run = Run::read(&log);
        run.failed = !status.success();
        run.seconds = run.seconds.or(Some(step.elapsed().as_secs()));
        if run.executions.is_none() && !run.failed {
            bail!("`{text}` does not say what it did; see {}", target.log().display());
        }
        step.done();
        Ok(run)
    }

    /// Runs one input with all output on this console.
    fn reproduce(&self, target: Target, input: &Path) -> Result<()> {
        process::run(self.program(target).env("RUST_BACKTRACE", "1").arg(input))?;
        println!("{} holds with {}", target.name, input.display());
        Ok(())
    }

    /// Adds those finds to git's corpus that reach code which nothing in it reaches.
    fn keep(&self, target: Target) -> Result<()> {
        fs_err::create_dir_all(target.finds())?;
        let count = || Ok::<_, anyhow::Error>(fs_err::read_dir(target.corpus())?.count());
        let before = count()?;
        let mut command = self.program(target);
        // Code that is reached counts, and not how often: a few small files instead of thousands.
        command.args(["-set_cover_merge=1", "-use_counters=0"]);
        command.args([target.corpus(), target.finds()]).args(target.seeds);
        process::run(&mut command)?;
        println!(
            "{}: {} files more in {}",
            target.name,
            count()? - before,
            target.corpus().display()
        );
        Ok(())
    }
}

/// What became of one target.
#[derive(Debug, Default, PartialEq, Eq)]
struct Run {
    failed: bool,
    executions: Option<u64>,
    seconds: Option<u64>,
    /// Edges of the control flow that were reached.
    edges: u64,
    inputs: u64,
    crash: Option<PathBuf>,
    /// What the log says of a failure.
    words: Vec<String>,
}

impl Run {
    /// Picks the numbers out of libFuzzer's log (<https://llvm.org/docs/LibFuzzer.html#output>).
    fn read(log: &str) -> Self {
        let mut run = Self::default();
        let mut words_follow = 0;
        for line in log.lines() {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let after = |name: &str| {
                let at = fields.iter().position(|field| *field == name)?;
                fields.get(at + 1)?.split('/').next()?.parse::<u64>().ok()
            };
            if line.starts_with('#') {
                run.edges = after("cov:").unwrap_or(run.edges);
                run.inputs = after("corp:").unwrap_or(run.inputs);
            } else if let Some(number) = line.strip_prefix("stat::number_of_executed_units:") {
                run.executions = number.trim().parse().ok();
            } else if line.starts_with("Done ") {
                run.seconds = after("in");
            } else if let Some((_, path)) = line.split_once("Test unit written to ") {
                run.crash = Some(PathBuf::from(path));
            }
            if line.contains(" panicked at ") {
                // The message stands below the place where it happened.
                words_follow = 3;
            } else if line.contains("ERROR: ") {
                words_follow = 1;
            }
            if words_follow > 0 {
                words_follow -= 1;
                run.words.push(line.chars().take(300).collect());
            }
        }
        run
    }

    fn line(&self, target: Target) -> String {
        let executions = self.executions.unwrap_or_default();
        let seconds = self.seconds.map_or("?".to_owned(), |seconds| seconds.to_string());
        let outcome = if self.failed { "CRASHED" } else { "no crash" };
        format!(
            "{:8} {executions} executions in {seconds} s, {} edges covered, {} inputs, {outcome}",
            target.name, self.edges, self.inputs
        )
    }
}

fn report_crash(target: Target, run: &Run) {
    eprintln!("fuzz: {} crashed", target.name);
    for line in &run.words {
        eprintln!("    {line}");
    }
    match &run.crash {
        Some(path) => {
            eprintln!("fuzz: the input: {}", path.display());
            eprintln!("fuzz: again: cargo xtask fuzz {} --input {}", target.name, path.display());
        }
        None => eprintln!("fuzz: no input was written"),
    }
    eprintln!("fuzz: the log: {}", target.log().display());
}

/// True where the toolchain brings the runtime that notices wrong accesses to memory.
fn has_address_sanitizer(host: &str) -> bool {
    let Some(sysroot) = output_of("rustc", &["--print", "sysroot"]) else { return false };
    let folder = Path::new(&sysroot).join("lib/rustlib").join(host).join("lib");
    fs_err::read_dir(folder).is_ok_and(|mut entries| {
        entries.any(|entry| {
            entry.is_ok_and(|entry| entry.file_name().to_string_lossy().ends_with("_rt.asan.a"))
        })
    })
}

/// The cargo-fuzz that is there, or one that is installed below the target folder.
fn cargo_fuzz() -> Result<PathBuf> {
    if let Some(tool) = which("cargo-fuzz") {
        return Ok(tool);
    }
    let tools = workspace::target().join("tools");
    let tool = tools.join("bin").join("cargo-fuzz");
    let wanted = format!("cargo-fuzz {CARGO_FUZZ_VERSION}");
    if output_of(&tool, &["--version"]).is_some_and(|version| version == wanted) {
        return Ok(tool);
    }
    let step = Step::begin(format!(
        "installing {wanted} from crates.io into {} (nothing outside of it changes)",
        tools.display()
    ));
    let mut command = cargo();
    command
        .args(["install", "cargo-fuzz", "--locked", "--version", CARGO_FUZZ_VERSION, "--root"])
        .arg(&tools);
    process::run(&mut command)?;
    step.done();
    Ok(tool)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_run_is_summed_up() {
        let log = "INFO: Seed: 1\n\
            #2\tINITED cov: 512 ft: 1034 corp: 40/12Kb exec/s: 0 rss: 61Mb\n\
            #9\tNEW    cov: 530 ft: 1100 corp: 41/12Kb lim: 4096 exec/s: 0 rss: 61Mb L: 3/9 MS: 1 EraseBytes-\n\
            Done 1066911 runs in 61 second(s)\n\
            stat::number_of_executed_units: 1066911\n";
        let run = Run::read(log);
        let expected = Run {
            executions: Some(1_066_911),
            seconds: Some(61),
            edges: 530,
            inputs: 41,
            ..Run::default()
        };
        assert_eq!(run, expected);
        assert_eq!(
            run.line(TARGETS[1]),
            "image    1066911 executions in 61 s, 530 edges covered, 41 inputs, no crash"
        );
    }

    #[test]
    fn a_crash_is_found_with_its_words_and_its_input() {
        let log = "#9\tNEW    cov: 530 ft: 1100 corp: 41/12Kb\n\
            thread '<unnamed>' panicked at fuzz/checks/frames.rs:29:5:\n\
            it does not hold\n\
            stack backtrace:\n\
            \x20  0: somewhere\n\
            ==7== ERROR: libFuzzer: deadly signal\n\
            artifact_prefix='t/'; Test unit written to t/crash-1\n\
            stat::number_of_executed_units: 77\n";
        let run = Run::read(log);
        assert_eq!(run.crash.as_deref(), Some(Path::new("t/crash-1")));
        assert_eq!(run.executions, Some(77));
        assert!(run.words.iter().any(|line| line == "it does not hold"), "{:?}", run.words);
        assert!(!run.words.iter().any(|line| line.contains("somewhere")), "{:?}", run.words);
    }

    #[test]
    fn a_target_that_does_not_exist_is_named_with_those_that_do() {
        assert_eq!(chosen(&[]).unwrap().len(), TARGETS.len());
        assert_eq!(chosen(&["journal".to_owned()]).unwrap()[0].name, "journal");
        let error = chosen(&["jornal".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("jornal") && error.contains("journal"), "{error}");
    }

    #[test]
    fn every_target_has_a_corpus_a_dictionary_and_its_seeds() {
        for target in TARGETS {
            assert!(fs_err::read_dir(target.corpus()).unwrap().count() > 0, "{}", target.name);
            let root = workspace::root();
            let dictionary = root.join(format!("fuzz/dictionaries/{}.dict", target.name));
            assert!(dictionary.is_file(), "{}", dictionary.display());
            for seeds in target.seeds {
                assert!(root.join(seeds).is_dir(), "{seeds}");
            }
        }
    }
}
