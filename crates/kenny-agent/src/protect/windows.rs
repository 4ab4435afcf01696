//! Windows: access lists by SDDL, set as things are made, and read back.

use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::os::windows::ffi::OsStringExt as _;
use std::os::windows::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::os::windows::io::{AsRawHandle as _, FromRawHandle as _};
use std::path::Path;
use std::ptr;

use windows_sys::Win32::Foundation::{
    ERROR_ALREADY_EXISTS, ERROR_SUCCESS, GENERIC_READ, GENERIC_WRITE, INVALID_HANDLE_VALUE,
    LocalFree,
};
use windows_sys::Win32::Security::Authorization::{
    ConvertSidToStringSidW, ConvertStringSecurityDescriptorToSecurityDescriptorW, GetSecurityInfo,
    SDDL_REVISION_1, SE_FILE_OBJECT, SetSecurityInfo,
};
use windows_sys::Win32::Security::{
    ACCESS_ALLOWED_ACE, ACE_HEADER, ACL, DACL_SECURITY_INFORMATION, GetAce,
    GetSecurityDescriptorControl, GetSecurityDescriptorDacl, GetSecurityDescriptorOwner,
    INHERIT_ONLY_ACE, OWNER_SECURITY_INFORMATION, PROTECTED_DACL_SECURITY_INFORMATION,
    PSECURITY_DESCRIPTOR, PSID, SE_DACL_PROTECTED, SECURITY_ATTRIBUTES,
};
use windows_sys::Win32::Storage::FileSystem::{
    CREATE_NEW, CreateDirectoryW, CreateFileW, FILE_ATTRIBUTE_NORMAL, FILE_ATTRIBUTE_REPARSE_POINT,
    FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OPEN_REPARSE_POINT, FILE_READ_ATTRIBUTES,
    FILE_SHARE_DELETE, FILE_SHARE_READ, FILE_SHARE_WRITE, READ_CONTROL, WRITE_DAC, WRITE_OWNER,
};

use super::{Access, Entry, PRIVATE_FILE, Purpose, account, is_made_up, is_trusted};
use crate::platform::wide;

/// `ACCESS_ALLOWED_ACE_TYPE` and `ACCESS_ALLOWED_CALLBACK_ACE_TYPE`: both have the mask and the SID at the same place.
const ALLOWING: [u8; 2] = [0, 9];

/// A security descriptor that Windows allocated.
struct Descriptor(PSECURITY_DESCRIPTOR);

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: allocated by Windows with LocalAlloc, freed once.
        unsafe { LocalFree(self.0) };
    }
}

