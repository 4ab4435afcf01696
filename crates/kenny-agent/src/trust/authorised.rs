//! The proof that some bytes may run here.

use kenny_core::update::Journal;
use kenny_proto::{Arch, Os, Sha256Digest};
use semver::Version;

use super::Wish;
use super::metadata::SignedTarget;
use super::store::Unpinned;
use crate::platform;

/// What a candidate must be, from whoever has the say over it. Without one nothing is verified, and so nothing staged:
/// there is no way to make one but by [`super::Trust`].
///
/// ```compile_fail,E0451
/// use kenny_agent::trust::{Authorised, Basis};
///
/// let forged = Authorised {
///     version: "9.0.0".parse().unwrap(),
///     sha256: kenny_proto::Sha256Digest([0; 32]),
///     os: kenny_proto::Os::Windows,
///     arch: kenny_proto::Arch::X86_64,
///     length: None,
///     basis: Basis::HashOnly,
/// };
/// ```
///
/// Bytes that somebody merely hashed are not enough either:
///
/// ```compile_fail,E0308
/// use kenny_agent::update::verify;
///
/// let path = std::path::Path::new("candidate.exe");
/// let verified = verify(path, &kenny_proto::Sha256Digest([0; 32]));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorised {
    version: Version,
    sha256: Sha256Digest,
    os: Os,
    arch: Arch,
    length: Option<u64>,
    basis: Basis,
}

/// Who had the say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// The keys that the pinned root names.
    Signed {
        /// The version of the root that was the newest.
        root_version: u64,
    },
    /// Nobody but the server: no root is pinned.
    HashOnly,
    /// It ran here before.
    Kept,
}

impl Authorised {
    pub(super) fn by_metadata(target: &SignedTarget, root_version: u64) -> Self {
        Self {
            version: target.custom.version.clone(),
            sha256: target.sha256,
            os: target.custom.os,
            arch: target.custom.arch,
            length: Some(target.length),
            basis: Basis::Signed { root_version },
        }
    }

    pub(super) fn by_hash(_: &Unpinned, wish: &Wish) -> Self {
        Self {
            version: wish.version.clone(),
            sha256: wish.sha256,
            os: wish.os,
            arch: wish.arch,
            length: None,
            basis: Basis::HashOnly,
        }
    }

    /// None where the journal is not of a way back to what this PC kept, which no request can make it be.
    pub(super) fn kept(journal: &Journal) -> Option<Self> {
        journal.is_rollback().then(|| Self {
            version: journal.version.clone(),
            sha256: journal.sha256,
            os: platform::OS,
            arch: platform::native_arch(),
            length: None,
            basis: Basis::Kept,
        })
    }

    /// The version that the executable must say it is.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// The digest of its bytes.
    pub fn sha256(&self) -> Sha256Digest {
        self.sha256
    }

    /// The platform that it must be for.
    pub fn platform(&self) -> (Os, Arch) {
        (self.os, self.arch)
    }

    /// Its size in bytes, where somebody signed that.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// Who had the say.
    pub fn basis(&self) -> Basis {
        self.basis
    }
}
