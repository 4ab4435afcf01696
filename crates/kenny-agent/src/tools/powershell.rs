//! `powershell.exec`: a script, its output, and the certain end of everything it started.

use std::process::Stdio;
use std::time::Duration;

use kenny_proto::frames::{ErrorCode, ToolError};
use kenny_proto::tools::{PowershellArgs, PowershellResult};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout, timeout_at};

use crate::platform::{self, ProcessTree, Shell};

/// Bytes kept of each output; the rest is read and dropped, so that the script does not stall.
const KEPT: usize = 1024 * 1024;
/// Seconds without `timeout_s`.
const DEFAULT_TIMEOUT_S: u64 = 60;
/// How long output may still come once the script has ended: something it left running can hold the pipe.
const LINGER: Duration = Duration::from_secs(1);
/// How much of an unfinished output the error quotes, in characters: the last lines say where it hung.
const QUOTED: usize = 500;

/// Runs the script.
pub async fn run(args: PowershellArgs) -> Result<PowershellResult, ToolError> {
    let limit = Duration::from_secs(args.timeout_s.unwrap_or(DEFAULT_TIMEOUT_S));
    let Shell { mut command, input } = platform::shell(&args.script);
    let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
    command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let (mut child, tree) = ProcessTree::spawn(&mut command).map_err(|error| {
        ToolError::new(ErrorCode::ExecFailed, format!("the shell could not be started: {error}"))
    })?;
    if let (Some(mut pipe), Some(input)) = (child.stdin.take(), input) {
        // A shell that ends early closes the pipe, which ends this task too.
        tokio::spawn(async move { drop(pipe.write_all(&input).await) });
    }
    let stdout = Capture::start(child.stdout.take());
    let stderr = Capture::start(child.stderr.take());
    let Ok(status) = timeout(limit, child.wait()).await else {
        tree.kill();
        let until = Instant::now() + LINGER;
        let (stdout, stderr) = (stdout.finish(until).await, stderr.finish(until).await);
        let mut words = format!(
            "the script ran longer than {} s and was ended with all it had started",
            limit.as_secs()
        );
        for (name, captured) in [("output", stdout), ("errors", stderr)] {
            if let Some(said) = tail(&decode(&captured.bytes)) {
                words = format!("{words}; its {name} ended with: {said}");
            }
        }
        return Err(ToolError::new(ErrorCode::Timeout, words));
    };
    let status =
        status.map_err(|error| ToolError::new(ErrorCode::ExecFailed, error.to_string()))?;
    let until = Instant::now() + LINGER;
    let (stdout, stderr) = (stdout.finish(until).await, stderr.finish(until).await);
    Ok(PowershellResult {
        truncated: stdout.truncated || stderr.truncated,
        stdout: decode(&stdout.bytes),
        stderr: decode(&stderr.bytes),
        // Ended by a signal: no code of its own.
        exit_code: status.code().unwrap_or(-1),
    })
}

/// Output as text, line by line: UTF-8 where it is, else the console's code page, as programs use it that do not
/// heed the one that was asked for. Nothing that a program writes makes the rest unreadable.
fn decode(bytes: &[u8]) -> String {
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
fn tail(said: &str) -> Option<&str> {
    let said = said.trim();
    let start = said.char_indices().rev().nth(QUOTED - 1).map_or(0, |(index, _)| index);
    (!said.is_empty()).then_some(&said[start..])
}

#[derive(Default)]
struct Captured {
    bytes: Vec<u8>,
    truncated: bool,
}

struct Capture {
    captured: std::sync::Arc<std::sync::Mutex<Captured>>,
    task: tokio::task::JoinHandle<()>,
}

impl Capture {
    fn start(pipe: Option<impl AsyncRead + Unpin + Send + 'static>) -> Self {
        let captured = std::sync::Arc::new(std::sync::Mutex::new(Captured::default()));
        let shared = std::sync::Arc::clone(&captured);
        let task = tokio::spawn(async move {
            let Some(mut pipe) = pipe else { return };
            let mut buffer = vec![0; 16 * 1024];
            while let Ok(read @ 1..) = pipe.read(&mut buffer).await {
                let mut captured = shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                let keep = read.min(KEPT - captured.bytes.len());
                captured.bytes.extend_from_slice(&buffer[..keep]);
                captured.truncated |= keep < read;
            }
        });
        Self { captured, task }
    }

    async fn finish(mut self, until: Instant) -> Captured {
        if timeout_at(until, &mut self.task).await.is_err() {
            self.task.abort();
        }
        std::mem::take(
            &mut *self.captured.lock().unwrap_or_else(std::sync::PoisonError::into_inner),
        )
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    async fn sh(script: &str, timeout_s: u64) -> Result<PowershellResult, ToolError> {
        run(PowershellArgs { script: script.to_owned(), timeout_s: Some(timeout_s) }).await
    }

    #[tokio::test]
    async fn both_outputs_and_the_exit_code_come_back() {
        let result = sh("echo out; echo err >&2; exit 3", 30).await.unwrap();
        assert_eq!((result.stdout.as_str(), result.stderr.as_str()), ("out\n", "err\n"));
        assert_eq!((result.exit_code, result.truncated), (3, false));
    }

    #[tokio::test]
    async fn output_is_bounded_and_says_so() {
        let result = sh("head -c 3000000 /dev/zero", 30).await.unwrap();
        assert_eq!(result.stdout.len(), KEPT);
        assert!(result.truncated);
        assert_eq!(result.exit_code, 0);
    }

    #[tokio::test]
    async fn a_timeout_ends_grandchildren_too() {
        let folder = tempfile::tempdir().unwrap();
        let pid_file = folder.path().join("pid");
        let script = format!(
            "sleep 600 & echo $! > {}; echo step 7; echo waiting >&2; wait",
            pid_file.display()
        );
        let error = sh(&script, 1).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::Timeout);
        assert!(error.message.contains("output ended with: step 7"), "{}", error.message);
        assert!(error.message.contains("errors ended with: waiting"), "{}", error.message);
        let pid = fs_err::read_to_string(pid_file).unwrap();
        let stat = fs_err::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        assert!(stat.is_empty() || stat.contains(") Z"), "{stat}");
    }

    #[tokio::test]
    async fn a_grandchild_that_holds_the_pipe_does_not_hold_the_answer() {
        let result = sh("sleep 600 & echo done", 30).await.unwrap();
        assert_eq!(result.stdout, "done\n");
    }

    #[tokio::test]
    async fn a_script_without_input_reads_an_empty_one() {
        assert_eq!(sh("cat; echo end", 30).await.unwrap().stdout, "end\n");
    }

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
