//! Whether what offline keys signed may take the place of what is there. Pure: the time is an argument.

use jiff::Timestamp;
use kenny_core::trust as core;
use kenny_proto::Sha256Digest;
use kenny_proto::trust::{Publication, TargetCustom};
use tough::schema::{Role, RoleType, Root, Targets};

use super::Refusal;
use super::document::Document;

/// What offline keys signed.
#[derive(Debug, Clone)]
pub struct Offline {
    /// Every root, oldest first; never empty.
    pub roots: Vec<Document<Root>>,
    /// The newest targets.
    pub targets: Document<Targets>,
}

/// One target, read.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// Its digest.
    pub sha256: Sha256Digest,
    /// Its size.
    pub size_bytes: u64,
    /// For which agents it is.
    pub custom: TargetCustom,
}

impl Offline {
    /// The newest root.
    pub fn root(&self) -> &Document<Root> {
        self.roots.last().expect("there is a root where there is anything")
    }

    /// What is there, followed by what was published. The same again changes nothing.
    pub fn follow(
        current: Option<&Self>,
        published: &Publication,
        now: Timestamp,
    ) -> Result<Self, Refusal> {
        if published.roots.is_empty() && published.targets.is_none() {
            return Err(Refusal::Nothing);
        }
        let mut roots = current.map(|current| current.roots.clone()).unwrap_or_default();
        for text in &published.roots {
            add_root(&mut roots, Document::read(text.clone().into_bytes())?)?;
        }
        let root = roots.last().ok_or(Refusal::Incomplete { missing: RoleType::Root })?;
        root.check_expiry(now)?;
        for role in [RoleType::Root, RoleType::Targets, RoleType::Snapshot, RoleType::Timestamp] {
            if !root.content.signed.roles.contains_key(&role) {
                return Err(Refusal::RoleMissing { root: root.version(), role });
            }
        }
        let current_targets = current.map(|current| &current.targets);
        let targets = if let Some(text) = &published.targets {
            let targets = Document::read(text.clone().into_bytes())?;
            next_targets(current_targets, root, targets, now)?
        } else {
            let targets =
                current_targets.ok_or(Refusal::Incomplete { missing: RoleType::Targets })?;
            still_signed(targets, root)?.clone()
        };
        Ok(Self { roots, targets })
    }

    /// Every target.
    pub fn targets(&self) -> Result<Vec<Target>, Refusal> {
        let read = |(name, target): (&tough::TargetName, &tough::schema::Target)| {
            let name = name.raw().to_owned();
            let custom = core::read_custom(&name, target.custom.clone())?;
            let sha256 = <[u8; 32]>::try_from(target.hashes.sha256.as_ref())
                .map_err(|_| Refusal::Digest(name.clone()))?;
            Ok(Target { name, sha256: Sha256Digest(sha256), size_bytes: target.length, custom })
        };
        self.targets.content.signed.targets.iter().map(read).collect()
    }
}

fn add_root(roots: &mut Vec<Document<Root>>, next: Document<Root>) -> Result<(), Refusal> {
    let found = next.version();
    if !next.content.signed.consistent_snapshot {
        return Err(Refusal::NotConsistent(found));
    }
    if let Some(newest) = roots.last() {
        if let Some(there) = roots.iter().find(|root| root.version() == found)
            && there.content.signed == next.content.signed
        {
            return Ok(());
        }
        if found != newest.version() + 1 {
            let (role, current) = (RoleType::Root, newest.version());
            return Err(Refusal::Version { role, found, current });
        }
        next.check_signatures(newest)?;
    }
    next.check_signatures(&next)?;
    roots.push(next);
    Ok(())
}

fn next_targets(
    current: Option<&Document<Targets>>,
    root: &Document<Root>,
    next: Document<Targets>,
    now: Timestamp,
) -> Result<Document<Targets>, Refusal> {
    next.check_signatures(root)?;
    if let Some(current) = current {
        if current.content.signed == next.content.signed {
            return Ok(still_signed(current, root)?.clone());
        }
        if next.version() <= current.version() {
            return Err(Refusal::Version {
                role: Targets::TYPE,
                found: next.version(),
                current: current.version(),
            });
        }
    }
    next.check_expiry(now)?;
    if next.content.signed.delegations.as_ref().is_some_and(|those| !those.roles.is_empty()) {
        return Err(Refusal::Delegations);
    }
    Ok(next)
}

/// The targets that are there, if the root still has the keys for them that signed them.
fn still_signed<'targets>(
    targets: &'targets Document<Targets>,
    root: &Document<Root>,
) -> Result<&'targets Document<Targets>, Refusal> {
    let (root_version, targets_version) = (root.version(), targets.version());
    targets
        .check_signatures(root)
        .map_err(|_| Refusal::TargetsLeftBehind { root: root_version, targets: targets_version })?;
    Ok(targets)
}
