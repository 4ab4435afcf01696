//! The artifacts of releases: receiving, keeping and serving them.
//!
//! Artifacts are content-addressed files below the data directory and never change once they are published.
//! Which release has which artifact is the store's business; who may add one is that of `ops`.

mod files;
#[cfg_attr(unix, path = "folder_unix.rs")]
#[cfg_attr(windows, path = "folder_windows.rs")]
mod folder;
pub mod links;
mod mapping;
mod range;
mod serve;
#[cfg(test)]
pub(crate) mod test_image;
mod uplink;

pub use files::{ReceiveError, ReleaseFiles, signer_of};
pub use serve::router;
pub use uplink::{Uplink, bytes_per_s};

use kenny_proto::{Arch, Os};

/// The name under which an artifact is offered, as the last part of its link.
pub fn file_name(version: &str, os: Os, arch: Arch) -> String {
    let suffix = match os {
        Os::Windows => ".exe",
        Os::Linux | Os::Macos => "",
    };
    format!("kenny-agent-{version}-{os}-{arch}{suffix}")
}
