//! The entry in Installed apps: what a person looks at, and presses, to be rid of the agent.

use std::io;
use std::path::Path;
use std::ptr;

use windows_sys::Win32::Foundation::{ERROR_FILE_NOT_FOUND, ERROR_SUCCESS};
use windows_sys::Win32::System::Registry::{
    HKEY, HKEY_LOCAL_MACHINE, KEY_WOW64_64KEY, KEY_WRITE, REG_DWORD, REG_OPTION_NON_VOLATILE,
    REG_SZ, REG_VALUE_TYPE, RegCloseKey, RegCreateKeyExW, RegDeleteTreeW, RegSetValueExW,
};

use crate::layout::Layout;
use crate::platform::wide;

/// Where Windows looks for installed programs.
const UNINSTALL: &str = "SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Uninstall";

fn key_of(service_name: &str) -> String {
    format!("{UNINSTALL}\\{service_name}")
}

/// An open key of the registry.
struct Key(HKEY);

impl Drop for Key {
    fn drop(&mut self) {
        // SAFETY: the key is open, and closed once.
        unsafe { RegCloseKey(self.0) };
    }
}

impl Key {
    fn create(path: &str) -> io::Result<Self> {
        let path = wide(path);
        let mut key: HKEY = ptr::null_mut();
        // SAFETY: the string ends with NUL; it and the out-parameter live for the call; no class and no attributes.
        let status = unsafe {
            RegCreateKeyExW(
                HKEY_LOCAL_MACHINE,
                path.as_ptr(),
                0,
                ptr::null(),
                REG_OPTION_NON_VOLATILE,
                KEY_WRITE | KEY_WOW64_64KEY,
                ptr::null(),
                &raw mut key,
                ptr::null_mut(),
            )
        };
        succeeded(status)?;
        Ok(Self(key))
    }

    fn set(&self, name: &str, kind: REG_VALUE_TYPE, bytes: &[u8]) -> io::Result<()> {
        let name = wide(name);
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        // SAFETY: the key is open; the name ends with NUL; the data has `length` bytes; all live for the call.
        succeeded(unsafe { RegSetValueExW(self.0, name.as_ptr(), 0, kind, bytes.as_ptr(), length) })
    }

    fn set_text(&self, name: &str, text: &str) -> io::Result<()> {
        let bytes: Vec<u8> = wide(text).into_iter().flat_map(u16::to_le_bytes).collect();
        self.set(name, REG_SZ, &bytes)
    }

    fn set_number(&self, name: &str, number: u32) -> io::Result<()> {
        self.set(name, REG_DWORD, &number.to_le_bytes())
    }
}

fn succeeded(status: u32) -> io::Result<()> {
    if status == ERROR_SUCCESS {
        return Ok(());
    }
    Err(io::Error::from_raw_os_error(i32::try_from(status).unwrap_or(i32::MAX)))
}

/// Makes the entry, or brings it up to date.
pub fn register(layout: &Layout, display_name: &str, version: &str) -> io::Result<()> {
    let key = Key::create(&key_of(&layout.service_name))?;
    let executable = layout.executable.display().to_string();
    let uninstall = uninstall_line(&executable, &layout.service_name);
    for (name, text) in [
        ("DisplayName", display_name),
        ("DisplayVersion", version),
        ("Publisher", "the kenny project"),
        ("Comments", super::DESCRIPTION),
        ("DisplayIcon", &executable),
        ("InstallLocation", &layout.install_dir.display().to_string()),
        ("UninstallString", &format!("{uninstall} --dialog")),
        ("QuietUninstallString", &format!("{uninstall} --quiet")),
    ] {
        key.set_text(name, text)?;
    }
    key.set_number("NoModify", 1)?;
    key.set_number("NoRepair", 1)?;
    key.set_number("EstimatedSize", size_kib(&layout.install_dir))
}

fn uninstall_line(executable: &str, service_name: &str) -> String {
    format!("\"{executable}\" uninstall --service-name {service_name} --purge")
}

/// The version that is proven: the entry says it from now on. Nothing where there is no entry: what an older agent
/// installed has none, and what was removed stays removed.
pub fn set_version(layout: &Layout, version: &str) -> io::Result<()> {
    if crate::platform::registry_text(&key_of(&layout.service_name), "DisplayName").is_none() {
        return Ok(());
    }
    let key = Key::create(&key_of(&layout.service_name))?;
    key.set_text("DisplayVersion", version)?;
    key.set_number("EstimatedSize", size_kib(&layout.install_dir))
}

/// Removes the entry; one that is not there is no error.
pub fn remove(service_name: &str) -> io::Result<()> {
    let path = wide(key_of(service_name));
    // SAFETY: the string ends with NUL and lives for the call.
    match unsafe { RegDeleteTreeW(HKEY_LOCAL_MACHINE, path.as_ptr()) } {
        ERROR_FILE_NOT_FOUND => Ok(()),
        status => succeeded(status),
    }
}

/// What a folder and the one for updates in it take, as Windows shows it; 0 where nobody can say.
fn size_kib(folder: &Path) -> u32 {
    let files = [folder.to_owned(), folder.join("update")];
    let bytes: u64 = files
        .iter()
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flatten()
        .filter_map(Result::ok)
        // What an install keeps until it is through.
        .filter(|entry| entry.path().extension().is_none_or(|last| last != "before-install"))
        .filter_map(|entry| entry.metadata().ok())
        .filter(std::fs::Metadata::is_file)
        .map(|file| file.len())
        .sum();
    u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX)
}
