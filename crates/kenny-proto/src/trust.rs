//! What signed releases say of an executable, beside its length and digest: names of targets and their `custom` object.
//!
//! The signed metadata is that of The Update Framework (<https://theupdateframework.github.io/specification/latest/>).
//! `kenny_core::trust` decides by what is read here.

use std::fmt;
use std::str::FromStr;

use semver::{Version, VersionReq};
use serde::{Deserialize, Serialize};

use crate::{Arch, Os};

/// Where a server serves the metadata: `N.root.json`, `timestamp.json`, `N.snapshot.json`, `N.targets.json`.
pub const METADATA_PATH: &str = "/tuf/metadata/";

/// Where a server serves the targets to clients of The Update Framework that are not agents, each as
/// `DIRECTORY/SHA256.FILE`. Needs an operator's token; agents are given links.
pub const TARGETS_PATH: &str = "/tuf/targets/";

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
