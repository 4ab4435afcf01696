//! Signatures that are wrong, too few, twice the same, or by keys of another role; and how keys are changed.

use kenny_proto::FailureKind;
use kenny_proto::frames::Status;
use kenny_testkit::signing::{Holders, Key, Repository, sign};
use serde_json::{Value, json};

use super::site::{EVIL, Site, WANTED, platform, today};

/// Serves what the attacker signed as targets, under a snapshot and timestamp that name it.
fn serve_targets(site: &Site, his: &Repository, targets: Vec<u8>) {
    let mut files = his.files();
    let snapshot = his.snapshot.sign(&his.snapshot_value(&targets));
    files.insert("timestamp.json".to_owned(), his.timestamp.sign(&his.timestamp_value(&snapshot)));
    files.insert(format!("{}.snapshot.json", his.versions.snapshot), snapshot);
    files.insert(format!("{}.targets.json", his.versions.targets), targets);
    site.server.serve(files);
}

#[tokio::test]
async fn fewer_signatures_than_the_threshold_are_none() {
    let mut site = Site::new().await;
    let mut his = site.repository.clone();
    his.release(platform("6.6.6"), EVIL, &json!({}));
    his.publish();
    let signed = his.targets_value();
    // One of the three keys was stolen, and everything that is online: 2 of 3 are needed.
    let stolen = &his.targets.keys[0];
    let stranger = Key::numbered(99);
    let mut twice: Value = serde_json::from_slice(&sign([stolen], &signed)).unwrap();
    let signature = twice["signatures"][0].clone();
    twice["signatures"].as_array_mut().unwrap().push(signature);
    // His signature under the name of a key that he does not have.
    let mut borrowed: Value = serde_json::from_slice(&sign([stolen, &stranger], &signed)).unwrap();
    borrowed["signatures"][1]["keyid"] = his.targets.keys[1].id().into();
    // The same bytes of a signature under two names.
    let mut copied: Value = serde_json::from_slice(&sign([stolen], &signed)).unwrap();
    let mut copy = copied["signatures"][0].clone();
    copy["keyid"] = his.targets.keys[1].id().into();
    copied["signatures"].as_array_mut().unwrap().push(copy);
    let attempts = [
        ("unsigned", sign([], &signed)),
        ("one key", sign([stolen], &signed)),
        ("one key and a stranger's", sign([stolen, &stranger], &signed)),
        ("one key, twice", serde_json::to_vec(&twice).unwrap()),
        ("a borrowed name", serde_json::to_vec(&borrowed).unwrap()),
        ("a copied signature", serde_json::to_vec(&copied).unwrap()),
        (
            "the online keys too",
            sign([stolen, &his.snapshot.keys[0], &his.timestamp.keys[0]], &signed),
        ),
        ("a key of the root", sign([stolen, &his.root.keys[0]], &signed)),
    ];
    for (what, targets) in attempts {
        serve_targets(&site, &his, targets);
        let outcome = site.ask_for("6.6.6", EVIL, today()).await;
        let failure = outcome.expect_err(what);
        assert_eq!(failure.kind, FailureKind::Untrusted, "{what}: {}", failure.detail);
    }
    // Two of the three are the operator.
    serve_targets(&site, &his, sign([stolen, &his.targets.keys[2]], &signed));
    site.ask_for("6.6.6", EVIL, today()).await.unwrap();
    site.repository = his;
}

#[tokio::test]
async fn online_metadata_without_its_signature_is_refused() {
    let mut site = Site::new().await;
    site.publish();
    let repository = &site.repository;
    let files = repository.files();
    let snapshot = format!("{}.snapshot.json", repository.versions.snapshot);
    let stranger = Key::numbered(99);
    for signer in [&stranger, &repository.snapshot.keys[0], &repository.targets.keys[0]] {
        let timestamp = repository.timestamp_value(&files[&snapshot]);
        site.replace("timestamp.json", sign([signer], &timestamp));
        site.refuses(FailureKind::Untrusted, today()).await;
    }
    for signer in [&stranger, &repository.timestamp.keys[0], &repository.targets.keys[0]] {
        let targets = &files[&format!("{}.targets.json", repository.versions.targets)];
        let forged = sign([signer], &repository.snapshot_value(targets));
        site.replace(
            "timestamp.json",
            repository.timestamp.sign(&repository.timestamp_value(&forged)),
        );
        site.replace(&snapshot, forged);
        site.refuses(FailureKind::Untrusted, today()).await;
    }
}

