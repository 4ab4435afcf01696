//! What can go wrong, in words for the operator and in exit codes for scripts.

use std::error::Error as StdError;
use std::io;

use kenny_proto::api::Problem;

/// Why a command did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The operator's input cannot be meant.
    #[error("{0}")]
    Usage(String),
    /// No answer from the server.
    #[error("the server at {url} is not reachable: {why}\n{remedy}")]
    Unreachable {
        /// Its address.
        url: String,
        /// The innermost reason.
        why: String,
        /// What to do.
        remedy: &'static str,
    },
    /// No token is known for the server.
    #[error(
        "no token is known for {0}\nRun `kenny login {0} --account NAME`, or set KENNY_TOKEN. The server printed a first token when it \
         started first."
    )]
    NoToken(String),
    /// The server refused.
    #[error("{}", refusal(.0))]
    Refused(Problem),
    /// Something answered that is not the API of a kenny server.
    #[error(
        "{url} answered with something that is not of a kenny server ({why})\nCheck the address (--server)."
    )]
    NotKenny {
        /// Its address.
        url: String,
        /// What is odd about it.
        why: String,
    },
    /// The operation itself failed.
    #[error("{0}")]
    Failed(String),
    /// The outcome did not come in time.
    #[error("{0}")]
    TimedOut(String),
    /// A file that cannot be read or written; the error names it.
    #[error("{0}")]
    File(io::Error),
    /// The output cannot be written.
    #[error("the output cannot be written: {0}")]
    Output(io::Error),
}

impl CliError {
    /// The exit code, as `kenny --help` documents it.
    pub fn exit_code(&self) -> u8 {
        match self {
            // Whoever reads our output has seen enough: `kenny agents | head`.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Self::Failed(_) | Self::Output(_) => 1,
            Self::Usage(_) | Self::File(_) => 2,
            Self::Unreachable { .. } | Self::NotKenny { .. } => 3,
            Self::NoToken(_) => 4,
            Self::TimedOut(_) => 7,
            Self::Refused(problem) => match (problem.code.as_str(), problem.status) {
                ("agent_offline" | "connection_lost", _) => 6,
                ("interrupted", _) => 1,
                ("timeout", _) | (_, 504) => 7,
                (_, 401 | 403) => 4,
                (_, 404 | 410) => 5,
                (_, 502 | 503) => 3,
                (_, 400 | 405) => 2,
                _ => 1,
            },
        }
    }

    /// True when there is nothing to say: the reader closed the pipe.
    pub fn is_silent(&self) -> bool {
        self.exit_code() == 0
    }
}

fn refusal(problem: &Problem) -> String {
    let remedy = match problem.code.as_str() {
        "unauthorized" | "token_expired" => {
            "\nRun `kenny login URL --account NAME`, or set KENNY_TOKEN to a token that is accepted."
        }
        _ => "",
    };
    format!("{}{remedy}", problem.detail)
}

/// The reason that lies deepest: the one that names the cause.
pub fn innermost(error: &dyn StdError) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, code: &str) -> CliError {
        CliError::Refused(Problem {
            code: code.to_owned(),
            status,
            title: String::new(),
            detail: "why".to_owned(),
        })
    }

    #[test]
    fn refusals_have_the_documented_exit_codes() {
        for (status, code, expected) in [
            (401, "unauthorized", 4),
            (401, "wrong_login", 4),
            (403, "forbidden", 4),
            (404, "unknown_account", 5),
            (409, "last_owner", 1),
            (429, "too_many_logins", 1),
            (404, "not_found", 5),
            (409, "agent_offline", 6),
            (502, "connection_lost", 6),
            (400, "interrupted", 1),
            (503, "database_unavailable", 3),
            (409, "release_exists", 1),
            (400, "bad_args", 2),
            (422, "not_an_agent", 1),
            (504, "timeout", 7),
            (500, "internal", 1),
        ] {
            assert_eq!(refused(status, code).exit_code(), expected, "{status} {code}");
        }
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let closed = CliError::Output(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(closed.is_silent());
        assert!(!CliError::Failed(String::new()).is_silent());
    }
}
