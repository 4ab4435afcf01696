//! One module per command, each of which asks the server and says the answer.

mod agents;
mod call;
mod events;
mod follow;
mod history;
mod invitations;
mod login;
mod releases;
mod status;
mod update;
mod watch;

use crate::cli::{AgentCommand, Cli, Command, ReleaseCommand};
use crate::client::Client;
use crate::config::Target;
use crate::error::CliError;
use crate::output::Output;

/// Does what was typed.
pub async fn run(cli: Cli, output: Output) -> Result<(), CliError> {
    if let Command::Login { url } = cli.command {
        return login::run(url, cli.connection).await;
    }
    let client = Client::new(Target::resolve(cli.connection)?)?;
    match cli.command {
        Command::Login { .. } => unreachable!("done above, before a server is known"),
        Command::Status => status::run(&client, output).await,
        Command::Agents => agents::list(&client, output).await,
        Command::Agent(AgentCommand::Invite { id, expires }) => {
            invitations::invite(&client, output, &id, expires).await
        }
        Command::Agent(AgentCommand::Invitations) => invitations::list(&client, output).await,
        Command::Agent(AgentCommand::Withdraw { id }) => invitations::withdraw(&client, &id).await,
        Command::Agent(AgentCommand::Add { id, legacy }) => {
            agents::add(&client, output, id, legacy).await
        }
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
        Command::Events(args) => events::run(&client, output, args).await,
    }
}
