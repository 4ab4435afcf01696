//! The executable: wiring only.

use std::process::ExitCode;

use clap::Parser as _;
use kenny_agent::{cli, platform};

fn main() -> ExitCode {
    // First of all: from here on no library is loaded from the working directory.
    platform::harden_process();
    cli::execute(cli::Cli::parse())
}
