//! This PC, as the engine sees it: files, services, clock and network. What is of one operating system alone is in
//! `platform` and `services`.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kenny_core::image;
use kenny_core::update::{
    AgentSeen, File, Host, HostError, Journal, JournalProblem, Reach, Refusal, Source, Waited,
    WatchLimits, Word,
};
use kenny_proto::update::Failure;
use kenny_proto::{FailureKind, Sha256Digest, UpdateId};
use semver::Version;

use super::download::{self, Disk, Download, Limits};
use super::files::{self, Verified, fail};
use super::gate::Gate;
use super::life::Life;
use super::places::Places;
use super::probe::Reached;
use super::services::Services;
use super::{JournalFile, preflight, starts};
use crate::config::{Config, UpdateConfig};
use crate::layout::Layout;
use crate::platform;
use crate::trust::{Authorised, Trust, Wish};

/// Progress is told at most this often (update-guarantees).
const PROGRESS: Duration = Duration::from_secs(1);

/// Who is told how it goes.
pub trait Listener {
    /// The journal changed.
    fn changed(&mut self, journal: &Journal);
    /// So much of the candidate is there; of how much in all is not always known.
    fn progress(&mut self, journal: &Journal, bytes: u64, total: Option<u64>);
}

/// Which process this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The agent, or a console that does the agent's part.
    Agent,
    /// The updater: it cannot wait for its own end.
    #[cfg_attr(not(windows), expect(dead_code, reason = "there is no updater elsewhere"))]
    Updater,
}

/// This PC.
pub struct Pc {
    places: Places,
    layout: Layout,
    journal: JournalFile,
    config: Option<Config>,
    services: Services,
    life: Life,
    reached: Reached,
    trust: Trust,
    listener: Box<dyn Listener + Send>,
    role: Role,
}

impl Pc {
    /// The PC of this installation. Without a config that can be used it waits as one does by default, and finds no
    /// server.
    pub fn new(
        layout: Layout,
        config: Option<Config>,
        life: Life,
        listener: Box<dyn Listener + Send>,
        role: Role,
    ) -> Self {
        Self {
            places: Places::new(layout.clone()),
            journal: JournalFile::new(&layout.journal_file),
            reached: Reached::new(config.clone()),
            trust: Trust::new(&layout, config.clone()),
            services: Services::new(layout.clone()),
            layout,
            config,
            life,
            listener,
            role,
        }
    }

    /// The same with the trust that the rest of this process has.
    #[must_use]
    pub fn with_trust(self, trust: Trust) -> Self {
        Self { trust, ..self }
    }

    fn path(&self, file: File) -> Result<PathBuf, HostError> {
        self.places.path(file).ok_or_else(|| HostError {
            refusal: Refusal::Other,
            words: "no update says which candidate is meant".to_owned(),
        })
    }

    fn know(&mut self, journal: &Journal) {
        self.places.set_candidate(journal.sha256);
    }

    fn download(
        &mut self,
        journal: &Journal,
        authorised: &Authorised,
        url: &str,
    ) -> Result<(), Failure> {
        let Some(config) = &self.config else {
            let detail = "there is no config that says where downloads may come from";
            return Err(fail(FailureKind::Download, detail));
        };
        let gate = Gate::new(&config.server, &config.update.allowed_origins);
        let url = gate
            .check(url)
            .map_err(|refused| fail(FailureKind::UrlRefused, refused.to_string()))?;
        self.places.clear_downloads(Some(authorised.sha256()));
        let client = crate::tunnel::tls_config(config)
            .map_err(|error| format!("{error:#}"))
            .and_then(|tls| download::client(&gate, tls).map_err(|error| error.to_string()))
            .map_err(|error| fail(FailureKind::Download, error))?;
        let staging = self.places.staging(authorised.sha256());
        let mut last: Option<Instant> = None;
        let listener = &mut self.listener;
        let progress = |bytes: u64, total: Option<u64>| {
            if last.is_none_or(|last| last.elapsed() >= PROGRESS) {
                last = Some(Instant::now());
                listener.progress(journal, bytes, total);
            }
        };
        let mut limits = Limits::of(&config.update);
        if let Some(length) = authorised.length() {
            limits.max_bytes = limits.max_bytes.min(length);
        }
        let download = Download {
            client: &client,
            url: &url,
            staging: &staging,
            limits,
            disk: Disk::default(),
        };
        self.life.block_on(download.fetch(progress))
    }
}

