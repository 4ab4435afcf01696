//! What signed releases say of an executable, beside its length and digest: names of targets and their `custom` object.
//!
//! The signed metadata is that of The Update Framework (<https://theupdateframework.github.io/specification/latest/>).
//! `kenny_core::trust` decides by what is read here.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use semver::{Version, VersionReq};
use serde::{Deserialize, Serialize};

use crate::api::Release;
use crate::{Arch, Os, Sha256Digest};

/// Where a server serves the metadata: `N.root.json`, `timestamp.json`, `N.snapshot.json`, `N.targets.json`.
pub const METADATA_PATH: &str = "/tuf/metadata/";

/// Where a server serves the targets to clients of The Update Framework that are not agents, each as
/// `DIRECTORY/SHA256.FILE`. Needs an operator's token; agents are given links.
pub const TARGETS_PATH: &str = "/tuf/targets/";

/// The section of an agent's telemetry that says how it trusts.
pub const TRUST_SECTION: &str = "trust";
/// Its field: `pinned` or [`HASH_ONLY`].
pub const MODE_FIELD: &str = "mode";
/// The agent pins no root: it runs what the server names by digest.
pub const HASH_ONLY: &str = "hash-only";

/// Largest file of metadata in bytes. One target has about 400 bytes, so that 1 MiB holds more than two thousand releases.
pub const MAX_METADATA_BYTES: u64 = 1024 * 1024;

/// Longest name of a target in bytes: the version has at most 128.
const MAX_NAME_BYTES: usize = 256;

/// The `custom` object of a target: for which agents it is.
///
/// ```json
/// {"version": "1.4.0", "os": "windows", "arch": "x86_64", "from": ">=0.3.0, <2.0.0", "rollback_to": true}
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetCustom {
    /// The version, as the executable says it.
    pub version: Version,
    /// The operating system that it is for.
    pub os: Os,
    /// The architecture that it is for.
    pub arch: Arch,
    /// Which versions may go to it; all of them when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<VersionReq>,
    /// True permits agents that run something newer to go down to it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub rollback_to: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

/// The name of a target: `kenny-agent/1.4.0/windows-x86_64/kenny-agent.exe`, off Windows without `.exe`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TargetName {
    /// The version.
    pub version: Version,
    /// The operating system.
    pub os: Os,
    /// The architecture.
    pub arch: Arch,
}

/// The text names no target of kenny's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a target is named like kenny-agent/1.4.0/windows-x86_64/kenny-agent.exe, this one is `{0}`"
)]
pub struct TargetNameError(pub String);

impl TargetName {
    /// The last part of the name.
    pub const fn file_name(&self) -> &'static str {
        match self.os {
            Os::Windows => "kenny-agent.exe",
            Os::Linux | Os::Macos => "kenny-agent",
        }
    }

    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split('/');
        let (Some("kenny-agent"), Some(version), Some(platform), Some(file), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return None;
        };
        let (os, arch) = platform.split_once('-')?;
        let name =
            Self { version: version.parse().ok()?, os: os.parse().ok()?, arch: arch.parse().ok()? };
        (file == name.file_name()).then_some(name)
    }
}

impl fmt::Display for TargetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, os, arch } = self;
        write!(f, "kenny-agent/{version}/{os}-{arch}/{}", self.file_name())
    }
}

impl FromStr for TargetName {
    type Err = TargetNameError;

    fn from_str(text: &str) -> Result<Self, TargetNameError> {
        let refused = || TargetNameError(text.chars().take(MAX_NAME_BYTES).collect());
        if text.len() > MAX_NAME_BYTES {
            return Err(refused());
        }
        Self::read(text).ok_or_else(refused)
    }
}

/// `GET /trust`: by whose keys releases are authorised, and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TrustStatus {
    /// Whether releases are signed by keys that the server does not have.
    pub mode: TrustMode,
    /// The key with which this server signs snapshot and timestamp; a root has to name it.
    pub online_key: OnlineKey,
    /// The key that takes its place once a root names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_online_key: Option<OnlineKey>,
    /// The four roles; none in the mode `hash_only`.
    pub roles: Vec<TrustRole>,
    /// What is signed, by name.
    pub targets: Vec<SignedTarget>,
}

