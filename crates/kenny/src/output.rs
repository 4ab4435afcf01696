//! What goes to standard output (data) and to standard error (the rest), and how it looks.

use std::env;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;

use crate::error::CliError;
use crate::words::harmless;

/// Where a command's words go.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// JSON for scripts instead of words for people.
    pub json: bool,
    /// Colours on standard output.
    pub palette: Palette,
    /// Standard output is a terminal on which a line can be written over.
    pub live: bool,
    /// The same of standard error.
    pub live_notes: bool,
}

impl Output {
    /// For this process.
    pub fn to_terminal(json: bool) -> Self {
        let dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        let no_colour = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let live = io::stdout().is_terminal() && !dumb;
        Self {
            json,
            palette: Palette { coloured: live && !no_colour },
            live,
            live_notes: io::stderr().is_terminal() && !dumb,
        }
    }

    /// Writes over the last such remark; nothing where lines cannot be written over. An empty one removes it.
    pub fn passing_note(self, text: &str) {
        if self.live_notes {
            let mut out = io::stderr().lock();
            let _ = write!(out, "\r\x1b[K{text}").and_then(|()| out.flush());
        }
    }
}

/// Data, as it is.
pub fn text(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(CliError::Output)
}

/// One line of data.
pub fn line(line: &str) -> Result<(), CliError> {
    text(&format!("{line}\n"))
}

/// The one document that a command answers.
pub fn document(value: &impl Serialize) -> Result<(), CliError> {
    line(&serde_json::to_string_pretty(value).expect("our types serialise"))
}

/// One of several documents that come over time, on a line of its own.
pub fn record(value: &impl Serialize) -> Result<(), CliError> {
    line(&serde_json::to_string(value).expect("our types serialise"))
}

/// A remark beside the data.
pub fn note(text: &str) {
    // There is nobody left to tell when standard error is gone.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Why the command failed.
pub fn error(error: &CliError) {
    if !error.is_silent() {
        note(&format!("kenny: {error}"));
    }
}

/// Colours, or none.
#[derive(Debug, Clone, Copy)]
pub struct Palette {
    /// False: no escape sequence is written at all.
    pub coloured: bool,
}

/// What a word tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Nothing in particular.
    Plain,
    /// A heading.
    Heading,
    /// All is well.
    Good,
    /// Under way, or waiting.
    Pending,
    /// Somebody should look.
    Bad,
    /// Of less interest.
    Faint,
}

impl Palette {
    /// The text in its colour.
    pub fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Heading => "1",
            Tone::Good => "32",
            Tone::Pending => "33",
            Tone::Bad => "31",
            Tone::Faint => "2",
        };
        if self.coloured { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Rows under headings, each column as wide as its widest cell.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<Cell>>,
}

/// One cell.
#[derive(Debug)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A cell in a tone. What comes from PCs cannot steer the terminal through it.
    pub fn new(tone: Tone, text: impl AsRef<str>) -> Self {
        Self { text: harmless(text.as_ref()), tone }
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(Tone::Plain, text)
    }
}

impl Table {
    /// A table with these headings.
    pub fn new(headings: &[&str]) -> Self {
        let headings = headings.iter().map(|text| Cell::new(Tone::Heading, text)).collect();
        Self { rows: vec![headings] }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The lines, each with its end.
    pub fn render(&self, palette: Palette) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                let cells = self.rows.iter().filter_map(|row| row.get(column));
                cells.map(|cell| cell.text.chars().count()).max().unwrap_or_default()
            })
            .collect();
        let mut text = String::new();
        for row in &self.rows {
            let filled =
                row.iter().rposition(|cell| !cell.text.is_empty()).map_or(0, |last| last + 1);
            for (column, cell) in row.iter().take(filled).enumerate() {
                text.push_str(&palette.paint(cell.tone, &cell.text));
                if column + 1 < filled {
                    let gap = widths[column] - cell.text.chars().count() + 2;
                    text.extend(std::iter::repeat_n(' ', gap));
                }
            }
            text.push('\n');
        }
        text
    }
}

/// Names and values, one pair a line; pairs without a value are left out.
pub fn facts(pairs: &[(&str, Option<String>)]) -> String {
    let shown = || pairs.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
    let width = shown().map(|(name, _)| name.len()).max().unwrap_or_default();
    let mut text = String::new();
    for (name, value) in shown() {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name:width$}  {}", harmless(value));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["ID", "STATE", "NOTE"]);
        table.row(["änna-pc".into(), Cell::new(Tone::Good, "online"), "x".into()]);
        table.row(["b".into(), Cell::new(Tone::Bad, "offline, seen 3 min ago"), "".into()]);
        table
    }

    #[test]
    fn columns_are_aligned_and_lines_end_where_their_words_do() {
        assert_eq!(
            table().render(Palette { coloured: false }),
            "ID       STATE                    NOTE\n\
             änna-pc  online                   x\n\
             b        offline, seen 3 min ago\n"
        );
    }

    #[test]
    fn colours_do_not_move_columns() {
        let coloured = table().render(Palette { coloured: true });
        let mut plain = coloured.replace("\x1b[0m", "");
        for code in ["1", "31", "32"] {
            plain = plain.replace(&format!("\x1b[{code}m"), "");
        }
        assert_ne!(coloured, plain);
        assert_eq!(plain, table().render(Palette { coloured: false }));
    }

    #[test]
    fn facts_without_a_value_are_left_out() {
        let text = facts(&[
            ("id", Some("a".to_owned())),
            ("none", None),
            ("version", Some("1".to_owned())),
        ]);
        assert_eq!(text, "id       a\nversion  1\n");
    }
}
