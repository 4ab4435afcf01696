//! Authenticode: whether Windows trusts the signature that an executable carries.

use std::io;
use std::path::Path;
use std::ptr;

use windows_sys::Win32::Foundation::INVALID_HANDLE_VALUE;
use windows_sys::Win32::Security::WinTrust::{
    WINTRUST_ACTION_GENERIC_VERIFY_V2, WINTRUST_DATA, WINTRUST_DATA_0, WINTRUST_FILE_INFO,
    WTD_CACHE_ONLY_URL_RETRIEVAL, WTD_CHOICE_FILE, WTD_REVOKE_NONE, WTD_STATEACTION_CLOSE,
    WTD_STATEACTION_VERIFY, WTD_UI_NONE, WinVerifyTrust,
};

use super::wide;

/// `TRUST_E_NOSIGNATURE`.
const NO_SIGNATURE: i32 = 0x800b_0100_u32.cast_signed();
/// `TRUST_E_PROVIDER_UNKNOWN` and `TRUST_E_SUBJECT_FORM_UNKNOWN`: nothing in the file that a signature could be of.
const NOT_SIGNABLE: [i32; 2] = [0x800b_0001_u32.cast_signed(), 0x800b_0003_u32.cast_signed()];

/// Fails where the executable carries no Authenticode signature that Windows trusts. Revocation is not asked for and
/// nothing fetched: an update must not depend on a third server.
pub fn check_signature(path: &Path) -> io::Result<()> {
    let name = wide(path);
    let mut file = WINTRUST_FILE_INFO {
        cbStruct: size_of_u32::<WINTRUST_FILE_INFO>(),
        pcwszFilePath: name.as_ptr(),
        hFile: ptr::null_mut(),
        pgKnownSubject: ptr::null_mut(),
    };
    let mut data = WINTRUST_DATA {
        cbStruct: size_of_u32::<WINTRUST_DATA>(),
        dwUIChoice: WTD_UI_NONE,
        fdwRevocationChecks: WTD_REVOKE_NONE,
        dwUnionChoice: WTD_CHOICE_FILE,
        Anonymous: WINTRUST_DATA_0 { pFile: &raw mut file },
        dwStateAction: WTD_STATEACTION_VERIFY,
        dwProvFlags: WTD_CACHE_ONLY_URL_RETRIEVAL,
        ..WINTRUST_DATA::default()
    };
    let status = ask(&mut data);
    data.dwStateAction = WTD_STATEACTION_CLOSE;
    ask(&mut data);
    match status {
        0 => Ok(()),
        NO_SIGNATURE => Err(io::Error::other("it carries no Authenticode signature")),
        code if NOT_SIGNABLE.contains(&code) => {
            Err(io::Error::other("it carries no Authenticode signature that can be read"))
        }
        code => Err(io::Error::other(format!(
            "Windows does not trust its Authenticode signature (0x{code:08x})"
        ))),
    }
}

fn ask(data: &mut WINTRUST_DATA) -> i32 {
    let mut action = WINTRUST_ACTION_GENERIC_VERIFY_V2;
    // SAFETY: `data` has its size and points to a file record and a path that outlive the call, as does the action; the
    // handle says that there is nobody to be asked.
    unsafe { WinVerifyTrust(INVALID_HANDLE_VALUE, &raw mut action, ptr::from_mut(data).cast()) }
}

fn size_of_u32<T>() -> u32 {
    u32::try_from(size_of::<T>()).expect("a record of Windows has some hundred bytes")
}