/// What makes an executable one that agents take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum TrustMode {
    /// The server's word: whoever has the server decides what agents run.
    HashOnly,
    /// The signatures of offline keys.
    Signed,
}

/// The public half of a server's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OnlineKey {
    /// The key's id in metadata, hexadecimal.
    pub key_id: String,
    /// The Ed25519 public key, 64 hexadecimal digits.
    pub public: String,
}

/// One role of the metadata.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TrustRole {
    /// `root`, `targets`, `snapshot` or `timestamp`.
    pub role: String,
    /// The version of its metadata.
    pub version: u64,
    /// Until when clients take it.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub expires: Timestamp,
    /// How far away that is.
    pub expiry: Expiry,
    /// How many of its keys have to sign.
    pub threshold: u64,
    /// Its keys, by id.
    pub key_ids: Vec<String>,
}

/// How far away the end of a role's metadata is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Expiry {
    /// Far.
    Far,
    /// So near that somebody should sign anew.
    Near,
    /// Past: agents that pin the root refuse updates. What runs goes on running.
    Past,
}

/// One target of the signed metadata.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SignedTarget {
    /// Its name.
    pub name: String,
    /// Its digest.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub sha256: Sha256Digest,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Which versions may go to it; all of them when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Agents that run something newer may go down to it.
    pub rollback_to: bool,
}

/// `POST /trust/metadata`: what offline keys signed, each document as the text that was signed. It is taken as a whole or
/// not at all. `GET /trust/metadata` answers the same of what is there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Publication {
    /// Root metadata, oldest first; versions that the server has already are passed over.
    #[serde(default)]
    pub roots: Vec<String>,
    /// Targets metadata. Every artifact that it names has to be there (`PUT /trust/artifacts/{sha256}`).
    #[serde(default)]
    pub targets: Option<String>,
}

/// What `POST /trust/metadata` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Published {
    /// The version of the root now.
    pub root_version: u64,
    /// The version of the targets now.
    pub targets_version: u64,
    /// What can be sent to agents now and could not before.
    pub added: Vec<Release>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for text in [
            "kenny-agent/1.4.0/windows-x86_64/kenny-agent.exe",
            "kenny-agent/0.3.1-dev.2+abc/linux-aarch64/kenny-agent",
        ] {
            assert_eq!(text.parse::<TargetName>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn other_names_are_refused() {
        for text in [
            "",
            "kenny-agent",
            "kenny-agent/1.4/windows-x86_64/kenny-agent.exe",
            "kenny-agent/1.4.0/windows-x86_64/kenny-agent",
            "kenny-agent/1.4.0/linux-x86_64/kenny-agent.exe",
            "kenny-agent/1.4.0/windows-x86/kenny-agent.exe",
            "kenny-agent/1.4.0/windows-x86_64/kenny-agent.exe/",
            "kenny-agent/../windows-x86_64/kenny-agent.exe",
            "/kenny-agent/1.4.0/windows-x86_64/kenny-agent.exe",
            &format!("kenny-agent/1.4.0-{}/linux-x86_64/kenny-agent", "a".repeat(300)),
        ] {
            assert!(text.parse::<TargetName>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_absent_is_not_written() {
        let plain = r#"{"version":"1.4.0","os":"windows","arch":"x86_64"}"#;
        let custom: TargetCustom = serde_json::from_str(plain).unwrap();
        assert_eq!((custom.from.as_ref(), custom.rollback_to), (None, false));
        assert_eq!(serde_json::to_string(&custom).unwrap(), plain);

        let full = r#"{"version":"1.4.0","os":"linux","arch":"aarch64","from":">=0.3.0, <2.0.0","rollback_to":true}"#;
        let custom: TargetCustom = serde_json::from_str(full).unwrap();
        assert_eq!(serde_json::to_string(&custom).unwrap(), full);
    }
}
