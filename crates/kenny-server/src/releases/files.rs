//! The artifact store: `artifacts/aa/<sha256>` for what is published, `incoming/` for what is arriving.

use std::collections::HashSet;
use std::error::Error as StdError;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest;
use axum::body::Bytes;
use futures_util::{Stream, StreamExt as _};
use kenny_core::image::{self, ImageError, ImageFacts};
use kenny_core::{authenticode, invitation};
use kenny_proto::api::ReleaseSigner;
use kenny_proto::{MAX_ARTIFACT_BYTES, Sha256Digest};
use tokio::sync::{OnceCell, mpsc};
use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::{folder, mapping};
use crate::auth::sha256;

/// How many artifacts stay mapped: a few versions for a few platforms. A mapping costs address space, the pages are the kernel's.
const MAPPED_ARTIFACTS: usize = 16;

/// How many received pieces may wait for the disk; a piece is what one read of the socket gave (at most some 400 KiB).
const PIECES_IN_FLIGHT: usize = 8;

/// Why an upload was refused. What had arrived of it is gone.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// The bytes are not an agent.
    #[error("this file is not a kenny-agent that could be released: {0}")]
    NotAnAgent(ImageError),
    /// It was downloaded from a page of invitation.
    #[error(
        "this file carries an invitation, which everybody would get with the release; upload the agent as it was built"
    )]
    CarriesInvitation,
    /// More bytes than an artifact may have.
    #[error("the file is larger than {} MiB, the most that an agent accepts", MAX_ARTIFACT_BYTES / (1024 * 1024))]
    TooLarge,
    /// No room where the server keeps its data.
    #[error(
        "the disk that holds the server's data directory is full; free some space and upload again"
    )]
    DiskFull,
    /// The sender went away.
    #[error("the upload ended before the whole file had arrived; upload it again")]
    Interrupted(#[source] Option<Box<dyn StdError + Send + Sync>>),
    /// The data directory cannot be written.
    #[error("the artifact could not be stored in the server's data directory")]
    Storage(#[source] io::Error),
}

impl From<io::Error> for ReceiveError {
    fn from(error: io::Error) -> Self {
        if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            Self::DiskFull
        } else {
            Self::Storage(error)
        }
    }
}

/// The artifacts of one data directory. Clones share the mappings.
#[derive(Clone)]
pub struct ReleaseFiles {
    shared: Arc<Shared>,
}

struct Shared {
    folders: Folders,
    /// Most recently used last.
    mapped: Mutex<Vec<(Sha256Digest, MappedOnce)>>,
    served_bytes: AtomicU64,
}

type MappedOnce = Arc<OnceCell<Bytes>>;

#[derive(Clone)]
struct Folders {
    artifacts: PathBuf,
    incoming: PathBuf,
}

impl Folders {
    fn artifact(&self, sha256: Sha256Digest) -> PathBuf {
        let name = sha256.to_string();
        self.artifacts.join(&name[..2]).join(name)
    }

    fn left_behind(
        &self,
        kept: &HashSet<Sha256Digest>,
        older_than: Duration,
    ) -> io::Result<Vec<Sha256Digest>> {
        let mut left = Vec::new();
        for folder in fs_err::read_dir(&self.artifacts)? {
            for file in fs_err::read_dir(folder?.path())? {
                let file = file?;
                let Some(Ok(sha256)) = file.file_name().to_str().map(str::parse) else { continue };
                let age = file.metadata()?.modified()?.elapsed().unwrap_or_default();
                if !kept.contains(&sha256) && age >= older_than {
                    left.push(sha256);
                }
            }
        }
        Ok(left)
    }
}

