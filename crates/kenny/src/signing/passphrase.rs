//! Passphrases of key files: asked for, or out of a file or the environment for scripts.

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};

use crate::error::CliError;

/// Shortest passphrase of a new key, in characters. Whoever finds the file can try millions a day.
const MIN_CHARS: usize = 12;

/// How often a wrong passphrase may be typed.
pub const TRIES: usize = 3;

/// Where passphrases come from.
#[derive(Debug)]
pub struct Passphrases {
    /// Out of a file or the environment: the one for every key.
    given: Option<String>,
    /// The last one that was typed: key files often share it.
    typed: Option<String>,
}

impl Passphrases {
    /// `file` holds the passphrase in its first line; `value` is the passphrase itself, out of the environment.
    pub fn new(file: Option<&PathBuf>, value: Option<String>) -> Result<Self, CliError> {
        let given = match file {
            Some(file) => Some(first_line(file)?),
            None => value,
        };
        Ok(Self { given, typed: None })
    }

    /// The passphrases to try for a key that exists, without asking.
    pub fn known(&self) -> impl Iterator<Item = &String> {
        self.given.iter().chain(&self.typed)
    }

    /// Asks for the passphrase of a key that exists; an error where nobody can be asked.
    pub fn ask(&mut self, path: &Path) -> Result<String, CliError> {
        if self.given.is_some() {
            return Err(CliError::Usage(format!(
                "the passphrase that was given is not that of {}",
                path.display()
            )));
        }
        let typed = prompt(&format!("Passphrase of {} (not shown): ", path.display()))?;
        self.typed = Some(typed.clone());
        Ok(typed)
    }

    /// The passphrase for new keys; typed twice where it is typed.
    pub fn for_new_keys(&mut self) -> Result<String, CliError> {
        let passphrase = if let Some(given) = &self.given {
            given.clone()
        } else {
            let first = prompt("Passphrase for the new keys (not shown): ")?;
            if prompt("The same again: ")? != first {
                return Err(CliError::Usage("the two passphrases differ".to_owned()));
            }
            first
        };
        if passphrase.chars().count() < MIN_CHARS {
            return Err(CliError::Usage(format!(
                "a passphrase has at least {MIN_CHARS} characters; four or five unrelated words are a good one"
            )));
        }
        self.typed = Some(passphrase.clone());
        Ok(passphrase)
    }
}

fn first_line(file: &Path) -> Result<String, CliError> {
    let text = fs_err::read_to_string(file).map_err(CliError::File)?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        return Err(CliError::Usage(format!(
            "{} has no passphrase in its first line",
            file.display()
        )));
    }
    Ok(line.to_owned())
}

fn prompt(question: &str) -> Result<String, CliError> {
    if !io::stdin().is_terminal() {
        return Err(CliError::Usage(
            "a passphrase is needed and there is no terminal to ask at; give --passphrase-file, or set KENNY_KEY_PASSPHRASE"
                .to_owned(),
        ));
    }
    rpassword::prompt_password(question)
        .map_err(|error| CliError::Usage(format!("the passphrase cannot be read: {error}")))
}
