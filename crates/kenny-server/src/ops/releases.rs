//! Releases: adding them, listing them, finding the one for an agent.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use axum::body::Bytes;
use futures_util::Stream;
use jiff::Timestamp;
use kenny_proto::api::{Release, ReleaseAdded, ReleaseList, ReleaseSigner};
use kenny_proto::{Arch, Os, Sha256Digest};
use semver::Version;
use tokio::sync::MutexGuard;

use super::{Action, Operator, OpsError, Permit};
use crate::app::App;
use crate::audit::{Facts, Subject, cut};
use crate::events::kind;
use crate::fleet::AgentState;
use crate::releases::ReleaseFiles;
use crate::releases::links::Signer;
use crate::rollout::is_version;
use crate::store::rows;
use crate::trust::{self, Target, Trust};

/// How long an artifact waits to be signed: a holder of a key may be on holiday.
const UNSIGNED_KEPT: Duration = Duration::from_hours(30 * 24);
/// They cost nothing but room.
const SWEPT_EVERY: Duration = Duration::from_hours(24);

/// Every release, in memory: the reconciler asks while the database may not answer.
pub struct Releases {
    /// The artifacts.
    pub files: ReleaseFiles,
    /// Makes the links to them.
    pub signer: Signer,
    list: RwLock<Vec<Release>>,
    /// Held from a look at what is there to the end of a change.
    changing: tokio::sync::Mutex<()>,
}

impl Releases {
    /// What the database and the data folder have.
    pub fn new(files: ReleaseFiles, signer: Signer, list: Vec<Release>) -> Self {
        Self { files, signer, list: RwLock::new(list), changing: tokio::sync::Mutex::new(()) }
    }

    /// While this is held, nobody else adds or removes a release.
    pub async fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().await
    }

    fn edit(&self, edit: impl FnOnce(&mut Vec<Release>)) {
        edit(&mut self.list.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// Every artifact, newest version first; those that were withdrawn, too.
    pub fn list(&self) -> Vec<Release> {
        let mut list = self.list.read().unwrap_or_else(PoisonError::into_inner).clone();
        list.sort_by_cached_key(|release| {
            let version = Version::parse(&release.version).ok();
            (std::cmp::Reverse(version), release.os, release.arch)
        });
        list
    }

    /// Those that were withdrawn, in no order.
    pub fn withdrawn(&self) -> Vec<Release> {
        let list = self.list.read().unwrap_or_else(PoisonError::into_inner);
        list.iter().filter(|release| release.withdrawn_at.is_some()).cloned().collect()
    }

    /// The artifact of a version for a platform; one that was withdrawn is refused. An agent of 0.2 does not say its architecture: then it is the only
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
        let found = found.cloned().ok_or_else(|| {
            let platform = match arch {
                Some(arch) => format!("{os} {arch}"),
                None => os.to_string(),
            };
            OpsError::NoSuchRelease(missing(&wanted, Some(&platform), &list))
        })?;
        match found.withdrawn_at {
            Some(at) => Err(OpsError::Withdrawn { version: wanted, at }),
            None => Ok(found),
        }
    }

    /// What an invited PC installs: the newest agent for Windows, a finished version before one that is not, and the one
    /// that runs on every processor before others.
    pub fn for_setup(&self) -> Option<Release> {
        let mut list = self.list();
        list.retain(|release| release.os == Os::Windows && release.withdrawn_at.is_none());
        list.into_iter().max_by_key(|release| {
            let version = Version::parse(&release.version).ok();
            let is_finished = version.as_ref().is_some_and(|version| version.pre.is_empty());
            (is_finished, version, release.arch == Arch::X86_64)
        })
    }

    /// The artifact for Windows that has this digest, unless it was withdrawn.
    pub fn windows_by_digest(&self, sha256: Sha256Digest) -> Option<Release> {
        let list = self.list();
        list.into_iter().find(|release| {
            release.os == Os::Windows && release.sha256 == sha256 && release.withdrawn_at.is_none()
        })
    }

    /// True where an agent like this takes the release: with keys on the server that is one which they signed, unless the
    /// agent says that it pins no root.
    pub fn is_taken(trust: &Trust, release: &Release, pins_root: Option<bool>) -> bool {
        !trust.is_signed() || trust.names(release.sha256) || pins_root == Some(false)
    }

    /// The artifacts of the version, for any platform; at least one, and none that was withdrawn.
    pub fn all_of(&self, version: &Version) -> Result<Vec<Release>, OpsError> {
        let wanted = version.to_string();
        let list = self.list();
        let all: Vec<&Release> = list.iter().filter(|release| release.version == wanted).collect();
        let here: Vec<Release> =
            all.iter().filter(|it| it.withdrawn_at.is_none()).copied().cloned().collect();
        if !here.is_empty() {
            return Ok(here);
        }
        Err(match all.iter().find_map(|release| release.withdrawn_at) {
            Some(at) => OpsError::Withdrawn { version: wanted, at },
            None => OpsError::NoSuchRelease(missing(&wanted, None, &list)),
        })
    }
}

fn missing(version: &str, platform: Option<&str>, list: &[Release]) -> String {
    const SHOWN: usize = 8;
    let list: Vec<&Release> = list.iter().filter(|it| it.withdrawn_at.is_none()).collect();
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
        withdrawn_at: None,
    };
    let _changing = app.releases.changing().await;
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
            let warning = withdrawn(&there).or_else(|| unsigned(app, &there));
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
    app.releases.edit(|list| list.push(release.clone()));
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
    (app.trust.is_signed() && !app.trust.names(release.sha256)).then(|| {
        format!(
            "{version} for {os} {arch} is not signed: agents that pin the root refuse it. Sign it with `kenny release sign` \
             and send it with `kenny release publish`"
        )
    })
}

