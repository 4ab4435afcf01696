//! Breaks of the trust in signed releases: which target is for which agent, and the agent's own verification.

use super::judge::{ATTACKS, core};
use super::{Judge, Mutant};

const CORE: &str = "crates/kenny-core/src/trust.rs";
const TRUST: &str = "crates/kenny-agent/src/trust/mod.rs";
const AUTHORISED: &str = "crates/kenny-agent/src/trust/authorised.rs";
const METADATA: &str = "crates/kenny-agent/src/trust/metadata.rs";
const REPOSITORY: &str = "crates/kenny-agent/src/trust/repository.rs";
const STORE: &str = "crates/kenny-agent/src/trust/store.rs";
const TRANSPORT: &str = "crates/kenny-agent/src/trust/transport.rs";
const FILES: &str = "crates/kenny-agent/src/update/files.rs";

/// The rules, by their own tests.
const RULES: Judge = core("test(/^trust::/)");

/// The breaks.
pub const BREAKS: &[Mutant] = &[
    Mutant {
        name: "a release for another platform is taken",
        file: CORE,
        find: "if (custom.os, custom.arch) != (os, arch) {",
        replace: "if false {",
        judged_by: RULES,
    },
    Mutant {
        name: "from which versions one may come is ignored",
        file: CORE,
        find: "&& !meets(running, requirement)",
        replace: "&& false",
        judged_by: RULES,
    },
    Mutant {
        name: "the version floor is ignored",
        file: CORE,
        find: "Some(floor) if floor.cmp_precedence(running).is_gt() => floor,",
        replace: "Some(floor) if false => floor,",
        judged_by: RULES,
    },
    Mutant {
        name: "a lower version needs no signature for going back",
        file: CORE,
        find: ".is_lt() && !custom.rollback_to {",
        replace: ".is_lt() && false {",
        judged_by: RULES,
    },
    Mutant {
        name: "a signature for going back is ignored",
        file: CORE,
        find: ".is_lt() && !custom.rollback_to {",
        replace: ".is_lt() {",
        judged_by: RULES,
    },
    Mutant {
        name: "a target may be called otherwise than it says",
        file: CORE,
        find: "if name_of(&custom) != named {",
        replace: "if false {",
        judged_by: RULES,
    },
    Mutant {
        name: "the signed hash is not compared with the request",
        file: TRUST,
        find: "if signed.sha256 != wish.sha256 {",
        replace: "if false {",
        judged_by: ATTACKS,
    },
    Mutant {
        name: "the signed rules are not asked",
        file: TRUST,
        find: "applies(&signed.custom, *os, *arch, &wish.running, floor.as_ref())?;",
        replace: "",
        judged_by: ATTACKS,
    },
    Mutant {
        name: "the version floor is forgotten",
        file: TRUST,
        find: "let floor = self.store.memory().floor;",
        replace: "let floor: Option<Version> = None;",
        judged_by: ATTACKS,
    },
    Mutant {
        name: "the version floor is not raised",
        file: TRUST,
        find: "self.store.raise_floor(version)",
        replace: "std::io::Result::Ok(())",
        judged_by: ATTACKS,
    },
    Mutant {
        name: "any journal is a way back",
        file: AUTHORISED,
        find: "journal.is_rollback().then(|| Self {",
        replace: "true.then(|| Self {",
        judged_by: ATTACKS,
    },
    Mutant {
        name: "expired metadata is accepted",
        file: REPOSITORY,
        find: "expiry.check(now)?;",
        replace: "",
        judged_by: ATTACKS,
    },
    Mutant {
        name: "an expired timestamp is accepted",
        file: REPOSITORY,
        find: "        Expiry::of(\"timestamp\", &repository.timestamp().signed),",
        replace: "        Expiry::of(\"timestamp\", &repository.root().signed),",
        judged_by: ATTACKS,
    },
    Mutant {
        name: "a look takes as long as the server likes",
        file: REPOSITORY,
        find: "timeout(limits.time, ",
        replace: "timeout(limits.time * 10_000, ",
        judged_by: ATTACKS,
    },
    Mutant {
        name: "roots are followed without end",
        file: REPOSITORY,
        find: "max_root_updates: limits.max_roots,",
        replace: "max_root_updates: u64::MAX,",
        judged_by: ATTACKS,
    },
    Mutant {
        name: "what is kept is not verified again",
        file: METADATA,
        find: "root.signed.signed.verify_role(&targets).map_err(|error| not_right(&error))?;",
        replace: "",
        judged_by: ATTACKS,
    },
    Mutant {
        name: "a root that is pinned need not vouch for itself",
        file: STORE,
        find: "signed.signed.verify_role(&signed).map_err(|error| error.to_string())?;",
        replace: "",
        judged_by: ATTACKS,
    },
    Mutant {
        name: "another root than the config names is taken",
        file: STORE,
        find: "&& files::sha256_of(&pinned) != named",
        replace: "&& false",
        judged_by: ATTACKS,
    },
    Mutant {
        name: "a root counts only while the config names it",
        file: STORE,
        find: "if self.pinned.is_none() && !is_there(File::Pinned) && !is_there(File::Root) {",
        replace: "if self.pinned.is_none() {",
        judged_by: ATTACKS,
    },
    Mutant {
        name: "what has expired is remembered as seen",
        file: STORE,
        find: "if now >= expires_at(&signed.signed) {",
        replace: "if false {",
        judged_by: ATTACKS,
    },
    Mutant {
        name: "what an expired root vouches for is remembered",
        file: STORE,
        find: "let holds = now < expires_at(&root.1.signed)\n            && ",
        replace: "let holds = ",
        judged_by: ATTACKS,
    },
    Mutant {
        name: "what rotated keys signed is still remembered",
        file: STORE,
        find: "if changed(RoleType::Timestamp) || changed(RoleType::Snapshot) {",
        replace: "if false {",
        judged_by: ATTACKS,
    },
    Mutant {
        name: "another root that is pinned keeps what followed from the last one",
        file: STORE,
        find: "for file in File::METADATA.into_iter().chain([File::Root]) {",
        replace: "for file in File::METADATA {",
        judged_by: ATTACKS,
    },
    Mutant {
        name: "metadata may be of any size",
        file: TRANSPORT,
        find: "if bytes.len() as u64 > self.max_bytes {",
        replace: "if false {",
        judged_by: ATTACKS,
    },
    Mutant {
        name: "metadata is fetched from anywhere",
        file: TRANSPORT,
        find: "gate.check_url(url).map_err(FetchError::Refused)?;",
        replace: "",
        judged_by: ATTACKS,
    },
    Mutant {
        name: "a role is passed off as another",
        file: TRANSPORT,
        find: "Ok(File { signed }) if signed.name != expected => {",
        replace: "Ok(File { signed }) if false => {",
        judged_by: ATTACKS,
    },
    Mutant {
        name: "the bytes on the disk are not compared with what was authorised",
        file: FILES,
        find: "if sha256 != authorised.sha256() {",
        replace: "if false {",
        judged_by: ATTACKS,
    },
    Mutant {
        name: "the signed length is not compared",
        file: FILES,
        find: "authorised.length().filter(|length| *length != bytes.len() as u64)",
        replace: "authorised.length().filter(|_| false)",
        judged_by: ATTACKS,
    },
];
