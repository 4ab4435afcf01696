//! Off Windows the agent runs in the foreground, as whoever started it: its secrets are that account's alone.

use std::fs::File;
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::Path;

use super::{Access, Entry, Purpose};

/// Makes a folder, which only its owner reads where it is private; one that is there stays as it is.
pub fn folder(path: &Path, purpose: Purpose) -> io::Result<()> {
    let mode = match purpose {
        Purpose::Programs => 0o755,
        Purpose::Private => 0o700,
    };
    std::fs::DirBuilder::new().recursive(true).mode(mode).create(path)
}

/// Makes a file that only its owner reads, in the place of one that is there.
pub fn create_private(path: &Path) -> io::Result<File> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    File::options().write(true).create_new(true).mode(0o600).open(path)
}

/// Makes a file to copy another one into, which is not less private than that.
pub fn create_as_private_as(source: &File, path: &Path) -> io::Result<File> {
    let mode = source.metadata()?.permissions().mode();
    let others = mode & 0o077;
    if others == 0 { create_private(path) } else { File::create(path) }
}

/// Owner and rights, as Windows would say it.
pub fn look(path: &Path) -> io::Result<Access> {
    const WRITE_DATA: u32 = 0x2;
    let metadata = std::fs::metadata(path)?;
    let owner = match metadata.uid() {
        0 => "S-1-5-18".to_owned(),
        uid => format!("S-1-22-1-{uid}"),
    };
    let everyone = Entry { sid: "S-1-1-0".to_owned(), mask: WRITE_DATA, inherit_only: false };
    let allowed = if metadata.mode() & 0o022 == 0 { Vec::new() } else { vec![everyone] };
    Ok(Access { owner, allowed: Some(allowed) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_file_and_its_copy_are_the_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let mode = |name: &str| {
            fs_err::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777
        };
        let path = |name: &str| folder.path().join(name);
        fs_err::write(path("secret"), "old and open").unwrap();
        let secret = create_private(&path("secret")).unwrap();
        create_as_private_as(&secret, &path("copy")).unwrap();
        assert_eq!((mode("secret"), mode("copy")), (0o600, 0o600));
        let open = File::create(path("open")).unwrap();
        create_as_private_as(&open, &path("open-copy")).unwrap();
        assert_eq!(mode("open"), mode("open-copy"));
    }
}