/// What to say of a release that was withdrawn.
fn withdrawn(release: &Release) -> Option<String> {
    let at = release.withdrawn_at?;
    Some(OpsError::Withdrawn { version: release.version.clone(), at }.to_string())
}

/// What a list of targets that follows on another makes of the releases. For who holds [`Releases::changing`].
pub(super) fn changes(
    app: &App,
    (before, targets): (&[Target], &[Target]),
    signers: &HashMap<Sha256Digest, Option<ReleaseSigner>>,
    now: Timestamp,
) -> Result<trust::Releases, OpsError> {
    let list = app.releases.list();
    let is_signed = |sha256| targets.iter().any(|target| target.sha256 == sha256);
    let mut changes = trust::Releases::default();
    changes.withdrawn.extend(before.iter().map(|it| it.sha256).filter(|it| !is_signed(*it)));
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
            Some(there) if there.withdrawn_at.is_some() => changes.back.push(there.sha256),
            Some(_) => {}
            None => changes.added.push(Release {
                version,
                os,
                arch,
                sha256: target.sha256,
                size_bytes: target.size_bytes,
                added_at: now,
                signer: signers.get(&target.sha256).cloned().flatten(),
                withdrawn_at: None,
            }),
        }
    }
    Ok(changes)
}

/// Has the list follow what the database has by now.
pub(super) fn published(app: &App, changes: &trust::Releases, now: Timestamp) {
    for release in &changes.added {
        added(app, release);
    }
    app.releases.edit(|list| {
        for release in list.iter_mut() {
            if changes.withdrawn.contains(&release.sha256) {
                release.withdrawn_at = Some(now);
            } else if changes.back.contains(&release.sha256) {
                release.withdrawn_at = None;
            }
        }
    });
}

/// Removes a version, for every platform, with its files. What is signed is withdrawn first, and what an agent is to run
/// is not removed.
pub async fn remove(app: &App, operator: &Operator, version: &str) -> Result<(), OpsError> {
    let permit = operator.may(app, Action::RemoveRelease, Subject::named(version))?;
    permit.carry_out(app, take_out(app, &permit, version)).await
}

async fn take_out(app: &App, permit: &Permit<'_>, version: &str) -> Result<(), OpsError> {
    let _changing = app.releases.changing().await;
    let list = app.releases.list();
    let (gone, left): (Vec<&Release>, Vec<&Release>) =
        list.iter().partition(|release| release.version == version);
    if gone.is_empty() {
        return Err(OpsError::NoSuchRelease(missing(version, None, &list)));
    }
    if gone.iter().any(|release| app.trust.names(release.sha256)) {
        return Err(OpsError::StillSigned(version.to_owned()));
    }
    let is_on_its_way = |state: &AgentState| {
        let wanted = state.desired.as_ref().map(|desired| desired.version.to_string());
        wanted.is_some_and(|wanted| wanted == version) && !is_version(state.running(), version)
    };
    if let Some(entry) = app.fleet.all().into_iter().find(|entry| is_on_its_way(&entry.lock())) {
        let agent = entry.id.to_string();
        return Err(OpsError::StillWanted { agent, version: version.to_owned() });
    }
    let digests: Vec<Sha256Digest> = gone.iter().map(|release| release.sha256).collect();
    let names: Vec<String> = digests.iter().map(ToString::to_string).collect();
    let facts = Facts::from([("sha256".to_owned(), cut(&names.join(", ")))]);
    let removed = version.to_owned();
    permit
        .change(app, facts, move |connection| rows::delete_releases(connection, &removed))
        .await?;
    app.releases.edit(|list| list.retain(|release| release.version != version));
    for sha256 in digests.iter().filter(|it| !left.iter().any(|left| left.sha256 == **it)) {
        // The row is gone: what is left of the file is nobody's, and the next sweep takes it.
        if let Err(error) = app.releases.files.remove(*sha256).await {
            tracing::warn!(%error, %sha256, "the file of a removed release is still there");
        }
    }
    tracing::info!(version, by = permit.account(), "release removed");
    app.events.publish(kind::RELEASE_REMOVED, None, format!("release {version} was removed"));
    Ok(())
}

/// Looks for artifacts that nobody signed, for ever.
pub async fn run_sweeper(app: &App) {
    let mut ticks = tokio::time::interval(SWEPT_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        sweep(app).await;
    }
}

/// Removes artifacts that were sent to be signed and never were.
pub async fn sweep(app: &App) {
    let _changing = app.releases.changing().await;
    let releases = app.releases.list().into_iter().map(|release| release.sha256);
    let signed = app.trust.targets().into_iter().map(|target| target.sha256);
    match app.releases.files.sweep(releases.chain(signed).collect(), UNSIGNED_KEPT).await {
        Ok(gone) if gone.is_empty() => {}
        Ok(gone) => tracing::info!(files = gone.len(), "removed artifacts that nobody signed"),
        Err(error) => tracing::warn!(%error, "artifacts that nobody signed could not be removed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(version: &str, os: Os, arch: Arch) -> Release {
        Release {
            withdrawn_at: None,
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
