//! The config file: one JSON object; unknown keys are errors that name file, key and remedy.

use std::fmt;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use kenny_proto::{AgentId, TUNNEL_PATH};
use serde::{Deserialize, Serialize};
use url::Url;

/// What an agent is told.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The tunnel's address, `ws` or `wss`.
    #[serde(deserialize_with = "server_url")]
    pub server: Url,
    /// The agent's name.
    pub agent_id: AgentId,
    /// The agent's secret.
    pub token: String,
    /// Seconds between telemetry pushes (900 by the contract).
    #[serde(default = "default_telemetry")]
    pub telemetry_interval_secs: u64,
    /// A PEM file with certificates to trust besides the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// How much is logged: `error`, `warn`, `info`, `debug` or `trace`.
    #[serde(default = "default_log_level")]
    pub log_level: String,
    /// How updates behave.
    #[serde(default)]
    pub update: UpdateConfig,
}

/// How updates behave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UpdateConfig {
    /// Origins besides the server's own from which an update may be downloaded.
    pub allowed_origins: Vec<Url>,
    /// Seconds that a new version must stay accepted by the server before it counts as proven.
    pub probation_secs: u64,
    /// Seconds that a new version may take to be accepted by a server that can be reached.
    pub start_timeout_secs: u64,
}

impl Default for UpdateConfig {
    fn default() -> Self {
        // 60 s: the observed window of update-guarantees; 120 s: a slow first start behind a virus scanner.
        Self { allowed_origins: Vec::new(), probation_secs: 60, start_timeout_secs: 120 }
    }
}

fn default_telemetry() -> u64 {
    900
}

fn default_log_level() -> String {
    "info".to_owned()
}

/// The config cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No file.
    #[error("there is no config file {}; give --server, --agent-id and --token, or run `kenny-agent install` with them", .0.display())]
    Missing(PathBuf),
    /// The file cannot be read or written.
    #[error("could not {attempt} the config file {}", path.display())]
    Io {
        /// `read` or `write`.
        attempt: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The content is wrong.
    #[error("{}: `{key}`: {problem}; correct it and start the agent again", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Where in it.
        key: String,
        /// What is wrong.
        problem: String,
    },
}

impl Config {
    /// Reads and checks a config file. A byte order mark, as Notepad writes it, is tolerated.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let bytes = match fs_err::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(ConfigError::Missing(path.to_owned()));
            }
            Err(source) => {
                return Err(ConfigError::Io { attempt: "read", path: path.to_owned(), source });
            }
        };
        let invalid = |key: &str, problem: String| ConfigError::Invalid {
            path: path.to_owned(),
            key: if matches!(key, "." | "?") {
                "(the whole file)".to_owned()
            } else {
                key.to_owned()
            },
            problem,
        };
        let text = std::str::from_utf8(&bytes).map_err(|_| {
            // What PowerShell's `>` and older editors write is UTF-16.
            invalid(".", "the text is not UTF-8; save it with that encoding".to_owned())
        })?;
        let mut json = serde_json::Deserializer::from_str(text.trim_start_matches('\u{feff}'));
        let config: Self = serde_path_to_error::deserialize(&mut json)
            .map_err(|error| invalid(&error.path().to_string(), error.inner().to_string()))?;
        json.end().map_err(|error| invalid(".", error.to_string()))?;
        config.check().map_err(|(key, problem)| invalid(key, problem))?;
        Ok(config)
    }

    /// Checks what types cannot say. The error is key and problem.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        if self.token.is_empty() {
            return Err(("token", "is empty; the server's operator has it".to_owned()));
        }
        if self.telemetry_interval_secs == 0 {
            return Err(("telemetry_interval_secs", "must be at least 1".to_owned()));
        }
        if self.log_level.parse::<tracing::Level>().is_err() {
            return Err(("log_level", "must be error, warn, info, debug or trace".to_owned()));
        }
        for origin in &self.update.allowed_origins {
            if !matches!(origin.scheme(), "http" | "https") {
                let problem = format!("`{origin}` is not an http or https address");
                return Err(("update.allowed_origins", problem));
            }
        }
        Ok(())
    }

    /// Writes the file: beside it, flushed, renamed over the old one.
    pub fn save(&self, path: &Path) -> Result<(), ConfigError> {
        let write = || -> io::Result<()> {
            let beside = path.with_extension("json.new");
            let mut file = fs_err::File::create(&beside)?;
            file.write_all(&serde_json::to_vec_pretty(self).map_err(io::Error::other)?)?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            drop(file);
            crate::platform::replace_file(&beside, path)
        };
        write().map_err(|source| ConfigError::Io {
            attempt: "write",
            path: path.to_owned(),
            source,
        })
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("server", &self.server.as_str())
            .field("agent_id", &self.agent_id)
            .field("token", &"(not printed)")
            .field("telemetry_interval_secs", &self.telemetry_interval_secs)
            .field("ca_file", &self.ca_file)
            .field("log_level", &self.log_level)
            .field("update", &self.update)
            .finish()
    }
}

