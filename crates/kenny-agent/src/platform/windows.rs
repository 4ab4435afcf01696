//! Windows.

mod authenticode;

use std::ffi::{OsStr, OsString, c_void};
use std::fs::File;
use std::io;
use std::os::windows::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::windows::fs::OpenOptionsExt as _;
use std::os::windows::io::{AsRawHandle as _, FromRawHandle as _, OwnedHandle};
use std::path::{Path, PathBuf};
use std::ptr;
use std::time::{Duration, Instant};

use kenny_proto::{Arch, Os};
use tokio::process::{Child, Command};
use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_DELETE_PENDING, ERROR_DISK_FULL, ERROR_HANDLE_DISK_FULL,
    ERROR_LOCK_VIOLATION, ERROR_SHARING_VIOLATION, ERROR_SUCCESS, ERROR_USER_MAPPED_FILE, MAX_PATH,
};
use windows_sys::Win32::Globalization::{CP_OEMCP, MultiByteToWideChar};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_SHARE_DELETE, FILE_SHARE_READ, GetDiskFreeSpaceExW, GetDriveTypeW, GetLogicalDrives,
    MOVEFILE_REPLACE_EXISTING, MOVEFILE_WRITE_THROUGH, MoveFileExW,
};
use windows_sys::Win32::System::Com::CoTaskMemFree;
use windows_sys::Win32::System::EventLog::{
    DeregisterEventSource, EVENTLOG_ERROR_TYPE, RegisterEventSourceW, ReportEventW,
};
use windows_sys::Win32::System::JobObjects::{
    AssignProcessToJobObject, CreateJobObjectW, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION, JobObjectExtendedLimitInformation,
    SetInformationJobObject, TerminateJobObject,
};
use windows_sys::Win32::System::LibraryLoader::{
    LOAD_LIBRARY_SEARCH_SYSTEM32, SetDefaultDllDirectories,
};
use windows_sys::Win32::System::ProcessStatus::{GetProcessMemoryInfo, PROCESS_MEMORY_COUNTERS};
use windows_sys::Win32::System::Registry::{
    HKEY, HKEY_LOCAL_MACHINE, KEY_READ, RRF_RT_REG_SZ, RegCloseKey, RegFlushKey, RegGetValueW,
    RegOpenKeyExW,
};
use windows_sys::Win32::System::SystemInformation::{
    ComputerNameDnsHostname, GetComputerNameExW, GetSystemDirectoryW, GetTickCount64,
    GlobalMemoryStatusEx, IMAGE_FILE_MACHINE_ARM64, MEMORYSTATUSEX,
};
use windows_sys::Win32::System::Threading::{CREATE_NO_WINDOW, GetCurrentProcess, IsWow64Process2};
use windows_sys::Win32::System::WindowsProgramming::QueryUnbiasedInterruptTime;
use windows_sys::Win32::UI::Shell::{
    FOLDERID_ProgramData, FOLDERID_ProgramFiles, SHGetKnownFolderPath,
};
use windows_sys::core::GUID;

use super::{Memory, Shell, Volume};

mod elevation;

pub use elevation::is_administrator;

pub use authenticode::check_signature;

/// This operating system.
pub const OS: Os = Os::Windows;

/// `DRIVE_FIXED` of `GetDriveTypeW`.
const DRIVE_FIXED: u32 = 3;
/// How long a file that somebody has open is waited for: readers of ours take milliseconds.
const REPLACE: Duration = Duration::from_secs(2);

/// A string for a Windows call.
pub fn wide(text: impl AsRef<OsStr>) -> Vec<u16> {
    text.as_ref().encode_wide().chain([0]).collect()
}

