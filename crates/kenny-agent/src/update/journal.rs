//! The journal file: read, and written so that a power cut leaves the old content or the new.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use kenny_core::update::{JOURNAL_FORMAT, Journal};

use super::files;

/// The journal file of one installation.
#[derive(Debug, Clone)]
pub struct JournalFile {
    path: PathBuf,
}

/// The journal could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file system said no.
    #[error("could not {attempt} the update journal {}", path.display())]
    Io {
        /// `read` or `write`.
        attempt: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The content is not what was once written.
    #[error("the update journal {} is damaged ({why}); it is set aside and the next update starts afresh", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A newer agent wrote it.
    #[error("the update journal {} has format {format}, which a newer agent wrote", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u32,
    },
}

impl JournalFile {
    /// The journal at this path; it need not exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The last journal written; none where there never was an update.
    pub fn read(&self) -> Result<Option<Journal>, JournalError> {
        let content = match fs_err::read(&self.path) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(self.io("read", source)),
        };
        parse(&content, &self.path).map(Some)
    }

    /// Writes the journal: to a file beside it, flushed, then renamed over the old one.
    pub fn write(&self, journal: &Journal) -> Result<(), JournalError> {
        let body = serde_json::to_vec(journal).expect("a journal has string keys only");
        let write = || -> io::Result<()> {
            let beside = self.path.with_extension("json.new");
            if let Some(folder) = self.path.parent() {
                fs_err::create_dir_all(folder)?;
            }
            let mut file = fs_err::File::create(&beside)?;
            file.write_all(&body)?;
            file.write_all(b"\n")?;
            file.write_all(files::sha256_of(&body).to_string().as_bytes())?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            drop(file);
            files::replace(&beside, &self.path)
        };
        write().map_err(|source| self.io("write", source))
    }

    /// Sets a damaged journal aside, so that the next update can start.
    pub fn set_aside(&self) -> Result<(), JournalError> {
        let aside = self.path.with_extension("json.damaged");
        files::replace(&self.path, &aside).map_err(|source| self.io("write", source))
    }

    fn io(&self, attempt: &'static str, source: io::Error) -> JournalError {
        JournalError::Io { attempt, path: self.path.clone(), source }
    }
}

fn parse(content: &[u8], path: &Path) -> Result<Journal, JournalError> {
    #[derive(serde::Deserialize)]
    struct Format {
        format: u32,
    }
    let damaged = |why: String| JournalError::Damaged { path: path.to_owned(), why };
    let mut lines = content.split(|byte| *byte == b'\n');
    let body = lines.next().unwrap_or_default();
    let checksum = lines.next().unwrap_or_default();
    if files::sha256_of(body).to_string().as_bytes() != checksum {
        return Err(damaged("its checksum does not match".to_owned()));
    }
    let format: Format =
        serde_json::from_slice(body).map_err(|error| damaged(error.to_string()))?;
    if format.format > JOURNAL_FORMAT {
        return Err(JournalError::Newer { path: path.to_owned(), format: format.format });
    }
    serde_json::from_slice(body).map_err(|error| damaged(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use kenny_proto::{Sha256Digest, UpdateId};
    use semver::Version;

    fn journal() -> Journal {
        let digest = Sha256Digest([7; 32]);
        Journal::accepted(
            UpdateId::random(),
            (Version::new(1, 0, 0), digest),
            (Version::new(1, 1, 0), digest),
            "http://127.0.0.1/a".to_owned(),
            Timestamp::UNIX_EPOCH,
        )
    }

    #[test]
    fn what_was_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = JournalFile::new(folder.path().join("journal.json"));
        assert_eq!(file.read().unwrap(), None);
        let journal = journal();
        file.write(&journal).unwrap();
        file.write(&journal).unwrap();
        assert_eq!(file.read().unwrap(), Some(journal));
    }

    #[test]
    fn every_cut_and_every_flipped_byte_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.json");
        let file = JournalFile::new(&path);
        file.write(&journal()).unwrap();
        let content = fs_err::read(&path).unwrap();
        for cut in 0..content.len() - 1 {
            fs_err::write(&path, &content[..cut]).unwrap();
            assert!(matches!(file.read(), Err(JournalError::Damaged { .. })), "cut at {cut}");
        }
        for at in 0..content.len() - 1 {
            let mut flipped = content.clone();
            flipped[at] ^= 1;
            fs_err::write(&path, &flipped).unwrap();
            assert!(matches!(file.read(), Err(JournalError::Damaged { .. })), "flipped at {at}");
        }
        file.set_aside().unwrap();
        assert_eq!(file.read().unwrap(), None);
    }

    #[test]
    fn a_newer_format_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.json");
        let body = br#"{"format":99,"later":true}"#;
        let text = format!("{}\n{}\n", String::from_utf8_lossy(body), files::sha256_of(body));
        fs_err::write(&path, text).unwrap();
        let error = JournalFile::new(&path).read().unwrap_err();
        assert!(matches!(error, JournalError::Newer { format: 99, .. }), "{error}");
    }
}
