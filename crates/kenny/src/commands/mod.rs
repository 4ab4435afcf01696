//! One module per command, each of which asks the server and says the answer.

mod accounts;
mod agent_settings;
mod agents;
mod audit;
mod call;
mod events;
mod follow;
mod history;
mod invitations;
mod keys;
mod login;
mod releases;
mod rollout;
mod rollout_watch;
mod sign;
mod status;
mod tokens;
mod update;
mod watch;

use crate::cli::{
    AgentCommand, AuditCommand, Cli, Command, Connection, KeysCommand, ReleaseCommand,
};
use crate::client::Client;
use crate::config::Target;
use crate::error::CliError;
use crate::output::Output;

/// Does what was typed.
pub async fn run(cli: Cli, output: Output) -> Result<(), CliError> {
    let cli = match cli {
        Cli { command: Command::Login(args), connection, .. } => {
            return login::run(args, connection).await;
        }
        Cli { command: Command::Logout, connection, .. } => {
            return login::log_out(connection).await;
        }
        Cli { command: Command::Keys(command), connection, .. } => {
            return keys(command, output, connection).await;
        }
        Cli { command: Command::Release(ReleaseCommand::Sign(args)), .. } => {
            return sign::sign(output, &args);
        }
        Cli { command: Command::Audit(AuditCommand::Verify(args)), .. } if args.file.is_some() => {
            return audit::verify_file(output, args);
        }
        other => other,
    };
    let client = Client::new(Target::resolve(cli.connection)?)?;
    match cli.command {
        Command::Login(_)
        | Command::Logout
        | Command::Keys(_)
        | Command::Release(ReleaseCommand::Sign(_)) => {
            unreachable!("done above, before a server is known")
        }
        Command::Whoami => login::whoami(&client, output).await,
        Command::Account(command) => accounts::run(&client, output, command).await,
        Command::Token(command) => tokens::run(&client, output, command).await,
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
        Command::Agent(AgentCommand::Set(args)) => agent_settings::set(&client, output, args).await,
        Command::Agent(AgentCommand::ClearHold { id }) => agents::clear_hold(&client, &id).await,
        Command::Agent(AgentCommand::Remove { id, yes }) => agents::remove(&client, &id, yes).await,
        Command::Release(ReleaseCommand::Add { files }) => {
            releases::add(&client, output, &files).await
        }
        Command::Release(ReleaseCommand::Remove { version, yes }) => {
            releases::remove(&client, &version, yes).await
        }
        Command::Release(ReleaseCommand::List) => releases::list(&client, output).await,
        Command::Release(ReleaseCommand::Publish(args)) => {
            sign::publish(&client, output, &args.repository).await
        }
        Command::Release(ReleaseCommand::Fetch(args)) => {
            sign::fetch(&client, output, &args.repository).await
        }
        Command::Rollout(command) => rollout::run(&client, output, command).await,
        Command::Channel(args) => rollout::channel(&client, output, args).await,
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

/// `kenny keys ...`: most of it needs no server, and none of it sends a private key anywhere.
async fn keys(
    command: KeysCommand,
    output: Output,
    connection: Connection,
) -> Result<(), CliError> {
    match command {
        KeysCommand::New { file, passphrase } => {
            keys::new(&file, sign::passphrases(passphrase.passphrase_file.as_ref())?)
        }
        KeysCommand::Init(args) => keys::init(args, connection).await,
        KeysCommand::Show { dir } => keys::show(output, &dir),
        KeysCommand::Rotate(args) => keys::rotate(args, connection).await,
    }
}