/// An error of the file system in the engine's terms.
fn refused(attempt: &str, path: &Path, error: &io::Error) -> HostError {
    let refusal = if platform::is_in_use(error) {
        Refusal::InUse
    } else if platform::is_disk_full(error) {
        Refusal::Full
    } else {
        Refusal::Other
    };
    HostError { refusal, words: format!("could not {attempt} {}: {error}", path.display()) }
}

impl Host for Pc {
    type Authorised = Authorised;
    type Verified = Verified;

    fn now(&mut self) -> Timestamp {
        Timestamp::now()
    }

    fn observed_ms(&mut self) -> u64 {
        u64::try_from(platform::observed().as_millis()).unwrap_or(u64::MAX)
    }

    fn pause(&mut self, ms: u64) -> Waited {
        self.life.pause(Duration::from_millis(ms))
    }

    fn read_journal(&mut self) -> Result<Option<Journal>, JournalProblem> {
        let read = self.journal.read();
        if let Ok(Some(journal)) = &read {
            self.places.set_candidate(journal.sha256);
        }
        read
    }

    fn write_journal(&mut self, journal: &Journal) -> Result<(), HostError> {
        self.know(journal);
        self.journal
            .write(journal)
            .map_err(|error| refused("write", &self.layout.journal_file, &error))
    }

    fn set_journal_aside(&mut self) -> Result<(), HostError> {
        self.journal
            .set_aside()
            .map_err(|error| refused("set aside", &self.layout.journal_file, &error))
    }

    fn changed(&mut self, journal: &Journal) {
        self.listener.changed(journal);
    }

    fn trouble(&mut self, what: &str, error: &HostError) {
        tracing::warn!(error = error.words, "{what}");
    }

