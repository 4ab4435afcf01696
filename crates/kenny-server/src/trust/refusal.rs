//! Why published metadata is not taken.

use jiff::Timestamp;
use kenny_core::trust::TargetError;
use kenny_proto::Sha256Digest;
use kenny_proto::trust::MAX_METADATA_BYTES;
use tough::schema::RoleType;

/// Why published metadata is not taken. Nothing changed then.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// More bytes than metadata may have.
    #[error("the {role} metadata is larger than {} KiB", MAX_METADATA_BYTES / 1024)]
    TooLarge {
        /// Which role.
        role: RoleType,
    },
    /// Not metadata of this role.
    #[error("this is no {role} metadata of The Update Framework: {source}")]
    Unreadable {
        /// Which role.
        role: RoleType,
        /// Where it differs.
        #[source]
        source: serde_json::Error,
    },
    /// There is nothing in it.
    #[error("neither root nor targets metadata was sent")]
    Nothing,
    /// A first publication without both.
    #[error(
        "this server has no {missing} metadata yet: the first publication brings root and targets (`kenny keys init` makes \
         both, `kenny release publish` sends them)"
    )]
    Incomplete {
        /// What is missing.
        missing: RoleType,
    },
    /// The version does not follow the one that is there.
    #[error(
        "the {role} metadata has version {found}, the server has {current}{}",
        match .role {
            RoleType::Root => ": each root follows the one before it by one, and a published one never changes".to_owned(),
            RoleType::Targets | RoleType::Snapshot | RoleType::Timestamp | RoleType::DelegatedTargets =>
                ": fetch what is there (`kenny release fetch`) and sign again on top of it".to_owned(),
        }
    )]
    Version {
        /// Which role.
        role: RoleType,
        /// What was sent.
        found: u64,
        /// What is there.
        current: u64,
    },
    /// Root metadata that leaves a role out.
    #[error("version {root} of the root metadata names no keys for {role}")]
    RoleMissing {
        /// Which root.
        root: u64,
        /// Which role.
        role: RoleType,
    },
    /// Too few of the right keys signed.
    #[error(
        "version {version} of the {role} metadata is not signed by {threshold} of the keys that version {root} of the root \
         names for it ({why}); `kenny keys show` tells which signatures are missing"
    )]
    Signatures {
        /// Which role.
        role: RoleType,
        /// Which version of it.
        version: u64,
        /// By which root.
        root: u64,
        /// How many have to sign.
        threshold: u64,
        /// What the verification said.
        why: String,
    },
    /// Its end has come.
    #[error("version {version} of the {role} metadata expired at {expires}; sign it anew")]
    Expired {
        /// Which role.
        role: RoleType,
        /// Which version of it.
        version: u64,
        /// When.
        expires: Timestamp,
    },
    /// A root that clients would read in another way than this server serves.
    #[error(
        "version {0} of the root metadata is not for consistent snapshots, which this server serves"
    )]
    NotConsistent(u64),
    /// The server could not sign what it has to.
    #[error(
        "version {root} of the root metadata does not name a key of this server alone for {role}: its key is {own} \
         (`kenny keys rotate --online-key {own}` makes a root that names it)"
    )]
    OnlineKey {
        /// Which root.
        root: u64,
        /// Which role.
        role: RoleType,
        /// The server's public key.
        own: String,
    },
    /// The root changed the keys of the targets, and no targets came that they signed.
    #[error(
        "version {root} of the root metadata has other keys for targets than those that signed version {targets}: sign targets \
         with them and publish both together"
    )]
    TargetsLeftBehind {
        /// Which root.
        root: u64,
        /// Which targets.
        targets: u64,
    },
    /// Delegations are not part of how kenny uses the framework.
    #[error("the targets metadata delegates to other roles, which agents of kenny do not follow")]
    Delegations,
    /// A target that is not as kenny writes it.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A target whose digest is none.
    #[error("the target {0} has no SHA-256 of 32 bytes")]
    Digest(String),
    /// A target whose executable was not uploaded.
    #[error(
        "the artifact of {name} is not here (sha256 {sha256}); upload it first, as `kenny release publish` does"
    )]
    ArtifactMissing {
        /// The target.
        name: String,
        /// Its digest.
        sha256: Sha256Digest,
    },
    /// A target whose executable is something else than was signed.
    #[error("the artifact of {name} is not what was signed: {why}")]
    ArtifactDiffers {
        /// The target.
        name: String,
        /// In what.
        why: String,
    },
}
