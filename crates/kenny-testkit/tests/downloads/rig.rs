//! One artifact, one staging folder, and downloads of it with limits in milliseconds.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kenny_agent::config::Config;
use kenny_agent::tunnel::tls_config;
use kenny_agent::update::download::{Disk, Download, Limits, Staging, client};
use kenny_agent::update::gate::Gate;
use kenny_agent::update::sha256_of_file;
use kenny_proto::FailureKind;
use kenny_proto::update::Failure;
use kenny_testkit::Faults;
use kenny_testkit::faults::{Fault, Request};
use tempfile::TempDir;

/// What is downloaded, and where to.
pub struct Rig {
    pub bytes: Vec<u8>,
    pub staging: Staging,
    pub limits: Limits,
    pub disk: Disk,
    /// What the last progress said.
    pub reached: AtomicU64,
    _folder: TempDir,
}

/// The tag that a server of these tests gives its file.
pub const TAG: &str = "\"one\"";

impl Rig {
    /// An artifact of this many bytes; the same for each run.
    pub fn new(size_bytes: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let mut random = fastrand::Rng::with_seed(size_bytes as u64);
        let bytes: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(size_bytes).collect();
        let original = folder.path().join("original");
        fs_err::write(&original, &bytes).expect("room for the original");
        let sha256 = sha256_of_file(&original).expect("it was just written");
        let staging = Staging::new(&folder.path().join("update"), sha256);
        let limits = Limits {
            stall: Duration::from_secs(5),
            patience: Duration::from_secs(5),
            first_wait: Duration::from_millis(1),
            longest_wait: Duration::from_millis(5),
            longest_retry_after: Duration::from_millis(20),
            ..Limits::default()
        };
        let reached = AtomicU64::new(0);
        Self { bytes, staging, limits, disk: Disk::default(), reached, _folder: folder }
    }

    /// The artifact behind these faults.
    pub async fn served(&self, faults: impl Into<Vec<Fault>>) -> Faults {
        Faults::start(self.bytes.clone(), faults).await.expect("a port on loopback")
    }

    /// Downloads as a process that was just started does.
    pub async fn fetch(&self, server: &Faults) -> Result<(), Failure> {
        self.fetch_at(&server.tunnel(), &server.url()).await
    }

    /// Downloads as an agent whose server is at this tunnel.
    pub async fn fetch_at(&self, tunnel: &str, url: &str) -> Result<(), Failure> {
        let (server, agent_id) =
            (tunnel.parse().expect("an address"), "pc".parse().expect("an id"));
        let config = Config::new(server, agent_id, Some("secret".to_owned()));
        let gate = Gate::new(&config.server, &[]);
        let client = client(&gate, tls_config(&config).expect("trust")).expect("a client");
        let url = gate.check(url).expect("the origin of the server");
        let download = Download {
            client: &client,
            url: &url,
            staging: &self.staging,
            limits: self.limits.clone(),
            disk: self.disk.clone(),
        };
        let progress = |bytes, total: Option<u64>| {
            self.reached.store(bytes, Ordering::SeqCst);
            assert!(total.is_none_or(|total| bytes <= total), "{bytes} of {total:?}");
        };
        download.fetch(progress).await
    }

    /// Downloads from behind these faults, which must come to the artifact itself. Returns what was asked.
    pub async fn arrives(&self, faults: impl Into<Vec<Fault>>) -> Vec<Request> {
        let server = self.served(faults).await;
        let outcome = self.fetch(&server).await;
        let requests = server.requests();
        assert_eq!(outcome, Ok(()), "{requests:?}");
        self.assert_arrived();
        requests
    }

    /// Downloads from behind these faults, which must fail.
    pub async fn fails(&self, faults: impl Into<Vec<Fault>>) -> (Failure, Vec<Request>) {
        let server = self.served(faults).await;
        let outcome = self.fetch(&server).await;
        let requests = server.requests();
        let failure = outcome.expect_err(&format!("{requests:?}"));
        assert!(!self.staging.candidate().exists(), "what failed has no final name");
        (failure, requests)
    }

    /// The same, as a failure of the download and not of the version or the address.
    pub async fn is_not_to_be_had(&self, faults: impl Into<Vec<Fault>>) -> (String, Vec<Request>) {
        let (failure, requests) = self.fails(faults).await;
        assert_eq!(failure.kind, FailureKind::Download, "{}", failure.detail);
        (failure.detail, requests)
    }

    /// The candidate is the artifact, byte for byte, and nothing lies beside it.
    pub fn assert_arrived(&self) {
        let arrived = fs_err::read(self.staging.candidate()).expect("it arrived");
        assert!(arrived == self.bytes, "{} bytes of {}", arrived.len(), self.bytes.len());
        assert_eq!(self.names_in_folder().len(), 1, "{:?}", self.names_in_folder());
    }

    /// The candidate has other bytes than were asked for, which its verification will say.
    pub fn assert_arrived_wrong(&self, length: usize) {
        let arrived = self.staging.candidate();
        assert_eq!(fs_err::metadata(&arrived).expect("it arrived").len(), length as u64);
        assert_ne!(sha256_of_file(&arrived).expect("it arrived"), self.staging.sha256());
    }

    /// What lies in the staging folder.
    pub fn names_in_folder(&self) -> Vec<String> {
        let Ok(entries) = fs_err::read_dir(self.staging.folder()) else { return Vec::new() };
        entries
            .map(|entry| entry.expect("a name").file_name().to_string_lossy().into_owned())
            .collect()
    }

    /// Puts a part there, as a process before this one left it.
    pub fn leave_part(&self, bytes: &[u8], tag: Option<&str>) {
        fs_err::create_dir_all(self.staging.folder()).expect("a folder");
        fs_err::write(self.staging.part(), bytes).expect("room");
        if let Some(tag) = tag {
            fs_err::write(self.staging.etag_file(), tag).expect("room");
        }
    }

    /// The part, where there is one.
    pub fn part(&self) -> Option<Vec<u8>> {
        fs_err::read(self.staging.part()).ok()
    }
}

/// The statuses of the answers.
pub fn statuses(requests: &[Request]) -> Vec<u16> {
    requests.iter().map(|request| request.status.unwrap_or(0)).collect()
}

/// From where each request wanted to go on: 0 without a range. A range comes with the tag, and never without.
pub fn begins(requests: &[Request]) -> Vec<usize> {
    let begin = |request: &Request| {
        assert_eq!(request.range().is_some(), request.if_range().is_some(), "{request:?}");
        let Some(range) = request.range() else { return 0 };
        let begin = range.strip_prefix("bytes=").and_then(|range| range.strip_suffix('-'));
        begin.and_then(|begin| begin.parse().ok()).expect("one open range")
    };
    requests.iter().map(begin).collect()
}
