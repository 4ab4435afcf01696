//! What differs between operating systems: one module each, with the same signatures.

#[cfg(not(windows))]
mod linux;
#[cfg(windows)]
mod windows;

#[cfg(not(windows))]
pub use linux::*;
#[cfg(windows)]
pub use windows::*;

/// The operating system's number for an error, also where a path was added to it.
pub fn os_code(error: &std::io::Error) -> Option<i32> {
    let mut error: &(dyn std::error::Error + 'static) = error;
    loop {
        let code = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error);
        if code.is_some() {
            return code;
        }
        // An error made of another one stands in for it: its source is the other one's.
        error = match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(inner) => inner,
            None => error.source()?,
        };
    }
}

/// How full a volume is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Drive or mount point.
    pub name: String,
    /// Its size.
    pub total_bytes: u64,
    /// What is left.
    pub free_bytes: u64,
}

/// How full memory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// All of it.
    pub total_bytes: u64,
    /// What programs can still get.
    pub available_bytes: u64,
}

/// A shell that is about to run a script.
#[derive(Debug)]
pub struct Shell {
    /// How it is started.
    pub command: tokio::process::Command,
    /// What it reads from its standard input; nothing when absent.
    pub input: Option<Vec<u8>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_number_is_found_behind_a_path() {
        let folder = tempfile::tempdir().unwrap();
        let error = fs_err::File::open(folder.path().join("nothing")).unwrap_err();
        // ENOENT and ERROR_FILE_NOT_FOUND are both 2.
        assert_eq!(os_code(&error), Some(2));
        assert_eq!(os_code(&std::io::Error::other("of our own")), None);
    }
}
