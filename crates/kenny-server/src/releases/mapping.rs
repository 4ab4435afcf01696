//! Files in memory without a copy. The one place of the server with `unsafe`.

use std::hint::black_box;
use std::io;
use std::path::Path;

use axum::body::Bytes;
use memmap2::Mmap;

/// The smallest page that the platforms have, in bytes.
const PAGE_BYTES: usize = 4096;

/// Maps a whole file that is not empty. Whoever holds a slice of it holds the mapping.
pub(super) fn map(path: &Path) -> io::Result<Bytes> {
    let file = fs_err::File::open(path)?;
    // SAFETY: the file lies in the data directory, which is the server's alone, and the server never writes to it again.
    let mapping = unsafe { Mmap::map(file.file()) }?;
    Ok(Bytes::from_owner(mapping))
}

/// Reads each page once, so that the disk is waited for here and not on the thread that serves.
pub(super) fn warm(bytes: &[u8]) {
    for byte in bytes.iter().step_by(PAGE_BYTES) {
        black_box(*byte);
    }
}
