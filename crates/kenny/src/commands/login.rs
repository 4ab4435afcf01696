//! `kenny login`: keeps an address and a token, after the server accepted them.

use std::io::{self, BufRead as _, IsTerminal as _};

use url::Url;

use crate::cli::Connection;
use crate::client::Client;
use crate::config::{self, Login, Target};
use crate::error::CliError;
use crate::output;

/// Reads the token, tries it, keeps it.
pub async fn run(server: Url, connection: Connection) -> Result<(), CliError> {
    config::check(&server)?;
    let ca_file = match connection.ca_file {
        Some(path) => Some(std::path::absolute(path).map_err(CliError::File)?),
        None => None,
    };
    let token = match connection.token {
        Some(token) => token,
        None => read_token()?,
    };
    let token = token.trim().to_owned();
    // The server checks it; this keeps line breaks and the like out of a header.
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(CliError::Usage(
            "that is no token; the server printed it at its first start, and it begins with `kenny_op_`".to_owned(),
        ));
    }
    let client = Client::new(Target {
        server: server.clone(),
        token: Some(token.clone()),
        ca_file: ca_file.clone(),
    })?;
    client.agents().await?;
    let path = Login::path()?;
    Login { server, token, ca_file }.write(&path)?;
    output::note(&format!("Logged in to {}; kept in {}.", client.address(), path.display()));
    Ok(())
}

fn read_token() -> Result<String, CliError> {
    let unreadable =
        |error: io::Error| CliError::Usage(format!("the token cannot be read: {error}"));
    if io::stdin().is_terminal() {
        return rpassword::prompt_password("Operator token (not shown): ").map_err(unreadable);
    }
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(unreadable)?;
    Ok(line)
}
