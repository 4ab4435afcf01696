//! The few forms of arguments that these commands take.

use std::collections::VecDeque;

use anyhow::{Context, Result, bail};

/// What is left of the command line.
pub struct Arguments(VecDeque<String>);

impl Arguments {
    /// Everything after the program's name.
    pub fn from_command_line() -> Self {
        Self(std::env::args().skip(1).collect())
    }

    /// The next argument, if it is no option.
    pub fn word(&mut self) -> Option<String> {
        self.0.front().filter(|word| !word.starts_with('-'))?;
        self.0.pop_front()
    }

    /// True when the option `name` was given.
    pub fn flag(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|argument| argument != name);
        self.0.len() < before
    }

    /// The value of the option `name`.
    pub fn value(&mut self, name: &str) -> Result<Option<String>> {
        let Some(at) = self.0.iter().position(|argument| argument == name) else { return Ok(None) };
        self.0.remove(at);
        let value = self.0.remove(at).with_context(|| format!("{name} needs a value"))?;
        Ok(Some(value))
    }

    /// Whatever is left, none of it options.
    pub fn words(mut self) -> Result<Vec<String>> {
        let mut words = Vec::new();
        while let Some(word) = self.word() {
            words.push(word);
        }
        self.finish()?;
        Ok(words)
    }

    /// Refuses what nobody asked for.
    pub fn finish(self) -> Result<()> {
        match self.0.front() {
            None => Ok(()),
            Some(unknown) => bail!("`{unknown}` is not understood here; see `cargo xtask help`"),
        }
    }
}
