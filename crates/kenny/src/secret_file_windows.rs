//! Files that only their owner may read, on Windows.

use std::io;
use std::path::Path;

/// Makes a new file; the folder is in the user's profile, whose permissions it inherits.
pub fn create_new(path: &Path) -> io::Result<fs_err::File> {
    fs_err::OpenOptions::new().write(true).create_new(true).open(path)
}
