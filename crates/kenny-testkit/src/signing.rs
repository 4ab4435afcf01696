//! Signed releases as operators and attackers make them: metadata of The Update Framework, of which every number, key and
//! signature can be chosen. Writes what `kenny keys` and `kenny release sign` write, without their code.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

/// What the server serves, by the name of the file.
pub type Files = BTreeMap<String, Vec<u8>>;

/// A key of Ed25519. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Key {
    pair: Arc<Ed25519KeyPair>,
}

impl Key {
    /// The key of this number: the same one each time.
    pub fn numbered(number: u8) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[number; 32]);
        Self { pair: Arc::new(pair.expect("32 bytes are a seed")) }
    }

    /// Its public half, as metadata names it.
    pub fn public(&self) -> Value {
        let public = hex(self.pair.public_key().as_ref());
        json!({"keytype": "ed25519", "keyval": {"public": public}, "scheme": "ed25519"})
    }

    /// What metadata calls it by.
    pub fn id(&self) -> String {
        hex(digest(&SHA256, &canonical(&self.public())).as_ref())
    }

    /// A signature under this metadata.
    pub fn sign(&self, signed: &Value) -> Value {
        let signature = self.pair.sign(&canonical(signed));
        json!({"keyid": self.id(), "sig": hex(signature.as_ref())})
    }
}

/// Who signs for a role.
#[derive(Debug, Clone)]
pub struct Holders {
    /// The keys.
    pub keys: Vec<Key>,
    /// How many of them are enough.
    pub threshold: u64,
}

impl Holders {
    /// The keys of these numbers, of which so many are enough.
    pub fn numbered(numbers: impl IntoIterator<Item = u8>, threshold: u64) -> Self {
        Self { keys: numbers.into_iter().map(Key::numbered).collect(), threshold }
    }

    fn role(&self) -> Value {
        let ids: Vec<String> = self.keys.iter().map(Key::id).collect();
        json!({"keyids": ids, "threshold": self.threshold})
    }

    /// So many signatures as are enough.
    pub fn sign(&self, signed: &Value) -> Vec<u8> {
        sign(self.keys.iter().take(usize::try_from(self.threshold).expect("few keys")), signed)
    }
}

/// A repository, as whoever has all its keys has it.
#[derive(Debug, Clone)]
pub struct Repository {
    /// Offline: signs the root.
    pub root: Holders,
    /// Offline: signs releases.
    pub targets: Holders,
    /// With the server.
    pub snapshot: Holders,
    /// With the server.
    pub timestamp: Holders,
    /// The version of each role's metadata.
    pub versions: Each<u64>,
    /// Until when each role's metadata holds.
    pub expires: Each<Timestamp>,
    /// The signed releases, by name.
    pub releases: Map<String, Value>,
    /// Every root so far, by version.
    pub roots: BTreeMap<u64, Vec<u8>>,
}

/// One of something for each role.
#[derive(Debug, Clone, Copy)]
pub struct Each<T> {
    /// Of the root.
    pub root: T,
    /// Of the targets.
    pub targets: T,
    /// Of the snapshot.
    pub snapshot: T,
    /// Of the timestamp.
    pub timestamp: T,
}

impl Repository {
    /// A new one, with two of three keys for root and targets, and one each for what is online. It holds for a day
    /// (timestamp), a week, a year and ten years from `now` on.
    pub fn new(now: Timestamp) -> Self {
        let days = |days: i64| now + SignedDuration::from_hours(24 * days);
        let mut new = Self {
            root: Holders::numbered([1, 2, 3], 2),
            targets: Holders::numbered([11, 12, 13], 2),
            snapshot: Holders::numbered([21], 1),
            timestamp: Holders::numbered([31], 1),
            versions: Each { root: 1, targets: 1, snapshot: 1, timestamp: 1 },
            expires: Each {
                root: days(3650),
                targets: days(365),
                snapshot: days(7),
                timestamp: days(1),
            },
            releases: Map::new(),
            roots: BTreeMap::new(),
        };
        let first = new.root.sign(&new.root_value());
        new.roots.insert(1, first);
        new
    }

    /// The newest root, as it is pinned.
    pub fn root_json(&self) -> &[u8] {
        self.roots.last_key_value().expect("there is one from the start").1
    }

    /// Signs a release: from the next [`Self::publish`] on. `more` are further fields of its custom object.
    pub fn release(&mut self, (version, os, arch): (&str, &str, &str), bytes: &[u8], more: &Value) {
        let file = if os == "windows" { "kenny-agent.exe" } else { "kenny-agent" };
        let name = format!("kenny-agent/{version}/{os}-{arch}/{file}");
        let mut custom = json!({"version": version, "os": os, "arch": arch});
        for (key, value) in more.as_object().into_iter().flatten() {
            custom[key] = value.clone();
        }
        let target = json!({
            "length": bytes.len(),
            "hashes": {"sha256": sha256(bytes)},
            "custom": custom,
        });
        self.releases.insert(name, target);
    }

