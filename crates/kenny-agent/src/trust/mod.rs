//! Who has the say over what this agent runs: the root that was pinned at install, by the metadata of The Update Framework
//! that the server serves. Where no root is pinned, the hash of the request has it, as in the contract of 0.2.
//!
//! Nothing here ever stops the agent that runs. What cannot be trusted is not updated to; that is all.

mod authorised;
mod distrust;
mod memory;
mod metadata;
mod repository;
mod section;
mod store;
mod transport;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kenny_core::trust::applies;
use kenny_core::update::Journal;
use kenny_proto::frames::Section;
use kenny_proto::trust::TargetName;
use kenny_proto::update::Failure;
use kenny_proto::{Arch, FailureKind, Os, Sha256Digest};
use semver::Version;
use tokio::sync::{Mutex, OnceCell};

use crate::config::Config;
use crate::layout::Layout;
use crate::platform;

pub use authorised::{Authorised, Basis};
pub use distrust::Distrust;
pub use repository::Limits;
pub use store::{PinError, keep_pin, pin_root};
pub use transport::FetchError;

use memory::Checked;
use metadata::Metadata;
use store::{Pin, Store};
use transport::Http;

/// How old the last look may be before the server is asked again: a fraction of the day that a timestamp lives for at least.
pub const FRESH: Duration = Duration::from_hours(6);

/// What somebody wants this PC to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// The version of the request.
    pub version: Version,
    /// The digest of the request.
    pub sha256: Sha256Digest,
    /// The version that runs.
    pub running: Version,
    /// This PC's operating system.
    pub os: Os,
    /// This PC's architecture.
    pub arch: Arch,
}

impl Wish {
    /// What an open update wants, on this PC.
    pub fn of(journal: &Journal) -> Self {
        Self {
            version: journal.version.clone(),
            sha256: journal.sha256,
            running: journal.from_version.clone(),
            os: platform::OS,
            arch: platform::native_arch(),
        }
    }
}

/// One agent's trust; cheap to clone.
#[derive(Debug, Clone)]
pub struct Trust {
    store: Store,
    config: Option<Config>,
    limits: Limits,
    /// Made at the first look: to read what the system trusts takes time.
    http: Arc<OnceCell<Http>>,
    /// One look at the server at a time.
    looking: Arc<Mutex<()>>,
}

impl Trust {
    /// The trust of this installation. Without a config no server can be asked.
    pub fn new(layout: &Layout, config: Option<Config>) -> Self {
        let pinned = config.as_ref().and_then(|config| config.trust.root);
        Self {
            store: Store::new(layout.trust_dir(), pinned),
            config,
            limits: Limits::default(),
            http: Arc::default(),
            looking: Arc::default(),
        }
    }

    /// The same with other limits.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// True where a root has the say here, whether it can be read or not.
    pub fn is_pinned(&self) -> bool {
        matches!(self.store.pin(), Pin::Root)
    }

    /// Asks whether this may run here: the signed metadata where a root is pinned, which the server is asked for anew.
    pub async fn authorise(&self, wish: &Wish, now: Timestamp) -> Result<Authorised, Failure> {
        match self.store.pin() {
            Pin::None(unpinned) => Ok(Authorised::by_hash(&unpinned, wish)),
            Pin::Root => Ok(self.by_metadata(wish, &self.look(now).await?)?),
        }
    }

    /// Asks the same by what was verified before, without the server and whatever the time: for the updater, which takes
    /// up what was authorised when it was staged.
    pub fn authorise_again(&self, wish: &Wish) -> Result<Authorised, Failure> {
        match self.store.pin() {
            Pin::None(unpinned) => Ok(Authorised::by_hash(&unpinned, wish)),
            Pin::Root => Ok(self.by_metadata(wish, &Metadata::kept(&self.store)?)?),
        }
    }

    /// Whether the journal's bytes may run here because they did: a rollback to what this PC kept.
    pub fn authorise_kept(journal: &Journal) -> Result<Authorised, Failure> {
        Authorised::kept(journal).ok_or_else(|| {
            let detail = "only what ran here before needs no signature".to_owned();
            Failure { kind: FailureKind::Untrusted, detail }
        })
    }

    /// Asks the server for what is signed now, where a root is pinned and the last look is not fresh. For the telemetry;
    /// the outcome is remembered. True where it was asked.
    pub async fn look_again(&self, now: Timestamp) -> bool {
        if !self.is_pinned() || self.store.memory().is_fresh(now, FRESH) {
            return false;
        }
        if let Err(distrust) = self.look(now).await {
            tracing::warn!("what is signed could not be verified: {distrust}");
        }
        true
    }

    /// A version runs here and its update is over: nothing lower is taken from now on, unless it is signed as a version
    /// to go back to.
    pub fn committed(&self, version: &Version) {
        if let Err(error) = self.store.raise_floor(version) {
            tracing::warn!(error = %error, "the version floor could not be kept");
        }
    }

    /// What is told of it all.
    pub fn section(&self, now: Timestamp) -> Section {
        section::of(&self.store, now)
    }

    async fn look(&self, now: Timestamp) -> Result<Metadata, Distrust> {
        let _one = self.looking.lock().await;
        let Some(config) = &self.config else {
            return Err(Distrust::NoServer);
        };
        let looked = self.look_at(config, now).await;
        let problem = looked.as_ref().err().map(Distrust::failure);
        if let Err(error) = self.store.remember(Checked { at: now, problem }) {
            tracing::warn!(error = %error, "the outcome of the look at what is signed could not be kept");
        }
        looked
    }

    async fn look_at(&self, config: &Config, now: Timestamp) -> Result<Metadata, Distrust> {
        let http = self.http.get_or_try_init(async || Http::new(config)).await?.clone();
        repository::look(&self.store, http, &config.server, &self.limits, now).await
    }

    fn by_metadata(&self, wish: &Wish, metadata: &Metadata) -> Result<Authorised, Distrust> {
        let Wish { version, os, arch, .. } = wish;
        let name = TargetName { version: version.clone(), os: *os, arch: *arch };
        let signed = metadata.target(&name)?;
        let floor = self.store.memory().floor;
        applies(&signed.custom, *os, *arch, &wish.running, floor.as_ref())?;
        if signed.sha256 != wish.sha256 {
            let name = name.to_string();
            return Err(Distrust::OtherBytes { name, signed: signed.sha256, asked: wish.sha256 });
        }
        Ok(Authorised::by_metadata(&signed, metadata.root_version()))
    }
}
