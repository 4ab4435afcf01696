//! Releases: adding them, listing them, finding the one for an agent.

use std::error::Error as StdError;
use std::sync::{PoisonError, RwLock};

use axum::body::Bytes;
use futures_util::Stream;
use jiff::Timestamp;
use kenny_proto::api::{Release, ReleaseAdded, ReleaseList};
use kenny_proto::{Arch, Os, Sha256Digest};
use semver::Version;

use super::{Action, Operator, OpsError, Permit};
use crate::app::App;
use crate::audit::{Facts, Subject};
use crate::events::kind;
use crate::releases::ReleaseFiles;
use crate::releases::links::Signer;
use crate::store::rows;
use crate::trust::Target;

/// Every release, in memory: the reconciler asks while the database may not answer.
pub struct Releases {
    /// The artifacts.
    pub files: ReleaseFiles,
    /// Makes the links to them.
    pub signer: Signer,
    list: RwLock<Vec<Release>>,
    /// Held from the check for a conflict to the end of adding.
    adding: tokio::sync::Mutex<()>,
}

impl Releases {
    /// What the database and the data folder have.
    pub fn new(files: ReleaseFiles, signer: Signer, list: Vec<Release>) -> Self {
        Self { files, signer, list: RwLock::new(list), adding: tokio::sync::Mutex::new(()) }
    }

    /// Every artifact, newest version first.
    pub fn list(&self) -> Vec<Release> {
        let mut list = self.list.read().unwrap_or_else(PoisonError::into_inner).clone();
        list.sort_by_cached_key(|release| {
            let version = Version::parse(&release.version).ok();
            (std::cmp::Reverse(version), release.os, release.arch)
        });
        list
    }

    /// The artifact of a version for a platform. An agent of 0.2 does not say its architecture: then it is the only
    /// one that there is, or `x86_64`.
    pub fn find(&self, version: &Version, os: Os, arch: Option<Arch>) -> Result<Release, OpsError> {
        let wanted = version.to_string();
        let list = self.list();
        let here: Vec<&Release> =
            list.iter().filter(|release| release.version == wanted && release.os == os).collect();
        let found = match (arch, here.as_slice()) {
            (None, [only]) => Some(*only),
            (_, several) => {
                let arch = arch.unwrap_or(Arch::X86_64);
                several.iter().copied().find(|release| release.arch == arch)
            }
        };
        found.cloned().ok_or_else(|| {
            let platform = match arch {
                Some(arch) => format!("{os} {arch}"),
                None => os.to_string(),
            };
            OpsError::NoSuchRelease(missing(&wanted, Some(&platform), &list))
        })
    }

    /// What an invited PC installs: the newest agent for Windows, a finished version before one that is not, and the one
    /// that runs on every processor before others.
    pub fn for_setup(&self) -> Option<Release> {
        let mut list = self.list();
        list.retain(|release| release.os == Os::Windows);
        list.into_iter().max_by_key(|release| {
            let version = Version::parse(&release.version).ok();
            let is_finished = version.as_ref().is_some_and(|version| version.pre.is_empty());
            (is_finished, version, release.arch == Arch::X86_64)
        })
    }

    /// The artifact for Windows that has this digest.
    pub fn windows_by_digest(&self, sha256: Sha256Digest) -> Option<Release> {
        let list = self.list();
        list.into_iter().find(|release| release.os == Os::Windows && release.sha256 == sha256)
    }

    /// Whether there is an artifact of the version for any platform.
    pub fn any(&self, version: &Version) -> Result<(), OpsError> {
        let wanted = version.to_string();
        let list = self.list();
        if list.iter().any(|release| release.version == wanted) {
            return Ok(());
        }
        Err(OpsError::NoSuchRelease(missing(&wanted, None, &list)))
    }
}

