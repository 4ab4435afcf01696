//! Versions that go back, run ahead or do not belong together: rollback, fast-forward and mix-and-match.

use kenny_proto::FailureKind;
use kenny_testkit::Answer;
use kenny_testkit::signing::{Key, Repository};
use serde_json::json;

use super::site::{EVIL, GOOD, Site, WANTED, today};

#[tokio::test]
async fn metadata_that_is_older_than_what_was_seen_is_refused() {
    let mut site = Site::new().await;
    let old = site.repository.files();
    site.publish();
    site.publish();
    site.ask(today()).await.unwrap();
    let newest = site.repository.files();
    // All of it as it once was: validly signed, and not expired.
    site.server.serve(old.clone());
    let words = site.refuses(FailureKind::Untrusted, today()).await;
    assert!(words.contains("version"), "{words}");
    // A restart changes nothing, nor does another try.
    site.refuses(FailureKind::Untrusted, today()).await;
    site.server.serve(newest);
    site.ask(today()).await.unwrap();
}

#[tokio::test]
async fn a_snapshot_or_targets_of_before_are_refused_under_a_new_timestamp() {
    let mut site = Site::new().await;
    site.publish();
    site.ask(today()).await.unwrap();
    let newest = site.repository.clone();
    // With the online keys the attacker signs an older snapshot, and older targets, as the newest.
    for change in [
        |his: &mut Repository| his.versions.snapshot -= 1,
        |his: &mut Repository| {
            his.versions.snapshot += 1;
            his.versions.targets -= 1;
        },
    ] {
        let mut his = newest.clone();
        his.versions.timestamp += 1;
        change(&mut his);
        site.server.serve(his.files());
        site.refuses(FailureKind::Untrusted, today()).await;
    }
}

#[tokio::test]
async fn what_was_seen_is_not_forgotten_when_a_look_breaks_off() {
    let mut site = Site::new().await;
    let old = site.repository.files();
    site.publish();
    let name = format!("{}.snapshot.json", site.repository.versions.snapshot);
    site.server.answer(&name, Answer::Status(503));
    site.refuses(FailureKind::Download, today()).await;
    // The newer timestamp was verified, and counts.
    site.server.serve(old);
    site.refuses(FailureKind::Untrusted, today()).await;
}

#[tokio::test]
async fn a_version_below_the_floor_needs_a_signature_for_going_back() {
    let mut site = Site::new().await;
    site.running = "1.5.0".parse().unwrap();
    let words = site.refuses(FailureKind::BelowFloor, today()).await;
    assert!(words.contains("1.5.0"), "{words}");
    // The floor stays when the agent itself went back, and over restarts.
    site.trust().committed(&"2.0.0".parse().unwrap());
    site.trust().committed(&"1.9.0".parse().unwrap());
    site.running = "1.0.0".parse().unwrap();
    let words = site.refuses(FailureKind::BelowFloor, today()).await;
    assert!(words.contains("2.0.0"), "{words}");
    assert_eq!(site.told(today()).fields["floor"], "2.0.0");

    site.release(WANTED, GOOD, &json!({"rollback_to": true}));
    site.publish();
    site.ask(today()).await.unwrap();
    // The permission is for this version alone.
    site.release("1.2.0", EVIL, &json!({}));
    site.publish();
    site.refuses_all_of(FailureKind::BelowFloor, "1.2.0", EVIL, today()).await;
    site.release("2.0.0", GOOD, &json!({}));
    site.publish();
    site.ask_for("2.0.0", GOOD, today()).await.unwrap();
}

#[tokio::test]
async fn a_version_for_agents_of_other_versions_is_refused() {
    let mut site = Site::new().await;
    site.release(WANTED, GOOD, &json!({"from": ">=1.0.5"}));
    site.publish();
    let words = site.refuses(FailureKind::NotApplicable, today()).await;
    assert!(words.contains(">=1.0.5"), "{words}");
    site.running = "1.0.5".parse().unwrap();
    site.ask(today()).await.unwrap();
}