fn server_url<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_server(&text).map_err(serde::de::Error::custom)
}

/// Reads a tunnel address; the path is `/agent/ws` where none is given.
pub fn parse_server(text: &str) -> Result<Url, String> {
    let example = "like wss://kenny.example/agent/ws";
    let mut url = Url::parse(text)
        .map_err(|error| format!("`{text}` is no URL ({error}); give one {example}"))?;
    if !matches!(url.scheme(), "ws" | "wss") {
        return Err(format!("`{text}` must begin with ws:// or wss://, {example}"));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(format!("`{text}` names no host; give one {example}"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "it must not carry a user name or password; the token goes into `token`".to_owned()
        );
    }
    if url.path() == "/" {
        url.set_path(TUNNEL_PATH);
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kenny-agent.config.json");
        fs_err::write(&path, text).unwrap();
        Config::load(&path).map_err(|error| error.to_string())
    }

    const GOOD: &str = r#"{"server":"ws://127.0.0.1:7741","agent_id":"pc","token":"secret"}"#;

    #[test]
    fn defaults_fill_what_is_left_out() {
        let config = load(&format!("\u{feff}{GOOD}")).unwrap();
        assert_eq!(config.server.as_str(), "ws://127.0.0.1:7741/agent/ws");
        assert_eq!(config.telemetry_interval_secs, 900);
        assert_eq!(config.update.probation_secs, 60);
        assert!(!format!("{config:?}").contains("secret"));
    }

    #[test]
    fn errors_name_file_key_and_remedy() {
        let cases = [
            (GOOD.replace("agent_id", "agentid"), "agentid"),
            (GOOD.replace("ws://", "http://"), "`server`"),
            (GOOD.replace("ws://", "ws://u:p@"), "`server`"),
            (GOOD.replace("\"pc\"", "\"p c\""), "`agent_id`"),
            (GOOD.replace("secret", ""), "`token`"),
            (GOOD.replace('}', r#","telemetry_interval_secs":0}"#), "`telemetry_interval_secs`"),
            (GOOD.replace('}', r#","update":{"probation_sec":1}}"#), "`update.probation_sec`"),
            (GOOD.replace('}', r#","log_level":"loud"}"#), "`log_level`"),
            (r#"{"server":"ws://h"}"#.to_owned(), "agent_id"),
            ("{".to_owned(), "the whole file"),
        ];
        for (text, named) in cases {
            let error = load(&text).unwrap_err();
            assert!(error.contains(named), "{error}");
            assert!(error.contains("kenny-agent.config.json"), "{error}");
            assert!(error.contains("correct it"), "{error}");
        }
    }

    #[test]
    fn a_file_in_another_encoding_is_told_apart_from_a_broken_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kenny-agent.config.json");
        let utf16 = GOOD.encode_utf16().flat_map(u16::to_le_bytes);
        fs_err::write(&path, [0xff, 0xfe].into_iter().chain(utf16).collect::<Vec<u8>>()).unwrap();
        let error = Config::load(&path).unwrap_err().to_string();
        assert!(error.contains("UTF-8") && error.contains("kenny-agent.config.json"), "{error}");
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.json");
        let config = load(GOOD).unwrap();
        config.save(&path).unwrap();
        assert_eq!(Config::load(&path).unwrap(), config);
    }
}
