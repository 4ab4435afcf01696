//! The journal: where an update stands, in memory and as bytes. Reading and writing the file is the host's business.

use std::fmt;

use jiff::Timestamp;
use kenny_proto::update::Failure;
use kenny_proto::{Phase, PhaseAt, Sha256Digest, UpdateId, UpdateReport};
use semver::Version;
use serde::{Deserialize, Serialize};

use super::quarantine::Quarantine;

/// The layout of the journal that this code writes. It grows when an older agent could no longer read it; a field that
/// an older agent may ignore does not count.
pub const JOURNAL_FORMAT: u32 = 2;

/// Where an update stands: the only memory across processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// [`JOURNAL_FORMAT`] of the code that wrote it.
    pub format: u32,
    /// The server's name for the update, or one that the agent made.
    pub update_id: UpdateId,
    /// The version that ran before.
    pub from_version: Version,
    /// Digest of the executable that ran before.
    pub from_sha256: Sha256Digest,
    /// The version that was requested.
    pub version: Version,
    /// The digest that was requested.
    pub sha256: Sha256Digest,
    /// Where the candidate comes from.
    #[serde(rename = "url")]
    pub source: Source,
    /// The step that is being carried out.
    pub step: Step,
    /// Why it did not work out, once that is clear.
    pub failure: Option<Failure>,
    /// Each step with its time, oldest first.
    pub history: Vec<PhaseAt>,
    /// How often an agent that was started anew took it up again before it was staged.
    #[serde(default)]
    pub resumes: u32,
    /// How often the new version did not start, or ended, while the updater watched.
    #[serde(default)]
    pub deaths: u32,
    /// Digest of the config that was kept with *previous*; none where there was no config.
    #[serde(default)]
    pub config_sha256: Option<Sha256Digest>,
    /// Versions that failed on this PC, carried over from update to update.
    #[serde(default)]
    pub quarantine: Quarantine,
}

/// Where a candidate comes from; written as an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub enum Source {
    /// It is downloaded.
    Download {
        /// From here.
        url: String,
    },
    /// It is *previous*, which this PC kept: a rollback that somebody asked for.
    Previous {},
}

/// The address of the kept version: no scheme of the network, so that no request can name it.
const KEPT: &str = "previous:";

impl From<Source> for String {
    fn from(source: Source) -> Self {
        match source {
            Source::Download { url } => url,
            Source::Previous {} => KEPT.to_owned(),
        }
    }
}

impl From<String> for Source {
    fn from(url: String) -> Self {
        if url == KEPT { Self::Previous {} } else { Self::Download { url } }
    }
}

/// The steps in order. Each is journaled before it is acted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Agent: the request was taken.
    Accepted,
    /// Agent: fetches the candidate.
    Downloading,
    /// Agent: checks hash, platform and version.
    Verifying,
    /// Agent: the candidate proves beside the old version that it works here.
    Preflight,
    /// Agent: keeps *previous* and starts the updater.
    Staging,
    /// Agent: answers; the updater waits for the word.
    Staged,
    /// Updater: stops the service.
    Stopping,
    /// Updater: puts the candidate in place.
    Replacing,
    /// Updater: starts the service.
    Starting,
    /// Updater: watches the new version prove itself.
    Watching,
    /// Updater: puts *previous* back.
    Restoring,
    /// Updater: starts the service on the old version.
    Reviving,
    /// The new version stays.
    Committed,
    /// The old version is back.
    RolledBack,
    /// It ended before anything was stopped.
    Failed,
}

impl Step {
    /// Every step, in order.
    pub const ALL: [Self; 15] = [
        Self::Accepted,
        Self::Downloading,
        Self::Verifying,
        Self::Preflight,
        Self::Staging,
        Self::Staged,
        Self::Stopping,
        Self::Replacing,
        Self::Starting,
        Self::Watching,
        Self::Restoring,
        Self::Reviving,
        Self::Committed,
        Self::RolledBack,
        Self::Failed,
    ];

    /// The phase that this step belongs to, given the phase so far: a rollback stays in the phase that it
    /// began in until it is done, because phases only move forward.
    const fn phase(self, so_far: Phase) -> Phase {
        match self {
            Self::Accepted => Phase::Accepted,
            Self::Downloading => Phase::Downloading,
            Self::Verifying => Phase::Verifying,
            Self::Preflight | Self::Staging => Phase::Preflight,
            Self::Staged => Phase::Staged,
            Self::Stopping | Self::Replacing | Self::Starting => Phase::Swapping,
            Self::Watching => Phase::Probation,
            Self::Restoring | Self::Reviving => so_far,
            Self::Committed => Phase::Committed,
            Self::RolledBack => Phase::RolledBack,
            Self::Failed => Phase::Failed,
        }
    }