#[tokio::test]
async fn a_fast_forward_is_undone_by_new_online_keys() {
    let mut site = Site::new().await;
    site.ask(today()).await.unwrap();
    let operators = site.repository.clone();
    // With the online keys the attacker drives every version up that they can, so that nothing the operator signs counts.
    let mut his = operators.clone();
    his.versions.timestamp = u64::from(u32::MAX);
    his.versions.snapshot = u64::from(u32::MAX);
    site.server.serve(his.files());
    site.ask(today()).await.unwrap();
    site.publish();
    site.refuses(FailureKind::Untrusted, today()).await;

    // A root with other online keys, signed offline, starts their versions anew.
    site.repository.rotate(|repository| {
        repository.snapshot.keys = vec![Key::numbered(22)];
        repository.timestamp.keys = vec![Key::numbered(32)];
    });
    site.publish();
    site.ask(today()).await.unwrap();
    assert_eq!(site.told(today()).fields["root_version"], 2);
    // What the old keys signed is worth nothing now.
    let roots = site.repository.roots.clone();
    let mut old = his.files();
    old.extend(roots.into_iter().map(|(version, root)| (format!("{version}.root.json"), root)));
    site.server.serve(old);
    site.refuses(FailureKind::Untrusted, today()).await;
}

#[tokio::test]
async fn a_fast_forward_of_targets_in_the_snapshot_is_undone_too() {
    let mut site = Site::new().await;
    site.ask(today()).await.unwrap();
    // The snapshot alone speaks of targets that do not exist: nothing can be loaded, and the snapshot is remembered.
    let mut his = site.repository.clone();
    his.versions.snapshot += 1;
    his.versions.timestamp += 1;
    his.versions.targets = 1_000_000;
    let mut files = his.files();
    files.remove("1000000.targets.json");
    site.server.serve(files);
    site.refuses(FailureKind::Untrusted, today()).await;
    site.publish();
    site.publish();
    site.refuses(FailureKind::Untrusted, today()).await;
    site.repository.rotate(|repository| {
        repository.snapshot.keys = vec![Key::numbered(22)];
        repository.timestamp.keys = vec![Key::numbered(32)];
    });
    site.publish();
    site.ask(today()).await.unwrap();
}

#[tokio::test]
async fn files_that_do_not_belong_together_are_refused() {
    let mut site = Site::new().await;
    let first = site.repository.clone();
    site.release("1.2.0", EVIL, &json!({}));
    site.publish();
    let second = site.repository.clone();
    let (old, new) = (first.files(), second.files());
    let name = |repository: &Repository, role: &str| match role {
        "targets" => format!("{}.targets.json", repository.versions.targets),
        _ => format!("{}.snapshot.json", repository.versions.snapshot),
    };
    // Each of them signed by the operator; an old one in the new one's place, and a new one in the old one's.
    for role in ["targets", "snapshot"] {
        let mut mixed = new.clone();
        mixed.insert(name(&second, role), old[&name(&first, role)].clone());
        site.server.serve(mixed);
        site.refuses_all_of(FailureKind::Untrusted, "1.2.0", EVIL, today()).await;
        site.refuses(FailureKind::Untrusted, today()).await;
    }
    let site = Site::new().await;
    for role in ["targets", "snapshot"] {
        let mut mixed = old.clone();
        mixed.insert(name(&first, role), new[&name(&second, role)].clone());
        site.server.serve(mixed);
        site.refuses_all_of(FailureKind::Untrusted, "1.2.0", EVIL, today()).await;
    }
}

#[tokio::test]
async fn targets_of_another_version_than_the_snapshot_names_are_refused_without_hashes_too() {
    let mut site = Site::new().await;
    let old = site.repository.targets.sign(&site.repository.targets_value());
    site.publish();
    let repository = &site.repository;
    let mut snapshot = repository.snapshot_value(&old);
    snapshot["meta"]["targets.json"] = json!({"version": repository.versions.targets});
    let snapshot = repository.snapshot.sign(&snapshot);
    let timestamp = repository.timestamp.sign(&repository.timestamp_value(&snapshot));
    site.replace(&format!("{}.targets.json", repository.versions.targets), old);
    site.replace(&format!("{}.snapshot.json", repository.versions.snapshot), snapshot);
    site.replace("timestamp.json", timestamp);
    site.refuses(FailureKind::Untrusted, today()).await;
}
