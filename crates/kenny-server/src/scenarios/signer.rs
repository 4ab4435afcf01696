//! An operator with offline keys, and what is published with them.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::time::Duration;

use aws_lc_rs::signature::Ed25519KeyPair;
use jiff::Timestamp;
use kenny_core::trust as core;
use kenny_proto::Sha256Digest;
use kenny_proto::trust::{Publication, TargetCustom};
use serde_json::Value;
use tough::schema::key::Key;
use tough::schema::{Hashes, Role, RoleKeys, RoleType, Root, Signature, Signed, Target, Targets};
use tough::sign::Sign as _;

use super::rig::Rig;
use crate::auth::{random_bytes, sha256};
use crate::store::rows;

const DAY: i64 = 24 * 60 * 60;

/// Nothing here takes longer unless it is broken.
const PATIENCE: Duration = Duration::from_secs(20);

/// An operator with keys: two of three for the root, one for the targets.
pub struct Signer {
    pub roots: Vec<Ed25519KeyPair>,
    pub targets: Vec<Ed25519KeyPair>,
    pub online: Key,
}

pub fn pair() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&random_bytes()).unwrap()
}

pub fn sign<T: Role>(role: T, keys: &[&Ed25519KeyPair]) -> String {
    let text = role.canonical_form().unwrap();
    let sign = |key: &&Ed25519KeyPair| Signature {
        keyid: key.tuf_key().key_id().unwrap(),
        sig: Ed25519KeyPair::sign(key, &text).as_ref().to_vec().into(),
    };
    let signatures = keys.iter().map(sign).collect();
    serde_json::to_string(&Signed { signed: role, signatures }).unwrap()
}

fn version(version: u64) -> NonZeroU64 {
    NonZeroU64::new(version).unwrap()
}

fn in_days(days: i64) -> String {
    let second = Timestamp::now().as_second() + days * DAY;
    Timestamp::from_second(second).unwrap().to_string()
}

impl Signer {
    pub async fn of(rig: &Rig) -> Self {
        let status = rig.get("/trust").await;
        let online = status["online_key"]["public"].as_str().unwrap().parse().unwrap();
        Self { roots: vec![pair(), pair(), pair()], targets: vec![pair()], online }
    }

    pub fn root(&self, number: u64, days: i64) -> Root {
        let mut keys = HashMap::new();
        let mut role = |those: Vec<Key>, threshold| {
            let keyids = those.iter().map(|key| key.key_id().unwrap()).collect();
            keys.extend(those.into_iter().map(|key| (key.key_id().unwrap(), key)));
            RoleKeys { keyids, threshold: version(threshold), _extra: HashMap::new() }
        };
        let of = |pairs: &[Ed25519KeyPair]| pairs.iter().map(tough::sign::Sign::tuf_key).collect();
        let roles = HashMap::from([
            (RoleType::Root, role(of(&self.roots), 2)),
            (RoleType::Targets, role(of(&self.targets), 1)),
            (RoleType::Snapshot, role(vec![self.online.clone()], 1)),
            (RoleType::Timestamp, role(vec![self.online.clone()], 1)),
        ]);
        Root {
            spec_version: "1.0.0".to_owned(),
            consistent_snapshot: true,
            version: version(number),
            expires: in_days(days).parse().unwrap(),
            keys,
            roles,
            _extra: HashMap::new(),
        }
    }

    pub fn signed_root(&self, number: u64, days: i64) -> String {
        sign(self.root(number, days), &[&self.roots[0], &self.roots[2]])
    }

    pub fn signed_targets(&self, number: u64, images: &[&[u8]]) -> String {
        sign(targets(number, 90, images), &[&self.targets[0]])
    }

    pub fn first(&self) -> Publication {
        Publication {
            roots: vec![self.signed_root(1, 365)],
            targets: Some(self.signed_targets(1, &[])),
        }
    }
}

fn custom_of(image: &[u8]) -> TargetCustom {
    let facts = kenny_core::image::read_facts(image).unwrap();
    TargetCustom {
        version: facts.version,
        os: facts.os,
        arch: facts.arch,
        from: None,
        rollback_to: false,
    }
}

pub fn targets(number: u64, days: i64, images: &[&[u8]]) -> Targets {
    let expires = in_days(days).parse().unwrap();
    let mut targets = Targets::new("1.0.0".to_owned(), version(number), expires);
    targets.delegations = None;
    for image in images {
        let custom = custom_of(image);
        let name = core::name_of(&custom).to_string();
        let target = Target {
            length: image.len() as u64,
            hashes: Hashes { sha256: sha256(image).0.to_vec().into(), _extra: HashMap::new() },
            custom: core::write_custom(&custom).collect(),
            _extra: HashMap::new(),
        };
        targets.targets.insert(tough::TargetName::new(name).unwrap(), target);
    }
    targets
}

impl Rig {
    pub async fn publish(&self, publication: &Publication) -> (u16, Value) {
        self.post("/trust/metadata", serde_json::to_value(publication).unwrap()).await
    }

    pub async fn published(&self, publication: &Publication) -> Value {
        let (status, body) = self.publish(publication).await;
        assert_eq!(status, 200, "{body}");
        body
    }

    pub async fn publishing_is_refused(&self, publication: &Publication, said: &str) {
        let before = self.get("/trust").await;
        let (status, body) = self.publish(publication).await;
        assert_eq!((status, body["code"].as_str()), (422, Some("untrusted")), "{said}: {body}");
        assert!(body["detail"].as_str().unwrap().contains(said), "{said}: {body}");
        assert_eq!(self.get("/trust").await, before, "nothing changed");
    }

    pub async fn artifact(&self, image: &[u8], announced: Sha256Digest) -> (u16, Value) {
        let url = format!("{}/api/v1/trust/artifacts/{announced}", self.url);
        let request = self.http.put(url).bearer_auth(&self.token).body(image.to_vec());
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.json().await.unwrap_or_default())
    }

    /// The summary of the newest event of this kind, once it is kept.
    pub async fn kept_event(&self, kind: &'static str) -> String {
        let look = async || {
            let events =
                self.app.store.run(|connection| rows::events_after(connection, 0, None, 1000));
            let events = events.await.unwrap();
            events.into_iter().rev().find(|event| event.kind == kind).map(|event| event.summary)
        };
        let found = async {
            loop {
                if let Some(summary) = look().await {
                    return summary;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, found).await.expect("the event comes at once")
    }

    pub async fn metadata(&self, file: &str) -> reqwest::Response {
        self.http.get(format!("{}/tuf/metadata/{file}", self.url)).send().await.unwrap()
    }
}