impl Descriptor {
    fn parse(sddl: &str) -> io::Result<Self> {
        let sddl = wide(sddl);
        let mut descriptor = ptr::null_mut();
        // SAFETY: the string ends with NUL; it and the out-parameter live for the call.
        succeeded(unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                sddl.as_ptr(),
                SDDL_REVISION_1,
                &raw mut descriptor,
                ptr::null_mut(),
            )
        })?;
        Ok(Self(descriptor))
    }

    /// Of something that is open, with its owner and access list.
    fn of(file: &File) -> io::Result<Self> {
        let mut descriptor = ptr::null_mut();
        // SAFETY: the handle is open; what is not asked for may be null; the out-parameter lives for the call.
        let status = unsafe {
            GetSecurityInfo(
                file.as_raw_handle(),
                SE_FILE_OBJECT,
                OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION,
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null_mut(),
                &raw mut descriptor,
            )
        };
        status_succeeded(status)?;
        Ok(Self(descriptor))
    }

    fn attributes(&self) -> SECURITY_ATTRIBUTES {
        SECURITY_ATTRIBUTES {
            nLength: u32::try_from(size_of::<SECURITY_ATTRIBUTES>()).expect("a small struct"),
            lpSecurityDescriptor: self.0,
            bInheritHandle: 0,
        }
    }

    fn owner(&self) -> io::Result<PSID> {
        let (mut owner, mut defaulted): (PSID, _) = (ptr::null_mut(), 0);
        // SAFETY: the descriptor is valid; the out-parameters live for the call.
        succeeded(unsafe {
            GetSecurityDescriptorOwner(self.0, &raw mut owner, &raw mut defaulted)
        })?;
        if owner.is_null() {
            return Err(io::Error::other("it has no owner"));
        }
        Ok(owner)
    }

    /// Null where there is none, which allows everybody everything.
    fn list(&self) -> io::Result<*mut ACL> {
        let (mut present, mut list, mut defaulted) = (0, ptr::null_mut(), 0);
        // SAFETY: the descriptor is valid; the out-parameters live for the call.
        succeeded(unsafe {
            GetSecurityDescriptorDacl(self.0, &raw mut present, &raw mut list, &raw mut defaulted)
        })?;
        Ok(if present == 0 { ptr::null_mut() } else { list })
    }

    /// True where nothing is inherited from above.
    fn is_protected(&self) -> io::Result<bool> {
        let (mut control, mut revision) = (0, 0);
        // SAFETY: the descriptor is valid; the out-parameters live for the call.
        succeeded(unsafe {
            GetSecurityDescriptorControl(self.0, &raw mut control, &raw mut revision)
        })?;
        Ok(control & SE_DACL_PROTECTED != 0)
    }

    fn access(&self) -> io::Result<Access> {
        let owner = text_of(self.owner()?)?;
        let list = self.list()?;
        if list.is_null() {
            return Ok(Access { owner, allowed: None });
        }
        // SAFETY: the list belongs to the descriptor, which lives as long as `self`.
        let count = unsafe { (*list).AceCount };
        let mut allowed = Vec::new();
        for index in 0..u32::from(count) {
            let mut entry: *mut c_void = ptr::null_mut();
            // SAFETY: the list is valid and has an entry of this index; the out-parameter lives for the call.
            succeeded(unsafe { GetAce(list, index, &raw mut entry) })?;
            // SAFETY: every entry begins with this header.
            let header = unsafe { entry.cast::<ACE_HEADER>().read_unaligned() };
            if !ALLOWING.contains(&header.AceType) {
                continue;
            }
            let entry = entry.cast::<ACCESS_ALLOWED_ACE>();
            // SAFETY: an entry of these types has a mask, and its SID begins at `SidStart`.
            let (mask, sid) = unsafe {
                ((&raw const (*entry).Mask).read_unaligned(), &raw mut (*entry).SidStart)
            };
            let inherit_only = u32::from(header.AceFlags) & INHERIT_ONLY_ACE != 0;
            allowed.push(Entry { sid: text_of(sid.cast())?, mask, inherit_only });
        }
        Ok(Access { owner, allowed: Some(allowed) })
    }
}

fn text_of(sid: PSID) -> io::Result<String> {
    let mut text = ptr::null_mut();
    // SAFETY: the SID is valid; the out-parameter lives for the call.
    succeeded(unsafe { ConvertSidToStringSidW(sid, &raw mut text) })?;
    // SAFETY: the call succeeded, so this is a string that ends with NUL, allocated with LocalAlloc and freed once.
    let units = unsafe {
        let length = (0..).take_while(|&at| *text.add(at) != 0).count();
        let units = std::slice::from_raw_parts(text, length).to_vec();
        LocalFree(text.cast());
        units
    };
    Ok(std::ffi::OsString::from_wide(&units).to_string_lossy().into_owned())
}

