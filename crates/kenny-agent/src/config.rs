//! The config file: one JSON object with the number of its schema.
//!
//! Older schemas are brought to ours as they are read, and unknown keys are errors that name file, key and remedy. A file
//! of a newer schema is read for what we know of it: an older agent that meets it, after a rollback, goes on.

mod document;
mod schema;

use std::fmt;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use kenny_proto::{AgentId, PublicKey, Sha256Digest, TUNNEL_PATH};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use url::Url;

use document::parse;
pub use schema::SCHEMA;

use crate::policy::PolicyConfig;

/// The slowest that a download may be told to be: 16 KiB/s, at which an agent of the 8 MiB that a release may have takes
/// nearly nine minutes.
pub const MIN_BYTES_PER_SECOND: u64 = 16 * 1024;

/// What an agent is told.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// The tunnel's address, `ws` or `wss`.
    #[serde(deserialize_with = "server_url")]
    pub server: Url,
    /// The agent's name.
    pub agent_id: AgentId,
    /// What the PC enrolled with; absent where a token is what there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<IdentityConfig>,
    /// The agent's secret, where the operator made it as `legacy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
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
    /// What this PC never allows, whoever asks.
    #[serde(default)]
    pub policy: PolicyConfig,
    /// Who has the say over updates.
    #[serde(default, skip_serializing_if = "TrustConfig::is_empty")]
    pub trust: TrustConfig,
}

/// Who has the say over updates.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrustConfig {
    /// SHA-256 of the root that `install --trust-root` pinned. Its bytes are in the state folder: without them nothing
    /// is updated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<Sha256Digest>,
}

impl TrustConfig {
    fn is_empty(&self) -> bool {
        self.root.is_none()
    }
}

/// What the PC enrolled with. No secret: that is in the key's own file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityConfig {
    /// The file of the agent's key.
    pub key_file: PathBuf,
    /// The server's key, the only one that is trusted.
    pub server_key: PublicKey,
}

/// How updates behave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UpdateConfig {
    /// Origins (`https://HOST`, without a path) besides the server's own from which an update may be downloaded.
    pub allowed_origins: Vec<Url>,
    /// Seconds that a new version must stay accepted by the server before it counts as proven.
    pub probation_secs: u64,
    /// Seconds that a new version may take to be accepted by a server that can be reached.
    pub start_timeout_secs: u64,
    /// The most that a download takes of the line; at least [`MIN_BYTES_PER_SECOND`], no limit when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes_per_second: Option<u64>,
    /// Whether Windows has to find a valid Authenticode signature in a new version, besides all else.
    pub require_authenticode: bool,
}

