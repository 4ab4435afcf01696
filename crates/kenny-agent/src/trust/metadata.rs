//! Metadata that was verified, and what it says of one executable.

use jiff::Timestamp;
use kenny_core::trust::read_custom;
use kenny_proto::Sha256Digest;
use kenny_proto::trust::{TargetCustom, TargetName};
use tough::schema::{Role, Root, Signed, Targets};

use super::distrust::Distrust;
use super::store::{File, Store};

/// What was signed for one executable.
#[derive(Debug, Clone)]
pub struct SignedTarget {
    /// For which agents it is.
    pub custom: TargetCustom,
    /// Its digest.
    pub sha256: Sha256Digest,
    /// Its size in bytes.
    pub length: u64,
}

/// Verified metadata.
#[derive(Debug)]
pub struct Metadata {
    root_version: u64,
    targets: Targets,
}

impl Metadata {
    /// Of a repository that was verified just now.
    pub fn new(root: &Root, targets: Targets) -> Self {
        Self { root_version: root.version.get(), targets }
    }

    /// As it was verified last, with its signatures checked again, and not its expiry.
    pub fn kept(store: &Store) -> Result<Self, Distrust> {
        let root = store.root()?;
        let bytes = store
            .read(File::Targets)
            .map_err(|error| Distrust::Disk(error.to_string()))?
            .ok_or_else(|| Distrust::Metadata("none is kept on this PC".to_owned()))?;
        let not_right = |error: &dyn std::error::Error| {
            Distrust::Metadata(format!("what is kept on this PC of it is damaged ({error})"))
        };
        let targets: Signed<Targets> =
            serde_json::from_slice(&bytes).map_err(|error| not_right(&error))?;
        root.signed.signed.verify_role(&targets).map_err(|error| not_right(&error))?;
        Ok(Self::new(&root.signed.signed, targets.signed))
    }

    /// The version of the root that vouches for it.
    pub fn root_version(&self) -> u64 {
        self.root_version
    }

    /// What was signed under this name. Only the targets role itself counts: who may sign releases is not handed on.
    pub fn target(&self, name: &TargetName) -> Result<SignedTarget, Distrust> {
        let text = name.to_string();
        let unsigned = || Distrust::NotSigned(text.clone());
        let key = tough::TargetName::new(text.as_str()).map_err(|_| unsigned())?;
        let target = self.targets.targets.get(&key).ok_or_else(unsigned)?;
        let custom = read_custom(&text, target.custom.clone())?;
        let sha256: &[u8] = &target.hashes.sha256;
        let sha256: [u8; 32] = sha256.try_into().map_err(|_| {
            Distrust::Metadata(format!("the digest of {text} is not one of SHA-256"))
        })?;
        Ok(SignedTarget { custom, sha256: Sha256Digest(sha256), length: target.length })
    }
}

/// Until when each role holds.
#[derive(Debug, Clone, Copy)]
pub struct Expiry {
    /// `root`, `timestamp`, `snapshot` or `targets`.
    pub role: &'static str,
    /// When it ends.
    pub at: Timestamp,
}

/// Until when a role holds. `tough` has a time of its own; one that ours cannot be is over.
pub fn expires_at(role: &impl Role) -> Timestamp {
    let at = role.expires();
    Timestamp::new(at.as_second(), at.subsec_nanosecond()).unwrap_or(Timestamp::MIN)
}

impl Expiry {
    /// The expiry of a role of this name.
    pub fn of(name: &'static str, role: &impl Role) -> Self {
        Self { role: name, at: expires_at(role) }
    }

    /// The error where it is over.
    pub fn check(self, now: Timestamp) -> Result<(), Distrust> {
        if now < self.at {
            return Ok(());
        }
        Err(Distrust::Expired { role: self.role, expired_at: self.at, now })
    }
}
