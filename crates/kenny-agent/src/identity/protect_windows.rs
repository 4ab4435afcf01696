//! Keeping the key on Windows: under the machine's own protection (DPAPI).
//!
//! The machine's protection is against a stolen disk; on the running PC any process could undo it, and the file's rights
//! (`crate::protect`) keep it from ordinary users.

use std::io;
use std::ptr;

use windows_sys::Win32::Foundation::LocalFree;
use windows_sys::Win32::Security::Cryptography::{
    CRYPT_INTEGER_BLOB, CRYPTPROTECT_LOCAL_MACHINE, CRYPTPROTECT_UI_FORBIDDEN, CryptProtectData,
    CryptUnprotectData,
};

/// How the file says it.
pub const NAME: &str = "dpapi-machine";

/// Mixed in besides the machine's key, so that no other program's secret opens as ours.
fn entropy(public: &[u8]) -> Vec<u8> {
    [b"kenny-agent identity v1 ".as_slice(), public].concat()
}

fn blob(bytes: &[u8]) -> CRYPT_INTEGER_BLOB {
    let length = u32::try_from(bytes.len()).expect("a key and its entropy are short");
    // The calls below read what goes in and never write to it.
    CRYPT_INTEGER_BLOB { cbData: length, pbData: bytes.as_ptr().cast_mut() }
}

/// The bytes of a blob that Windows allocated, which is freed.
fn taken(blob: &CRYPT_INTEGER_BLOB) -> Vec<u8> {
    let length = usize::try_from(blob.cbData).expect("a pointer has 64 bits here");
    // SAFETY: the call that filled the blob succeeded: it points to that many bytes.
    let bytes = unsafe { std::slice::from_raw_parts(blob.pbData, length) }.to_vec();
    // SAFETY: allocated by that call for its caller to free, and not used after this.
    unsafe { LocalFree(blob.pbData.cast()) };
    bytes
}

/// The secret as it goes into the file, bound to this machine and to the key's public half.
pub fn protect(secret: &[u8], public: &[u8]) -> io::Result<Vec<u8>> {
    let entropy = entropy(public);
    let (secret, entropy) = (blob(secret), blob(&entropy));
    let mut out = CRYPT_INTEGER_BLOB { cbData: 0, pbData: ptr::null_mut() };
    let flags = CRYPTPROTECT_LOCAL_MACHINE | CRYPTPROTECT_UI_FORBIDDEN;
    // SAFETY: all blobs live for the call and describe memory that does; what may be absent is.
    let done = unsafe {
        CryptProtectData(&secret, ptr::null(), &entropy, ptr::null(), ptr::null(), flags, &mut out)
    };
    if done == 0 { Err(io::Error::last_os_error()) } else { Ok(taken(&out)) }
}

/// The secret out of the file.
pub fn unprotect(protected: &[u8], public: &[u8]) -> io::Result<Vec<u8>> {
    let entropy = entropy(public);
    let (protected, entropy) = (blob(protected), blob(&entropy));
    let mut out = CRYPT_INTEGER_BLOB { cbData: 0, pbData: ptr::null_mut() };
    // SAFETY: all blobs live for the call and describe memory that does; what may be absent is.
    let done = unsafe {
        CryptUnprotectData(
            &protected,
            ptr::null_mut(),
            &entropy,
            ptr::null(),
            ptr::null(),
            CRYPTPROTECT_UI_FORBIDDEN,
            &mut out,
        )
    };
    if done == 0 { Err(io::Error::last_os_error()) } else { Ok(taken(&out)) }
}
