//! `powershell.exec`: a script, its output, and the certain end of everything it started.

use std::process::Stdio;
use std::time::Duration;

use kenny_proto::frames::{ErrorCode, ToolError};
use kenny_proto::tools::{PowershellArgs, PowershellResult};
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, timeout};

use crate::output::{Capture, decode, tail};
use crate::platform::{self, ProcessTree, Shell};

/// Bytes kept of each output; the rest is read and dropped, so that the script does not stall.
const KEPT: usize = 1024 * 1024;
/// Seconds without `timeout_s`.
const DEFAULT_TIMEOUT_S: u64 = 60;
/// How long output may still come once the script has ended: something it left running can hold the pipe.
const LINGER: Duration = Duration::from_secs(1);

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
    let stdout = Capture::start(child.stdout.take(), KEPT);
    let stderr = Capture::start(child.stderr.take(), KEPT);
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

#[cfg(test)]
#[cfg(unix)]
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
        let stat = format!("/proc/{}/stat", pid.trim());
        while fs_err::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z")) {
            tokio::task::yield_now().await;
        }
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
}
