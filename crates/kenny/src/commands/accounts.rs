//! `kenny account ...`: who may act on the server, and the own password and second factor.

use std::fmt::Write as _;

use kenny_proto::accounts::{
    Account, AccountChange, AccountPassword, Confirmation, NewAccount, NewPassword, RecoveryCodes,
    TotpCode,
};
use kenny_proto::{AccountName, Secret};

use crate::ask;
use crate::cli::{AccountCommand, TotpCommand};
use crate::client::Client;
use crate::error::CliError;
use crate::output::{self, Cell, Output, Table, Tone};

/// Does what was typed.
pub async fn run(client: &Client, output: Output, command: AccountCommand) -> Result<(), CliError> {
    match command {
        AccountCommand::List => list(client, output).await,
        AccountCommand::Create { name, role } => {
            let made = client.create_account(&NewAccount { name, role }).await?;
            say_password(client, output, &made, "is made")
        }
        AccountCommand::SetRole { name, role } => {
            let change = AccountChange { role: Some(role), disabled: None };
            let account = client.change_account(&name, &change).await?;
            changed(output, &account, &format!("{name} is {role} now."))
        }
        AccountCommand::Disable { name } => {
            let change = AccountChange { role: None, disabled: Some(true) };
            let account = client.change_account(&name, &change).await?;
            let said = format!("{name} is disabled; its tokens are revoked and its sessions over.");
            changed(output, &account, &said)
        }
        AccountCommand::Enable { name } => {
            let change = AccountChange { role: None, disabled: Some(false) };
            let account = client.change_account(&name, &change).await?;
            changed(output, &account, &format!("{name} may log in again."))
        }
        AccountCommand::Reset { name, yes } => reset(client, output, &name, yes).await,
        AccountCommand::Remove { name, yes } => remove(client, &name, yes).await,
        AccountCommand::Password => password(client).await,
        AccountCommand::Totp(TotpCommand::Enable) => enable_totp(client, output).await,
        AccountCommand::Totp(TotpCommand::Disable) => {
            client.end_totp(&confirmation(client).await?).await?;
            output::note("The second factor is off: the password alone is enough from now on.");
            Ok(())
        }
        AccountCommand::Totp(TotpCommand::RecoveryCodes) => {
            let codes = client.renew_recovery_codes(&confirmation(client).await?).await?;
            say_codes(output, &codes)
        }
    }
}

async fn list(client: &Client, output: Output) -> Result<(), CliError> {
    let list = client.accounts().await?;
    if output.json {
        return output::document(&list);
    }
    let mut table = Table::new(&["NAME", "ROLE", "STATE", "SECOND FACTOR", "TOKENS"]);
    for account in &list.accounts {
        let state = match (account.disabled, account.has_password) {
            (true, _) => Cell::new(Tone::Bad, "disabled"),
            (false, true) => Cell::new(Tone::Good, "enabled"),
            (false, false) => Cell::new(Tone::Pending, "no password"),
        };
        table.row([
            account.name.as_str().into(),
            account.role.as_str().into(),
            state,
            if account.has_totp { "on" } else { "off" }.into(),
            account.tokens.to_string().into(),
        ]);
    }
    output::text(&table.render(output.palette))
}

async fn reset(
    client: &Client,
    output: Output,
    name: &AccountName,
    yes: bool,
) -> Result<(), CliError> {
    let question =
        format!("Reset {name}? Its password, second factor, tokens and sessions are gone then.");
    if !ask::confirmed(yes, &question, name.as_str())? {
        return Err(CliError::Failed(format!("{name} was not reset")));
    }
    let made = client.reset_account(name).await?;
    say_password(client, output, &made, "is reset")
}

async fn remove(client: &Client, name: &AccountName, yes: bool) -> Result<(), CliError> {
    let question = format!("Remove {name}? Its tokens are worth nothing afterwards.");
    if !ask::confirmed(yes, &question, name.as_str())? {
        return Err(CliError::Failed(format!("{name} was not removed")));
    }
    client.remove_account(name).await?;
    output::note(&format!("{name} is removed."));
    Ok(())
}

async fn password(client: &Client) -> Result<(), CliError> {
    let current = confirmation(client).await?.password;
    let new = ask::new_secret("New password")?;
    client.set_password(&NewPassword { current, new }).await?;
    output::note(
        "The password is changed, and the account's sessions in browsers are over. Its tokens go on to work; \
         `kenny token list` shows them.",
    );
    Ok(())
}

async fn enable_totp(client: &Client, output: Output) -> Result<(), CliError> {
    let begun = client.begin_totp(&confirmation(client).await?).await?;
    // On standard error: standard output has the codes that are to be kept.
    output::note(&format!(
        "Give this to the authenticator, by typing the secret or as a QR code of the address:\n\n  {}\n  {}\n",
        begun.secret.expose(),
        begun.uri.expose()
    ));
    let code = Secret(ask::line("The six digits that it shows now")?);
    let codes = client.confirm_totp(&TotpCode { code }).await?;
    output::note("The second factor is on.");
    say_codes(output, &codes)
}

/// The own password, where there is one.
async fn confirmation(client: &Client) -> Result<Confirmation, CliError> {
    let account = client.me().await?.account;
    if !account.has_password {
        return Ok(Confirmation::default());
    }
    let password = ask::secret(&format!("Current password of {}", account.name))?;
    Ok(Confirmation { password: Some(password) })
}

fn changed(output: Output, account: &Account, said: &str) -> Result<(), CliError> {
    if output.json {
        return output::document(account);
    }
    output::note(said);
    Ok(())
}

fn say_password(
    client: &Client,
    output: Output,
    made: &AccountPassword,
    what: &str,
) -> Result<(), CliError> {
    if output.json {
        return output::document(made);
    }
    let name = &made.account.name;
    output::text(&format!(
        "{name} {what}. The password is shown this once:\n\n  {}\n\n\
         With it, on the machine of whoever it is for:\n\n  kenny login {} --account {name}\n  kenny account password\n",
        made.password.expose(),
        client.address()
    ))
}

fn say_codes(output: Output, codes: &RecoveryCodes) -> Result<(), CliError> {
    if output.json {
        return output::document(codes);
    }
    output::note(
        "Recovery codes, for when the authenticator is lost. Each is good once, instead of its code. They are shown this \
         once; keep them apart from it:",
    );
    let mut text = String::new();
    for code in &codes.codes {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{}", code.expose());
    }
    output::text(&text)
}
