//! `kenny`, the operator's command line: a client of the server's REST API and of nothing else.

mod ask;
mod cli;
mod client;
mod client_rollouts;
mod commands;
mod config;
mod error;
mod expiry;
#[cfg_attr(unix, path = "machine_unix.rs")]
#[cfg_attr(windows, path = "machine_windows.rs")]
mod machine;
mod output;
mod rollout_args;
#[cfg_attr(unix, path = "secret_file_unix.rs")]
#[cfg_attr(windows, path = "secret_file_windows.rs")]
mod secret_file;
mod signing;
mod sse;
mod words;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::Cli;
use crate::output::Output;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = Output::to_terminal(cli.json);
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .expect("nothing installed another provider before");
    match commands::run(cli, output).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}
