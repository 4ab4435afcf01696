//! Windows: message boxes, and the question of the user account control.

use std::io;
use std::os::windows::io::{AsRawHandle as _, FromRawHandle as _, OwnedHandle};
use std::ptr;

use windows_sys::Win32::Foundation::ERROR_CANCELLED;
use windows_sys::Win32::System::Console::{FreeConsole, GetConsoleProcessList};
use windows_sys::Win32::System::Threading::{GetExitCodeProcess, INFINITE, WaitForSingleObject};
use windows_sys::Win32::UI::Shell::{
    SEE_MASK_NOASYNC, SEE_MASK_NOCLOSEPROCESS, SHELLEXECUTEINFOW, ShellExecuteExW,
};
use windows_sys::Win32::UI::WindowsAndMessaging::{
    IDOK, MB_ICONINFORMATION, MB_ICONQUESTION, MB_ICONWARNING, MB_OK, MB_OKCANCEL,
    MB_SETFOREGROUND, MessageBoxW, SW_HIDE,
};

use super::{Elevated, Look};
use crate::platform::wide;

/// True where this process has a console to itself: Explorer made it. A shell's console has the shell in it, and a service
/// has none.
pub fn started_by_double_click() -> bool {
    let mut processes = [0; 2];
    // SAFETY: the buffer has two elements and lives for the call.
    unsafe { GetConsoleProcessList(processes.as_mut_ptr(), 2) == 1 }
}

/// Closes the console window that Explorer opened for this program.
pub fn hide_console() {
    // SAFETY: takes nothing.
    unsafe { FreeConsole() };
}

/// Shows a message until somebody answers it; true for OK.
pub fn show(title: &str, text: &str, look: Look) -> bool {
    let (title, text) = (wide(title), wide(text));
    let style = match look {
        Look::Plain => MB_OK | MB_ICONINFORMATION,
        Look::Trouble => MB_OK | MB_ICONWARNING,
        Look::Question => MB_OKCANCEL | MB_ICONQUESTION,
    };
    // SAFETY: both strings end with NUL and live for the call; no window means none that is in the way.
    let answer = unsafe {
        MessageBoxW(ptr::null_mut(), text.as_ptr(), title.as_ptr(), style | MB_SETFOREGROUND)
    };
    answer == IDOK
}

/// Runs this executable as administrator, which Windows asks about, and waits for its end.
pub fn run_as_administrator(arguments: &str) -> io::Result<Elevated> {
    let (verb, own) = (wide("runas"), wide(std::env::current_exe()?));
    let (arguments, folder) = (wide(arguments), wide(crate::platform::system_folder()));
    let mut info = SHELLEXECUTEINFOW {
        cbSize: u32::try_from(size_of::<SHELLEXECUTEINFOW>()).expect("a small struct"),
        fMask: SEE_MASK_NOCLOSEPROCESS | SEE_MASK_NOASYNC,
        lpVerb: verb.as_ptr(),
        lpFile: own.as_ptr(),
        lpParameters: arguments.as_ptr(),
        lpDirectory: folder.as_ptr(),
        nShow: SW_HIDE,
        ..SHELLEXECUTEINFOW::default()
    };
    // SAFETY: the struct says its own length; its strings end with NUL and live for the call.
    if unsafe { ShellExecuteExW(&raw mut info) } == 0 {
        let error = io::Error::last_os_error();
        if error.raw_os_error() == i32::try_from(ERROR_CANCELLED).ok() {
            return Ok(Elevated::Declined);
        }
        return Err(error);
    }
    if info.hProcess.is_null() {
        return Err(io::Error::other("Windows started no process"));
    }
    // SAFETY: asked for by the mask, so a fresh handle that nobody else owns.
    let process = unsafe { OwnedHandle::from_raw_handle(info.hProcess) };
    let mut code = 0;
    // SAFETY: the handle is open; the out-parameter lives for the call.
    let asked = unsafe {
        WaitForSingleObject(process.as_raw_handle(), INFINITE);
        GetExitCodeProcess(process.as_raw_handle(), &raw mut code)
    };
    if asked == 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Elevated::Ended(u8::try_from(code).unwrap_or(u8::MAX)))
}
