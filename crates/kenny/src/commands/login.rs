//! `kenny login`, `kenny logout`, `kenny whoami`: by which token this machine acts.

use jiff::Timestamp;
use kenny_proto::accounts::{Me, NewLogin, TokenCreated};
use kenny_proto::{AccountName, Secret};

use crate::cli::{Connection, LoginArgs};
use crate::client::Client;
use crate::config::{self, Login, Target};
use crate::error::CliError;
use crate::output::{self, Output, facts};
use crate::{ask, machine, words};

/// Gets a token, by a password or as it is, tries it, keeps it.
pub async fn run(args: LoginArgs, connection: Connection) -> Result<(), CliError> {
    let server = args.url.clone();
    config::check(&server)?;
    let ca_file = match connection.ca_file {
        Some(path) => Some(std::path::absolute(path).map_err(CliError::File)?),
        None => None,
    };
    let target = |token| Target { server: server.clone(), token, ca_file: ca_file.clone() };
    let (token, account) = match &args.account {
        Some(account) => {
            let made = by_password(&Client::new(target(None))?, account, &args).await?;
            (made.secret.0, Some(account.clone()))
        }
        None => (given_token(connection.token)?, None),
    };
    let client = Client::new(target(Some(token.clone())))?;
    let me = client.me().await?;
    let path = Login::path()?;
    // An unreadable one is replaced, and so there is nothing to revoke.
    let before = Login::read(&path).ok().flatten();
    Login { server: server.clone(), token, ca_file: ca_file.clone(), account }.write(&path)?;
    output::note(&format!(
        "Logged in to {} as {} ({}); kept in {}.",
        client.address(),
        me.account.name,
        me.role,
        path.display()
    ));
    revoke_former(before, &client).await;
    Ok(())
}

/// `kenny logout`: revokes the token, and forgets it where it is the kept one.
pub async fn log_out(connection: Connection) -> Result<(), CliError> {
    let path = Login::path()?;
    let target = Target::resolve(connection)?;
    let token = target.token.clone();
    let client = Client::new(target)?;
    let revoked = match client.log_out().await {
        Ok(()) => true,
        // It was worth nothing already.
        Err(CliError::Refused(problem)) if problem.status == 401 => false,
        Err(error) => return Err(error),
    };
    let kept = Login::read(&path)?.filter(|login| Some(&login.token) == token.as_ref());
    if kept.is_some() {
        fs_err::remove_file(&path).map_err(CliError::File)?;
    }
    output::note(&if revoked {
        format!("Logged out of {}: the token is revoked.", client.address())
    } else {
        format!(
            "The token was not accepted by {} any more; it is forgotten here.",
            client.address()
        )
    });
    Ok(())
}

/// `kenny whoami`.
pub async fn whoami(client: &Client, output: Output) -> Result<(), CliError> {
    let me = client.me().await?;
    if output.json { output::document(&me) } else { output::text(&describe(client.address(), &me)) }
}

fn describe(server: &str, me: &Me) -> String {
    let account = &me.account;
    let role = if me.role == account.role {
        me.role.to_string()
    } else {
        format!("{} (the account is {})", me.role, account.role)
    };
    let second_factor = match (account.has_totp, account.recovery_codes_left) {
        (true, left) => format!("on, {left} recovery codes left"),
        (false, _) => "off; `kenny account totp enable` sets one up".to_owned(),
    };
    let password =
        (!account.has_password).then(|| "none yet; `kenny account password` sets one".to_owned());
    facts(&[
        ("server", Some(server.to_owned())),
        ("account", Some(account.name.to_string())),
        ("role", Some(role)),
        ("password", password),
        ("second factor", account.has_password.then_some(second_factor)),
        ("token", me.token.as_ref().map(|token| format!("{} ({})", token.name, token.id))),
        ("expires", me.token.as_ref().and_then(|token| token.expires_at).map(words::moment)),
        ("from", me.from.map(|address| address.to_string())),
    ])
}

async fn by_password(
    client: &Client,
    account: &AccountName,
    args: &LoginArgs,
) -> Result<TokenCreated, CliError> {
    let token_name = args.name.clone().or_else(machine::name).unwrap_or_else(|| "kenny".to_owned());
    let mut login = NewLogin {
        account: account.to_string(),
        password: ask::secret(&format!("Password of {account}"))?,
        code: None,
        token_name,
        role: args.role,
        expires_at: args.expires.map(|expires| expires.moment(Timestamp::now())),
    };
    match client.log_in(&login).await {
        Err(CliError::Refused(problem)) if problem.code == "code_needed" => {
            let code = ask::line("Code of the authenticator, or a recovery code")?;
            login.code = Some(Secret(code));
            client.log_in(&login).await
        }
        other => other,
    }
}

fn given_token(given: Option<String>) -> Result<String, CliError> {
    let token = match given {
        Some(token) => token,
        None => ask::secret("API token")?.0,
    };
    let token = token.trim().to_owned();
    // The server checks it; this keeps line breaks and the like out of a header.
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(CliError::Usage(
            "that is no token: it begins with `kenny_op_`. The server printed one at its first start; with --account NAME \
             a password makes one"
                .to_owned(),
        ));
    }
    Ok(token)
}

/// The token that an earlier login by password made for this machine is of no use any more.
async fn revoke_former(before: Option<Login>, client: &Client) {
    let Some(login) = before.filter(|login| {
        login.account.is_some() && config::same_server(&login.server, client.server())
    }) else {
        return;
    };
    let target = Target { server: login.server, token: Some(login.token), ca_file: login.ca_file };
    let revoked = match Client::new(target) {
        Ok(former) => former.log_out().await,
        Err(error) => Err(error),
    };
    match revoked {
        Ok(()) => output::note("The token of the login before is revoked."),
        Err(CliError::Refused(problem)) if problem.status == 401 => {}
        Err(error) => output::note(&format!(
            "The token of the login before could not be revoked ({error}); `kenny token list` shows it."
        )),
    }
}
