//! Breaks of which releases are offered, and which are removed.

use super::Mutant;
use super::judge::server;

const OPS_UPDATES: &str = "crates/kenny-server/src/ops/updates.rs";
const OPS_RELEASES: &str = "crates/kenny-server/src/ops/releases.rs";
const RELEASES_FILES: &str = "crates/kenny-server/src/releases/files.rs";

/// The breaks.
pub const BREAKS: &[Mutant] = &[
    Mutant {
        name: "an update to an unsigned release is let through",
        file: OPS_UPDATES,
        find: "if !app.trust.is_signed() || candidates",
        replace: "if true || !app.trust.is_signed() || candidates",
        judged_by: server("test(/signed_releases::/)"),
    },
    Mutant {
        name: "an agent that said nothing of its root is taken for one without",
        file: OPS_UPDATES,
        find: "None => \"has not said that it runs others\",",
        replace: "None => return Ok(()),",
        judged_by: server("test(/signed_releases::/)"),
    },
    Mutant {
        name: "a withdrawn release is offered",
        file: OPS_RELEASES,
        find: "match found.withdrawn_at {",
        replace: "match found.withdrawn_at.filter(|_| false) {",
        judged_by: server("test(/signed_releases::/)"),
    },
    Mutant {
        name: "a signed release is removed",
        file: OPS_RELEASES,
        find: "if gone.iter().any(|release| app.trust.names(release.sha256)) {",
        replace: "if false && gone.iter().any(|release| app.trust.names(release.sha256)) {",
        judged_by: server("test(/signed_releases::/)"),
    },
    Mutant {
        name: "the file of a removed release stays",
        file: OPS_RELEASES,
        find: "app.releases.files.remove(*sha256).await",
        replace: "Ok::<(), std::io::Error>(())",
        judged_by: server("test(/signed_releases::/)"),
    },
    Mutant {
        name: "a published release names no signer",
        file: OPS_RELEASES,
        find: "signer: signers.get(&target.sha256).cloned().flatten(),",
        replace: "signer: None,",
        judged_by: server("test(/signed_releases::/)"),
    },
    Mutant {
        name: "an artifact that waits for its signature is swept away",
        file: RELEASES_FILES,
        find: "&& age >= older_than",
        replace: "",
        judged_by: server("test(/signed_releases::/)"),
    },
];