impl Default for UpdateConfig {
    fn default() -> Self {
        // 60 s: the observed window of update-guarantees; 120 s: a slow first start behind a virus scanner.
        Self {
            allowed_origins: Vec::new(),
            probation_secs: 60,
            start_timeout_secs: 120,
            max_bytes_per_second: None,
            require_authenticode: false,
        }
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
    #[error("there is no config file {}; run `kenny-agent install --invitation FILE`, or give --server, --agent-id and --token", .0.display())]
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

/// A config as it was read, and what was passed over.
#[derive(Debug)]
pub struct Loaded {
    /// The config.
    pub config: Config,
    /// The file's schema.
    pub schema: u64,
    /// Keys of a newer schema that this agent does not know.
    pub ignored: Vec<String>,
}

impl Loaded {
    /// Says once what was passed over. Apart from reading, as the log's level stands in the config.
    pub fn warn(&self, path: &Path) {
        if !self.ignored.is_empty() {
            tracing::warn!(
                keys = self.ignored.join(", "),
                "{} has schema {}, this agent knows {SCHEMA}: the keys that it does not know are ignored",
                path.display(),
                self.schema
            );
        }
    }
}

impl Config {
    /// The defaults for an agent of a server.
    pub fn new(server: Url, agent_id: AgentId, token: Option<String>) -> Self {
        Self {
            server,
            agent_id,
            identity: None,
            token,
            telemetry_interval_secs: default_telemetry(),
            ca_file: None,
            log_level: default_log_level(),
            update: UpdateConfig::default(),
            trust: TrustConfig::default(),
            policy: PolicyConfig::default(),
        }
    }

    /// Reads and checks a config file, and logs what was passed over.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let loaded = Self::read(path)?;
        loaded.warn(path);
        Ok(loaded.config)
    }

    /// Reads and checks a config file of any schema. A byte order mark, as Notepad writes it, is tolerated.
    pub fn read(path: &Path) -> Result<Loaded, ConfigError> {
        let text = read_text(path)?;
        let mut document = parse(&text).map_err(|problem| invalid(path, ".", problem))?;
        let schema =
            schema::of(&document).map_err(|problem| invalid(path, schema::KEY, problem))?;
        schema::migrate(&mut document, schema);
        document.remove(schema::KEY);
        let unknown = schema::unknown(&document, &known());
        if schema <= SCHEMA
            && let Some(key) = unknown.first()
        {
            let problem = format!("is not known; known here: {}", key.instead.join(", "));
            return Err(invalid(path, &key.path, problem));
        }
        let config: Self = serde_path_to_error::deserialize(Value::Object(document))
            .map_err(|error| invalid(path, &error.path().to_string(), error.inner().to_string()))?;
        config.check().map_err(|(key, problem)| invalid(path, key, problem))?;
        let ignored = unknown.into_iter().map(|key| key.path).collect();
        Ok(Loaded { config, schema, ignored })
    }

    /// Rewrites a file of an older schema as one of ours; true when it did. What cannot be used is not touched, nor what
    /// is of our schema or a newer one. Defaults are not written down: the file keeps saying what it said.
    pub fn migrate_file(path: &Path) -> Result<bool, ConfigError> {
        let schema = Self::read(path)?.schema;
        if schema >= SCHEMA {
            return Ok(false);
        }
        let mut document =
            parse(&read_text(path)?).map_err(|problem| invalid(path, ".", problem))?;
        schema::migrate(&mut document, schema);
        write(path, &document)?;
        tracing::info!("{} was brought from schema {schema} to {SCHEMA}", path.display());
        Ok(true)
    }

    /// Checks what types cannot say. The error is key and problem.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        match (&self.identity, &self.token) {
            (None, None) => {
                let problem = "is missing, and so is `token`; install with an invitation of the server's operator";
                return Err(("identity", problem.to_owned()));
            }
            (Some(_), Some(_)) => {
                let problem = "has no place beside `identity`: a PC that enrolled is never accepted by a token; remove it";
                return Err(("token", problem.to_owned()));
            }
            (None, Some(token)) if token.is_empty() => {
                return Err(("token", "is empty; the server's operator has it".to_owned()));
            }
            (None, Some(_)) => {}
            (Some(identity), None) => {
                if identity.key_file.as_os_str().is_empty() {
                    return Err(("identity.key_file", "is empty".to_owned()));
                }
            }
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
            let bare = origin.origin().ascii_serialization();
            if origin.as_str().trim_end_matches('/') != bare {
                // Not printed as it stands: what is too much may be a password.
                let problem =
                    format!("an origin has no path, query or user name; give {bare} alone");
                return Err(("update.allowed_origins", problem));
            }
        }
        self.policy.check().map_err(|problem| ("policy.refused_tools", problem))?;
        if let Some(rate) = self.update.max_bytes_per_second
            && rate < MIN_BYTES_PER_SECOND
        {
            let problem = format!(
                "{rate} is less than {MIN_BYTES_PER_SECOND}, at which an update takes nine minutes already; give more, or leave the key out for no limit"
            );
            return Err(("update.max_bytes_per_second", problem));
        }
        Ok(())
    }

    /// Writes the file in our schema. Over a file of a newer schema it sets only what it knows: the rest stays, and so
    /// does the number, so that the newer agent finds its keys again.
    pub fn save(&self, path: &Path) -> Result<(), ConfigError> {
        let ours = object(self);
        if let Some((mut document, schema)) = newer_document(path) {
            schema::lay_over(&mut document, ours, &known());
            tracing::info!(
                "{} has schema {schema}, newer than {SCHEMA}: its other keys are kept",
                path.display()
            );
            return write(path, &document);
        }
        write(path, &InOurSchema { schema: SCHEMA, config: self })
    }
}

