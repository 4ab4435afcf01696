//! How often the new version of an update reached its service: counted by itself, at each start, on the disk.

use std::path::Path;

use kenny_proto::UpdateId;
use serde::{Deserialize, Serialize};

use super::files;

#[derive(Debug, Serialize, Deserialize)]
struct Starts {
    update_id: UpdateId,
    starts: u32,
}

/// How often, in this update. A file that cannot be read counts as none: it is one proof among others.
pub fn read(path: &Path, update_id: UpdateId) -> u32 {
    let starts: Option<Starts> =
        fs_err::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    starts.filter(|known| known.update_id == update_id).map_or(0, |known| known.starts)
}

/// Once more; returns how often now.
pub fn count(path: &Path, update_id: UpdateId) -> u32 {
    let starts = read(path, update_id) + 1;
    let json = serde_json::to_vec(&Starts { update_id, starts }).expect("it has string keys only");
    if let Err(error) = files::write_whole(path, &json) {
        tracing::warn!(error = %error, "the start of a new version could not be counted");
    }
    starts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_counted_for_each_update_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("starts.json");
        let (one, two) = (UpdateId::random(), UpdateId::random());
        assert_eq!(read(&path, one), 0);
        assert_eq!((count(&path, one), count(&path, one)), (1, 2));
        assert_eq!((read(&path, one), read(&path, two)), (2, 0));
        assert_eq!(count(&path, two), 1);
        fs_err::write(&path, b"{").unwrap();
        assert_eq!(read(&path, two), 0);
    }
}
