//! Keeping the key on systems without a store for secrets: the file's rights are all.

use std::fs::File;
use std::io;
use std::path::Path;

use fs_err::os::unix::fs::OpenOptionsExt as _;

/// How the file says it.
pub const NAME: &str = "mode-0600";

/// The secret as it goes into the file. `public` binds it to its key where a store is there.
#[expect(clippy::unnecessary_wraps, reason = "the signature of a system that protects")]
pub fn protect(secret: &[u8], _public: &[u8]) -> io::Result<Vec<u8>> {
    Ok(secret.to_vec())
}

/// The secret out of the file.
#[expect(clippy::unnecessary_wraps, reason = "the signature of a system that protects")]
pub fn unprotect(protected: &[u8], _public: &[u8]) -> io::Result<Vec<u8>> {
    Ok(protected.to_vec())
}

/// A new file that its owner alone may read.
pub fn create_private(path: &Path) -> io::Result<File> {
    let options = fs_err::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    Ok(options.into_parts().0)
}