    /// What the step's beginning means for the timeline, where that is finer than its phase.
    const fn milestone(self) -> Option<&'static str> {
        match self {
            Self::Verifying => Some("downloaded"),
            Self::Preflight => Some("verified"),
            Self::Staging => Some("proven_beside"),
            Self::Stopping => Some("stopping"),
            Self::Replacing => Some("stopped"),
            Self::Starting => Some("replaced"),
            Self::Watching => Some("started"),
            Self::Restoring => Some("restoring"),
            Self::Reviving => Some("restored"),
            Self::Accepted
            | Self::Downloading
            | Self::Staged
            | Self::Committed
            | Self::RolledBack
            | Self::Failed => None,
        }
    }

    /// True for the three steps that are never left.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Committed | Self::RolledBack | Self::Failed)
    }

    /// True from the first touch of the service on: from here every failure ends with *previous* in place and running.
    pub const fn is_the_updaters(self) -> bool {
        match self {
            Self::Stopping
            | Self::Replacing
            | Self::Starting
            | Self::Watching
            | Self::Restoring
            | Self::Reviving => true,
            Self::Accepted
            | Self::Downloading
            | Self::Verifying
            | Self::Preflight
            | Self::Staging
            | Self::Staged
            | Self::Committed
            | Self::RolledBack
            | Self::Failed => false,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accepted => "the request was taken",
            Self::Downloading => "the new version is being downloaded",
            Self::Verifying => "the download is being verified",
            Self::Preflight => "the new version proves beside the old one that it works on this PC",
            Self::Staging => "the old version is being kept and the updater started",
            Self::Staged => "everything is ready for the swap",
            Self::Stopping => "the service is being stopped",
            Self::Replacing => "the executable is being replaced",
            Self::Starting => "the service is being started on the new version",
            Self::Watching => "the new version runs and has to prove itself",
            Self::Restoring => "the old executable is being put back",
            Self::Reviving => "the service is being started on the old version",
            Self::Committed => "the new version stays",
            Self::RolledBack => "the old version is back",
            Self::Failed => "nothing was changed",
        })
    }
}

/// A request for an update, as the gate let it through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The server's name for the update, or one that the agent made.
    pub update_id: UpdateId,
    /// The version that the candidate must say it is.
    pub version: Version,
    /// The digest that it must have.
    pub sha256: Sha256Digest,
    /// Where it comes from.
    pub source: Source,
}

impl Journal {
    /// A new update, accepted at `now`, of the agent that is `from`. `quarantine` is what the journal before said.
    pub fn accepted(
        wanted: Wanted,
        from: (Version, Sha256Digest),
        quarantine: Quarantine,
        now: Timestamp,
    ) -> Self {
        Self {
            format: JOURNAL_FORMAT,
            update_id: wanted.update_id,
            from_version: from.0,
            from_sha256: from.1,
            version: wanted.version,
            sha256: wanted.sha256,
            source: wanted.source,
            step: Step::Accepted,
            failure: None,
            history: vec![PhaseAt { phase: Phase::Accepted, step: None, at: now }],
            resumes: 0,
            deaths: 0,
            config_sha256: None,
            quarantine,
        }
    }

    /// The phase that the update is in.
    pub fn phase(&self) -> Phase {
        self.step.phase(self.history.last().map_or(Phase::Accepted, |last| last.phase))
    }

    /// True while the update has no outcome.
    pub fn is_open(&self) -> bool {
        !self.step.is_final()
    }

    /// True where it goes back to the kept version because somebody asked for that.
    pub fn is_rollback(&self) -> bool {
        matches!(self.source, Source::Previous {})
    }

    /// What the server is told; `log` is the tail of the updater's.
    pub fn report(&self, log: Vec<String>) -> UpdateReport {
        UpdateReport {
            update_id: self.update_id,
            from_version: self.from_version.clone(),
            version: self.version.clone(),
            sha256: self.sha256,
            phase: self.phase(),
            failure: self.failure.clone(),
            history: self.history.clone(),
            rollback: self.is_rollback(),
            log,
        }
    }

    pub(super) fn at(&self, step: Step, now: Timestamp) -> Self {
        let entry = PhaseAt {
            phase: step.phase(self.phase()),
            step: step.milestone().map(str::to_owned),
            at: now,
        };
        let mut history = self.history.clone();
        history.push(entry);
        Self { format: JOURNAL_FORMAT, step, history, ..self.clone() }
    }

