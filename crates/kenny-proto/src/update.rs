//! The words of an update: phases, failures and the report that an agent gives of its last one.

use std::fmt;

use jiff::Timestamp;
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::{Sha256Digest, UpdateId};

/// Where an update stands. Phases only move forward; the last three are final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The agent took the request.
    Accepted,
    /// The artifact is being fetched.
    Downloading,
    /// Hash, architecture and version of the fetched file are being checked.
    Verifying,
    /// The candidate proves beside the old version that it works on this PC.
    Preflight,
    /// The candidate lies ready and the updater runs.
    Staged,
    /// The updater stops the service and replaces the executable.
    Swapping,
    /// The new version runs and has yet to prove itself.
    Probation,
    /// The new version proved itself.
    Committed,
    /// The old version is back.
    RolledBack,
    /// The update ended before anything was swapped.
    Failed,
}

impl Phase {
    /// Every phase, in order.
    pub const ALL: [Self; 10] = [
        Self::Accepted,
        Self::Downloading,
        Self::Verifying,
        Self::Preflight,
        Self::Staged,
        Self::Swapping,
        Self::Probation,
        Self::Committed,
        Self::RolledBack,
        Self::Failed,
    ];

    /// True for the three phases that are never left.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Committed | Self::RolledBack | Self::Failed)
    }

    /// The wire name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Downloading => "downloading",
            Self::Verifying => "verifying",
            Self::Preflight => "preflight",
            Self::Staged => "staged",
            Self::Swapping => "swapping",
            Self::Probation => "probation",
            Self::Committed => "committed",
            Self::RolledBack => "rolled_back",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why an update did not end `committed`: what a caller decides by. The sentence for people stands beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The URL is not one that this agent may download from.
    UrlRefused,
    /// The artifact could not be fetched.
    Download,
    /// The bytes have another SHA-256 than the request named.
    HashMismatch,
    /// The bytes are not an agent for this operating system and architecture.
    WrongPlatform,
    /// The executable says that it is another version than the one requested.
    WrongVersion,
    /// No room on the disk, or a file that could not be written.
    Disk,
    /// The candidate did not prove beside the old version that it works on this PC.
    Preflight,
    /// This version failed on this PC before and may not be tried again without the operator's word.
    Quarantined,
    /// There is no kept version to go back to.
    NoPrevious,
    /// No signed release that the pinned root vouches for names these bytes for this PC, or what was signed cannot be
    /// verified.
    Untrusted,
    /// What was signed has expired: somebody holds newer signatures back, the server no longer renews them, or the PC's
    /// clock is wrong.
    Expired,
    /// The version is lower than one that this PC ran already, and was not signed as a version to go back to.
    BelowFloor,
    /// The release was signed for agents of other versions than the one that runs.
    NotApplicable,
    /// The updater could not be started.
    Updater,
    /// The old service could not be stopped.
    Stop,
    /// The executable could not be replaced.
    Swap,
    /// The new version did not start as a service, or ended.
    CandidateDied,
    /// The new version runs and did not reach a server that the old version reaches.
    CandidateOffline,
    /// Neither the new version nor the old one reached the server for so long that the old one was put back; the
    /// network is to blame and not the version.
    Network,
    /// The agent was interrupted (restart, reboot) before anything was swapped.
    Interrupted,
    /// The server gave up waiting, or the agent answered with an error that names none of the above.
    Refused,
    /// A kind that a newer peer names.
    #[serde(other)]
    Other,
}

impl FailureKind {
    /// The wire name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UrlRefused => "url_refused",
            Self::Download => "download",
            Self::HashMismatch => "hash_mismatch",
            Self::WrongPlatform => "wrong_platform",
            Self::WrongVersion => "wrong_version",
            Self::Disk => "disk",
            Self::Preflight => "preflight",
            Self::Quarantined => "quarantined",
            Self::NoPrevious => "no_previous",
            Self::Untrusted => "untrusted",
            Self::Expired => "expired",
            Self::BelowFloor => "below_floor",
            Self::NotApplicable => "not_applicable",
            Self::Updater => "updater",
            Self::Stop => "stop",
            Self::Swap => "swap",
            Self::CandidateDied => "candidate_died",
            Self::CandidateOffline => "candidate_offline",
            Self::Network => "network",
            Self::Interrupted => "interrupted",
            Self::Refused => "refused",
            Self::Other => "other",
        }
    }

    /// True where the version itself failed on this PC: such a failure counts against it. The network, the disk, an
    /// interruption or a wrong request say nothing about a version.
    pub const fn blames_the_version(self) -> bool {
        match self {
            Self::WrongPlatform
            | Self::WrongVersion
            | Self::Preflight
            | Self::CandidateDied
            | Self::CandidateOffline => true,
            // Bytes that are not the version's say nothing about the version.
            Self::HashMismatch
            | Self::UrlRefused
            | Self::Download
            | Self::Disk
            | Self::Quarantined
            | Self::NoPrevious
            // Signatures, clocks and the way to a version say nothing about how it works.
            | Self::Untrusted
            | Self::Expired
            | Self::BelowFloor
            | Self::NotApplicable
            | Self::Updater
            | Self::Stop
            | Self::Swap
            | Self::Network
            | Self::Interrupted
            | Self::Refused
            | Self::Other => false,
        }
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why an update failed: the kind, and a sentence for the operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Failure {
    /// What callers decide by.
    pub kind: FailureKind,
    /// What happened, in words.
    pub detail: String,
}

/// One moment of an update's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PhaseAt {
    /// The phase that began.
    pub phase: Phase,
    /// A finer step within the phase (`downloaded`, `verified`, `stopped`, `started`, `online`, ...), where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// When, by the PC's clock.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
}

/// What an agent says of its last update: `register.meta.update`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateReport {
    /// The id that the server gave, or that the agent made for a 0.2 call.
    pub update_id: UpdateId,
    /// The version that ran before.
    pub from_version: Version,
    /// The version that was requested.
    pub version: Version,
    /// The candidate's digest.
    pub sha256: Sha256Digest,
    /// Where the update stands.
    pub phase: Phase,
    /// Why it did not work out, once it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Each phase and step with its time, oldest first.
    #[serde(default)]
    pub history: Vec<PhaseAt>,
    /// True where it went back to the kept previous version, asked for by an operator or at the PC itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rollback: bool,
    /// The last lines of the updater's log, oldest first: at most [`LOG_LINES`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
}

/// Most lines of the updater's log in a report: a whole update writes about twenty.
pub const LOG_LINES: usize = 40;
/// Most bytes of one of those lines, so that a report stays far below what a push may have.
pub const LOG_LINE_BYTES: usize = 500;
