//! Signed releases: what offline keys signed, and what the server signs to say that it is the newest.
//!
//! The repository of The Update Framework lives in the database and, to be served, in memory. [`publication`] decides
//! what may take its place, [`online`] makes snapshot and timestamp, [`timer`] renews them. Private halves of root and targets
//! keys never come here; who may publish is the business of `ops`.

mod document;
mod online;
mod publication;
mod refusal;
mod serve;
mod timer;

pub use online::Lifetimes;
pub use publication::{Offline, Target};
pub use refusal::Refusal;
pub use serve::router;
pub use timer::run as run_timer;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use axum::body::Bytes;
use jiff::Timestamp;
use kenny_core::trust as core;
use kenny_proto::Sha256Digest;
use kenny_proto::api::Release;
use kenny_proto::trust::{
    OnlineKey as PublicKey, Publication, SignedTarget, TrustMode, TrustRole, TrustStatus,
};
use tough::schema::{Role, RoleType};

use self::document::{Document, role_name};
use self::online::{Online, OnlineKey};
use crate::audit::{Entry, append};
use crate::store::{Store, StoreError, rows, trust_rows};

/// The repository of this server.
pub struct Trust {
    lifetimes: Lifetimes,
    held: RwLock<Held>,
    /// Held from a look at what is there to its replacement.
    changing: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Held {
    key: Arc<OnlineKey>,
    next_key: Option<Arc<OnlineKey>>,
    repository: Option<Arc<Repository>>,
}

/// What is served.
struct Repository {
    offline: Offline,
    online: Online,
    /// Every file by its name, older snapshots and targets included.
    files: HashMap<String, Bytes>,
}

/// What a publication makes of the releases.
#[derive(Debug, Clone, Default)]
pub struct Releases {
    /// Those that are new.
    pub added: Vec<Release>,
    /// Those that were signed, and are not any more.
    pub withdrawn: Vec<Sha256Digest>,
    /// Those that were withdrawn, and are signed again.
    pub back: Vec<Sha256Digest>,
}

/// The kept metadata cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the signed metadata in the database cannot be used: {0}")]
pub struct Damaged(#[from] Refusal);

/// Why nothing was published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// What was sent is not taken.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The database did not keep it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Trust {
    /// What the database has.
    pub fn open(kept: &trust_rows::Kept, lifetimes: Lifetimes) -> Result<Self, Damaged> {
        let repository = Repository::read(kept)?.map(Arc::new);
        let key = |seed| Arc::new(OnlineKey::from_seed(seed));
        let held = Held { key: key(kept.key), next_key: kept.next_key.map(key), repository };
        Ok(Self { lifetimes, held: RwLock::new(held), changing: tokio::sync::Mutex::new(()) })
    }

    fn held(&self) -> Held {
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn hold(&self, held: Held) {
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = held;
    }

    /// True when releases are signed.
    pub fn is_signed(&self) -> bool {
        self.held().repository.is_some()
    }

    /// How it stands.
    pub fn status(&self, now: Timestamp) -> TrustStatus {
        let held = self.held();
        let targets = self.targets().into_iter().map(|target| SignedTarget {
            name: target.name,
            sha256: target.sha256,
            size_bytes: target.size_bytes,
            from: target.custom.from.map(|from| from.to_string()),
            rollback_to: target.custom.rollback_to,
        });
        TrustStatus {
            mode: if held.repository.is_some() { TrustMode::Signed } else { TrustMode::HashOnly },
            online_key: held.key.public(),
            next_online_key: held.next_key.map(|key| key.public()),
            roles: held.repository.map_or_else(Vec::new, |it| it.roles(&self.lifetimes, now)),
            targets: targets.collect(),
        }
    }

    /// What is signed, by name.
    pub fn targets(&self) -> Vec<Target> {
        let Some(repository) = self.held().repository else { return Vec::new() };
        let mut targets = repository.offline.targets().expect("checked when it was published");
        targets.sort_by(|one, other| one.name.cmp(&other.name));
        targets
    }

    /// True when the signed metadata names an executable of this digest.
    pub fn names(&self, sha256: Sha256Digest) -> bool {
        self.targets().iter().any(|target| target.sha256 == sha256)
    }

    /// The newest root, as an invitation carries it.
    pub fn root(&self) -> Option<serde_json::Value> {
        let repository = self.held().repository?;
        let root = &repository.offline.root().bytes;
        Some(serde_json::from_slice(root).expect("it was read as JSON before"))
    }

    /// What offline keys signed, as it came.
    pub fn offline(&self) -> Publication {
        let text = |bytes: &Bytes| {
            String::from_utf8(bytes.to_vec()).expect("it was read as JSON, which is UTF-8")
        };
        let Some(repository) = self.held().repository else { return Publication::default() };
        Publication {
            roots: repository.offline.roots.iter().map(|root| text(&root.bytes)).collect(),
            targets: Some(text(&repository.offline.targets.bytes)),
        }
    }

    /// What would be there after this publication.
    pub fn check(&self, published: &Publication, now: Timestamp) -> Result<Offline, Refusal> {
        let held = self.held();
        let current = held.repository.as_ref().map(|it| &it.offline);
        let next = Offline::follow(current, published, now)?;
        next.targets()?;
        held.key_of(&next)?;
        Ok(next)
    }

    /// Keeps and serves what [`Self::check`] gave, with what it makes of the releases; the database has all of it or nothing.
    /// `check` is called once more: another publication may have been faster.
    pub async fn publish(
        &self,
        store: &Store,
        published: &Publication,
        releases: Releases,
        record: Entry,
        now: Timestamp,
    ) -> Result<(u64, u64), PublishError> {
        let _changing = self.changing.lock().await;
        let offline = self.check(published, now)?;
        let held = self.held();
        let (key, promoted) = held.key_of(&offline)?;
        let current = held.repository.as_ref().map(|it| &it.online);
        let both = (offline.root(), &offline.targets);
        let online = match Online::renew(current, both, &key, &self.lifetimes, now) {
            Some(online) => online,
            None => current.expect("made anew where there is none").clone(),
        };
        let versions = (offline.root().version(), offline.targets.version());
        let repository = Repository::next(held.repository.as_deref(), offline, online);
        let rows = repository.rows();
        let facts = [("root", versions.0), ("targets", versions.1)];
        let facts = facts.map(|(name, version)| (name.to_owned(), version.to_string())).into();
        store
            .run(move |connection| {
                append(connection, &record.with(facts))?;
                for release in &releases.added {
                    rows::insert_release(connection, release)?;
                }
                for sha256 in &releases.withdrawn {
                    rows::set_withdrawn(connection, *sha256, Some(now))?;
                }
                for sha256 in &releases.back {
                    rows::set_withdrawn(connection, *sha256, None)?;
                }
                if promoted {
                    trust_rows::promote_next_key(connection)?;
                }
                keep(connection, &rows)
            })
            .await?;
        let next_key = if promoted { None } else { held.next_key };
        self.hold(Held { key, next_key, repository: Some(Arc::new(repository)) });
        Ok(versions)
    }

    /// Signs anew what comes near its end. True when there was something.
    pub async fn renew(&self, store: &Store, now: Timestamp) -> Result<bool, PublishError> {
        let _changing = self.changing.lock().await;
        let held = self.held();
        let Some(repository) = &held.repository else { return Ok(false) };
        let offline = &repository.offline;
        let (key, _) = held.key_of(offline)?;
        let both = (offline.root(), &offline.targets);
        let renewed = Online::renew(Some(&repository.online), both, &key, &self.lifetimes, now);
        let Some(online) = renewed else { return Ok(false) };
        let next = Repository::next(Some(repository), offline.clone(), online);
        let rows = next.rows();
        store.run(move |connection| keep(connection, &rows)).await?;
        self.hold(Held { repository: Some(Arc::new(next)), ..held.clone() });
        Ok(true)
    }

    /// Makes the key that takes the place of the one that signs now, once a root names it.
    pub async fn make_next_key(
        &self,
        store: &Store,
        record: Entry,
    ) -> Result<PublicKey, StoreError> {
        let _changing = self.changing.lock().await;
        let seed = Sha256Digest(crate::auth::random_bytes());
        store
            .run(move |connection| {
                trust_rows::set_next_key(connection, &seed)?;
                append(connection, &record).map(drop)
            })
            .await?;
        let key = Arc::new(OnlineKey::from_seed(seed));
        let public = key.public();
        self.hold(Held { next_key: Some(key), ..self.held() });
        Ok(public)
    }

    /// A file of metadata.
    fn file(&self, name: &str) -> Option<Bytes> {
        self.held().repository.and_then(|repository| repository.files.get(name).cloned())
    }
}

impl Held {
    /// The key that this root has sign the online roles, and whether it is the next one.
    fn key_of(&self, offline: &Offline) -> Result<(Arc<OnlineKey>, bool), Refusal> {
        let root = offline.root();
        let signs = |key: &OnlineKey, role| key.signs(&root.content.signed, role);
        let both = |key: &&Arc<OnlineKey>| {
            signs(key, RoleType::Snapshot) && signs(key, RoleType::Timestamp)
        };
        if let Some(next) = self.next_key.as_ref().filter(both) {
            return Ok((Arc::clone(next), true));
        }
        if both(&&self.key) {
            return Ok((Arc::clone(&self.key), false));
        }
        let role = [RoleType::Snapshot, RoleType::Timestamp]
            .into_iter()
            .find(|role| !signs(&self.key, *role))
            .expect("it does not sign both");
        let own = self.next_key.as_ref().unwrap_or(&self.key).public().public;
        Err(Refusal::OnlineKey { root: root.version(), role, own })
    }
}

impl Repository {
    fn read(kept: &trust_rows::Kept) -> Result<Option<Self>, Refusal> {
        let newest = |bodies: &[Vec<u8>]| bodies.last().cloned();
        let roots: Result<Vec<_>, _> =
            kept.roots.iter().map(|body| Document::read(body.clone())).collect();
        let (roots, Some(targets), Some(snapshot), Some(timestamp)) =
            (roots?, newest(&kept.targets), newest(&kept.snapshots), newest(&kept.timestamps))
        else {
            return Ok(None);
        };
        if roots.is_empty() {
            return Ok(None);
        }
        let offline = Offline { roots, targets: Document::read(targets)? };
        offline.targets()?;
        let online =
            Online { snapshot: Document::read(snapshot)?, timestamp: Document::read(timestamp)? };
        let mut older = HashMap::new();
        for body in &kept.targets {
            insert(&mut older, &Document::<tough::schema::Targets>::read(body.clone())?);
        }
        for body in &kept.snapshots {
            insert(&mut older, &Document::<tough::schema::Snapshot>::read(body.clone())?);
        }
        Ok(Some(Self::with_older(older, offline, online)))
    }

    fn next(current: Option<&Self>, offline: Offline, online: Online) -> Self {
        let older = current.map(|current| current.files.clone()).unwrap_or_default();
        Self::with_older(older, offline, online)
    }

    fn with_older(mut files: HashMap<String, Bytes>, offline: Offline, online: Online) -> Self {
        for root in &offline.roots {
            insert(&mut files, root);
        }
        insert(&mut files, &offline.targets);
        insert(&mut files, &online.snapshot);
        insert(&mut files, &online.timestamp);
        Self { offline, online, files }
    }

    fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = self.offline.roots.iter().map(Row::of).collect();
        rows.push(Row::of(&self.offline.targets));
        rows.push(Row::of(&self.online.snapshot));
        rows.push(Row::of(&self.online.timestamp));
        rows
    }

    fn roles(&self, lifetimes: &Lifetimes, now: Timestamp) -> Vec<TrustRole> {
        let Self { offline, online, .. } = self;
        let root = &offline.root().content.signed;
        let role = |role: RoleType, version: u64, expires: Timestamp| {
            let keys = &root.roles[&role];
            let near = match role {
                RoleType::Root | RoleType::Targets | RoleType::DelegatedTargets => {
                    core::OFFLINE_NEAR
                }
                RoleType::Snapshot => lifetimes.snapshot / 4,
                RoleType::Timestamp => lifetimes.timestamp / 4,
            };
            TrustRole {
                role: role_name(role).to_owned(),
                version,
                expires,
                expiry: core::expiry(expires, near, now),
                threshold: keys.threshold.get(),
                key_ids: keys.keyids.iter().map(|id| online::hex(id)).collect(),
            }
        };
        vec![
            role(RoleType::Root, offline.root().version(), offline.root().expires()),
            role(RoleType::Targets, offline.targets.version(), offline.targets.expires()),
            role(RoleType::Snapshot, online.snapshot.version(), online.snapshot.expires()),
            role(RoleType::Timestamp, online.timestamp.version(), online.timestamp.expires()),
        ]
    }
}

fn insert<T: Role>(files: &mut HashMap<String, Bytes>, document: &Document<T>) {
    files.insert(document.file_name(), document.bytes.clone());
}

struct Row {
    role: RoleType,
    version: u64,
    body: Bytes,
}

impl Row {
    fn of<T: Role>(document: &Document<T>) -> Self {
        Self { role: T::TYPE, version: document.version(), body: document.bytes.clone() }
    }
}

fn keep(connection: &rusqlite::Connection, rows: &[Row]) -> rusqlite::Result<()> {
    for row in rows {
        let role = role_name(row.role);
        trust_rows::keep_metadata(connection, role, row.version, &row.body)?;
        if row.role != RoleType::Root {
            trust_rows::prune_metadata(connection, role)?;
        }
    }
    Ok(())
}
