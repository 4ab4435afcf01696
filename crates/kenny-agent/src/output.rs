//! What a program of ours' starting writes: read to its end, kept to a bound, and made text.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::{Instant, timeout_at};

use crate::platform;

/// How much of an unfinished output an error quotes, in characters: the last lines say where it hung.
const QUOTED: usize = 500;

/// What was kept of an output.
#[derive(Debug, Default)]
pub struct Captured {
    /// The beginning of it.
    pub bytes: Vec<u8>,
    /// True where more came, which was dropped.
    pub truncated: bool,
}

/// Reads an output in the background, all of it, so that the program does not stall.
#[derive(Debug)]
pub struct Capture {
    captured: Arc<Mutex<Captured>>,
    task: tokio::task::JoinHandle<()>,
}

impl Capture {
    /// Keeps this many bytes of it.
    pub fn start(pipe: Option<impl AsyncRead + Unpin + Send + 'static>, kept: usize) -> Self {
        let captured = Arc::new(Mutex::new(Captured::default()));
        let shared = Arc::clone(&captured);
        let task = tokio::spawn(async move {
            let Some(mut pipe) = pipe else { return };
            let mut buffer = vec![0; 16 * 1024];
            while let Ok(read @ 1..) = pipe.read(&mut buffer).await {
                let mut captured = shared.lock().unwrap_or_else(PoisonError::into_inner);
                let keep = read.min(kept - captured.bytes.len());
                captured.bytes.extend_from_slice(&buffer[..keep]);
                captured.truncated |= keep < read;
            }
        });
        Self { captured, task }
    }

    /// What came until its end, or until this moment.
    pub async fn finish(mut self, until: Instant) -> Captured {
        if timeout_at(until, &mut self.task).await.is_err() {
            self.task.abort();
        }
        std::mem::take(&mut *self.captured.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Output as text, line by line: UTF-8 where it is, else the console's code page, as programs use it that do not
/// heed the one that was asked for. Nothing that a program writes makes the rest unreadable.
pub fn decode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        match std::str::from_utf8(line) {
            Ok(line) => text.push_str(line),
            // Only the last character is cut off, by the bound on the output.
            Err(error) if error.error_len().is_none() => {
                text.push_str(&String::from_utf8_lossy(line));
            }
            Err(_) => text.push_str(&platform::decode_console(line)),
        }
    }
    text
}

/// The end of what was said, when something was.
pub fn tail(said: &str) -> Option<&str> {
    let said = said.trim();
    let start = said.char_indices().rev().nth(QUOTED - 1).map_or(0, |(index, _)| index);
    (!said.is_empty()).then_some(&said[start..])
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_cost_at_most_their_own_line() {
        assert_eq!(decode("gr\u{fc}\u{df}e\n".as_bytes()), "gr\u{fc}\u{df}e\n");
        let mixed = decode(b"one\n\xff\xfe?\n\xc3\xbc\n");
        let lines: Vec<&str> = mixed.lines().collect();
        assert_eq!((lines[0], lines[2]), ("one", "\u{fc}"));
        assert!(lines[1].ends_with('?'));
        // Cut in the middle of a character.
        assert_eq!(decode(b"\xc3\xbc\xc3"), "\u{fc}\u{fffd}");
    }

    #[test]
    fn the_tail_is_the_end_and_cuts_no_character() {
        assert_eq!(tail(" \n"), None);
        assert_eq!(tail("short\n"), Some("short"));
        let long = "\u{fc}".repeat(QUOTED) + "end";
        assert_eq!(tail(&long).unwrap().chars().count(), QUOTED);
        assert!(tail(&long).unwrap().ends_with("end"));
    }
}