fn succeeded(result: i32) -> io::Result<()> {
    if result == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn status_succeeded(status: u32) -> io::Result<()> {
    if status == ERROR_SUCCESS {
        return Ok(());
    }
    Err(io::Error::from_raw_os_error(i32::try_from(status).unwrap_or(i32::MAX)))
}

/// Opens a file or folder itself, whatever it may point to.
fn open_itself(path: &Path, access: u32) -> io::Result<File> {
    File::options()
        .access_mode(access | READ_CONTROL | FILE_READ_ATTRIBUTES)
        .share_mode(FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE)
        .custom_flags(FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT)
        .open(path)
}

fn refused(path: &Path, why: &str) -> io::Error {
    io::Error::other(format!("{} {why}", path.display()))
}

/// Makes a folder with its owner and access list, or gives one that is there both. One that an ordinary account owns, one
/// that points elsewhere, and one in which there is such a thing, is refused.
pub fn folder(path: &Path, purpose: Purpose) -> io::Result<()> {
    let descriptor = Descriptor::parse(purpose.sddl())?;
    let (attributes, name) = (descriptor.attributes(), wide(path));
    // SAFETY: the string ends with NUL; it, the attributes and their descriptor live for the call.
    let made = succeeded(unsafe { CreateDirectoryW(name.as_ptr(), &raw const attributes) });
    match made {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == i32::try_from(ERROR_ALREADY_EXISTS).ok() => {
            let file = open_itself(path, WRITE_DAC | WRITE_OWNER)?;
            if !file.metadata()?.is_dir() {
                return Err(refused(path, "is a file, and a folder is needed there"));
            }
            check_origin(path, &file)?;
            apply(&file, &descriptor)?;
            // Nobody can add anything from here on; what is there already is looked at.
            check_content(path)?;
        }
        Err(error) => {
            return Err(io::Error::new(error.kind(), format!("{}: {error}", path.display())));
        }
    }
    if !Descriptor::of(&open_itself(path, 0)?)?.is_protected()? {
        tracing::warn!("the access list of {} is not what was set", path.display());
    }
    Ok(())
}

fn apply(file: &File, descriptor: &Descriptor) -> io::Result<()> {
    let what = OWNER_SECURITY_INFORMATION
        | DACL_SECURITY_INFORMATION
        | PROTECTED_DACL_SECURITY_INFORMATION;
    // SAFETY: the handle is open with the rights for this; owner and list belong to the descriptor, which lives for the call.
    let status = unsafe {
        SetSecurityInfo(
            file.as_raw_handle(),
            SE_FILE_OBJECT,
            what,
            descriptor.owner()?,
            ptr::null_mut(),
            descriptor.list()?,
            ptr::null(),
        )
    };
    status_succeeded(status)
}

/// Refuses what points elsewhere and what an ordinary account owns.
fn check_origin(path: &Path, file: &File) -> io::Result<()> {
    if file.metadata()?.file_attributes() & FILE_ATTRIBUTE_REPARSE_POINT != 0 {
        return Err(refused(path, "points to another place (a junction or link); remove it"));
    }
    let owner = text_of(Descriptor::of(file)?.owner()?)?;
    if !is_trusted(&owner) && !is_made_up(&owner) {
        let why = format!("belongs to {}, no administrator; remove it", account(&owner));
        return Err(refused(path, &why));
    }
    Ok(())
}

/// The same for all that is in a folder.
fn check_content(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let file = open_itself(&path, 0)?;
        check_origin(&path, &file)?;
        if file.metadata()?.is_dir() {
            check_content(&path)?;
        }
    }
    Ok(())
}

/// Makes a file that only administrators read, in the place of one that is there.
pub fn create_private(path: &Path) -> io::Result<File> {
    // Not emptied: a file that is there would keep its access list.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let descriptor = Descriptor::parse(PRIVATE_FILE)?;
    let (attributes, name) = (descriptor.attributes(), wide(path));
    // SAFETY: the string ends with NUL; it, the attributes and their descriptor live for the call.
    let handle = unsafe {
        CreateFileW(
            name.as_ptr(),
            GENERIC_READ | GENERIC_WRITE,
            FILE_SHARE_READ | FILE_SHARE_DELETE,
            &raw const attributes,
            CREATE_NEW,
            FILE_ATTRIBUTE_NORMAL,
            ptr::null_mut(),
        )
    };
    if handle == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a fresh handle that nobody else owns.
    Ok(unsafe { File::from_raw_handle(handle) })
}

/// Makes a file to copy another one into, which is not less private than that.
pub fn create_as_private_as(source: &File, path: &Path) -> io::Result<File> {
    if Descriptor::of(source)?.is_protected()? { create_private(path) } else { File::create(path) }
}

/// Owner and access list of a file or folder.
pub fn look(path: &Path) -> io::Result<Access> {
    Descriptor::of(&open_itself(path, 0)?)?.access()
}
