//! What this PC allows, whoever asks: tools that its config refuses for ever, and a pause for everything that changes it.
//!
//! Both are decided at the PC. No request of a server changes either of them; a server that may run scripts here could
//! change the file, so that a policy which is meant to hold against its server refuses `powershell.exec` as well.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kenny_proto::frames::{ErrorCode, ToolError};
use kenny_proto::policy::Pause;
use kenny_proto::tools::{CATALOGUE, POWERSHELL_EXEC, ToolSpec};
use serde::{Deserialize, Serialize};

use crate::update::words;

/// Between two looks at whether somebody paused or resumed: soon enough for who waits for it.
const LOOK: Duration = Duration::from_secs(2);

/// The section `policy` of the config.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PolicyConfig {
    /// Tools that this PC never allows: exact names (`powershell.exec`), families (`fs.*`), or `*` for all.
    pub refused_tools: Vec<String>,
}

impl PolicyConfig {
    /// Checks that each entry names tools. One that no tool of today has is no error: a later version may have it.
    pub fn check(&self) -> Result<(), String> {
        let is_name = |part: &str| {
            !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        for entry in &self.refused_tools {
            let is_fine = match entry.split_once('.') {
                Some((family, tool)) => is_name(family) && (tool == "*" || is_name(tool)),
                None => entry == "*",
            };
            if !is_fine {
                return Err(format!(
                    "`{entry}` names no tool; write one like powershell.exec, a family like fs.*, or *"
                ));
            }
        }
        Ok(())
    }

    /// The entry that refuses this tool.
    fn refuses(&self, tool: &str) -> Option<&str> {
        let entries = self.refused_tools.iter().map(String::as_str);
        entries.into_iter().find(|entry| match entry.strip_suffix('*') {
            Some(family) => tool.starts_with(family),
            None => *entry == tool,
        })
    }
}

/// What this PC allows. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Policy {
    config: Arc<PolicyConfig>,
    pause_file: Arc<PathBuf>,
}

/// Why a tool is not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The config refuses it.
    Never {
        /// The tool.
        tool: &'static str,
        /// What stands in the config.
        entry: String,
    },
    /// Somebody paused this PC.
    Paused {
        /// The tool.
        tool: &'static str,
        /// The pause.
        pause: Pause,
    },
}

impl Refusal {
    /// As the server is told. One of 0.2 knows neither word, and takes `unsupported` as "not on this PC".
    pub fn answer(&self, speaks_0_3: bool) -> ToolError {
        let code = match (speaks_0_3, self) {
            (false, _) => ErrorCode::Unsupported,
            (true, Self::Never { .. }) => ErrorCode::Refused,
            (true, Self::Paused { .. }) => ErrorCode::Paused,
        };
        ToolError::new(code, self.to_string())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never { tool, entry } => write!(
                f,
                "this PC never allows {tool} (`{entry}` stands in `policy.refused_tools` of its config); only an \
                 administrator at the PC can change that"
            ),
            Self::Paused { tool, pause } => write!(
                f,
                "{tool} changes the PC, and somebody there has {}; `kenny-agent resume`, said there by an administrator, \
                 ends it",
                pause_in_words(pause)
            ),
        }
    }
}

impl Policy {
    /// The policy of this config, with the pause that the file tells of.
    pub fn new(config: &PolicyConfig, pause_file: PathBuf) -> Self {
        Self { config: Arc::new(config.clone()), pause_file: Arc::new(pause_file) }
    }

    /// Whether a tool may be carried out now.
    pub fn check(&self, tool: &ToolSpec, now: Timestamp) -> Result<(), Refusal> {
        if let Some(entry) = self.config.refuses(tool.name) {
            return Err(Refusal::Never { tool: tool.name, entry: entry.to_owned() });
        }
        match self.pause(now).filter(|_| tool.changes) {
            Some(pause) => Err(Refusal::Paused { tool: tool.name, pause }),
            None => Ok(()),
        }
    }

    /// The pause, where one holds. What was written down and cannot be read counts as one: somebody wanted nothing to be
    /// changed here.
    pub fn pause(&self, now: Timestamp) -> Option<Pause> {
        let read = fs_err::read(self.pause_file.as_path())
            .and_then(|bytes| serde_json::from_slice::<Pause>(&bytes).map_err(io::Error::other));
        let pause = match read {
            Ok(pause) => pause,
            Err(error) if is_absent(&error) => return None,
            Err(error) => {
                let changed = fs_err::metadata(self.pause_file.as_path())
                    .and_then(|metadata| metadata.modified())
                    .ok()
                    .and_then(|at| Timestamp::try_from(at).ok());
                let reason = format!("what was written down of the pause cannot be read: {error}");
                Pause { since: changed.unwrap_or(now), until: None, reason: Some(reason) }
            }
        };
        pause.holds(now).then_some(pause)
    }

    /// Waits until there is another pause than this one, or none.
    pub async fn differs_from(&self, told: Option<Pause>) {
        loop {
            tokio::time::sleep(LOOK).await;
            if self.pause(Timestamp::now()) != told {
                return;
            }
        }
    }

    /// What the config refuses.
    pub fn refused_tools(&self) -> &[String] {
        &self.config.refused_tools
    }

