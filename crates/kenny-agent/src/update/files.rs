//! Files of an update: hashing, copying, replacing, and the proof that an executable was verified.
//!
//! By `std::fs`: the engine decides by the system's number of an error, which `fs_err` hides. Whoever calls adds the path.

use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use kenny_core::image::{self, ImageError};
use kenny_proto::update::Failure;
use kenny_proto::{FailureKind, Sha256Digest};

pub use crate::platform::replace_file as replace;
use crate::trust::Authorised;

/// Few calls, and it stays in the cache.
const BUFFER: usize = 256 * 1024;

/// Digest of bytes in memory.
pub fn sha256_of(bytes: &[u8]) -> Sha256Digest {
    to_digest(&digest::digest(&digest::SHA256, bytes))
}

/// Digest of a file as it lies on disk.
pub fn sha256_of_file(path: &Path) -> io::Result<Sha256Digest> {
    sha256_of_reader(File::open(path)?)
}

fn sha256_of_reader(mut file: impl Read) -> io::Result<Sha256Digest> {
    let mut context = digest::Context::new(&digest::SHA256);
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(to_digest(&context.finish()));
        }
        context.update(&buffer[..read]);
    }
}

fn to_digest(digest: &digest::Digest) -> Sha256Digest {
    Sha256Digest(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"))
}

/// Copies a file by way of one beside the target, flushed before it gets its name, and returns the digest of
/// what was copied.
pub fn copy(from: &Path, to: &Path) -> io::Result<Sha256Digest> {
    let beside = to.with_extension("exe.new");
    let digest = copy_bytes(from, &beside)?;
    flush(&beside)?;
    replace(&beside, to)?;
    Ok(digest)
}

/// Writes a program by way of a file beside the target, flushed before it gets its name.
pub fn write_program(path: &Path, content: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("exe.new");
    fs::write(&beside, content)?;
    flush(&beside)?;
    replace(&beside, path)
}

/// Copies bytes into a file, which is on the disk only once it was flushed. Returns the digest of what was copied.
pub fn copy_bytes(from: &Path, to: &Path) -> io::Result<Sha256Digest> {
    let mut source = File::open(from)?;
    let mut target = crate::protect::create_as_private_as(&source, to)?;
    let mut context = digest::Context::new(&digest::SHA256);
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = source.read(&mut buffer)?;
        if read == 0 {
            return Ok(to_digest(&context.finish()));
        }
        context.update(&buffer[..read]);
        target.write_all(&buffer[..read])?;
    }
}

/// Brings a file's bytes to the disk.
pub fn flush(path: &Path) -> io::Result<()> {
    fs::OpenOptions::new().write(true).open(path)?.sync_all()
}

/// Writes a small file so that a power cut leaves the old content or the new: beside it, flushed, then renamed.
pub fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("json.new");
    let create = || File::create(&beside);
    let mut file = match (create(), path.parent()) {
        (Err(error), Some(folder)) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(folder)?;
            create()?
        }
        (created, _) => created?,
    };
    file.write_all(content)?;
    file.sync_all()?;
    drop(file);
    replace(&beside, path)
}

/// Removes a file; one that is not there is no error.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

/// An executable whose bytes were checked. Only [`verify`] and [`verify_digest`] make one, and only one of these goes
/// to the active path.
#[derive(Debug)]
pub struct Verified {
    path: PathBuf,
    /// Kept open so that nobody writes to the file between the check and the swap: on Windows the share mode
    /// allows others to read, to run and to rename, nothing else.
    held: Option<File>,
}

impl Verified {
    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// It stands where it belongs: what held it would, there, be in the way of the next replacement.
    pub fn release(&mut self) {
        self.held = None;
    }
}

