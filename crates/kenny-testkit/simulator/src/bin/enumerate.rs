//! Prints what the enumeration tried, and fails with the story where a promise is broken.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command of the console")]

use std::process::ExitCode;
use std::time::Instant;

use kenny_simulator::explore::{Depth, explore_all};
use kenny_simulator::scenario;

fn main() -> ExitCode {
    let began = Instant::now();
    let depth = if std::env::args().any(|argument| argument == "--single") {
        Depth::Single
    } else {
        Depth::Double
    };
    match explore_all(&scenario::all(), depth) {
        Ok(tried) => {
            println!("enumeration: {tried} in {:.1} s", began.elapsed().as_secs_f64());
            ExitCode::SUCCESS
        }
        Err(broken) => {
            eprintln!("{}", broken.0);
            ExitCode::FAILURE
        }
    }
}
