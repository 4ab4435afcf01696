//! What is remembered on this PC: the pinned root, the newest metadata that was verified, and the [`Memory`].
//!
//! `pinned.json` is the root as it was pinned and never changes. `root.json` is the newest that follows from it, and
//! comes of it anew where it is lost. Each file is replaced whole, so that a power cut never takes a version back.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use kenny_proto::Sha256Digest;
use kenny_proto::trust::MAX_METADATA_BYTES;
use semver::Version;
use tough::schema::{Role, RoleType, Root, Signed, Snapshot, Targets, Timestamp as TufTimestamp};

use super::distrust::Distrust;
use super::memory::{Checked, Memory};
use super::metadata::expires_at;
use crate::layout::Layout;
use crate::update::files;

/// A file of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum File {
    /// The root as it was pinned.
    Pinned,
    /// The newest root.
    Root,
    /// The newest timestamp.
    Timestamp,
    /// The newest snapshot.
    Snapshot,
    /// The newest targets.
    Targets,
}

impl File {
    /// What a look at the server goes by, besides the root.
    const METADATA: [Self; 3] = [Self::Timestamp, Self::Snapshot, Self::Targets];

    const fn name(self) -> &'static str {
        match self {
            Self::Pinned => "pinned.json",
            Self::Root => "root.json",
            Self::Timestamp => "timestamp.json",
            Self::Snapshot => "snapshot.json",
            Self::Targets => "targets.json",
        }
    }
}

/// Whether a root has the say here.
#[derive(Debug)]
pub enum Pin {
    /// None does.
    None(Unpinned),
    /// One does, whether it can be read or not.
    Root,
}

/// The proof that no root is pinned.
#[derive(Debug)]
pub struct Unpinned(());

/// A root that counts.
#[derive(Debug)]
pub struct TrustedRoot {
    /// As it lies on the disk.
    pub bytes: Vec<u8>,
    /// What it says.
    pub signed: Signed<Root>,
}

/// The store of one installation; cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
    /// The digest of the pinned root, as the config has it.
    pinned: Option<Sha256Digest>,
    /// Held while the memory is read and written.
    memory: Arc<Mutex<()>>,
}

impl Store {
    /// The store in this folder, of the root with this digest where the config names one.
    pub fn new(folder: PathBuf, pinned: Option<Sha256Digest>) -> Self {
        Self { folder, pinned, memory: Arc::default() }
    }

    /// Whether a root is pinned: by the config or by what lies here. One that cannot be looked for counts as pinned.
    pub fn pin(&self) -> Pin {
        let is_there = |file: File| self.path(file).try_exists().unwrap_or(true);
        if self.pinned.is_none() && !is_there(File::Pinned) && !is_there(File::Root) {
            return Pin::None(Unpinned(()));
        }
        Pin::Root
    }

    /// The newest root that follows from the pinned one.
    pub fn root(&self) -> Result<TrustedRoot, Distrust> {
        let pinned = self
            .read(File::Pinned)
            .map_err(|error| Distrust::Pin(error.to_string()))?
            .ok_or_else(|| Distrust::Pin("its file is missing".to_owned()))?;
        if let Some(named) = self.pinned
            && files::sha256_of(&pinned) != named
        {
            let words = format!("the config names the one with SHA-256 {named}, kept is another");
            return Err(Distrust::Pin(words));
        }
        let newest = self.read(File::Root).ok().flatten().map(read_root);
        match newest {
            Some(Ok(newest)) => Ok(newest),
            Some(Err(problem)) => {
                tracing::warn!(
                    "the newest root on this PC is damaged and follows from the pinned one again: {problem}"
                );
                read_root(pinned).map_err(Distrust::Pin)
            }
            None => read_root(pinned).map_err(Distrust::Pin),
        }
    }

    /// The bytes of a file; none where there is no such file.
    pub fn read(&self, file: File) -> io::Result<Option<Vec<u8>>> {
        read(&self.path(file))
    }

    /// A kept timestamp, for its version and expiry.
    pub fn timestamp(&self) -> Option<TufTimestamp> {
        let bytes = self.read(File::Timestamp).ok()??;
        serde_json::from_slice::<Signed<TufTimestamp>>(&bytes).ok().map(|signed| signed.signed)
    }

    /// A folder with copies of what was verified last, in which a look at the server may work.
    pub fn begin(&self) -> io::Result<PathBuf> {
        let work = self.folder.join("work");
        remove_folder(&work)?;
        fs_err::create_dir_all(&work)?;
        for file in File::METADATA {
            if let Some(bytes) = self.read(file)? {
                fs_err::write(work.join(file.name()), bytes)?;
            }
        }
        Ok(work)
    }

    /// Takes over what a look verified, as far as it went and has not expired: the root in any case, the rest in the order
    /// in which one vouches for the next. `before` is the root that the look began with.
    pub fn keep(&self, work: &Path, before: &Signed<Root>, now: Timestamp) -> io::Result<()> {
        let Some(root) = kept_in::<Root>(work, File::Root)? else {
            return remove_folder(work);
        };
        // Rotated keys are how an operator recovers from versions that an attacker drove up: what those keys signed no
        // longer counts. First, so that a power cut in between leaves the old root, which is followed once more.
        let changed = |role| before.signed.keys(role).ne(root.1.signed.keys(role));
        if changed(RoleType::Timestamp) || changed(RoleType::Snapshot) {
            files::remove(&self.path(File::Timestamp))?;
            files::remove(&self.path(File::Snapshot))?;
        }
        if self.read(File::Root)?.as_ref() != Some(&root.0) {
            files::write_whole(&self.path(File::Root), &root.0)?;
        }
        let holds = now < expires_at(&root.1.signed)
            && self.keep_one::<TufTimestamp>(work, File::Timestamp, now)?
            && self.keep_one::<Snapshot>(work, File::Snapshot, now)?
            && self.keep_one::<Targets>(work, File::Targets, now)?;
        tracing::debug!(complete = holds, "what was verified of the metadata is kept");
        remove_folder(work)
    }

