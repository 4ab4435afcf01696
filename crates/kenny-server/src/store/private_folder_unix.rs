//! Folders that only their owner may look into, on Unix.

use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

/// Makes the folder, and those that it is in, for the owner alone; one that is there stays as it is.
pub(super) fn create(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use crate::store::DataDir;
    use crate::testing::TempDir;

    #[test]
    fn a_new_data_folder_is_the_owners_alone() {
        let folder = TempDir::new();
        let path = folder.path().join("var/kenny");
        let _held = DataDir::open(&path).unwrap();
        let mode = fs_err::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}
