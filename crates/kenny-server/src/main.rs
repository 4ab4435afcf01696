//! `kenny-server`: wiring of command line, logs, signals and the server.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use kenny_server::config::{AccountCommand, AuditCommand, Cli, Command, LogFormat};
use kenny_server::signals::Signals;
use kenny_server::{Config, Server};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The logs may be JSON, or filtered away; this is for the person at the terminal.
            let _ = writeln!(std::io::stderr(), "kenny-server: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    match &cli.command {
        Some(Command::Openapi) => return say(&kenny_server::api::openapi_json()),
        Some(Command::Audit(AuditCommand::Verify { anchor })) => {
            let end = kenny_server::verify_audit(&cli.data_dir, anchor.clone())?;
            return say(&format!(
                "The audit log is whole: {} rows. Keep this elsewhere, and give it as --anchor next time:\n{end}\n",
                end.sequence
            ));
        }
        Some(Command::ResetToken | Command::Account(_)) | None => {}
    }
    start_logs(cli.options.log_format);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match cli.command {
            Some(Command::ResetToken) => {
                let token = kenny_server::reset_operator_token(&cli.data_dir).await?;
                say(&format!(
                    "\n  New token of the account `owner` (shown this once, its old ones are void):\n\n    {token}\n\n"
                ))
            }
            Some(Command::Account(AccountCommand::Reset { name })) => {
                let password = kenny_server::reset_account(&cli.data_dir, &name).await?;
                say(&format!(
                    "\n  New password of {name} (shown this once; second factor, tokens and sessions are gone):\n\n    \
                     {password}\n\n  Log in with `kenny login URL --account {name}`, then `kenny account password`.\n\n"
                ))
            }
            Some(Command::Openapi | Command::Audit(_)) | None => {
                serve(Config::from_cli(cli.data_dir, cli.options)).await
            }
        }
    })
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    let server = Server::bind(config).await?;
    let mut lines =
        format!("kenny-server {} listens on {}\n", env!("CARGO_PKG_VERSION"), server.url());
    if let Some(link) = &server.setup_link {
        lines = format!(
            "{lines}\n  Nobody has a password yet. Open this in a browser to become the owner (works once, within an hour):\n\n    \
             {link}\n"
        );
    }
    if let Some(token) = &server.operator_token {
        lines = format!(
            "{lines}\n  Token of the account `owner`, for the command line (shown this once, only its hash is kept):\n\n    \
             {token}\n\n  `kenny login URL` takes it, and `kenny account password` gives the account a password.\n  \
             Lost it? Stop the server and run `kenny-server reset-token`.\n\n"
        );
    }
    say(&lines)?;
    server
        .serve(async move {
            signals.next().await;
            tokio::spawn(async move {
                signals.next().await;
                tracing::warn!("asked twice: stopping at once");
                std::process::exit(1);
            });
        })
        .await
}

fn say(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()?;
    Ok(())
}

fn start_logs(format: LogFormat) {
    let filter = EnvFilter::try_from_env("KENNY_LOG")
        .or_else(|_| EnvFilter::try_from_default_env())
        .unwrap_or_else(|_| EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => {
            use std::io::IsTerminal as _;
            let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            logs.with_ansi(colour).init();
        }
        LogFormat::Json => logs.json().flatten_event(true).init(),
    }
}
