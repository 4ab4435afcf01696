//! One agent's trust, one repository, and the server between them.

use jiff::{SignedDuration, Timestamp};
use kenny_agent::cli::Identity;
use kenny_agent::config::Config;
use kenny_agent::layout::Layout;
use kenny_agent::trust::{Authorised, Limits, Trust, Wish, pin_root};
use kenny_agent::update::copy_file;
use kenny_proto::frames::{Section, Status};
use kenny_proto::update::Failure;
use kenny_proto::{Arch, FailureKind, Os, Sha256Digest};
use kenny_testkit::signing::{self, Files, Repository};
use kenny_testkit::{Answer, Metadata};
use semver::Version;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The platform of these agents.
const PLATFORM: (&str, &str) = ("windows", "x86_64");
/// What runs.
pub const RUNNING: &str = "1.0.0";
/// What the operator wants to run.
pub const WANTED: &str = "1.1.0";
/// What he signed for that.
pub const GOOD: &[u8] = b"the good agent";
/// What the attacker has.
pub const EVIL: &[u8] = b"the evil agent";

/// A time to begin with.
pub fn today() -> Timestamp {
    "2026-06-01T12:00:00Z".parse().expect("a time")
}

/// So many days after [`today`].
pub fn day(days: i64) -> Timestamp {
    today() + SignedDuration::from_hours(24 * days)
}

/// The agent, the operator's repository and the server.
pub struct Site {
    pub repository: Repository,
    pub server: Metadata,
    pub layout: Layout,
    pub config: Config,
    pub limits: Limits,
    pub running: Version,
    _folder: TempDir,
}

impl Site {
    /// An agent with the repository's root pinned, and [`WANTED`] signed and served.
    pub async fn new() -> Self {
        Self::of(Repository::new(today())).await
    }

    /// The same of this repository.
    pub async fn of(repository: Repository) -> Self {
        let mut site = Self::without_root_of(repository).await;
        let root = site.repository.root_json().to_owned();
        site.config.trust.root = Some(pin_root(&site.layout, &root).expect("a root"));
        site
    }

    /// The same of an agent that was installed without a root.
    pub async fn without_root() -> Self {
        Self::without_root_of(Repository::new(today())).await
    }

    async fn without_root_of(mut repository: Repository) -> Self {
        repository.release(platform(WANTED), GOOD, &json!({}));
        let server = Metadata::start(None).await.expect("a port on loopback");
        server.serve(repository.publish());
        let folder = tempfile::tempdir().expect("a folder for the test");
        let executable = folder.path().join("program/kenny-agent.exe");
        let layout = Layout::with_state_dir("test", executable, folder.path().join("state"));
        let identity = Identity {
            server: Some(server.tunnel()),
            agent_id: Some("pc".to_owned()),
            token: Some("secret".to_owned()),
            ..Identity::default()
        };
        let config = identity.over(None).expect("a config");
        let running = RUNNING.parse().expect("a version");
        let limits = Limits::default();
        Self { repository, server, layout, config, limits, running, _folder: folder }
    }

    /// The agent as a process that was just started has it.
    pub fn trust(&self) -> Trust {
        Trust::new(&self.layout, Some(self.config.clone())).with_limits(self.limits.clone())
    }

    /// What a request for these bytes as this version comes to.
    pub async fn ask_for(
        &self,
        version: &str,
        bytes: &[u8],
        now: Timestamp,
    ) -> Result<Authorised, Failure> {
        let authorised = self.trust().authorise(&self.wish(version, bytes), now).await?;
        assert_eq!(authorised.sha256(), digest(bytes));
        assert_eq!(authorised.version().to_string(), version);
        Ok(authorised)
    }

    /// The request for what the operator signed.
    pub async fn ask(&self, now: Timestamp) -> Result<Authorised, Failure> {
        self.ask_for(WANTED, GOOD, now).await
    }

    /// Refuses what the operator signed, for this reason.
    pub async fn refuses(&self, kind: FailureKind, now: Timestamp) -> String {
        self.refuses_all_of(kind, WANTED, GOOD, now).await
    }

    /// Refuses these bytes as this version, for this reason.
    pub async fn refuses_all_of(
        &self,
        kind: FailureKind,
        version: &str,
        bytes: &[u8],
        now: Timestamp,
    ) -> String {
        let failure = self.ask_for(version, bytes, now).await.expect_err("it was taken");
        assert_eq!(failure.kind, kind, "{}", failure.detail);
        assert!(!failure.kind.blames_the_version(), "{kind} counts against the version");
        failure.detail
    }

    /// Serves what the operator has now, one version on.
    pub fn publish(&mut self) {
        let files = self.repository.publish();
        self.server.serve(files);
    }

    /// Serves one file otherwise.
    pub fn replace(&self, name: &str, bytes: Vec<u8>) {
        self.server.answer(name, Answer::Bytes(bytes));
    }

    /// Signs a release.
    pub fn release(&mut self, version: &str, bytes: &[u8], more: &Value) {
        self.repository.release(platform(version), bytes, more);
    }

    /// What telemetry tells.
    pub fn told(&self, now: Timestamp) -> Section {
        self.trust().section(now)
    }

    /// The status that telemetry tells, and the words.
    pub fn status(&self, now: Timestamp) -> (Status, String) {
        let section = self.told(now);
        (section.status, section.summary)
    }

    pub fn wish(&self, version: &str, bytes: &[u8]) -> Wish {
        Wish {
            version: version.parse().expect("a version"),
            sha256: digest(bytes),
            running: self.running.clone(),
            os: Os::Windows,
            arch: Arch::X86_64,
        }
    }
}

/// A version on the platform of these agents.
pub fn platform(version: &str) -> (&str, &str, &str) {
    (version, PLATFORM.0, PLATFORM.1)
}

/// The names of the served files but for the first root, which nobody asks for.
pub fn asked_for(files: &Files) -> Vec<String> {
    files.keys().filter(|name| *name != "1.root.json").cloned().collect()
}

pub fn digest(bytes: &[u8]) -> Sha256Digest {
    signing::sha256(bytes).parse().expect("a digest")
}

/// A file of the agent's state, lost or damaged by a power cut.
pub fn damage(site: &Site, name: &str, content: Option<&[u8]>) {
    let path = site.layout.trust_dir().join(name);
    match content {
        Some(content) => fs_err::write(path, content).expect("it is ours"),
        None => fs_err::remove_file(path).expect("it is there"),
    }
}

/// A file in the layout's folder with these bytes.
pub fn on_disk(site: &Site, bytes: &[u8]) -> std::path::PathBuf {
    let folder = site.layout.update_dir.clone();
    fs_err::create_dir_all(&folder).expect("a folder");
    let (source, path) = (folder.join("source"), folder.join("candidate.exe"));
    fs_err::write(&source, bytes).expect("room");
    copy_file(&source, &path).expect("room");
    path
}