#[tokio::test]
async fn a_role_cannot_be_passed_off_as_another() {
    let site = Site::new().await;
    let files = site.repository.files();
    let names: Vec<&String> = files.keys().filter(|name| *name != "1.root.json").collect();
    for name in &names {
        for other in files.keys().filter(|other| other != name) {
            site.server.serve(files.clone());
            site.replace(name, files[other].clone());
            site.refuses(FailureKind::Untrusted, today()).await;
        }
    }
}

#[tokio::test]
async fn keys_are_changed_step_by_step() {
    let mut site = Site::new().await;
    // Each key of every role, one root after the other.
    for round in 0..3_u8 {
        site.repository.rotate(|repository| {
            repository.root = Holders::numbered([41 + 10 * round, 42 + 10 * round], 2);
            repository.targets = Holders::numbered([101 + round], 1);
            repository.snapshot = Holders::numbered([111 + round], 1);
            repository.timestamp = Holders::numbered([121 + round], 1);
        });
    }
    site.publish();
    site.ask(today()).await.unwrap();
    let told = site.told(today());
    assert_eq!((told.status, &told.fields["root_version"]), (Status::Ok, &json!(4)));
    // The keys of before are worth nothing any more, all together.
    let mut his = site.repository.clone();
    his.release(platform(WANTED), EVIL, &json!({}));
    his.targets = Holders::numbered([11, 12, 13], 3);
    site.server.serve(his.publish());
    site.refuses_all_of(FailureKind::Untrusted, WANTED, EVIL, today()).await;
}

#[tokio::test]
async fn a_root_needs_the_keys_of_before_and_its_own() {
    let site = Site::new().await;
    let before = site.repository.clone();
    let mut next = before.clone();
    next.versions.root = 2;
    next.root = Holders::numbered([51, 52], 2);
    let signed = next.root_value();
    let (old, new) = (&before.root.keys, &next.root.keys);
    let attempts = [
        ("its own keys alone", sign(new, &signed)),
        ("the keys of before alone", sign(old, &signed)),
        ("one of before too few", sign([&old[0], &new[0], &new[1]], &signed)),
        ("one of its own too few", sign([&old[0], &old[1], &new[0]], &signed)),
        ("no signature", sign([], &signed)),
    ];
    for (what, root) in attempts {
        site.replace("2.root.json", root);
        let failure = site.ask(today()).await.expect_err(what);
        assert_eq!(failure.kind, FailureKind::Untrusted, "{what}: {}", failure.detail);
    }
    // Right, and a version too far: roots are not skipped, so that each one's keys were asked.
    let mut skipping = next.clone();
    skipping.versions.root = 3;
    let skipped = sign([&old[0], &old[1], &new[0], &new[1]], &skipping.root_value());
    site.replace("2.root.json", skipped);
    site.refuses(FailureKind::Untrusted, today()).await;
    site.replace("2.root.json", before.root_json().to_owned());
    site.refuses(FailureKind::Untrusted, today()).await;

    site.replace("2.root.json", sign([&old[0], &old[1], &new[0], &new[1]], &signed));
    site.ask(today()).await.unwrap();
}

#[tokio::test]
async fn a_lower_threshold_counts_once_the_old_one_agreed() {
    let mut site = Site::new().await;
    site.repository.rotate(|repository| repository.targets = Holders::numbered([11], 1));
    site.publish();
    site.ask(today()).await.unwrap();
    // One signature of the three old ones is not enough without that root.
    let site = Site::new().await;
    let mut his = site.repository.clone();
    his.release(platform("6.6.6"), EVIL, &json!({}));
    his.targets.threshold = 1;
    site.server.serve(his.publish());
    site.refuses_all_of(FailureKind::Untrusted, "6.6.6", EVIL, today()).await;
}
