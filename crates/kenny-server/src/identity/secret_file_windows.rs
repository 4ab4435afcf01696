//! Files that only their owner may read, on Windows.

use std::io::{self, Write as _};
use std::path::Path;

/// Writes a file that is there whole or not at all. Who may read it is what the data folder hands down.
pub(super) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = fs_err::File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    fs_err::rename(&beside, path)
}
