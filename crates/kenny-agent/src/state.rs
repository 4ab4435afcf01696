//! What the running agent says of itself: read by `install`, `status` and, as evidence, by the updater.

use std::io::{self, Write as _};
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The state file's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentState {
    /// The agent's process.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// When it started.
    pub started_at: Timestamp,
    /// The tunnel's address.
    pub server: String,
    /// True while the server's acceptance stands.
    pub connected: bool,
    /// Since when `connected` is what it is.
    pub since: Timestamp,
    /// Why it is not, or was last not, connected.
    pub last_error: Option<LastError>,
}

/// What went wrong last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastError {
    /// When.
    pub at: Timestamp,
    /// What, in words.
    pub text: String,
}

impl AgentState {
    /// Reads the file.
    pub fn read(path: &Path) -> io::Result<Self> {
        serde_json::from_slice(&fs_err::read(path)?).map_err(io::Error::other)
    }

    /// Writes the file atomically. Not flushed: it is worth nothing after a power cut.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let beside = path.with_extension("json.new");
        let mut file = fs_err::File::create(&beside)?;
        file.write_all(&serde_json::to_vec(self).map_err(io::Error::other)?)?;
        drop(file);
        crate::platform::replace_file(&beside, path)
    }
}