fn missing(version: &str, platform: Option<&str>, list: &[Release]) -> String {
    const SHOWN: usize = 8;
    let there: Vec<String> = list
        .iter()
        .take(SHOWN)
        .map(|release| format!("{} for {} {}", release.version, release.os, release.arch))
        .collect();
    let there = match (there.is_empty(), list.len() > SHOWN) {
        (true, _) => "there are no releases yet".to_owned(),
        (false, false) => format!("there is {}", there.join(", ")),
        (false, true) => format!("there is {} and more", there.join(", ")),
    };
    let platform = platform.map(|platform| format!(" for {platform}")).unwrap_or_default();
    format!(
        "there is no release {version}{platform} ({there}); add it with `kenny release add FILE`"
    )
}

/// Every release.
pub fn list(app: &App, operator: &Operator) -> Result<ReleaseList, OpsError> {
    operator.may(app, Action::ListReleases, Subject::default())?;
    Ok(ReleaseList { releases: app.releases.list() })
}

/// Takes an executable in. Exactly the same bytes again change nothing.
pub async fn add<E>(
    app: &App,
    operator: &Operator,
    body: impl Stream<Item = Result<Bytes, E>> + Unpin,
) -> Result<ReleaseAdded, OpsError>
where
    E: Into<Box<dyn StdError + Send + Sync>>,
{
    let permit = operator.may(app, Action::AddRelease, Subject::default())?;
    permit.carry_out(app, take_in(app, &permit, body)).await
}

async fn take_in<E>(
    app: &App,
    permit: &Permit<'_>,
    body: impl Stream<Item = Result<Bytes, E>> + Unpin,
) -> Result<ReleaseAdded, OpsError>
where
    E: Into<Box<dyn StdError + Send + Sync>>,
{
    let received = app.releases.files.receive(body).await?;
    let release = Release {
        version: received.facts.version.to_string(),
        os: received.facts.os,
        arch: received.facts.arch,
        sha256: received.sha256,
        size_bytes: received.size_bytes,
        added_at: Timestamp::now(),
        signer: received.signer.clone(),
    };
    let _adding = app.releases.adding.lock().await;
    let there = app.releases.list().into_iter().find(|there| {
        (&there.version, there.os, there.arch) == (&release.version, release.os, release.arch)
    });
    match there {
        Some(there) if there.sha256 != release.sha256 => {
            return Err(OpsError::ReleaseExists {
                version: there.version,
                platform: format!("{} {}", there.os, there.arch),
                there: there.sha256,
            });
        }
        Some(there) => {
            // Published again, in case the file was lost from the data folder.
            received.publish().await?;
            let warning = unsigned(app, &there);
            return Ok(ReleaseAdded { release: there, created: false, warning });
        }
        None => {}
    }
    // The file first: a row never names a file that is not there.
    received.publish().await?;
    let row = release.clone();
    let facts = Facts::from([
        ("version".to_owned(), release.version.clone()),
        ("platform".to_owned(), format!("{} {}", release.os, release.arch)),
        ("sha256".to_owned(), release.sha256.to_string()),
    ]);
    permit.change(app, facts, move |connection| rows::insert_release(connection, &row)).await?;
    added(app, &release);
    let warning = unsigned(app, &release);
    Ok(ReleaseAdded { release, created: true, warning })
}

/// Takes a release into the list that the database has by now, and tells it.
fn added(app: &App, release: &Release) {
    app.releases.list.write().unwrap_or_else(PoisonError::into_inner).push(release.clone());
    tracing::info!(
        version = %release.version, os = %release.os, arch = %release.arch, sha256 = %release.sha256,
        size_bytes = release.size_bytes, "release added"
    );
    let summary =
        format!("release {} for {} {} was added", release.version, release.os, release.arch);
    app.events.publish(kind::RELEASE_ADDED, None, summary);
    app.rollouts.wake();
}

/// What to say of a release that no offline key signed, on a server that has signed ones.
fn unsigned(app: &App, release: &Release) -> Option<String> {
    let Release { version, os, arch, .. } = release;
    let is_signed = app.trust.targets().iter().any(|target| target.sha256 == release.sha256);
    (app.trust.is_signed() && !is_signed).then(|| {
        format!(
            "{version} for {os} {arch} is not signed: agents that pin the root refuse it. Sign it with `kenny release sign` \
             and send it with `kenny release publish`"
        )
    })
}

