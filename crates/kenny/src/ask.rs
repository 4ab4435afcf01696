//! Asking whoever is there: at the terminal, or a script through a pipe, one line for each answer.

use std::io::{self, BufRead as _, IsTerminal as _};

use kenny_proto::Secret;

use crate::error::CliError;
use crate::output;

/// Asks for something that is not shown. Without a terminal it is the next line of standard input.
pub fn secret(what: &str) -> Result<Secret, CliError> {
    let answer = if io::stdin().is_terminal() {
        rpassword::prompt_password(format!("{what} (not shown): "))
            .map_err(|error| unreadable(&error))?
    } else {
        next_line()?
    };
    if answer.is_empty() {
        return Err(CliError::Usage(format!("nothing was given where this was asked for: {what}")));
    }
    Ok(Secret(answer))
}

/// Asks twice for something new that is not shown; once without a terminal.
pub fn new_secret(what: &str) -> Result<Secret, CliError> {
    let first = secret(what)?;
    if io::stdin().is_terminal() && secret(&format!("{what}, again"))? != first {
        return Err(CliError::Usage("the two are not the same; nothing was changed".to_owned()));
    }
    Ok(first)
}

/// Asks for a line that is shown.
pub fn line(what: &str) -> Result<String, CliError> {
    if io::stdin().is_terminal() {
        output::note(&format!("{what}:"));
    }
    Ok(next_line()?.trim().to_owned())
}

/// Has `word` typed before something that cannot be undone, unless `yes` was said already.
pub fn confirmed(yes: bool, question: &str, word: &str) -> Result<bool, CliError> {
    if yes {
        return Ok(true);
    }
    if !io::stdin().is_terminal() {
        return Err(CliError::Usage(format!(
            "{question} This asks for confirmation; add --yes where nobody can answer"
        )));
    }
    Ok(line(&format!("{question} Type `{word}` to go on"))? == word)
}

fn next_line() -> Result<String, CliError> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(|error| unreadable(&error))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn unreadable(error: &io::Error) -> CliError {
    CliError::Usage(format!("the answer cannot be read: {error}"))
}
