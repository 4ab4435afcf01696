//! One module per command, each of which asks the server and says the answer.

mod agents;
mod audit;
mod call;
mod events;
mod follow;
mod history;
mod login;
mod releases;
mod status;
mod update;
mod watch;

use crate::cli::{AgentCommand, AuditCommand, Cli, Command, ReleaseCommand};
use crate::client::Client;
use crate::config::Target;
use crate::error::CliError;
use crate::output::Output;

/// Does what was typed.
pub async fn run(cli: Cli, output: Output) -> Result<(), CliError> {
    if let Command::Login { url } = cli.command {
        return login::run(url, cli.connection).await;
    }
    if let Command::Audit(AuditCommand::Verify(args)) = &cli.command
        && let Some(file) = args.file.clone()
    {
        return audit::verify_file(output, args.clone(), &file);
    }
    let client = Client::new(Target::resolve(cli.connection)?)?;
    match cli.command {
        Command::Login { .. } => unreachable!("done above, before a server is known"),
        Command::Status => status::run(&client, output).await,
        Command::Agents => agents::list(&client, output).await,
        Command::Agent(AgentCommand::Add { id }) => agents::add(&client, output, id).await,
        Command::Agent(AgentCommand::Show { id }) => agents::show(&client, output, &id).await,
        Command::Agent(AgentCommand::ClearHold { id }) => agents::clear_hold(&client, &id).await,
        Command::Agent(AgentCommand::Remove { id, yes }) => agents::remove(&client, &id, yes).await,
        Command::Release(ReleaseCommand::Add { files }) => {
            releases::add(&client, output, &files).await
        }
        Command::Release(ReleaseCommand::List) => releases::list(&client, output).await,
        Command::Update(args) => update::run(&client, output, args).await,
        Command::Rollback(args) => update::roll_back(&client, output, args).await,
        Command::Updates { agent } => update::list(&client, output, &agent).await,
        Command::Call(args) => call::run(&client, output, args).await,
        Command::Tools => call::tools(&client, output).await,
        Command::Audit(AuditCommand::List(args)) => audit::list(&client, output, args).await,
        Command::Audit(AuditCommand::Verify(args)) => {
            audit::verify(&client, output, args.anchor).await
        }
        Command::Audit(AuditCommand::Export) => audit::export(&client).await,
        Command::Events(args) => events::run(&client, output, args).await,
    }
}
