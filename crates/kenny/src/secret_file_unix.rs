//! Files that only their owner may read, on Unix.

use std::io;
use std::path::Path;

use fs_err::os::unix::fs::OpenOptionsExt as _;

/// Makes a new file for the owner alone.
pub fn create_new(path: &Path) -> io::Result<fs_err::File> {
    fs_err::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}