impl ReleaseFiles {
    /// Opens the store below `data_dir`, makes its folders where they are missing and removes what earlier uploads left.
    pub fn open(data_dir: &Path) -> io::Result<Self> {
        let folders =
            Folders { artifacts: data_dir.join("artifacts"), incoming: data_dir.join("incoming") };
        fs_err::create_dir_all(&folders.artifacts)?;
        fs_err::create_dir_all(&folders.incoming)?;
        for entry in fs_err::read_dir(&folders.incoming)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "part") {
                fs_err::remove_file(&path)?;
                tracing::info!(file = %path.display(), "removed what an interrupted upload left");
            }
        }
        let shared = Shared { folders, mapped: Mutex::default(), served_bytes: AtomicU64::new(0) };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Takes an upload to the disk, hashing it as it comes, and reads what it says of itself.
    ///
    /// Nothing is served before [`Received::publish`]. A future that is dropped midway leaves nothing behind.
    pub async fn receive<E>(
        &self,
        mut pieces: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<Received, ReceiveError>
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let (sender, receiver) = mpsc::channel(PIECES_IN_FLIGHT);
        let folders = self.shared.folders.clone();
        let disk = spawn_blocking(move || receive_on_disk(&folders, receiver));
        let mut interrupted = None;
        loop {
            let part = match pieces.next().await {
                Some(Ok(bytes)) => Part::Piece(bytes),
                Some(Err(error)) => {
                    interrupted = Some(error.into());
                    break;
                }
                None => Part::End,
            };
            let ended = matches!(part, Part::End);
            // A closed channel means that the disk side refused: its result says why.
            if sender.send(part).await.is_err() || ended {
                break;
            }
        }
        drop(sender);
        match disk.await.map_err(io::Error::other)? {
            Err(ReceiveError::Interrupted(_)) => Err(ReceiveError::Interrupted(interrupted)),
            other => other,
        }
    }

    /// A published artifact, mapped once for all who ask; `None` when there is none with that digest.
    pub async fn artifact(&self, sha256: Sha256Digest) -> io::Result<Option<Bytes>> {
        let slot = self.slot(sha256);
        let path = self.shared.folders.artifact(sha256);
        let mapped = slot
            .get_or_try_init(|| async move {
                spawn_blocking(move || {
                    let bytes = mapping::map(&path)?;
                    mapping::warm(&bytes);
                    Ok::<_, io::Error>(bytes)
                })
                .await
                .map_err(io::Error::other)?
            })
            .await;
        match mapped {
            Ok(bytes) => Ok(Some(bytes.clone())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.forget(sha256);
                Ok(None)
            }
            Err(error) => {
                self.forget(sha256);
                Err(error)
            }
        }
    }

    /// Removes an artifact; nothing when there is none. Downloads that are under way go on.
    pub async fn remove(&self, sha256: Sha256Digest) -> io::Result<()> {
        self.unmap(sha256);
        let path = self.shared.folders.artifact(sha256);
        let removed = spawn_blocking(move || fs_err::remove_file(path)).await;
        match removed.map_err(io::Error::other)? {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Removes artifacts that nobody keeps and that are older than this. Their digests.
    pub async fn sweep(
        &self,
        kept: HashSet<Sha256Digest>,
        older_than: Duration,
    ) -> io::Result<Vec<Sha256Digest>> {
        let folders = self.shared.folders.clone();
        let left = spawn_blocking(move || folders.left_behind(&kept, older_than)).await;
        let left = left.map_err(io::Error::other)??;
        for sha256 in &left {
            self.remove(*sha256).await?;
        }
        Ok(left)
    }

    fn unmap(&self, sha256: Sha256Digest) {
        let mut mapped = self.shared.mapped.lock().unwrap_or_else(PoisonError::into_inner);
        mapped.retain(|(held, _)| *held != sha256);
    }

    /// Bytes of artifacts that were handed to connections since the start.
    pub fn served_bytes(&self) -> u64 {
        self.shared.served_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn count_served(&self, bytes: usize) {
        self.shared.served_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn slot(&self, sha256: Sha256Digest) -> MappedOnce {
        let mut mapped = self.shared.mapped.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = match mapped.iter().position(|(held, _)| *held == sha256) {
            Some(index) => mapped.remove(index),
            None => (sha256, MappedOnce::default()),
        };
        if mapped.len() >= MAPPED_ARTIFACTS {
            mapped.remove(0);
        }
        let slot = entry.1.clone();
        mapped.push(entry);
        slot
    }

    fn forget(&self, sha256: Sha256Digest) {
        let mut mapped = self.shared.mapped.lock().unwrap_or_else(PoisonError::into_inner);
        mapped.retain(|(held, slot)| *held != sha256 || slot.initialized());
    }
}

/// An upload that is whole and is an agent. Dropping it deletes it.
#[derive(Debug)]
pub struct Received {
    /// What the executable says of itself.
    pub facts: ImageFacts,
    /// Its digest.
    pub sha256: Sha256Digest,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Who signed it.
    pub signer: Option<ReleaseSigner>,
    temporary: Temporary,
    target: PathBuf,
}

impl Received {
    /// Makes it an artifact, durably. An artifact of the same bytes that is there already stays as it is.
    pub async fn publish(self) -> Result<(), ReceiveError> {
        spawn_blocking(move || self.publish_on_disk()).await.map_err(io::Error::other)?
    }

    fn publish_on_disk(self) -> Result<(), ReceiveError> {
        if fs_err::metadata(&self.target).is_ok_and(|there| there.len() == self.size_bytes) {
            return Ok(());
        }
        let folder = self.target.parent().expect("an artifact lies in a folder of its first byte");
        fs_err::create_dir_all(folder)?;
        fs_err::rename(&self.temporary.0, &self.target)?;
        folder::sync(folder)?;
        if let Some(artifacts) = folder.parent() {
            folder::sync(artifacts)?;
        }
        Ok(())
    }
}

enum Part {
    Piece(Bytes),
    End,
}

/// A file that goes when its owner does, unless it was renamed away.
#[derive(Debug)]
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(error) = fs_err::remove_file(&self.0)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "an incoming file could not be removed; the next start tries again");
        }
    }
}

