//! Processes of services: opened once, so that what is waited for, or ended, is never another one of the same number.

use std::io;
use std::os::windows::io::{AsRawHandle as _, FromRawHandle as _, OwnedHandle};
use std::time::Duration;

use windows_sys::Win32::Foundation::WAIT_OBJECT_0;
use windows_sys::Win32::System::Threading::{
    OpenProcess, PROCESS_QUERY_LIMITED_INFORMATION, PROCESS_SYNCHRONIZE, PROCESS_TERMINATE,
    TerminateProcess, WaitForSingleObject,
};

/// True while a process of this number lives.
pub fn is_alive(pid: u32) -> bool {
    Process::open(pid).is_some_and(|process| !process.wait(Duration::ZERO))
}

/// An opened process: its handle stays its own even when the number is given to another.
#[derive(Debug)]
pub struct Process {
    handle: OwnedHandle,
}

impl Process {
    /// Opens a process that is there.
    pub fn open(pid: u32) -> Option<Self> {
        let access = PROCESS_SYNCHRONIZE | PROCESS_TERMINATE | PROCESS_QUERY_LIMITED_INFORMATION;
        // SAFETY: takes numbers; a failure is null and checked below.
        let handle = unsafe { OpenProcess(access, 0, pid) };
        // SAFETY: a fresh handle that nobody else owns.
        (!handle.is_null())
            .then(|| Self { handle: unsafe { OwnedHandle::from_raw_handle(handle) } })
    }

    /// Waits for its end; true once it has ended.
    pub fn wait(&self, limit: Duration) -> bool {
        let limit_ms = u32::try_from(limit.as_millis()).unwrap_or(u32::MAX - 1);
        // SAFETY: the handle is open.
        unsafe { WaitForSingleObject(self.handle.as_raw_handle(), limit_ms) == WAIT_OBJECT_0 }
    }

    /// Ends it.
    pub fn terminate(&self) -> io::Result<()> {
        // SAFETY: the handle is open, and has been since before the stop: it cannot be another process.
        if unsafe { TerminateProcess(self.handle.as_raw_handle(), 1) } == 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }
}
