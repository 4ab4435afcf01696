//! One look at what the server serves, verified as the specification says, with the time as an argument.
//!
//! `tough` verifies signatures, versions, hashes and the chain of roots. Expiry is checked here: `tough` asks the system's
//! clock, and refuses for good once that was set back.

use std::time::Duration;

use jiff::Timestamp;
use kenny_proto::trust::{MAX_METADATA_BYTES, METADATA_PATH, TARGETS_PATH};
use tokio::time::timeout;
use tough::{
    ExpirationEnforcement, Repository, RepositoryLoader, TransportError, TransportErrorKind,
};
use url::Url;

use super::distrust::Distrust;
use super::metadata::{Expiry, Metadata};
use super::store::Store;
use super::transport::{Bounded, FetchError, Http};

/// Bounds of one look. [`Limits::default`] is what production uses.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The most of one file.
    pub max_bytes: u64,
    /// The most roots that are followed in one look; the next goes on from there.
    pub max_roots: u64,
    /// How long it may take in all, so that nobody holds an update up by slowness: what is fetched has some ten kilobytes.
    pub time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        // The specification suggests 2^10 roots.
        Self { max_bytes: MAX_METADATA_BYTES, max_roots: 1024, time: Duration::from_mins(2) }
    }
}

/// Looks. What was verified is kept, whatever the outcome.
pub async fn look(
    store: &Store,
    http: Http,
    server: &Url,
    limits: &Limits,
    now: Timestamp,
) -> Result<Metadata, Distrust> {
    let disk = |error: std::io::Error| Distrust::Disk(error.to_string());
    let root = store.root()?;
    let work = store.begin().map_err(disk)?;
    let loader = RepositoryLoader::new(
        &root.bytes,
        address(server, METADATA_PATH),
        address(server, TARGETS_PATH),
    )
    .transport(Bounded { http, max_bytes: limits.max_bytes })
    .limits(tough::Limits {
        max_root_size: limits.max_bytes,
        max_targets_size: limits.max_bytes,
        max_timestamp_size: limits.max_bytes,
        max_snapshot_size: limits.max_bytes,
        max_root_updates: limits.max_roots,
    })
    .datastore(work.clone())
    .expiration_enforcement(ExpirationEnforcement::Unsafe);
    let Ok(loaded) = timeout(limits.time, Box::pin(loader.load())).await else {
        // What it was about to write may be half a file.
        return Err(Distrust::Slow(limits.time.as_secs()));
    };
    store.keep(&work, &root.signed, now).map_err(disk)?;
    let repository = loaded.map_err(|error| distrust(&error))?;
    for expiry in expiries(&repository) {
        expiry.check(now)?;
    }
    Ok(Metadata::new(&repository.root().signed, repository.targets().signed.clone()))
}

/// A path of the server that the tunnel leads to.
fn address(server: &Url, path: &str) -> Url {
    let mut url = server.clone();
    // `set_scheme` takes ws to http and wss to https: all four are what the URL standard calls special.
    let changed = url.set_scheme(if url.scheme() == "wss" { "https" } else { "http" });
    debug_assert!(changed.is_ok());
    url.set_path(path);
    url.set_query(None);
    url
}

/// Until when each role holds, in the order in which the specification checks them.
fn expiries(repository: &Repository) -> [Expiry; 4] {
    [
        Expiry::of("root", &repository.root().signed),
        Expiry::of("timestamp", &repository.timestamp().signed),
        Expiry::of("snapshot", &repository.snapshot().signed),
        Expiry::of("targets", &repository.targets().signed),
    ]
}

fn distrust(error: &tough::error::Error) -> Distrust {
    use tough::error::Error as Tough;

    let causes = || std::iter::successors(std::error::Error::source(error), |error| error.source());
    if let Some(fetch) = causes().find_map(|cause| cause.downcast_ref::<FetchError>()) {
        return fetch.clone().into();
    }
    let missing = causes()
        .find_map(|cause| cause.downcast_ref::<TransportError>())
        .filter(|error| error.kind() == TransportErrorKind::FileNotFound);
    if let Some(missing) = missing {
        let file = missing.url().rsplit('/').next().unwrap_or_default();
        if file == "timestamp.json" {
            return Distrust::NoMetadata;
        }
        return Distrust::Metadata(format!("the server has no {file}"));
    }
    let is_the_disk = matches!(
        error,
        Tough::DatastoreCreate { .. }
            | Tough::DatastoreOpen { .. }
            | Tough::DatastoreRemove { .. }
            | Tough::DatastoreSerialize { .. }
    );
    if is_the_disk {
        Distrust::Disk(error.to_string())
    } else {
        Distrust::Metadata(error.to_string())
    }
}
