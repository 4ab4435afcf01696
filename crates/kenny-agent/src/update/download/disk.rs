//! What a download asks of the disk: room, and writing away from the tunnel's thread.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use kenny_proto::FailureKind;
use kenny_proto::update::Failure;

use super::Staging;
use crate::update::files::fail;

const MIB: u64 = 1024 * 1024;
/// Room besides twice the size (update-guarantees): logs, the journal, and a PC that stays usable.
const BESIDES: u64 = 64 * MIB;

type FreeBytes = dyn Fn(&Path) -> io::Result<u64> + Send + Sync;
type Write = dyn Fn(&mut fs_err::File, &[u8]) -> io::Result<()> + Send + Sync;

/// The disk of this PC, or what a test makes of it. Cheap to clone.
#[derive(Clone)]
pub struct Disk {
    free_bytes: Arc<FreeBytes>,
    write: Arc<Write>,
}

impl Default for Disk {
    fn default() -> Self {
        Self {
            free_bytes: Arc::new(crate::platform::free_bytes),
            write: Arc::new(io::Write::write_all),
        }
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Disk")
    }
}

impl Disk {
    /// A disk with this much room, asked for a folder.
    #[must_use]
    pub fn with_free_bytes(
        self,
        free_bytes: impl Fn(&Path) -> io::Result<u64> + Send + Sync + 'static,
    ) -> Self {
        Self { free_bytes: Arc::new(free_bytes), ..self }
    }

    /// A disk that takes bytes like this.
    #[must_use]
    pub fn with_write(
        self,
        write: impl Fn(&mut fs_err::File, &[u8]) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self { write: Arc::new(write), ..self }
    }

    /// Refuses a download for which there is no room. `there` bytes of it lie on the disk already.
    pub fn check_room(&self, staging: &Staging, total: u64, there: u64) -> Result<(), Failure> {
        let needed = needed_bytes(total).saturating_sub(there);
        match (self.free_bytes)(staging.folder()) {
            Ok(free) if free < needed => {
                let detail = format!(
                    "the disk has {} MiB free, the update needs {} MiB: twice its size and 64 MiB besides; free some and try again",
                    free / MIB,
                    needed.div_ceil(MIB)
                );
                Err(fail(FailureKind::Disk, detail))
            }
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::warn!(error = %error, "the room on the disk is not known; the download goes on");
                Ok(())
            }
        }
    }

    /// Writes bytes, on a thread where that may take its time: a disk behind a virus scanner must not hold up the tunnel.
    pub async fn write(
        &self,
        mut file: fs_err::File,
        bytes: impl AsRef<[u8]> + Send + 'static,
    ) -> io::Result<fs_err::File> {
        let write = Arc::clone(&self.write);
        aside(move || write(&mut file, bytes.as_ref()).map(|()| file)).await
    }

    /// What to say of an error of the disk. `total` is the size of the artifact, where it is known.
    pub fn failure(&self, staging: &Staging, error: &io::Error, total: Option<u64>) -> Failure {
        let full =
            matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        if !full {
            let detail = format!("the download could not be written: {error}");
            return fail(FailureKind::Disk, detail);
        }
        let free = (self.free_bytes)(staging.folder())
            .map_or_else(|_| "too little".to_owned(), |free| format!("{} MiB", free / MIB));
        let there = staging.part_bytes();
        let needed = needed_bytes(total.unwrap_or(there)).saturating_sub(there).div_ceil(MIB);
        let least = if total.is_none() { "at least " } else { "" };
        let detail = format!(
            "the disk is full: {free} free, the rest of the update needs {least}{needed} MiB; free some and try again"
        );
        fail(FailureKind::Disk, detail)
    }
}

/// Room for the candidate, for the copy of the version that runs, and for the PC itself.
fn needed_bytes(total: u64) -> u64 {
    total.saturating_mul(2).saturating_add(BESIDES)
}

/// Runs what may block on a thread for that.
pub async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
