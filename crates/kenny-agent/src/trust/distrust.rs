//! Why something may not run here, in kinds that the server counts and words that an operator can use.

use jiff::Timestamp;
use kenny_core::trust::{TargetError, WhyNot};
use kenny_proto::update::Failure;
use kenny_proto::{FailureKind, Sha256Digest};

use super::transport::FetchError;

/// Why something may not run here.
#[derive(Debug, thiserror::Error)]
pub enum Distrust {
    /// A root is pinned, and its bytes are not where they belong.
    #[error(
        "the pinned root cannot be used: {0}; pin it again with `kenny-agent install --trust-root FILE`"
    )]
    Pin(String),
    /// There is no config that names a server.
    #[error("there is no config that says which server has the signed releases")]
    NoServer,
    /// The server serves no metadata.
    #[error(
        "a root is pinned on this PC, and the server serves no signed releases (kenny release sign, kenny release publish)"
    )]
    NoMetadata,
    /// Metadata is not what the keys of the root vouch for.
    #[error("the signed metadata cannot be verified: {0}")]
    Metadata(String),
    /// Metadata has expired.
    #[error(
        "the {role} metadata expired at {expired_at}, and by this PC's clock it is {now}; the server has to renew it, or the clock is wrong"
    )]
    Expired {
        /// `root`, `timestamp`, `snapshot` or `targets`.
        role: &'static str,
        /// When.
        expired_at: Timestamp,
        /// The PC's time.
        now: Timestamp,
    },
    /// Nobody signed such a target.
    #[error("no signed release is called {0}")]
    NotSigned(String),
    /// Other bytes were signed under that name.
    #[error("{name} was signed with SHA-256 {signed}, the request names {asked}")]
    OtherBytes {
        /// The target.
        name: String,
        /// What was signed.
        signed: Sha256Digest,
        /// What was asked for.
        asked: Sha256Digest,
    },
    /// What was signed cannot be read.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// What was signed is not for this agent as it is.
    #[error(transparent)]
    NotFor(#[from] WhyNot),
    /// The metadata did not arrive.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// It did not arrive in time.
    #[error("the signed metadata did not arrive within {0} s")]
    Slow(u64),
    /// The disk does not take what is to be remembered.
    #[error("what is signed cannot be kept on this PC: {0}")]
    Disk(String),
}

impl Distrust {
    /// The kind that callers decide by.
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Pin(_)
            | Self::NoMetadata
            | Self::Metadata(_)
            | Self::NotSigned(_)
            | Self::OtherBytes { .. }
            | Self::Target(_)
            | Self::NotFor(WhyNot::Platform { .. })
            | Self::Fetch(FetchError::TooLarge(_) | FetchError::WrongType { .. }) => {
                FailureKind::Untrusted
            }
            Self::Expired { .. } => FailureKind::Expired,
            Self::NotFor(WhyNot::From { .. }) => FailureKind::NotApplicable,
            Self::NotFor(WhyNot::Lower { .. }) => FailureKind::BelowFloor,
            Self::Fetch(FetchError::Refused(_)) => FailureKind::UrlRefused,
            Self::NoServer
            | Self::Slow(_)
            | Self::Fetch(FetchError::Status(_) | FetchError::Broken(_) | FetchError::Client(_)) => {
                FailureKind::Download
            }
            Self::Disk(_) => FailureKind::Disk,
        }
    }

    /// Kind and words.
    pub fn failure(&self) -> Failure {
        Failure { kind: self.kind(), detail: self.to_string() }
    }
}

impl From<Distrust> for Failure {
    fn from(distrust: Distrust) -> Self {
        distrust.failure()
    }
}
