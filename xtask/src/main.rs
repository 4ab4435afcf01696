//! The workspace's own commands, run as `cargo xtask COMMAND`.
//!
//! They set a machine up, build agents for Windows and start the test rig. No product code, and nothing of the
//! agent or the server is linked in.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command of the console: results on stdout, progress on stderr"
)]

mod agents;
mod arguments;
mod enumeration;
mod fuzz;
mod interop;
mod mutants;
mod process;
mod rig;
mod setup;
mod test;
mod workspace;

use std::process::ExitCode;

use anyhow::{Result, bail};

use arguments::Arguments;

const USAGE: &str = "\
cargo xtask COMMAND

  setup                 installs what this machine lacks (Debian), or says what is missing
  demo [--once]         server, a real Windows service under Wine, and an update of it; stays up until Ctrl-C
                        (--once: exits 0 as soon as the agent is online on the new version)
  test [--quick|--all]  everything: format, lints, tests, enumeration, browser, interop, fuzzing, Windows builds, the
                        live suite with one round of kills (--quick: format, lints and tests only; --all: three
                        rounds of kills)
  live [--native] [--updates N] [--rounds N] [--jobs N] [CASE...]
                        the live suite alone (--native: on this Windows machine itself); `kills` is the kill matrix
  enumerate             every interruption of every story of an update, in memory: prints what was tried
  interop               python-tuf, in an environment of its own, takes a target from the real server
  mutants [WORD...]     breaks the code on purpose, one break after the other; enumeration or tests must notice each
                        (WORD: a part, as `engine` or `trust`, or part of a name)
  fuzz [--seconds N] [TARGET...]
                        the fuzz targets (frames, image, invitation, journal), 60 s each
  fuzz TARGET --input FILE
                        one input once, with all that the target says
  fuzz --keep [TARGET...]
                        adds the finds that reach new code to fuzz/corpus
  bench downtime [--updates N] [--release]
                        how long an update keeps an agent offline, over 30 updates (--release: with release builds)
  bench hostile [--seconds N] [--agents N] [--attackers N]
                        hostile clients beside 100 agents, 60 s without TLS and 60 s with; fails when one is dropped
  bench load [--release]
                        calls per second with 1000 agents, and memory per idle connection
  bench rollback        how long until the old version is back after one that crashes, hangs or cannot connect
  windows               server, command line and rig compile for Windows
  agent --target windows|linux [--version V] [--profile agent-test|release] [--out FILE]
                        builds one agent";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut arguments = Arguments::from_command_line();
    let command = arguments.word();
    if arguments.flag("--help") || arguments.flag("-h") {
        println!("{USAGE}");
        return Ok(());
    }
    match command.as_deref() {
        Some("setup") => setup::command(arguments),
        Some("agent") => agents::command(arguments),
        Some("windows") => agents::check_command(arguments),
        Some("test") => test::command(arguments),
        Some("live") => rig::live(arguments),
        Some("fuzz") => fuzz::command(arguments),
        Some("enumerate") => enumeration::command(arguments),
        Some("interop") => interop::command(arguments),
        Some("mutants") => mutants::command(arguments),
        Some("bench") => rig::bench(arguments),
        Some("demo") => rig::demo(arguments),
        Some("help") => {
            println!("{USAGE}");
            Ok(())
        }
        Some(other) => bail!("there is no command `{other}`\n\n{USAGE}"),
        None => bail!("a command is needed\n\n{USAGE}"),
    }
}
