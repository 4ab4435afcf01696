//! Making the entries of a folder durable, on Unix.

use std::io;
use std::path::Path;

/// Flushes the folder itself, so that a rename within it survives a power cut.
pub(super) fn sync(folder: &Path) -> io::Result<()> {
    fs_err::File::open(folder)?.sync_all()
}
