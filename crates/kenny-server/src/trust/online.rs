//! What the server signs itself: that the snapshot of today is the newest.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::num::NonZeroU64;
use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use jiff::Timestamp as Moment;
use kenny_proto::Sha256Digest;
use kenny_proto::trust::OnlineKey as PublicKey;
use tough::schema::key::Key;
use tough::schema::{
    Hashes, Metafile, Role, RoleType, Root, Signature, Signed, Snapshot, Targets, Timestamp,
};
use tough::sign::Sign as _;

use super::document::Document;
use crate::auth::sha256;

/// The version of the specification that the metadata follows.
const SPEC_VERSION: &str = "1.0.0";

/// For how long the server's own signatures hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    /// Of a snapshot.
    pub snapshot: Duration,
    /// Of a timestamp: so long can somebody between agent and server hide a newer release.
    pub timestamp: Duration,
}

impl Default for Lifetimes {
    /// Seven days and one. A server that is down over a weekend costs nothing but updates: the agents go on.
    fn default() -> Self {
        Self { snapshot: Duration::from_hours(7 * 24), timestamp: Duration::from_hours(24) }
    }
}

impl Lifetimes {
    /// A snapshot with less than half of its life left is made anew.
    pub fn snapshot_margin(&self) -> Duration {
        self.snapshot / 2
    }

    /// A timestamp with less than three quarters of its life left is made anew: one that was just renewed outlasts an
    /// outage of most of its life.
    pub fn timestamp_margin(&self) -> Duration {
        self.timestamp / 4 * 3
    }
}

/// The key of the online roles.
pub struct OnlineKey {
    pair: Ed25519KeyPair,
    key: Key,
}

impl OnlineKey {
    /// The key of this seed.
    pub fn from_seed(seed: Sha256Digest) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed.0).expect("any 32 bytes are a seed");
        let key = pair.tuf_key();
        Self { pair, key }
    }

    /// Its public half.
    pub fn public(&self) -> PublicKey {
        PublicKey { key_id: hex(&self.id()), public: hex(self.pair.public_key().as_ref()) }
    }

    fn id(&self) -> Vec<u8> {
        self.key.key_id().expect("a public key serialises").into_vec()
    }

    /// True when `root` has this key, and it alone, sign this role.
    pub fn signs(&self, root: &Root, role: RoleType) -> bool {
        root.roles.get(&role).is_some_and(|keys| {
            keys.threshold.get() == 1
                && matches!(keys.keyids.as_slice(), [only] if **only == self.id()[..])
        }) && root.keys(role).any(|key| *key == self.key)
    }

    fn sign<T: Role>(&self, role: T) -> Document<T> {
        let text = role.canonical_form().expect("metadata has string keys and no floats");
        let signature = Signature {
            keyid: self.id().into(),
            sig: self.pair.sign(&text).as_ref().to_vec().into(),
        };
        Document::write(Signed { signed: role, signatures: vec![signature] })
    }
}

/// What the server signed.
#[derive(Debug, Clone)]
pub struct Online {
    /// The newest snapshot.
    pub snapshot: Document<Snapshot>,
    /// The newest timestamp.
    pub timestamp: Document<Timestamp>,
}

impl Online {
    /// Signs anew what has to be: all of it where the targets or the key changed, and what comes near its end.
    /// `None`: nothing has to be.
    pub fn renew(
        current: Option<&Self>,
        (root, targets): (&Document<Root>, &Document<Targets>),
        key: &OnlineKey,
        lifetimes: &Lifetimes,
        now: Moment,
    ) -> Option<Self> {
        let kept = current.map(|current| &current.snapshot).filter(|snapshot| {
            names(snapshot, targets)
                && snapshot.check_signatures(root).is_ok()
                && left(snapshot.expires(), now) > lifetimes.snapshot_margin()
        });
        let stays = kept.is_some()
            && current.is_some_and(|current| {
                current.timestamp.check_signatures(root).is_ok()
                    && left(current.timestamp.expires(), now) > lifetimes.timestamp_margin()
            });
        if stays {
            return None;
        }
        let snapshot = if let Some(snapshot) = kept {
            snapshot.clone()
        } else {
            let version = next(current.map(|current| current.snapshot.version()), now);
            let end = after(now, lifetimes.snapshot).parse().expect("written by the same rules");
            let mut snapshot = Snapshot::new(SPEC_VERSION.to_owned(), version, end);
            snapshot.meta.insert("targets.json".to_owned(), metafile(targets));
            key.sign(snapshot)
        };
        let version = next(current.map(|current| current.timestamp.version()), now);
        let end = after(now, lifetimes.timestamp).parse().expect("written by the same rules");
        let mut timestamp = Timestamp::new(SPEC_VERSION.to_owned(), version, end);
        timestamp.meta.insert("snapshot.json".to_owned(), metafile(&snapshot));
        Some(Self { snapshot, timestamp: key.sign(timestamp) })
    }
}

fn names(snapshot: &Document<Snapshot>, targets: &Document<Targets>) -> bool {
    snapshot.content.signed.meta.get("targets.json") == Some(&metafile(targets))
}

fn metafile<T: Role>(document: &Document<T>) -> Metafile {
    Metafile {
        length: Some(document.bytes.len() as u64),
        hashes: Some(Hashes {
            sha256: sha256(&document.bytes).0.to_vec().into(),
            _extra: HashMap::new(),
        }),
        version: document.content.signed.version(),
        _extra: HashMap::new(),
    }
}

/// Above the last one, and never below the clock in seconds: a server that was restored from an older backup goes on
/// above what agents have seen of it.
fn next(last: Option<u64>, now: Moment) -> NonZeroU64 {
    let clock = u64::try_from(now.as_second()).unwrap_or_default();
    NonZeroU64::MIN.saturating_add(last.unwrap_or_default().max(clock.saturating_sub(1)))
}

fn left(expires: Moment, now: Moment) -> Duration {
    Duration::try_from(expires.duration_since(now)).unwrap_or_default()
}

/// As text, for tough has another version of the crate of its times. In whole seconds: some clients read no others.
fn after(now: Moment, life: Duration) -> String {
    let second = now.as_second().saturating_add_unsigned(life.as_secs());
    Moment::from_second(second).unwrap_or(Moment::MAX).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Hexadecimal digits, lower case.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
