//! The end of the updater's log, for the report of an update that did not work out.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use jiff::Timestamp;
use kenny_proto::update::{LOG_LINE_BYTES, LOG_LINES};

use crate::logging;

/// Bytes read from the end: more than so many lines of that length have.
const TAIL_BYTES: u64 = 64 * 1024;

/// The last lines since this moment, oldest first; none where nothing can be read.
pub fn since(log_dir: &Path, began: Timestamp) -> Vec<String> {
    let newest = logging::newest(log_dir, logging::UPDATER);
    let Some(text) = newest.and_then(|path| end_of(&path).ok()) else { return Vec::new() };
    let mut lines: Vec<&str> = lines_since(&text, began);
    let surplus = lines.len().saturating_sub(LOG_LINES);
    lines.drain(..surplus);
    lines
        .into_iter()
        .map(|line| line[..line.floor_char_boundary(LOG_LINE_BYTES)].to_owned())
        .collect()
}

fn end_of(path: &Path) -> std::io::Result<String> {
    let mut file = fs_err::File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A line begins with its time; one that does not belongs to the line before.
fn lines_since(text: &str, began: Timestamp) -> Vec<&str> {
    let mut since = false;
    let mut lines = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let time = line.split_whitespace().next().and_then(|word| word.parse::<Timestamp>().ok());
        since = time.map_or(since, |time| time >= began);
        if since {
            lines.push(line);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn the_end_of_the_newest_log_since_the_update_began() {
        let folder = tempfile::tempdir().unwrap();
        let began: Timestamp = "2026-11-25T10:00:00Z".parse().unwrap();
        assert_eq!(since(folder.path(), began), Vec::<String>::new());
        let write = |name: &str, text: &str| fs_err::write(folder.path().join(name), text).unwrap();
        write("kenny-updater.2026-11-24.log", "2026-11-25T10:00:01Z INFO another file\n");
        write("kenny-agent.2026-11-26.log", "2026-11-25T10:00:01Z INFO another program\n");
        let long = "\u{fc}".repeat(LOG_LINE_BYTES);
        let mut text =
            String::from("  cut off\n2026-11-25T09:59:59Z  INFO an update before\n  of it\n");
        for second in 1..=50 {
            writeln!(text, "2026-11-25T10:00:{second:02}.5Z  INFO line {second}").unwrap();
        }
        writeln!(text, "  more of it {long}").unwrap();
        write("kenny-updater.2026-11-25.log", &text);
        let lines = since(folder.path(), began);
        assert_eq!(lines.len(), LOG_LINES);
        assert!(lines[0].ends_with("line 12"), "{}", lines[0]);
        assert!(lines[LOG_LINES - 1].starts_with("  more of it"));
        assert!(lines.iter().all(|line| line.len() <= LOG_LINE_BYTES));
        assert_eq!(since(folder.path(), "2026-11-25T11:00:00Z".parse().unwrap()).len(), 0);
    }
}