fn receive_on_disk(
    folders: &Folders,
    mut parts: mpsc::Receiver<Part>,
) -> Result<Received, ReceiveError> {
    let temporary = Temporary(folders.incoming.join(format!("{}.part", Uuid::new_v4())));
    let mut file = fs_err::File::create_new(&temporary.0)?;
    let mut hash = digest::Context::new(&digest::SHA256);
    let mut size_bytes = 0;
    loop {
        match parts.blocking_recv() {
            Some(Part::Piece(bytes)) => {
                size_bytes += bytes.len() as u64;
                if size_bytes > MAX_ARTIFACT_BYTES {
                    return Err(ReceiveError::TooLarge);
                }
                hash.update(&bytes);
                file.write_all(&bytes)?;
            }
            Some(Part::End) => break,
            None => return Err(ReceiveError::Interrupted(None)),
        }
    }
    file.sync_all()?;
    drop(file);
    let bytes = if size_bytes == 0 { Bytes::new() } else { mapping::map(&temporary.0)? };
    let facts = image::read_facts(&bytes).map_err(ReceiveError::NotAnAgent)?;
    if !matches!(invitation::find(&bytes, sha256), Ok(None)) {
        return Err(ReceiveError::CarriesInvitation);
    }
    let signer = signer_of(&bytes);
    drop(bytes);
    let sha256 = hash.finish().as_ref().try_into().expect("a SHA-256 has 32 bytes");
    let sha256 = Sha256Digest(sha256);
    let target = folders.artifact(sha256);
    Ok(Received { facts, sha256, size_bytes, signer, temporary, target })
}

