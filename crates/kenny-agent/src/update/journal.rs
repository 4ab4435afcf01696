//! The journal file: read, and written so that a power cut leaves the old content or the new.

use std::io;
use std::path::PathBuf;

use kenny_core::update::{Journal, JournalProblem, journal};

use super::files;

/// The journal file of one installation.
#[derive(Debug, Clone)]
pub struct JournalFile {
    path: PathBuf,
}

impl JournalFile {
    /// The journal at this path; it need not exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The last journal written; none where there never was an update.
    pub fn read(&self) -> Result<Option<Journal>, JournalProblem> {
        match std::fs::read(&self.path) {
            Ok(content) => journal::decode(&content, files::sha256_of).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => {
                Err(JournalProblem::Unreadable(format!("{}: {error}", self.path.display())))
            }
        }
    }

    /// Writes the journal: to a file beside it, flushed, then renamed over the old one.
    pub fn write(&self, journal: &Journal) -> io::Result<()> {
        files::write_whole(&self.path, &journal::encode(journal, files::sha256_of))
    }

    /// Sets a journal that cannot be used aside, so that the next update can start.
    pub fn set_aside(&self) -> io::Result<()> {
        files::replace(&self.path, &self.path.with_extension("json.damaged"))
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use kenny_core::update::{Quarantine, Source, Wanted};
    use kenny_proto::{Sha256Digest, UpdateId};
    use semver::Version;

    use super::*;

    fn accepted() -> Journal {
        let wanted = Wanted {
            update_id: UpdateId::random(),
            version: Version::new(1, 1, 0),
            sha256: Sha256Digest([7; 32]),
            source: Source::Download { url: "http://127.0.0.1/a".to_owned() },
        };
        let from = (Version::new(1, 0, 0), Sha256Digest([6; 32]));
        Journal::accepted(wanted, from, Quarantine::default(), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn what_was_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = JournalFile::new(folder.path().join("state/journal.json"));
        assert_eq!(file.read(), Ok(None));
        let journal = accepted();
        file.write(&accepted()).unwrap();
        file.write(&journal).unwrap();
        assert_eq!(file.read(), Ok(Some(journal)));
    }

    #[test]
    fn a_file_that_was_cut_short_is_set_aside_and_not_lost() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.json");
        let file = JournalFile::new(&path);
        file.write(&accepted()).unwrap();
        let content = fs_err::read(&path).unwrap();
        fs_err::write(&path, &content[..content.len() / 2]).unwrap();
        assert!(matches!(file.read(), Err(JournalProblem::Damaged(_))));
        file.set_aside().unwrap();
        assert_eq!(file.read(), Ok(None));
        let kept = fs_err::read(folder.path().join("journal.json.damaged")).unwrap();
        assert_eq!(kept, content[..content.len() / 2]);
    }

    #[test]
    fn what_cannot_be_read_is_not_taken_for_damaged() {
        let folder = tempfile::tempdir().unwrap();
        // A folder in its place: neither absent nor readable.
        let read = JournalFile::new(folder.path()).read();
        assert!(matches!(read, Err(JournalProblem::Unreadable(_))), "{read:?}");
    }
}
