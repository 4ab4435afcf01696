//! Folders that only their owner may look into, on Windows.

use std::io;
use std::path::Path;

/// Makes the folder; its permissions are those of the folder that it is in.
pub(super) fn create(path: &Path) -> io::Result<()> {
    fs_err::create_dir_all(path)
}
