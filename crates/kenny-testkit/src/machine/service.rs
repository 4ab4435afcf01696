//! Reading what `sc query` says.

use anyhow::{Context, Result, bail};

/// A service, as the service manager has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Service {
    /// What it does.
    pub state: ServiceState,
    /// The Win32 code that it ended with; 1066 means that the specific one counts.
    pub win32_exit_code: u32,
    /// The code of its own that it ended with.
    pub specific_exit_code: u32,
}

/// What a service does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceState {
    /// It does not run.
    Stopped,
    /// It starts.
    StartPending,
    /// It stops.
    StopPending,
    /// It runs.
    Running,
    /// Pausing, paused or continuing, which no service of ours does.
    Paused,
}

impl Service {
    /// Reads the output of `sc query NAME`.
    pub fn parse(text: &str) -> Result<Self> {
        let state = match field(text, "STATE")? {
            1 => ServiceState::Stopped,
            2 => ServiceState::StartPending,
            3 => ServiceState::StopPending,
            4 => ServiceState::Running,
            5..=7 => ServiceState::Paused,
            other => bail!("{other} is no state of a service"),
        };
        Ok(Self {
            state,
            win32_exit_code: field(text, "WIN32_EXIT_CODE")?,
            specific_exit_code: field(text, "SERVICE_EXIT_CODE")?,
        })
    }
}

/// The number behind `name :`.
pub fn field(text: &str, name: &str) -> Result<u32> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == name)
        .and_then(|(_, value)| value.split_whitespace().next()?.parse().ok())
        .with_context(|| format!("`sc query` said nothing of {name}:\n{text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stopped_service_with_a_code_of_its_own() {
        let text = "SERVICE_NAME: kenny-agent\n        TYPE               : 10  WIN32_OWN_PROCESS\n        \
                    STATE              : 1  STOPPED\n        WIN32_EXIT_CODE    : 1066  (0x42a)\n        \
                    SERVICE_EXIT_CODE  : 42  (0x2a)\n        CHECKPOINT         : 0x0\n";
        let service = Service::parse(text).unwrap();
        assert_eq!(
            service,
            Service { state: ServiceState::Stopped, win32_exit_code: 1066, specific_exit_code: 42 }
        );
    }

    #[test]
    fn other_text_is_an_error_that_quotes_it() {
        let error = Service::parse("[SC] OpenService FAILED 1060").unwrap_err();
        assert!(error.to_string().contains("1060"), "{error}");
    }
}
