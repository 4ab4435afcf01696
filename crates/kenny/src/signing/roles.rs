//! Who has a say in a role, and who has had it.

use std::num::NonZeroU64;

use tough::schema::key::Key;
use tough::schema::{Role, RoleKeys, RoleType, Root, Signed};

use super::hex;

/// How a document stands with the keys that one root names for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The version of that root.
    pub root: u64,
    /// How many have to sign.
    pub threshold: u64,
    /// The keys that signed, by id.
    pub signed: Vec<String>,
    /// Those that did not.
    pub missing: Vec<String>,
}

impl Standing {
    /// By what `root` says.
    pub fn of<T: Role>(root: &Root, document: &Signed<T>) -> Self {
        let (signed, missing) =
            key_ids(root, T::TYPE).partition(|id| is_signed_by(root, document, id));
        let threshold = root.roles.get(&T::TYPE).map_or(u64::MAX, |keys| keys.threshold.get());
        Self { root: root.version.get(), threshold, signed, missing }
    }

    /// True when enough signed.
    pub fn is_complete(&self) -> bool {
        self.signed.len() as u64 >= self.threshold
    }

    /// What is missing, in words.
    pub fn lacks(&self) -> String {
        let lacking = self.threshold.saturating_sub(self.signed.len() as u64);
        let ids: Vec<String> = self.missing.iter().map(|id| short(id)).collect();
        format!(
            "{lacking} more of the keys that root {} names ({} of {} signed; not yet: {})",
            self.root,
            self.signed.len(),
            self.threshold,
            ids.join(", ")
        )
    }
}

/// Enough of a key's id to tell it from others.
pub fn short(id: &str) -> String {
    id.chars().take(12).collect()
}

/// The ids of a role's keys, each once.
pub fn key_ids(root: &Root, role: RoleType) -> impl Iterator<Item = String> {
    let mut ids: Vec<String> = root
        .roles
        .get(&role)
        .map(|keys| keys.keyids.iter().map(|id| hex(id)).collect())
        .unwrap_or_default();
    ids.sort();
    ids.dedup();
    ids.into_iter()
}

/// Whether this key, as `root` has it, signed the document.
pub fn is_signed_by<T: Role>(root: &Root, document: &Signed<T>, id: &str) -> bool {
    let Some((keyid, _)) = root.keys.iter().find(|(keyid, _)| hex(keyid) == id) else {
        return false;
    };
    // The library checks thresholds: with this key alone and a threshold of one it checks the key.
    let alone = RoleKeys {
        keyids: vec![keyid.clone()],
        threshold: NonZeroU64::MIN,
        _extra: std::collections::HashMap::new(),
    };
    let mut root = root.clone();
    root.roles.insert(T::TYPE, alone);
    root.verify_role(document).is_ok()
}

/// Gives a role these keys.
pub fn set_keys(root: &mut Root, role: RoleType, keys: &[Key], threshold: NonZeroU64) {
    let keyids = keys.iter().map(|key| key.key_id().expect("a public key serialises")).collect();
    for key in keys {
        root.keys.insert(key.key_id().expect("a public key serialises"), key.clone());
    }
    root.roles
        .insert(role, RoleKeys { keyids, threshold, _extra: std::collections::HashMap::new() });
}

/// Leaves out keys that no role has.
pub fn drop_unused_keys(root: &mut Root) {
    let used: Vec<String> =
        root.roles.values().flat_map(|keys| &keys.keyids).map(|id| hex(id)).collect();
    root.keys.retain(|id, _| used.contains(&hex(id)));
}
