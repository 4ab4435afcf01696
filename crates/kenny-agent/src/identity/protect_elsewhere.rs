//! Keeping the key on systems without a store for secrets: the file's rights are all.

use std::io;

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
