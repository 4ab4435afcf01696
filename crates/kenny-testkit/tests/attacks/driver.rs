//! The agent's own way of a request, up to where Windows would be needed: metadata is asked before anything is fetched.

use std::time::Duration;

use jiff::Timestamp;
use kenny_agent::run::Mode;
use kenny_agent::tunnel::Outbox;
use kenny_agent::update::{Driver, JournalFile};
use kenny_core::update::{Event, Journal, Quarantine, Source, Step, Wanted, step};
use kenny_proto::tools::UpdateArgs;
use kenny_proto::{FailureKind, UpdateId};
use kenny_testkit::eventually;
use kenny_testkit::signing::Repository;
use serde_json::json;
use tokio::sync::watch;

use super::site::{EVIL, GOOD, Site, digest};

/// A driver that believes to run under a service manager, as at the start of an agent.
fn started(site: &Site, stop: watch::Receiver<bool>) -> Driver {
    let (layout, config) = (site.layout.clone(), site.config.clone());
    let driver = Driver::new(layout, config, Mode::Service, Outbox::default(), stop);
    driver.settle();
    driver
}

/// Asks a driver for these bytes as this version. Returns the answer's words.
async fn ask(site: &Site, version: &str, bytes: &[u8]) -> String {
    let (_stop, stopping) = watch::channel(false);
    let driver = started(site, stopping);
    let args = UpdateArgs {
        version: version.parse().expect("a version"),
        url: site.server.at("/artifact"),
        sha256: digest(bytes),
        update_id: Some(UpdateId::random()),
        deadline: None,
        allow_quarantined: false,
    };
    driver.update(args).await.expect_err("no updater starts here").message
}

fn was_fetched(site: &Site) -> bool {
    site.server.asked().iter().any(|path| path == "/artifact")
}

fn last_failure(site: &Site) -> FailureKind {
    let journal = JournalFile::new(&site.layout.journal_file).read();
    let journal = journal.expect("it can be read").expect("it is there");
    assert!(!journal.is_open());
    journal.failure.expect("it failed").kind
}

/// A site whose signatures hold by this PC's real clock, for which the driver has no other.
async fn site() -> Site {
    let mut site = Site::new().await;
    let times = Repository::new(Timestamp::now()).expires;
    site.repository.expires = times;
    site.publish();
    fs_err::create_dir_all(&site.layout.install_dir).expect("a folder");
    site
}

#[tokio::test]
async fn what_nobody_signed_is_not_even_fetched() {
    let mut site = site().await;
    let words = ask(&site, "6.6.6", EVIL).await;
    assert!(words.starts_with("untrusted: "), "{words}");
    assert!(words.contains("no signed release is called kenny-agent/6.6.6/"), "{words}");
    assert_eq!(last_failure(&site), FailureKind::Untrusted);
    assert!(!was_fetched(&site), "{:?}", site.server.asked());

    site.repository.expires.timestamp = Timestamp::UNIX_EPOCH;
    site.publish();
    let words = ask(&site, "6.6.6", EVIL).await;
    assert!(words.starts_with("expired: "), "{words}");
    assert!(!was_fetched(&site), "{:?}", site.server.asked());
}

#[tokio::test]
async fn what_is_signed_is_fetched_after_its_metadata() {
    let mut site = site().await;
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    site.repository.release(("9.0.0", os, arch), GOOD, &json!({}));
    site.publish();
    // The server does not have it: this is as far as it gets.
    let words = ask(&site, "9.0.0", GOOD).await;
    assert!(words.starts_with("download: "), "{words}");
    let asked = site.server.asked();
    let at = |path: &str| asked.iter().position(|asked| asked == path).expect(path);
    assert!(at("/tuf/metadata/timestamp.json") < at("/artifact"), "{asked:?}");
}

#[tokio::test]
async fn what_is_taken_up_again_is_asked_about_again() {
    let site = site().await;
    let now = Timestamp::now();
    let wanted = Wanted {
        update_id: UpdateId::random(),
        version: "6.6.6".parse().unwrap(),
        sha256: digest(EVIL),
        source: Source::Download { url: site.server.at("/artifact") },
    };
    let from = (site.running.clone(), digest(b"what runs"));
    let mut journal = Journal::accepted(wanted, from, Quarantine::default(), now);
    // The download was complete when the agent ended; what it was told then, it alone knew.
    for event in [Event::Begun, Event::Downloaded] {
        journal = step(&journal, event, now).unwrap().0;
    }
    assert_eq!(journal.step, Step::Verifying);
    let candidate = site.layout.update_dir.join(format!("{}.exe", digest(EVIL)));
    fs_err::create_dir_all(&site.layout.update_dir).unwrap();
    fs_err::write(&candidate, EVIL).unwrap();
    let file = JournalFile::new(&site.layout.journal_file);
    file.write(&journal).unwrap();

    let (_stop, stopping) = watch::channel(false);
    let _driver = started(&site, stopping);
    eventually("the end of the update", Duration::from_mins(1), async || {
        Ok(file.read()?.filter(|journal| !journal.is_open()))
    })
    .await
    .unwrap();
    assert_eq!(last_failure(&site), FailureKind::Untrusted);
    assert!(!was_fetched(&site));
}