    /// True where it has not expired.
    fn keep_one<T>(&self, work: &Path, file: File, now: Timestamp) -> io::Result<bool>
    where
        T: Role + serde::de::DeserializeOwned,
    {
        let Some((bytes, signed)) = kept_in::<T>(work, file)? else { return Ok(false) };
        if now >= expires_at(&signed.signed) {
            return Ok(false);
        }
        if self.read(file)?.as_ref() != Some(&bytes) {
            files::write_whole(&self.path(file), &bytes)?;
        }
        Ok(true)
    }

    /// The memory. One that is damaged is empty: the running version is the floor then.
    pub fn memory(&self) -> Memory {
        let read = read(&self.memory_file()).map_err(|error| error.to_string());
        let parsed = read.and_then(|bytes| match bytes {
            None => Ok(Memory::default()),
            Some(bytes) => serde_json::from_slice(&bytes).map_err(|error| error.to_string()),
        });
        parsed.unwrap_or_else(|problem| {
            tracing::warn!("the version floor is that of the running version: {problem}");
            Memory::default()
        })
    }

    /// From now on versions below this one are below the floor.
    pub fn raise_floor(&self, version: &Version) -> io::Result<()> {
        self.change(|memory| {
            let higher =
                memory.floor.as_ref().is_none_or(|floor| floor.cmp_precedence(version).is_lt());
            if higher {
                memory.floor = Some(version.clone());
            }
        })
    }

    /// Remembers how a look went. The same once more within a minute is not written: a server that asks without end wears
    /// no disk.
    pub fn remember(&self, checked: Checked) -> io::Result<()> {
        self.change(|memory| {
            if memory.checked.as_ref().is_none_or(|before| !before.is_as(&checked)) {
                memory.checked = Some(checked);
            }
        })
    }

    fn change(&self, change: impl FnOnce(&mut Memory)) -> io::Result<()> {
        let _held = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.memory();
        let mut after = before.clone();
        change(&mut after);
        if after == before {
            return Ok(());
        }
        let bytes = serde_json::to_vec(&after).map_err(io::Error::other)?;
        files::write_whole(&self.memory_file(), &bytes)
    }

    fn memory_file(&self) -> PathBuf {
        self.folder.join("memory.json")
    }

    fn path(&self, file: File) -> PathBuf {
        self.folder.join(file.name())
    }
}

/// Why a root cannot be pinned.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// It is no root.
    #[error("this is no root.json of signed releases: {0}")]
    NoRoot(String),
    /// It cannot be written.
    #[error("the root cannot be kept")]
    Disk(#[from] io::Error),
}

/// Pins a root: from now on it has the say over what this installation runs. The same once more changes nothing; another
/// one takes the place of what was pinned, and of all that followed from it. Returns its digest, for the config.
pub fn pin_root(layout: &Layout, bytes: &[u8]) -> Result<Sha256Digest, PinError> {
    let store = Store::new(layout.trust_dir(), None);
    if bytes.len() as u64 > MAX_METADATA_BYTES {
        return Err(PinError::NoRoot(format!("it has more than {MAX_METADATA_BYTES} bytes")));
    }
    read_root(bytes.to_vec()).map_err(PinError::NoRoot)?;
    if store.read(File::Pinned)?.as_deref() != Some(bytes) {
        for file in File::METADATA.into_iter().chain([File::Root]) {
            files::remove(&store.path(file))?;
        }
        files::write_whole(&store.path(File::Pinned), bytes)?;
    }
    Ok(files::sha256_of(bytes))
}

/// What is pinned now, and all that follows from it: what this returns puts it back, for an install that fails.
pub fn keep_pin(layout: &Layout) -> io::Result<impl FnOnce() + use<>> {
    let store = Store::new(layout.trust_dir(), None);
    let mut kept = Vec::new();
    for file in File::METADATA.into_iter().chain([File::Root, File::Pinned]) {
        kept.push((store.path(file), store.read(file)?));
    }
    Ok(move || {
        for (path, bytes) in kept {
            let put_back = match bytes {
                Some(bytes) => files::write_whole(&path, &bytes),
                None => files::remove(&path),
            };
            if let Err(error) = put_back {
                tracing::error!(error = %error, "{} could not be put back", path.display());
            }
        }
    })
}

/// Reads a root that vouches for itself. The error is a sentence.
fn read_root(bytes: Vec<u8>) -> Result<TrustedRoot, String> {
    let signed: Signed<Root> = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    signed.signed.verify_role(&signed).map_err(|error| error.to_string())?;
    Ok(TrustedRoot { bytes, signed })
}

/// What a look left of a role in its folder; none where it did not get so far.
fn kept_in<T>(work: &Path, file: File) -> io::Result<Option<(Vec<u8>, Signed<T>)>>
where
    T: serde::de::DeserializeOwned,
{
    let Some(bytes) = read(&work.join(file.name()))? else { return Ok(None) };
    let signed = serde_json::from_slice(&bytes).map_err(io::Error::other)?;
    Ok(Some((bytes, signed)))
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs_err::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn remove_folder(folder: &Path) -> io::Result<()> {
    match fs_err::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}