/// Who signed an executable. A signature that cannot be read is logged, and names nobody.
pub fn signer_of(bytes: &[u8]) -> Option<ReleaseSigner> {
    match authenticode::signer(bytes) {
        Ok(signer) => signer.map(|signer| ReleaseSigner {
            certificate_sha256: sha256(signer.certificate),
            common_name: signer.common_name,
        }),
        Err(error) => {
            tracing::warn!(%error, "the signer of a release is not shown");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::releases::test_image::{TempFolder, agent_image, pieces, signed_agent};
    use futures_util::stream;

    fn incoming(data: &TempFolder) -> usize {
        fs_err::read_dir(data.path().join("incoming")).unwrap().count()
    }

    fn artifacts(data: &TempFolder) -> usize {
        fs_err::read_dir(data.path().join("artifacts"))
            .unwrap()
            .map(|folder| fs_err::read_dir(folder.unwrap().path()).unwrap().count())
            .sum()
    }

    #[tokio::test]
    async fn an_upload_is_read_hashed_and_published_once() {
        let data = TempFolder::new();
        let files = ReleaseFiles::open(data.path()).unwrap();
        let image = agent_image("1.2.3", 300_000);
        let expected = digest::digest(&digest::SHA256, &image);
        for _ in 0..2 {
            let received = files.receive(pieces(&image)).await.unwrap();
            assert_eq!(received.facts.version.to_string(), "1.2.3");
            assert_eq!(received.sha256.0, expected.as_ref());
            assert_eq!(received.size_bytes, image.len() as u64);
            let sha256 = received.sha256;
            received.publish().await.unwrap();
            assert_eq!(files.artifact(sha256).await.unwrap().unwrap(), image);
        }
        assert_eq!((incoming(&data), artifacts(&data)), (0, 1));
    }

    #[tokio::test]
    async fn what_is_not_published_is_gone() {
        let data = TempFolder::new();
        let files = ReleaseFiles::open(data.path()).unwrap();
        let received = files.receive(pieces(&agent_image("1.2.3", 0))).await.unwrap();
        assert_eq!(incoming(&data), 1);
        assert_eq!(files.artifact(received.sha256).await.unwrap(), None);
        drop(received);
        assert_eq!((incoming(&data), artifacts(&data)), (0, 0));
    }

    #[tokio::test]
    async fn refused_uploads_leave_nothing_behind() {
        let data = TempFolder::new();
        let files = ReleaseFiles::open(data.path()).unwrap();
        for not_an_agent in [&b""[..], b"#!/bin/sh\n", &agent_image("1.2.3", 0)[..100]] {
            let refused = files.receive(pieces(not_an_agent)).await;
            assert!(matches!(refused, Err(ReceiveError::NotAnAgent(_))), "{refused:?}");
        }
        let mebibyte = Bytes::from(vec![0; 1024 * 1024]);
        let endless = stream::repeat_with(move || Ok::<_, io::Error>(mebibyte.clone()));
        let refused = files.receive(endless).await;
        assert!(matches!(refused, Err(ReceiveError::TooLarge)), "{refused:?}");
        let cut = stream::iter([
            Ok(Bytes::from_static(b"\x7fELF")),
            Err(io::Error::from(io::ErrorKind::ConnectionReset)),
        ]);
        let refused = files.receive(cut).await;
        assert!(matches!(refused, Err(ReceiveError::Interrupted(Some(_)))), "{refused:?}");
        assert_eq!((incoming(&data), artifacts(&data)), (0, 0));
    }

    #[tokio::test]
    async fn an_agent_with_an_invitation_inside_is_no_release() {
        let data = TempFolder::new();
        let files = ReleaseFiles::open(data.path()).unwrap();
        let own = signed_agent();
        let whole = invitation::put(&own, sha256(&own), b"{}", sha256).unwrap().to_vec();
        let refused = files.receive(pieces(&whole)).await;
        assert!(matches!(refused, Err(ReceiveError::CarriesInvitation)), "{refused:?}");
        assert!(files.receive(pieces(&own)).await.is_ok());
    }

    #[tokio::test]
    async fn the_signer_of_an_upload_is_read() {
        let data = TempFolder::new();
        let files = ReleaseFiles::open(data.path()).unwrap();
        let received = files.receive(pieces(&signed_agent())).await.unwrap();
        assert_eq!(received.signer.unwrap().common_name, "Kenny Test");
        let received = files.receive(pieces(&agent_image("1.2.3", 0))).await.unwrap();
        assert_eq!(received.signer, None);
    }

    #[tokio::test]
    async fn a_start_removes_what_a_crash_left() {
        let data = TempFolder::new();
        ReleaseFiles::open(data.path()).unwrap();
        fs_err::write(data.path().join("incoming/x.part"), b"half").unwrap();
        ReleaseFiles::open(data.path()).unwrap();
        assert_eq!(incoming(&data), 0);
    }

    #[tokio::test]
    async fn only_a_few_artifacts_stay_mapped() {
        let data = TempFolder::new();
        let files = ReleaseFiles::open(data.path()).unwrap();
        for patch in 0..MAPPED_ARTIFACTS + 4 {
            let image = agent_image(&format!("1.0.{patch}"), 0);
            let received = files.receive(pieces(&image)).await.unwrap();
            let sha256 = received.sha256;
            received.publish().await.unwrap();
            assert!(files.artifact(sha256).await.unwrap().is_some());
        }
        assert_eq!(files.shared.mapped.lock().unwrap().len(), MAPPED_ARTIFACTS);
        assert_eq!(files.artifact(Sha256Digest([0; 32])).await.unwrap(), None);
    }

    #[test]
    fn a_full_disk_is_told_apart() {
        let full = ReceiveError::from(io::Error::from(io::ErrorKind::StorageFull));
        assert!(matches!(full, ReceiveError::DiskFull));
    }
}