/// What [`Config::save`] writes, in the order of the struct.
#[derive(Serialize)]
struct InOurSchema<'a> {
    schema: u64,
    #[serde(flatten)]
    config: &'a Config,
}

/// Every key that this agent knows, taken from a config in which all are set.
fn known() -> Map<String, Value> {
    let everything = Config {
        server: Url::parse("ws://localhost").expect("a constant address"),
        agent_id: "any".parse().expect("a constant id"),
        identity: Some(IdentityConfig { key_file: PathBuf::new(), server_key: PublicKey([0; 32]) }),
        token: Some(String::new()),
        telemetry_interval_secs: 0,
        ca_file: Some(PathBuf::new()),
        log_level: String::new(),
        update: UpdateConfig { max_bytes_per_second: Some(0), ..UpdateConfig::default() },
        policy: PolicyConfig::default(),
        trust: TrustConfig { root: Some(Sha256Digest([0; 32])) },
    };
    object(&everything)
}

fn object(config: &Config) -> Map<String, Value> {
    match serde_json::to_value(config) {
        Ok(Value::Object(object)) => object,
        other => unreachable!("a config is an object with string keys, not {other:?}"),
    }
}

/// The file at this path, where it is an object of a newer schema.
fn newer_document(path: &Path) -> Option<(Map<String, Value>, u64)> {
    let document = parse(&read_text(path).ok()?).ok()?;
    let schema = schema::of(&document).ok().filter(|schema| *schema > SCHEMA)?;
    Some((document, schema))
}

fn read_text(path: &Path) -> Result<String, ConfigError> {
    let bytes = fs_err::read(path).map_err(|source| {
        if source.kind() == io::ErrorKind::NotFound {
            return ConfigError::Missing(path.to_owned());
        }
        ConfigError::Io { attempt: "read", path: path.to_owned(), source }
    })?;
    let mut text = String::from_utf8(bytes).map_err(|_| {
        // What PowerShell's `>` and older editors write is UTF-16.
        invalid(path, ".", "the text is not UTF-8; save it with that encoding".to_owned())
    })?;
    if text.starts_with('\u{feff}') {
        text.drain(..'\u{feff}'.len_utf8());
    }
    Ok(text)
}

fn invalid(path: &Path, key: &str, problem: String) -> ConfigError {
    let key = if matches!(key, "." | "?") { "(the whole file)" } else { key };
    ConfigError::Invalid { path: path.to_owned(), key: key.to_owned(), problem }
}

/// Writes beside the file, flushed, and renames over it.
fn write(path: &Path, document: &impl Serialize) -> Result<(), ConfigError> {
    let write = || -> io::Result<()> {
        let beside = path.with_extension("json.new");
        // The file holds a secret.
        let mut file = crate::protect::create_private(&beside)?;
        file.write_all(&serde_json::to_vec_pretty(document).map_err(io::Error::other)?)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        drop(file);
        crate::platform::replace_file(&beside, path)
    };
    write().map_err(|source| ConfigError::Io { attempt: "write", path: path.to_owned(), source })
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("server", &self.server.as_str())
            .field("agent_id", &self.agent_id)
            .field("identity", &self.identity)
            .field("token", &self.token.as_ref().map(|_| "(not printed)"))
            .field("telemetry_interval_secs", &self.telemetry_interval_secs)
            .field("ca_file", &self.ca_file)
            .field("log_level", &self.log_level)
            .field("update", &self.update)
            .field("policy", &self.policy)
            .field("trust", &self.trust)
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
mod tests;
