//! What the unit tests of several modules share.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use kenny_proto::SessionId;
use kenny_proto::api::Event;

/// A folder that is gone when the test ends.
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(format!("kenny-server-{}", SessionId::random()));
        fs_err::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs_err::remove_dir_all(&self.0);
    }
}

pub fn event(id: i64) -> Event {
    Event {
        id,
        at: Timestamp::from_second(1_800_000_000 + id).unwrap(),
        kind: "tool_called".to_owned(),
        agent_id: None,
        summary: format!("event {id}"),
        rollout: None,
        update: None,
    }
}