/// Checks a file as it lies on disk against what may run here: first its bytes, then what it says of itself.
pub fn verify(path: &Path, authorised: &Authorised) -> Result<Verified, Failure> {
    let unreadable = |error: io::Error| {
        fail(FailureKind::Disk, format!("the downloaded file could not be read: {error}"))
    };
    let (held, bytes) = hold(path).map_err(unreadable)?;
    let sha256 = sha256_of(&bytes);
    if sha256 != authorised.sha256() {
        let detail = format!(
            "the downloaded file has SHA-256 {sha256}, the request names {}; nothing was changed",
            authorised.sha256()
        );
        return Err(fail(FailureKind::HashMismatch, detail));
    }
    if let Some(length) = authorised.length().filter(|length| *length != bytes.len() as u64) {
        let detail = format!(
            "the downloaded file has {} bytes, {length} were signed; nothing was changed",
            bytes.len()
        );
        return Err(fail(FailureKind::HashMismatch, detail));
    }
    let facts = image::read_facts(&bytes).map_err(|error: ImageError| {
        fail(FailureKind::WrongPlatform, format!("the downloaded file is not an agent: {error}"))
    })?;
    let (os, arch) = authorised.platform();
    if (facts.os, facts.arch) != (os, arch) {
        let detail = format!(
            "the downloaded agent is for {} {}, this PC is {os} {arch}",
            facts.os, facts.arch
        );
        return Err(fail(FailureKind::WrongPlatform, detail));
    }
    if facts.version != *authorised.version() {
        let detail = format!(
            "the downloaded agent says that it is {}, the request names {}",
            facts.version,
            authorised.version()
        );
        return Err(fail(FailureKind::WrongVersion, detail));
    }
    Ok(Verified { path: path.to_owned(), held: Some(held) })
}

/// Checks the digest of a file as it lies on disk; none where it is another one.
pub fn verify_digest(path: &Path, sha256: Sha256Digest) -> io::Result<Option<Verified>> {
    let (held, bytes) = hold(path)?;
    let right = sha256_of(&bytes) == sha256;
    Ok(right.then(|| Verified { path: path.to_owned(), held: Some(held) }))
}

/// Opens a file such that nobody can change it, and reads it.
fn hold(path: &Path) -> io::Result<(File, Vec<u8>)> {
    let mut held = crate::platform::open_without_writers(path)?;
    let mut bytes = Vec::new();
    held.read_to_end(&mut bytes)?;
    Ok((held, bytes))
}

/// A failure in words.
pub fn fail(kind: FailureKind, detail: impl Into<String>) -> Failure {
    Failure { kind, detail: detail.into() }
}

#[cfg(test)]
mod tests {
    use kenny_proto::{Arch, Os};
    use semver::Version;

    use super::*;
    use crate::layout::Layout;
    use crate::trust::{Trust, Wish};

    #[test]
    fn a_copy_has_the_digest_of_its_source_and_replaces_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("a.exe"), folder.path().join("b.exe"));
        fs_err::write(&from, vec![3; 700_000]).unwrap();
        fs_err::write(&to, b"old").unwrap();
        let digest = copy(&from, &to).unwrap();
        assert_eq!(digest, sha256_of_file(&to).unwrap());
        assert_eq!(digest, sha256_of(&vec![3; 700_000]));
        assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn wrong_bytes_are_told_from_wrong_programs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("candidate.exe");
        fs_err::write(&path, b"MZ not really").unwrap();
        let layout =
            Layout::with_state_dir("test", folder.path().join("a.exe"), folder.path().into());
        let trust = Trust::new(&layout, None);
        let authorised = |sha256| {
            let (version, running) = (Version::new(1, 0, 0), Version::new(0, 9, 0));
            let (os, arch) = (Os::Windows, Arch::X86_64);
            trust.authorise_again(&Wish { version, sha256, running, os, arch }).unwrap()
        };
        let wrong_hash = verify(&path, &authorised(Sha256Digest([0; 32]))).unwrap_err();
        assert_eq!(wrong_hash.kind, FailureKind::HashMismatch);
        let no_agent = verify(&path, &authorised(sha256_of(b"MZ not really"))).unwrap_err();
        assert_eq!(no_agent.kind, FailureKind::WrongPlatform);
        assert!(verify_digest(&path, sha256_of(b"MZ not really")).unwrap().is_some());
        assert!(verify_digest(&path, Sha256Digest([0; 32])).unwrap().is_none());
    }

    #[test]
    fn a_small_file_is_replaced_whole_and_its_folder_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/starts.json");
        for content in ["one", "two"] {
            write_whole(&path, content.as_bytes()).unwrap();
            assert_eq!(fs_err::read_to_string(&path).unwrap(), content);
        }
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert_eq!(fs_err::read_dir(folder.path().join("state")).unwrap().count(), 0);
    }
}