    pub(super) fn failed_at(&self, step: Step, failure: Failure, now: Timestamp) -> Self {
        Self { failure: Some(failure), ..self.at(step, now) }
    }
}

/// A journal that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalProblem {
    /// The content is not what was once written.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// A newer agent wrote it.
    #[error("it has format {0}, which a newer agent wrote")]
    Newer(u32),
    /// The file system said no; another look may help.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
}

/// The bytes of a journal: one line of JSON and one with its SHA-256, which `digest` computes.
pub fn encode(journal: &Journal, digest: impl Fn(&[u8]) -> Sha256Digest) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(journal).expect("a journal has string keys only");
    let checksum = digest(&bytes);
    bytes.extend(format!("\n{checksum}\n").into_bytes());
    bytes
}

/// Reads what [`encode`] wrote. A journal that was cut short or changed is [`JournalProblem::Damaged`].
pub fn decode(
    bytes: &[u8],
    digest: impl Fn(&[u8]) -> Sha256Digest,
) -> Result<Journal, JournalProblem> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let damaged = |why: String| JournalProblem::Damaged(why);
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let body = lines.next().unwrap_or_default();
    let checksum = lines.next().unwrap_or_default();
    if digest(body).to_string().as_bytes() != checksum {
        return Err(damaged("its checksum does not match".to_owned()));
    }
    let Format { format } =
        serde_json::from_slice(body).map_err(|error| damaged(error.to_string()))?;
    if format > JOURNAL_FORMAT {
        return Err(JournalProblem::Newer(format));
    }
    serde_json::from_slice(body).map_err(|error| damaged(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(bytes: &[u8]) -> Sha256Digest {
        let mut digest = [0_u8; 32];
        for (at, byte) in bytes.iter().enumerate() {
            digest[at % 32] = digest[at % 32].wrapping_mul(31).wrapping_add(*byte);
        }
        Sha256Digest(digest)
    }

    fn journal(source: Source) -> Journal {
        let wanted = Wanted {
            update_id: UpdateId::random(),
            version: Version::new(1, 1, 0),
            sha256: Sha256Digest([2; 32]),
            source,
        };
        let from = (Version::new(1, 0, 0), Sha256Digest([1; 32]));
        Journal::accepted(wanted, from, Quarantine::default(), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn what_was_written_is_read() {
        for source in
            [Source::Download { url: "http://127.0.0.1/a".to_owned() }, Source::Previous {}]
        {
            let journal = journal(source);
            assert_eq!(decode(&encode(&journal, digest), digest), Ok(journal));
        }
    }

    #[test]
    fn every_cut_and_every_flipped_byte_is_noticed() {
        let bytes = encode(&journal(Source::Previous {}), digest);
        for cut in 0..bytes.len() - 1 {
            let read = decode(&bytes[..cut], digest);
            assert!(matches!(read, Err(JournalProblem::Damaged(_))), "cut at {cut}");
        }
        for at in 0..bytes.len() - 1 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            let read = decode(&flipped, digest);
            assert!(matches!(read, Err(JournalProblem::Damaged(_))), "flipped at {at}");
        }
    }

    #[test]
    fn the_first_format_is_read_and_a_newer_one_is_named() {
        let mut value =
            serde_json::to_value(journal(Source::Download { url: "u".to_owned() })).unwrap();
        let object = value.as_object_mut().unwrap();
        object.insert("format".to_owned(), 1.into());
        for field in ["resumes", "deaths", "config_sha256", "quarantine"] {
            object.remove(field);
        }
        let written = |value: &serde_json::Value| {
            let body = value.to_string();
            let checksum = digest(body.as_bytes());
            format!("{body}\n{checksum}\n").into_bytes()
        };
        let first = decode(&written(&value), digest).unwrap();
        assert_eq!(first.source, Source::Download { url: "u".to_owned() });
        assert_eq!(first.deaths, 0);
        for url in [None, Some(serde_json::json!(5)), Some(serde_json::Value::Null)] {
            let mut broken = value.clone();
            let object = broken.as_object_mut().unwrap();
            match url {
                Some(url) => object.insert("url".to_owned(), url),
                None => object.remove("url"),
            };
            let read = decode(&written(&broken), digest);
            assert!(matches!(read, Err(JournalProblem::Damaged(_))), "{read:?}");
        }
        let newer = serde_json::json!({"format": 99, "later": true});
        assert_eq!(decode(&written(&newer), digest), Err(JournalProblem::Newer(99)));
    }
}