/// The releases that signed targets make and that are not there yet, under the lock in which they stay missing.
pub(super) async fn missing_of<'app>(
    app: &'app App,
    targets: &[Target],
    now: Timestamp,
) -> Result<(tokio::sync::MutexGuard<'app, ()>, Vec<Release>), OpsError> {
    let adding = app.releases.adding.lock().await;
    let list = app.releases.list();
    let mut missing = Vec::new();
    for target in targets {
        let version = target.custom.version.to_string();
        let (os, arch) = (target.custom.os, target.custom.arch);
        let there = list
            .iter()
            .find(|there| (&there.version, there.os, there.arch) == (&version, os, arch));
        match there {
            Some(there) if there.sha256 != target.sha256 => {
                let platform = format!("{os} {arch}");
                return Err(OpsError::ReleaseExists { version, platform, there: there.sha256 });
            }
            Some(_) => {}
            None => missing.push(Release {
                version,
                os,
                arch,
                sha256: target.sha256,
                size_bytes: target.size_bytes,
                added_at: now,
                signer: None,
            }),
        }
    }
    Ok((adding, missing))
}

/// Lists releases that the database has by now.
pub(super) fn published(app: &App, releases: &[Release]) {
    for release in releases {
        added(app, release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(version: &str, os: Os, arch: Arch) -> Release {
        Release {
            version: version.to_owned(),
            os,
            arch,
            sha256: Sha256Digest([1; 32]),
            size_bytes: 1,
            added_at: Timestamp::UNIX_EPOCH,
            signer: None,
        }
    }

    fn releases(list: Vec<Release>) -> (crate::testing::TempDir, Releases) {
        let folder = crate::testing::TempDir::new();
        let files = ReleaseFiles::open(folder.path()).unwrap();
        (folder, Releases::new(files, Signer::new(&[0; 32]), list))
    }

    #[test]
    fn an_agent_that_does_not_say_its_architecture_gets_the_likely_one() {
        let version = Version::new(1, 1, 0);
        let find = |list: &[Arch], arch| {
            let list = list.iter().map(|arch| release("1.1.0", Os::Windows, *arch)).collect();
            let (_folder, releases) = releases(list);
            releases.find(&version, Os::Windows, arch).map(|release| release.arch).ok()
        };
        assert_eq!(find(&[Arch::Aarch64], None), Some(Arch::Aarch64));
        assert_eq!(find(&[Arch::Aarch64, Arch::X86_64], None), Some(Arch::X86_64));
        assert_eq!(find(&[Arch::Aarch64], Some(Arch::X86_64)), None);
        assert_eq!(find(&[], None), None);
    }

    #[test]
    fn an_invited_pc_gets_the_newest_finished_agent_for_windows() {
        let windows = |version| release(version, Os::Windows, Arch::X86_64);
        let setup = |list: Vec<Release>| {
            releases(list).1.for_setup().map(|release| (release.version, release.arch))
        };
        assert_eq!(setup(vec![release("9.0.0", Os::Linux, Arch::X86_64)]), None);
        let finished = setup(vec![windows("1.9.0"), windows("1.10.0"), windows("2.0.0-rc.1")]);
        assert_eq!(finished, Some(("1.10.0".to_owned(), Arch::X86_64)));
        assert_eq!(setup(vec![windows("2.0.0-rc.1")]).unwrap().0, "2.0.0-rc.1");
        let both = [Arch::X86_64, Arch::Aarch64].map(|arch| release("1.0.0", Os::Windows, arch));
        assert_eq!(setup(both.to_vec()).unwrap().1, Arch::X86_64);
    }

    #[test]
    fn what_is_missing_is_told_with_what_exists_newest_first() {
        let list = ["1.9.0", "1.10.0"].map(|version| release(version, Os::Linux, Arch::X86_64));
        let (_folder, releases) = releases(list.to_vec());
        let error = releases.find(&Version::new(2, 0, 0), Os::Windows, None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no release 2.0.0 for windows (there is 1.10.0 for linux x86_64, 1.9.0 for linux x86_64); \
             add it with `kenny release add FILE`"
        );
    }
}