    fn digest(&mut self, file: File) -> Result<Option<Sha256Digest>, HostError> {
        let path = self.path(file)?;
        match files::sha256_of_file(&path) {
            Ok(digest) => Ok(Some(digest)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(refused("read", &path, &error)),
        }
    }

    fn version_of(&mut self, file: File) -> Option<Version> {
        let bytes = fs_err::read(self.places.path(file)?).ok()?;
        image::read_facts(&bytes).ok().map(|facts| facts.version)
    }

    fn copy(&mut self, from: File, to: File) -> Result<(), HostError> {
        let (from, to) = (self.path(from)?, self.path(to)?);
        let made = to.parent().map_or(Ok(()), std::fs::create_dir_all);
        made.and_then(|()| files::copy_bytes(&from, &to))
            .map(drop)
            .map_err(|error| refused("copy", &from, &error))
    }

    fn flush(&mut self, file: File) -> Result<(), HostError> {
        let path = self.path(file)?;
        files::flush(&path).map_err(|error| refused("flush", &path, &error))
    }

    fn rename(&mut self, from: File, to: File) -> Result<(), HostError> {
        let (from, to) = (self.path(from)?, self.path(to)?);
        platform::replace_file_once(&from, &to).map_err(|error| refused("rename", &from, &error))
    }

    fn remove(&mut self, file: File) -> Result<(), HostError> {
        if file == File::Candidate {
            // With it goes what its download left; where no update is known, what any download did.
            match self.places.path(file) {
                Some(path) => {
                    files::remove(&path).map_err(|error| refused("remove", &path, &error))?;
                }
                None => self.places.clear_downloads(None),
            }
            self.places.clear_candidate();
            return Ok(());
        }
        let path = self.path(file)?;
        files::remove(&path).map_err(|error| refused("remove", &path, &error))
    }

    fn activate(&mut self, verified: &mut Verified) -> Result<(), HostError> {
        let active = self.path(File::Active)?;
        platform::replace_file_once(verified.path(), &active)
            .map_err(|error| refused("replace", &active, &error))?;
        verified.release();
        Ok(())
    }

    fn undo_displace(&mut self) -> Result<(), HostError> {
        let (displaced, active) = (self.path(File::Displaced)?, self.path(File::Active)?);
        platform::replace_file_once(&displaced, &active)
            .map_err(|error| refused("put back", &active, &error))
    }

    fn authorise(&mut self, journal: &Journal) -> Result<Authorised, Failure> {
        match (self.role, &journal.source) {
            // The version that was running when the update began is one whose own update was over.
            (Role::Agent, Source::Download { .. }) => {
                self.trust.committed(&journal.from_version);
                let now = self.now();
                self.life.block_on(self.trust.authorise(&Wish::of(journal), now))
            }
            (Role::Agent, Source::Previous {}) => {
                self.trust.committed(&journal.from_version);
                Trust::authorise_kept(journal)
            }
            (Role::Updater, Source::Download { .. }) => {
                self.trust.authorise_again(&Wish::of(journal))
            }
            (Role::Updater, Source::Previous {}) => Trust::authorise_kept(journal),
        }
    }

    fn fetch(&mut self, journal: &Journal, authorised: &Authorised) -> Result<(), Failure> {
        self.know(journal);
        match &journal.source {
            Source::Download { url } => self.download(journal, authorised, url),
            Source::Previous {} => {
                Err(fail(FailureKind::Other, "what was kept on this PC is not downloaded"))
            }
        }
    }

    fn verify_candidate(
        &mut self,
        journal: &Journal,
        authorised: &Authorised,
    ) -> Result<Verified, Failure> {
        self.know(journal);
        let path = self
            .path(File::Candidate)
            .map_err(|error| fail(FailureKind::Disk, error.to_string()))?;
        files::verify(&path, authorised)
    }

    fn verify_restored(&mut self, journal: &Journal) -> Result<Verified, HostError> {
        let path = self.path(File::ActiveNew)?;
        let verified = files::verify_digest(&path, journal.from_sha256)
            .map_err(|error| refused("read", &path, &error))?;
        verified.ok_or_else(|| HostError {
            refusal: Refusal::Other,
            words: format!("{} is not the version that ran before", path.display()),
        })
    }

    fn preflight(&mut self, journal: &Journal, candidate: &Verified) -> Result<(), Failure> {
        if self.config.as_ref().is_some_and(|config| config.update.require_authenticode) {
            platform::check_signature(candidate.path()).map_err(|error| {
                let detail = format!(
                    "this PC runs signed executables only, and the new version is refused: {error}"
                );
                fail(FailureKind::Untrusted, detail)
            })?;
        }
        let proof = preflight::prove(candidate.path(), &self.layout.config_file, journal);
        match self.life.block_on(proof)? {
            None => Ok(()),
            Some(why) => Err(preflight::without_server(&why, self.reach())),
        }
    }

    fn updater_is_registered(&mut self) -> Result<bool, HostError> {
        self.services.updater_is_registered()
    }

    fn register_updater(&mut self) -> Result<(), HostError> {
        let image = self.path(File::Previous)?;
        self.services.register_updater(&image, &self.life)
    }

    fn flush_services(&mut self) -> Result<(), HostError> {
        self.services.flush()
    }

    fn start_updater(&mut self) -> Result<(), HostError> {
        self.services.start_updater()
    }

    fn remove_updater(&mut self) -> Result<(), HostError> {
        self.services.remove_updater(self.role)
    }

    fn wait_for_word(&mut self, limit_ms: u64) -> Word {
        // There is time now; the first look at the new version then has an answer at hand.
        self.reached.ask_ahead(&self.life);
        self.life.wait_for_word(Duration::from_millis(limit_ms))
    }

    fn set_recovery(&mut self, on: bool) -> Result<(), HostError> {
        self.services.set_recovery(on)
    }

    fn stop_agent(&mut self, limit_ms: u64) -> Result<(), HostError> {
        self.services.stop_agent(Duration::from_millis(limit_ms))
    }

    fn start_agent(&mut self) -> Result<(), HostError> {
        self.services.start_agent()
    }

    fn agent(&mut self, expected: &Version) -> AgentSeen {
        self.services.agent(expected)
    }

    fn reach(&mut self) -> Reach {
        self.reached.now(&self.life)
    }

    fn limits(&mut self) -> WatchLimits {
        let default = UpdateConfig::default();
        let update = self.config.as_ref().map_or(&default, |config| &config.update);
        WatchLimits {
            probation_ms: update.probation_secs.saturating_mul(1000),
            connect_ms: update.start_timeout_secs.saturating_mul(1000),
        }
    }

    fn starts(&mut self, update: UpdateId) -> u32 {
        starts::read(&self.layout.starts_file, update)
    }

    fn count_start(&mut self, update: UpdateId) -> u32 {
        starts::count(&self.layout.starts_file, update)
    }
}

#[cfg(test)]
#[path = "host_tests.rs"]
mod tests;
