//! What comes over the wire: too much, too slowly, from elsewhere, cut, or with one bit flipped.

use std::time::Duration;

use kenny_proto::FailureKind;
use kenny_proto::frames::Status;
use kenny_testkit::Answer;
use kenny_testkit::signing::{Files, Holders, Repository};

use super::site::{EVIL, GOOD, Site, WANTED, asked_for, today};

/// A site whose agent has to follow one root, and what is served.
async fn with_a_rotation() -> (Site, Files) {
    let mut site = Site::new().await;
    site.repository.rotate(|_| {});
    site.publish();
    let files = site.repository.files();
    (site, files)
}

#[tokio::test]
async fn data_without_end_ends() {
    let (site, files) = with_a_rotation().await;
    for name in asked_for(&files) {
        site.server.serve(files.clone());
        site.server.answer(&name, Answer::Endless);
        let words = site.refuses(FailureKind::Untrusted, today()).await;
        assert!(words.contains("bytes"), "{name}: {words}");
    }
    site.server.serve(files);
    site.ask(today()).await.expect("the right metadata is taken");
}

#[tokio::test]
async fn no_metadata_can_widen_the_bounds() {
    let (site, files) = with_a_rotation().await;
    // The online keys vouch for a length that no PC has room for.
    let repository = &site.repository;
    let targets = format!("{}.targets.json", repository.versions.targets);
    let mut snapshot = repository.snapshot_value(&files[&targets]);
    snapshot["meta"]["targets.json"]["length"] = u64::from(u32::MAX).into();
    let snapshot = repository.snapshot.sign(&snapshot);
    let mut timestamp = repository.timestamp_value(&snapshot);
    timestamp["meta"]["snapshot.json"]["length"] = u64::from(u32::MAX).into();
    site.replace("timestamp.json", repository.timestamp.sign(&timestamp));
    site.replace(&format!("{}.snapshot.json", repository.versions.snapshot), snapshot);
    site.server.answer(&targets, Answer::Endless);
    let words = site.refuses(FailureKind::Untrusted, today()).await;
    assert!(words.contains("bytes"), "{words}");
}

#[tokio::test]
async fn roots_without_end_end_and_the_next_look_goes_on() {
    let mut site = Site::new().await;
    for _ in 0..10 {
        site.repository.rotate(|_| {});
    }
    site.publish();
    site.limits.max_roots = 4;
    site.refuses(FailureKind::Untrusted, today()).await;
    site.refuses(FailureKind::Untrusted, today()).await;
    site.ask(today()).await.unwrap();
    assert_eq!(site.told(today()).fields["root_version"], 11);
}

#[tokio::test]
async fn slowness_does_not_hold_an_update_up() {
    let (mut site, files) = with_a_rotation().await;
    site.limits.time = Duration::from_millis(300);
    for name in asked_for(&files) {
        for answer in [Answer::Stall, Answer::Trickle(files[&name].clone())] {
            site.server.serve(files.clone());
            site.server.answer(&name, answer);
            let words = site.refuses(FailureKind::Download, today()).await;
            assert!(words.contains("did not arrive"), "{name}: {words}");
        }
    }
    site.limits.time = Duration::from_mins(1);
    site.server.serve(files);
    site.ask(today()).await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_busy_or_gone_is_nobodys_fault() {
    let (site, files) = with_a_rotation().await;
    for name in asked_for(&files) {
        for answer in
            [Answer::Status(503), Answer::Status(500), Answer::Cut(files[&name].clone(), 10)]
        {
            site.server.serve(files.clone());
            site.server.answer(&name, answer);
            site.refuses(FailureKind::Download, today()).await;
            assert_eq!(site.status(today()).0, Status::Warn);
        }
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_trusted() {
    let (site, files) = with_a_rotation().await;
    site.server.serve(Files::new());
    let words = site.refuses(FailureKind::Untrusted, today()).await;
    assert!(words.contains("kenny release publish"), "{words}");
    for name in asked_for(&files).into_iter().filter(|name| name != "2.root.json") {
        let mut some = files.clone();
        some.remove(&name);
        site.server.serve(some);
        let words = site.refuses(FailureKind::Untrusted, today()).await;
        assert!(name == "timestamp.json" || words.contains(&name), "{name}: {words}");
    }
}

#[tokio::test]
async fn metadata_from_elsewhere_is_not_fetched() {
    let (site, files) = with_a_rotation().await;
    let elsewhere = kenny_testkit::Metadata::start(None).await.unwrap();
    elsewhere.serve(files.clone());
    for name in asked_for(&files) {
        site.server.serve(files.clone());
        site.server.answer(&name, Answer::Redirect(elsewhere.at(&format!("/tuf/metadata/{name}"))));
        site.refuses(FailureKind::UrlRefused, today()).await;
    }
    assert_eq!(elsewhere.asked(), <[String; 0]>::default());
}

/// Flips one bit of each byte of one file, one after the other, and asks one agent each time.
async fn every_flipped_byte_is_noticed(file: impl Fn(&str) -> bool) {
    // One key each: there are fewer bytes to be flipped, and all of them count.
    let mut repository = Repository::new(today());
    repository.root = Holders::numbered([1], 1);
    repository.targets = Holders::numbered([11], 1);
    let root = repository.root.sign(&repository.root_value());
    repository.roots.insert(1, root);
    let mut site = Site::of(repository).await;
    site.repository.rotate(|_| {});
    site.publish();
    let files = site.repository.files();
    let name = asked_for(&files).into_iter().find(|name| file(name)).expect("it is served");
    let (trust, wish) = (site.trust(), site.wish(WANTED, GOOD));
    site.server.serve(files.clone());
    for at in 0..files[&name].len() {
        let mut flipped = files[&name].clone();
        flipped[at] ^= 1 << (at % 5);
        site.replace(&name, flipped);
        let failure = trust.authorise(&wish, today()).await.expect_err(&format!("at {at}"));
        assert_eq!(failure.kind, FailureKind::Untrusted, "at {at}: {}", failure.detail);
    }
    // None of it left anything behind that keeps the right ones out.
    site.server.serve(files);
    site.ask(today()).await.expect("the right metadata is taken");
    site.refuses_all_of(FailureKind::Untrusted, WANTED, EVIL, today()).await;
}

#[tokio::test]
async fn every_flipped_byte_of_a_new_root_is_noticed() {
    every_flipped_byte_is_noticed(|name| name == "2.root.json").await;
}

#[tokio::test]
async fn every_flipped_byte_of_the_timestamp_is_noticed() {
    every_flipped_byte_is_noticed(|name| name == "timestamp.json").await;
}

#[tokio::test]
async fn every_flipped_byte_of_the_snapshot_is_noticed() {
    every_flipped_byte_is_noticed(|name| name.ends_with(".snapshot.json")).await;
}

#[tokio::test]
async fn every_flipped_byte_of_the_targets_is_noticed() {
    every_flipped_byte_is_noticed(|name| name.ends_with(".targets.json")).await;
}