fn succeeded(result: i32) -> io::Result<()> {
    if result == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// From here on libraries come from System32 only, never from the working directory.
pub fn harden_process() {
    // SAFETY: takes a flag, no memory.
    unsafe { SetDefaultDllDirectories(LOAD_LIBRARY_SEARCH_SYSTEM32) };
}

/// The machine's architecture, also where this process runs emulated.
pub fn native_arch() -> Arch {
    let (mut process, mut native) = (0, 0);
    // SAFETY: both out-parameters live for the call; the pseudo handle needs no closing.
    let asked = unsafe { IsWow64Process2(GetCurrentProcess(), &raw mut process, &raw mut native) };
    if asked != 0 && native == IMAGE_FILE_MACHINE_ARM64 { Arch::Aarch64 } else { Arch::X86_64 }
}

/// The PC's name.
pub fn hostname() -> String {
    let mut length = 256;
    let mut buffer = vec![0; length as usize];
    // SAFETY: the buffer has `length` units and both live for the call.
    let got = unsafe {
        GetComputerNameExW(ComputerNameDnsHostname, buffer.as_mut_ptr(), &raw mut length)
    };
    if got == 0 {
        return "unknown".to_owned();
    }
    String::from_utf16_lossy(&buffer[..length as usize])
}

/// The operating system's name and version, for people.
pub fn os_version() -> String {
    let read = |name| registry_text("SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion", name);
    let product = read("ProductName").unwrap_or_else(|| "Windows".to_owned());
    match read("CurrentBuild") {
        Some(build) => format!("{product} (build {build})"),
        None => product,
    }
}

/// A text of the registry, below `HKEY_LOCAL_MACHINE`.
pub fn registry_text(key: &str, name: &str) -> Option<String> {
    let (key, name) = (wide(key), wide(name));
    let mut buffer = [0_u16; 256];
    let mut bytes = u32::try_from(size_of_val(&buffer)).ok()?;
    // SAFETY: the strings end with NUL, the buffer has `bytes` bytes, all live for the call.
    let status = unsafe {
        RegGetValueW(
            HKEY_LOCAL_MACHINE,
            key.as_ptr(),
            name.as_ptr(),
            RRF_RT_REG_SZ,
            ptr::null_mut(),
            buffer.as_mut_ptr().cast(),
            &raw mut bytes,
        )
    };
    let text = String::from_utf16_lossy(&buffer);
    (status == 0).then(|| text.split('\0').next().unwrap_or_default().to_owned())
}

/// Time since the PC started, time asleep included.
pub fn uptime() -> io::Result<Duration> {
    // SAFETY: takes nothing.
    Ok(Duration::from_millis(unsafe { GetTickCount64() }))
}

/// How full memory is.
pub fn memory() -> io::Result<Memory> {
    // SAFETY: a plain C struct for which zero is a value.
    let mut status: MEMORYSTATUSEX = unsafe { std::mem::zeroed() };
    status.dwLength = u32::try_from(size_of::<MEMORYSTATUSEX>()).map_err(io::Error::other)?;
    // SAFETY: the struct says its own length and lives for the call.
    succeeded(unsafe { GlobalMemoryStatusEx(&raw mut status) })?;
    Ok(Memory { total_bytes: status.ullTotalPhys, available_bytes: status.ullAvailPhys })
}

/// Resident memory of this process.
pub fn own_memory_bytes() -> io::Result<u64> {
    // SAFETY: a plain C struct for which zero is a value.
    let mut counters: PROCESS_MEMORY_COUNTERS = unsafe { std::mem::zeroed() };
    let size = u32::try_from(size_of::<PROCESS_MEMORY_COUNTERS>()).map_err(io::Error::other)?;
    // SAFETY: the struct has `size` bytes and lives for the call; the pseudo handle needs no closing.
    succeeded(unsafe { GetProcessMemoryInfo(GetCurrentProcess(), &raw mut counters, size) })?;
    Ok(counters.WorkingSetSize as u64)
}

/// The fixed drives.
pub fn volumes() -> io::Result<Vec<Volume>> {
    // SAFETY: takes nothing.
    let drives = unsafe { GetLogicalDrives() };
    let mut volumes = Vec::new();
    for letter in (0..26_u8).filter(|index| drives & 1 << index != 0).map(|index| b'A' + index) {
        let root = format!("{}:\\", char::from(letter));
        let wide_root = wide(&root);
        // SAFETY: the string ends with NUL and lives for the call.
        if unsafe { GetDriveTypeW(wide_root.as_ptr()) } != DRIVE_FIXED {
            continue;
        }
        if let Ok((free_bytes, total_bytes)) = room(Path::new(&root)) {
            volumes.push(Volume { name: root[..2].to_owned(), total_bytes, free_bytes });
        }
    }
    Ok(volumes)
}

/// Room on the volume of a folder, or of its nearest ancestor that exists.
pub fn free_bytes(folder: &Path) -> io::Result<u64> {
    let existing = folder.ancestors().find(|folder| folder.exists()).unwrap_or(folder);
    room(existing).map(|(free, _)| free)
}

fn room(folder: &Path) -> io::Result<(u64, u64)> {
    let folder = wide(folder);
    let (mut free, mut total) = (0, 0);
    // SAFETY: the string ends with NUL; it and the out-parameters live for the call.
    succeeded(unsafe {
        GetDiskFreeSpaceExW(folder.as_ptr(), &raw mut free, &raw mut total, ptr::null_mut())
    })?;
    Ok((free, total))
}

/// Where programs are installed.
pub fn program_files() -> io::Result<PathBuf> {
    known_folder(&FOLDERID_ProgramFiles)
}

/// Where programs keep their state. Asked of the shell: a service's environment may name another place.
pub fn program_data() -> io::Result<PathBuf> {
    known_folder(&FOLDERID_ProgramData)
}

fn known_folder(id: &GUID) -> io::Result<PathBuf> {
    let mut path = ptr::null_mut();
    // SAFETY: the id and the out-parameter live for the call; no token means the process's own.
    let status = unsafe { SHGetKnownFolderPath(id, 0, ptr::null_mut(), &raw mut path) };
    if status != 0 {
        // SAFETY: the documentation asks to free the pointer, null or not, also after an error.
        unsafe { CoTaskMemFree(path.cast()) };
        return Err(io::Error::other(format!("a known folder is not there (0x{status:08x})")));
    }
    // SAFETY: the call succeeded, so the pointer is a string that ends with NUL.
    let units = unsafe {
        let length = (0..).take_while(|&at| *path.add(at) != 0).count();
        std::slice::from_raw_parts(path, length).to_vec()
    };
    // SAFETY: allocated by the call above, freed once.
    unsafe { CoTaskMemFree(path.cast()) };
    Ok(PathBuf::from(OsString::from_wide(&units)))
}

/// Moves a file over another, which it replaces; on the disk when this returns. A reader or a scanner that has
/// either of them open for a moment is waited for.
pub fn replace_file(from: &Path, to: &Path) -> io::Result<()> {
    let until = Instant::now() + REPLACE;
    let mut pause = Duration::from_millis(1);
    loop {
        match replace_file_once(from, to) {
            Err(error) if is_in_use(&error) && Instant::now() < until => std::thread::sleep(pause),
            outcome => return outcome,
        }
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Moves a file over another, which it replaces, in one try; on the disk when this returns.
pub fn replace_file_once(from: &Path, to: &Path) -> io::Result<()> {
    let (from, to) = (wide(from), wide(to));
    let flags = MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH;
    // SAFETY: both strings end with NUL and live for the call.
    succeeded(unsafe { MoveFileExW(from.as_ptr(), to.as_ptr(), flags) })
}

/// True for what Windows says of a file that somebody else has open or runs.
pub fn is_in_use(error: &io::Error) -> bool {
    is_one_of(
        error,
        &[
            ERROR_ACCESS_DENIED,
            ERROR_SHARING_VIOLATION,
            ERROR_LOCK_VIOLATION,
            ERROR_DELETE_PENDING,
            ERROR_USER_MAPPED_FILE,
        ],
    )
}

/// True where the disk had no room.
pub fn is_disk_full(error: &io::Error) -> bool {
    is_one_of(error, &[ERROR_DISK_FULL, ERROR_HANDLE_DISK_FULL])
}

fn is_one_of(error: &io::Error, codes: &[u32]) -> bool {
    let code = error.raw_os_error().and_then(|code| u32::try_from(code).ok());
    code.is_some_and(|code| codes.contains(&code))
}

/// Time that this PC was awake; no clock that somebody can set.
pub fn observed() -> Duration {
    let mut units = 0;
    // SAFETY: the out-parameter lives for the call, which does not fail.
    unsafe { QueryUnbiasedInterruptTime(&raw mut units) };
    // In units of 100 ns.
    Duration::from_micros(units / 10)
}

/// Brings a key below `HKEY_LOCAL_MACHINE` to the disk, which Windows otherwise does when it likes.
pub fn flush_registry(key: &str) -> io::Result<()> {
    let key = wide(key);
    let mut opened: HKEY = ptr::null_mut();
    // SAFETY: the string ends with NUL; it and the out-parameter live for the call.
    let status =
        unsafe { RegOpenKeyExW(HKEY_LOCAL_MACHINE, key.as_ptr(), 0, KEY_READ, &raw mut opened) };
    registry_succeeded(status)?;
    // SAFETY: the key is open, and closed once.
    let flushed = unsafe {
        let flushed = RegFlushKey(opened);
        RegCloseKey(opened);
        flushed
    };
    registry_succeeded(flushed)
}

fn registry_succeeded(status: u32) -> io::Result<()> {
    if status == ERROR_SUCCESS {
        return Ok(());
    }
    Err(io::Error::from_raw_os_error(i32::try_from(status).unwrap_or(i32::MAX)))
}

/// Opens a file for reading such that nobody can write to it meanwhile; it can be renamed.
pub fn open_without_writers(path: &Path) -> io::Result<File> {
    File::options().read(true).share_mode(FILE_SHARE_READ | FILE_SHARE_DELETE).open(path)
}

/// The folder of the system's own programs.
pub fn system_folder() -> PathBuf {
    let mut buffer = [0; MAX_PATH as usize];
    // SAFETY: the buffer has MAX_PATH units and lives for the call.
    let length = unsafe { GetSystemDirectoryW(buffer.as_mut_ptr(), MAX_PATH) };
    PathBuf::from(OsString::from_wide(&buffer[..length as usize]))
}

/// The longest script that goes on the command line, in UTF-16 units: Windows takes 32,767 for all of it, and quoting
/// may add to the script.
const ON_COMMAND_LINE: usize = 24_000;

/// Comes before each script, so that it answers in UTF-8; without a console there is nothing to set.
const PRELUDE: &str = "try { [Console]::OutputEncoding = New-Object Text.UTF8Encoding $false } catch {}\n$ProgressPreference = 'SilentlyContinue'\n";

/// Runs the script that comes as Base64 on the standard input, for which no code page and no limit matters.
const FROM_INPUT: &str = "& ([ScriptBlock]::Create([Text.Encoding]::UTF8.GetString([Convert]::FromBase64String(@($input) -join ''))))";

/// The program that runs scripts. Not by `-EncodedCommand`: Windows PowerShell then writes errors as CLIXML to a
/// standard error that is a pipe, whatever `-OutputFormat` says (PowerShell issue 5912).
pub fn shell(script: &str) -> Shell {
    let mut command = Command::new(system_folder().join("WindowsPowerShell\\v1.0\\powershell.exe"));
    command
        .creation_flags(CREATE_NO_WINDOW)
        .args(["-NoLogo", "-NoProfile", "-NonInteractive", "-ExecutionPolicy", "Bypass"])
        .arg("-Command");
    // Every quote and every backslash before one is escaped by another backslash.
    let quoting = script.bytes().filter(|byte| b"\"\\".contains(byte)).count();
    if script.encode_utf16().count() + quoting <= ON_COMMAND_LINE {
        command.arg(format!("{PRELUDE}{script}"));
        return Shell { command, input: None };
    }
    command.arg(format!("{PRELUDE}{FROM_INPUT}"));
    Shell { command, input: Some(base64(script.as_bytes()).into_bytes()) }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

/// Console output that is not UTF-8 as text, by the code page that consoles have on this PC.
pub fn decode_console(bytes: &[u8]) -> String {
    let Ok(length) = i32::try_from(bytes.len()) else {
        return String::from_utf8_lossy(bytes).into_owned();
    };
    // One UTF-16 unit for a byte is the most that a console's code page gives.
    let mut units = vec![0_u16; bytes.len()];
    // SAFETY: both buffers have `length` elements and live for the call.
    let written = unsafe {
        MultiByteToWideChar(CP_OEMCP, 0, bytes.as_ptr(), length, units.as_mut_ptr(), length)
    };
    match usize::try_from(written) {
        Ok(written @ 1..) => String::from_utf16_lossy(&units[..written]),
        Ok(0) | Err(_) => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// A program that is about to run gets no window.
pub fn without_window(command: &mut Command) {
    command.creation_flags(CREATE_NO_WINDOW);
}

/// A process and everything it starts, in a job that ends them all when it is closed.
#[derive(Debug)]
pub struct ProcessTree {
    job: OwnedHandle,
}

impl ProcessTree {
    /// Starts the command as the root of a tree.
    pub fn spawn(command: &mut Command) -> io::Result<(Child, Self)> {
        // SAFETY: no attributes, no name; a failure is null and checked below.
        let job = unsafe { CreateJobObjectW(ptr::null(), ptr::null()) };
        if job.is_null() {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a fresh handle that nobody else owns.
        let job = unsafe { OwnedHandle::from_raw_handle(job) };
        // SAFETY: a plain C struct for which zero is a value.
        let mut limits: JOBOBJECT_EXTENDED_LIMIT_INFORMATION = unsafe { std::mem::zeroed() };
        limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
        let size = u32::try_from(size_of_val(&limits)).map_err(io::Error::other)?;
        // SAFETY: the struct has `size` bytes and lives for the call; the job is open.
        succeeded(unsafe {
            SetInformationJobObject(
                job.as_raw_handle(),
                JobObjectExtendedLimitInformation,
                (&raw const limits).cast::<c_void>(),
                size,
            )
        })?;
        let mut child = command.spawn()?;
        if let Some(process) = child.raw_handle() {
            // SAFETY: both handles are open. What the child starts before this line is in no job; PowerShell
            // needs far longer than that to come up.
            let assigned =
                succeeded(unsafe { AssignProcessToJobObject(job.as_raw_handle(), process) });
            // A process that has ended is in no job any more, and needs none.
            if let Err(error) = assigned
                && child.try_wait()?.is_none()
            {
                child.start_kill()?;
                return Err(error);
            }
        }
        Ok((child, Self { job }))
    }

    /// Ends the whole tree at once.
    pub fn kill(&self) {
        // SAFETY: the job is open.
        unsafe { TerminateJobObject(self.job.as_raw_handle(), 1) };
    }
}

/// Writes an error to the Windows event log, under the agent's source.
pub fn report_event(text: &str) {
    let (source, text) = (wide("kenny-agent"), wide(text));
    // SAFETY: the string ends with NUL and lives for the call; no server means this PC.
    let log = unsafe { RegisterEventSourceW(ptr::null(), source.as_ptr()) };
    if log.is_null() {
        return;
    }
    let strings = [text.as_ptr()];
    // SAFETY: one string, no data, no SID; all live for the calls; the handle is open and closed once.
    unsafe {
        ReportEventW(
            log,
            EVENTLOG_ERROR_TYPE,
            0,
            1,
            ptr::null_mut(),
            1,
            0,
            strings.as_ptr(),
            ptr::null(),
        );
        DeregisterEventSource(log);
    }
}

/// Waits for Ctrl-C.
pub async fn interrupted() {
    // Where no handler can be set there is no console either: run until the process is ended.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
