//! The files of one download in the staging folder: what there is of it, and which version of it that is.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use kenny_proto::Sha256Digest;

/// The longest tag that is kept. Ours has 66 bytes.
const MAX_TAG_BYTES: u64 = 1024;

/// The staging folder's names for one artifact.
#[derive(Debug, Clone)]
pub struct Staging {
    folder: PathBuf,
    sha256: Sha256Digest,
}

/// Where a download can go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    /// Bytes that are there, at least one.
    pub there: u64,
    /// The strong entity tag of the version that they are of.
    pub etag: String,
}

impl Staging {
    /// The names in `folder` for the artifact with this digest.
    pub fn new(folder: &Path, sha256: Sha256Digest) -> Self {
        Self { folder: folder.to_owned(), sha256 }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What the artifact's bytes must hash to.
    pub const fn sha256(&self) -> Sha256Digest {
        self.sha256
    }

    /// The partial file.
    pub fn part(&self) -> PathBuf {
        self.folder.join(format!("{}.part", self.sha256))
    }

    /// The whole file.
    pub fn candidate(&self) -> PathBuf {
        self.folder.join(format!("{}.exe", self.sha256))
    }

    /// What names the partial file's version at the server, for `If-Range`. Empty where the server gave no strong tag.
    pub fn etag_file(&self) -> PathBuf {
        self.folder.join(format!("{}.etag", self.sha256))
    }

    fn new_etag_file(&self) -> PathBuf {
        self.folder.join(format!("{}.etag.new", self.sha256))
    }

    /// Removes what a download of this artifact may have left.
    pub fn clear(&self) {
        drop(fs_err::remove_file(self.candidate()));
        self.discard_part();
    }

    /// Removes the partial file: its bytes are worth nothing.
    pub fn discard_part(&self) {
        // The part first: without it the tag means nothing.
        for path in [self.part(), self.etag_file(), self.new_etag_file()] {
            drop(fs_err::remove_file(path));
        }
    }

    /// Bytes of the partial file.
    pub fn part_bytes(&self) -> u64 {
        fs_err::metadata(self.part()).map_or(0, |metadata| metadata.len())
    }

    /// Where an earlier transfer can go on: bytes whose version is not known for certain are none.
    pub fn resume(&self) -> Option<Resume> {
        let there = Some(self.part_bytes()).filter(|there| *there > 0)?;
        let path = self.etag_file();
        fs_err::metadata(&path).ok().filter(|metadata| metadata.len() <= MAX_TAG_BYTES)?;
        let etag = fs_err::read_to_string(path).ok().filter(|tag| is_strong(tag))?;
        Some(Resume { there, etag })
    }

    /// Makes the part empty and notes whose bytes come into it. The order keeps two versions apart whenever the power
    /// goes: the part is empty on the disk before the tag changes, and the tag is there before the first byte.
    pub fn begin_part(&self, etag: Option<&str>) -> io::Result<fs_err::File> {
        let part = fs_err::File::create(self.part())?;
        part.sync_all()?;
        let beside = self.new_etag_file();
        let mut file = fs_err::File::create(&beside)?;
        let tag = etag.filter(|tag| is_strong(tag) && tag.len() as u64 <= MAX_TAG_BYTES);
        file.write_all(tag.unwrap_or_default().as_bytes())?;
        file.sync_all()?;
        drop(file);
        crate::platform::replace_file(&beside, &self.etag_file())?;
        Ok(part)
    }

    /// Opens the part for the bytes that follow.
    pub fn continue_part(&self) -> io::Result<fs_err::File> {
        fs_err::OpenOptions::new().append(true).open(self.part())
    }

    /// Brings the part to the disk. Windows flushes only what is open for writing (`FlushFileBuffers`).
    pub fn flush_part(&self) -> io::Result<()> {
        fs_err::OpenOptions::new().write(true).open(self.part())?.sync_all()
    }
}

/// True for a strong entity tag (RFC 9110, section 8.8.3), which alone names bytes; `If-Range` takes no other.
pub fn is_strong(tag: &str) -> bool {
    let inner = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
    inner.is_some_and(|inner| {
        inner.bytes().all(|byte| byte == 0x21 || (0x23..=0x7e).contains(&byte))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn staging() -> (tempfile::TempDir, Staging) {
        let folder = tempfile::tempdir().unwrap();
        let staging = Staging::new(folder.path(), Sha256Digest([7; 32]));
        (folder, staging)
    }

    #[test]
    fn only_strong_tags_name_bytes() {
        for strong in [r#""abc""#, r#""""#, r#""W/x""#] {
            assert!(is_strong(strong), "{strong}");
        }
        for weak in
            [r#"W/"abc""#, "abc", "\"", "", "\"a\"b\"", "\"a b\"", "\"a\r\nX: y\"", "\"\0\0\""]
        {
            assert!(!is_strong(weak), "{weak:?}");
        }
    }

    #[test]
    fn a_part_can_be_continued_while_its_version_is_known() {
        let (folder, staging) = staging();
        assert_eq!(staging.resume(), None);
        let mut part = staging.begin_part(Some("\"one\"")).unwrap();
        assert_eq!(staging.resume(), None, "an empty part is none");
        part.write_all(b"abc").unwrap();
        let resume = Resume { there: 3, etag: "\"one\"".to_owned() };
        assert_eq!(staging.resume(), Some(resume));
        staging.continue_part().unwrap().write_all(b"de").unwrap();
        assert_eq!(fs_err::read(staging.part()).unwrap(), b"abcde");
        staging.discard_part();
        assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_tag_that_says_nothing_certain_continues_nothing() {
        let (_folder, staging) = staging();
        let whole = "\"".to_owned() + &"x".repeat(2000) + "\"";
        for tag in [None, Some("W/\"one\""), Some(""), Some(whole.as_str())] {
            staging.begin_part(tag).unwrap().write_all(b"abc").unwrap();
            assert_eq!(staging.resume(), None, "{tag:?}");
        }
        // What a power cut can leave in place of a tag.
        for rubbish in [b"\0\0\0\0\0".as_slice(), b"\"on", b"\xff\xfe", whole.as_bytes()] {
            staging.begin_part(Some("\"one\"")).unwrap().write_all(b"abc").unwrap();
            fs_err::write(staging.etag_file(), rubbish).unwrap();
            assert_eq!(staging.resume(), None, "{rubbish:?}");
        }
    }

    #[test]
    fn a_new_version_never_meets_the_bytes_of_another() {
        let (_folder, staging) = staging();
        staging.begin_part(Some("\"one\"")).unwrap().write_all(b"abc").unwrap();
        drop(staging.begin_part(Some("\"two\"")).unwrap());
        assert_eq!(staging.part_bytes(), 0);
        assert_eq!(fs_err::read_to_string(staging.etag_file()).unwrap(), "\"two\"");
    }
}