    /// In words, one line each.
    pub fn in_words(&self, pause: Option<&Pause>) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(pause) = pause {
            lines.push(format!("{}: nothing here is changed", pause_in_words(pause)));
        }
        let refused = &self.config.refused_tools;
        if refused.is_empty() {
            lines.push("no tool is refused by this PC's config".to_owned());
        } else {
            lines.push(format!("this PC never allows {}", refused.join(", ")));
            if self.config.refuses(POWERSHELL_EXEC).is_none() {
                lines.push(format!(
                    "{POWERSHELL_EXEC} is not among them, and a script could change the config"
                ));
            }
        }
        for entry in refused.iter().filter(|entry| !names_something(entry)) {
            lines.push(format!("`{entry}` is no tool that this version knows"));
        }
        lines
    }

    /// Says in the log what holds.
    pub fn tell(&self) {
        let pause = self.pause(Timestamp::now());
        if pause.is_some() || !self.config.refused_tools.is_empty() {
            tracing::info!("policy: {}", self.in_words(pause.as_ref()).join("; "));
        }
    }
}

fn is_absent(error: &io::Error) -> bool {
    // A folder of that path that is no folder: nobody can have paused there.
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn names_something(entry: &str) -> bool {
    let only = PolicyConfig { refused_tools: vec![entry.to_owned()] };
    CATALOGUE.iter().any(|tool| only.refuses(tool.name).is_some())
}

/// `paused it since ... until ... (reason)`, without who.
pub fn pause_in_words(pause: &Pause) -> String {
    let since = words::time(pause.since);
    let until = pause.until.map(|until| format!(" until {}", words::time(until)));
    let reason = pause.reason.as_ref().map(|reason| format!(" ({reason})"));
    format!("paused it since {since}{}{}", until.unwrap_or_default(), reason.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn config(entries: &[&str]) -> PolicyConfig {
        PolicyConfig { refused_tools: entries.iter().map(|entry| (*entry).to_owned()).collect() }
    }

    fn tool(name: &str) -> &'static ToolSpec {
        ToolSpec::find(name).unwrap()
    }

    #[test]
    fn names_and_families_are_refused_and_nothing_beside_them() {
        let folder = tempfile::tempdir().unwrap();
        let policy = Policy::new(&config(&["powershell.exec", "fs.*"]), folder.path().join("no"));
        let now = Timestamp::now();
        let refused: Vec<&str> = CATALOGUE
            .iter()
            .filter(|tool| policy.check(tool, now).is_err())
            .map(|tool| tool.name)
            .collect();
        assert_eq!(
            refused,
            ["powershell.exec", "fs.list", "fs.search", "fs.read", "fs.disk_usage"]
        );
        let all = Policy::new(&config(&["*"]), folder.path().join("no"));
        assert!(CATALOGUE.iter().all(|tool| all.check(tool, now).is_err()));
        let words = policy.check(tool("fs.read"), now).unwrap_err();
        assert!(words.to_string().contains("`fs.*` stands in `policy.refused_tools`"), "{words}");
        assert_eq!(words.answer(true).code, ErrorCode::Refused);
        assert_eq!(words.answer(false).code, ErrorCode::Unsupported);
    }

    #[test]
    fn an_entry_that_cannot_name_a_tool_is_an_error_and_an_unknown_one_is_told() {
        for bad in ["powershell", "fs.", ".x", "fs.r*", "a.b.c", "", "fs read"] {
            assert!(config(&[bad]).check().is_err(), "{bad}");
        }
        let unknown = config(&["powershell.exec", "vnc.*"]);
        assert_eq!(unknown.check(), Ok(()));
        let lines = Policy::new(&unknown, PathBuf::from("/nowhere/x")).in_words(None);
        assert_eq!(lines[1], "`vnc.*` is no tool that this version knows");
        let open = Policy::new(&config(&["fs.*"]), PathBuf::from("/nowhere/x")).in_words(None);
        assert!(open[1].contains("powershell.exec is not among them"), "{open:?}");
    }

    #[test]
    fn a_pause_refuses_what_changes_and_lets_reading_go_on_until_it_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pause.json");
        let policy = Policy::new(&PolicyConfig::default(), file.clone());
        let now = Timestamp::now();
        assert_eq!(policy.pause(now), None);
        let until = now + SignedDuration::from_hours(1);
        let pause = Pause { since: now, until: Some(until), reason: Some("a talk".to_owned()) };
        fs_err::write(&file, serde_json::to_vec(&pause).unwrap()).unwrap();
        assert_eq!(policy.pause(now), Some(pause));
        for tool in CATALOGUE {
            assert_eq!(policy.check(tool, now).is_err(), tool.changes, "{}", tool.name);
        }
        let refusal = policy.check(tool("agent.update"), now).unwrap_err();
        assert!(refusal.to_string().contains("(a talk)"), "{refusal}");
        assert_eq!(refusal.answer(true).code, ErrorCode::Paused);
        assert_eq!(policy.check(tool("agent.update"), until), Ok(()), "it is over");
    }

    #[test]
    fn a_damaged_pause_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pause.json");
        fs_err::write(&file, b"{\"since\": ").unwrap();
        let policy = Policy::new(&PolicyConfig::default(), file);
        let pause = policy.pause(Timestamp::now()).unwrap();
        assert!(pause.reason.unwrap().contains("cannot be read"));
    }
}