    /// All metadata anew, each but the root one version on.
    pub fn publish(&mut self) -> Files {
        self.versions.targets += 1;
        self.versions.snapshot += 1;
        self.versions.timestamp += 1;
        self.files()
    }

    /// Changes keys by a new root, which the keys of before and the new ones sign.
    pub fn rotate(&mut self, change: impl FnOnce(&mut Self)) {
        let before = self.root.clone();
        change(self);
        self.versions.root += 1;
        let signed = self.root_value();
        let enough = |holders: &Holders| {
            holders
                .keys
                .iter()
                .take(usize::try_from(holders.threshold).expect("few"))
                .cloned()
                .collect()
        };
        let mut keys: Vec<Key> = enough(&before);
        let new: Vec<Key> = enough(&self.root);
        keys.extend(
            new.into_iter().filter(|key| before.keys.iter().all(|old| old.id() != key.id())),
        );
        self.roots.insert(self.versions.root, sign(&keys, &signed));
    }

    /// All metadata as it stands.
    pub fn files(&self) -> Files {
        let targets = self.targets.sign(&self.targets_value());
        let snapshot = self.snapshot.sign(&self.snapshot_value(&targets));
        let timestamp = self.timestamp.sign(&self.timestamp_value(&snapshot));
        let mut files: Files = self
            .roots
            .iter()
            .map(|(version, root)| (format!("{version}.root.json"), root.clone()))
            .collect();
        files.insert(format!("{}.targets.json", self.versions.targets), targets);
        files.insert(format!("{}.snapshot.json", self.versions.snapshot), snapshot);
        files.insert("timestamp.json".to_owned(), timestamp);
        files
    }

    /// The root, unsigned.
    pub fn root_value(&self) -> Value {
        let holders = [&self.root, &self.targets, &self.snapshot, &self.timestamp];
        let keys: Map<String, Value> = holders
            .iter()
            .flat_map(|holders| &holders.keys)
            .map(|key| (key.id(), key.public()))
            .collect();
        json!({
            "_type": "root",
            "spec_version": "1.0.0",
            "consistent_snapshot": true,
            "version": self.versions.root,
            "expires": time(self.expires.root),
            "keys": keys,
            "roles": {
                "root": self.root.role(),
                "targets": self.targets.role(),
                "snapshot": self.snapshot.role(),
                "timestamp": self.timestamp.role(),
            },
        })
    }

    /// The targets, unsigned.
    pub fn targets_value(&self) -> Value {
        json!({
            "_type": "targets",
            "spec_version": "1.0.0",
            "version": self.versions.targets,
            "expires": time(self.expires.targets),
            "targets": self.releases,
        })
    }

    /// The snapshot over these targets, unsigned.
    pub fn snapshot_value(&self, targets: &[u8]) -> Value {
        json!({
            "_type": "snapshot",
            "spec_version": "1.0.0",
            "version": self.versions.snapshot,
            "expires": time(self.expires.snapshot),
            "meta": {"targets.json": meta(self.versions.targets, targets)},
        })
    }

    /// The timestamp over this snapshot, unsigned.
    pub fn timestamp_value(&self, snapshot: &[u8]) -> Value {
        json!({
            "_type": "timestamp",
            "spec_version": "1.0.0",
            "version": self.versions.timestamp,
            "expires": time(self.expires.timestamp),
            "meta": {"snapshot.json": meta(self.versions.snapshot, snapshot)},
        })
    }
}

/// Metadata with the signatures of these keys.
pub fn sign<'a>(keys: impl IntoIterator<Item = &'a Key>, signed: &Value) -> Vec<u8> {
    let signatures: Vec<Value> = keys.into_iter().map(|key| key.sign(signed)).collect();
    canonical(&json!({"signed": signed, "signatures": signatures}))
}

/// The digest of bytes, in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex(digest(&SHA256, bytes).as_ref())
}

/// A time as metadata has it: without fractions of a second.
fn time(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).expect("it was one")
}

fn meta(version: u64, bytes: &[u8]) -> Value {
    json!({"version": version, "length": bytes.len(), "hashes": {"sha256": sha256(bytes)}})
}

/// What is signed: JSON with sorted keys and no space. Of texts that need no escapes, as all of these, this is the
/// canonical form of the specification.
fn canonical(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).expect("a value has string keys only")
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}
