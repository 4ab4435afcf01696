//! Arbitrary software: other bytes than the operator signed, whoever says so.

use jiff::Timestamp;
use kenny_agent::trust::{Basis, Trust};
use kenny_agent::update::verify;
use kenny_core::update::{Journal, Quarantine, Source, Wanted};
use kenny_proto::frames::Status;
use kenny_proto::{FailureKind, UpdateId};
use kenny_testkit::signing::{Holders, Key, sign};
use serde_json::json;

use super::site::{EVIL, GOOD, RUNNING, Site, WANTED, digest, on_disk, platform, today};

#[tokio::test]
async fn what_was_signed_is_taken_and_telemetry_says_how_it_stands() {
    let site = Site::new().await;
    assert_eq!(site.status(today()).0, Status::Ok);
    let authorised = site.ask(today()).await.unwrap();
    assert_eq!(authorised.basis(), Basis::Signed { root_version: 1 });
    assert_eq!(authorised.length(), Some(GOOD.len() as u64));
    let told = site.told(today());
    assert_eq!(told.status, Status::Ok, "{}", told.summary);
    assert_eq!(told.fields["mode"], "pinned");
    assert_eq!(told.fields["root_version"], 1);
    let expires = told.fields["timestamp_expires_at"].as_str().unwrap().parse::<Timestamp>();
    assert_eq!(expires.unwrap(), site.repository.expires.timestamp);
    // The updater takes it up without a server.
    let again = site.trust().authorise_again(&site.wish(WANTED, GOOD)).unwrap();
    assert_eq!(again, authorised);
}

#[tokio::test]
async fn other_bytes_under_a_signed_name_are_refused() {
    let site = Site::new().await;
    let words = site.refuses_all_of(FailureKind::Untrusted, WANTED, EVIL, today()).await;
    assert!(words.contains("SHA-256"), "{words}");
    // Nor once it was verified what the name stands for.
    let failure = site.trust().authorise_again(&site.wish(WANTED, EVIL)).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Untrusted);
}

#[tokio::test]
async fn signed_bytes_under_another_name_are_refused() {
    let mut site = Site::new().await;
    let words = site.refuses_all_of(FailureKind::Untrusted, "1.2.0", GOOD, today()).await;
    assert!(words.contains("kenny-agent/1.2.0/windows-x86_64/kenny-agent.exe"), "{words}");
    // For another platform alone.
    site.repository.release(("1.2.0", "windows", "aarch64"), GOOD, &json!({}));
    site.repository.release(("1.2.0", "linux", "x86_64"), GOOD, &json!({}));
    site.publish();
    site.refuses_all_of(FailureKind::Untrusted, "1.2.0", GOOD, today()).await;
}

#[tokio::test]
async fn a_release_that_says_two_things_is_refused() {
    let mut site = Site::new().await;
    for more in [json!({"version": "9.0.0"}), json!({"os": "linux"}), json!({"arch": "aarch64"})] {
        site.release(WANTED, GOOD, &more);
        site.publish();
        site.refuses(FailureKind::Untrusted, today()).await;
    }
}

#[tokio::test]
async fn a_release_that_the_attackers_own_keys_signed_is_refused() {
    let mut site = Site::new().await;
    site.repository.release(platform(WANTED), EVIL, &json!({}));
    site.repository.targets = Holders::numbered([91, 92, 93], 2);
    site.publish();
    site.refuses_all_of(FailureKind::Untrusted, WANTED, EVIL, today()).await;
}

#[tokio::test]
async fn a_server_that_is_wholly_in_the_attackers_hands_runs_nothing_new() {
    let site = Site::new().await;
    site.ask(today()).await.unwrap();
    let operators = site.repository.clone();

    // He has the keys of snapshot and timestamp, so that he can serve whatever he likes as the newest; not those of
    // targets and root.
    let mut his = operators.clone();
    his.release(platform("6.6.6"), EVIL, &json!({}));
    his.release(platform(WANTED), EVIL, &json!({}));
    his.targets = Holders::numbered([91, 92, 93], 2);
    site.server.serve(his.publish());
    site.refuses_all_of(FailureKind::Untrusted, "6.6.6", EVIL, today()).await;
    site.refuses_all_of(FailureKind::Untrusted, WANTED, EVIL, today()).await;

    // Unsigned, and signed with what he has.
    let online: Vec<Key> =
        [&operators.snapshot.keys[0], &operators.timestamp.keys[0]].map(Key::clone).to_vec();
    for keys in [&online[..0], &online[..1], &online[..]] {
        let targets = sign(keys, &his.targets_value());
        let snapshot = his.snapshot.sign(&his.snapshot_value(&targets));
        let mut files = his.files();
        files.insert(
            "timestamp.json".to_owned(),
            his.timestamp.sign(&his.timestamp_value(&snapshot)),
        );
        files.insert(format!("{}.snapshot.json", his.versions.snapshot), snapshot);
        files.insert(format!("{}.targets.json", his.versions.targets), targets);
        site.server.serve(files);
        site.refuses_all_of(FailureKind::Untrusted, "6.6.6", EVIL, today()).await;
        his.versions.timestamp += 1;
        his.versions.snapshot += 1;
    }

    // A root of his own, in which everything is his.
    let mut own = his.clone();
    own.root = Holders::numbered([81, 82, 83], 2);
    own.versions.root += 1;
    let root = own.root.sign(&own.root_value());
    own.roots.insert(2, root);
    site.server.serve(own.publish());
    let words = site.refuses_all_of(FailureKind::Untrusted, "6.6.6", EVIL, today()).await;
    assert!(words.contains("root"), "{words}");
    assert_eq!(site.status(today()).0, Status::Crit);
}

#[tokio::test]
async fn a_server_in_the_attackers_hands_holds_nobody_for_longer_than_the_operator_signed() {
    let mut site = Site::new().await;
    // With the online keys he renews what was signed once, as if nothing had come after it.
    site.repository.expires.snapshot = site.repository.expires.root;
    site.repository.expires.timestamp = site.repository.expires.root;
    site.publish();
    site.ask(today()).await.unwrap();
    site.refuses(FailureKind::Expired, site.repository.expires.targets).await;
}

#[tokio::test]
async fn bytes_that_are_not_the_signed_ones_are_never_verified() {
    let site = Site::new().await;
    let authorised = site.ask(today()).await.unwrap();
    // The very bytes get as far as being looked into: they are no agent.
    let path = on_disk(&site, GOOD);
    assert_eq!(verify(&path, &authorised).unwrap_err().kind, FailureKind::WrongPlatform);
    for at in 0..GOOD.len() {
        let mut flipped = GOOD.to_vec();
        flipped[at] ^= 1 << (at % 8);
        fs_err::write(&path, flipped).unwrap();
        assert_eq!(verify(&path, &authorised).unwrap_err().kind, FailureKind::HashMismatch, "{at}");
    }
    for wrong in [&GOOD[1..], &GOOD[..GOOD.len() - 1], &[GOOD, b"x"].concat(), b""] {
        fs_err::write(&path, wrong).unwrap();
        assert_eq!(verify(&path, &authorised).unwrap_err().kind, FailureKind::HashMismatch);
    }
}

#[tokio::test]
async fn the_signed_length_counts_besides_the_digest() {
    let mut site = Site::new().await;
    let name = "kenny-agent/1.1.0/windows-x86_64/kenny-agent.exe";
    site.repository.releases[name]["length"] = json!(GOOD.len() + 1);
    site.publish();
    let authorised = site.ask(today()).await.unwrap();
    let failure = verify(&on_disk(&site, GOOD), &authorised).unwrap_err();
    assert_eq!(failure.kind, FailureKind::HashMismatch);
    assert!(failure.detail.contains("bytes"), "{}", failure.detail);
}

#[test]
fn only_the_way_back_to_what_ran_here_needs_no_signature() {
    let journal = |source| {
        let wanted = Wanted {
            update_id: UpdateId::random(),
            version: WANTED.parse().unwrap(),
            sha256: digest(EVIL),
            source,
        };
        let from = (RUNNING.parse().unwrap(), digest(GOOD));
        Journal::accepted(wanted, from, Quarantine::default(), today())
    };
    let download = Source::Download { url: "http://127.0.0.1:9/agent.exe".to_owned() };
    let refused = Trust::authorise_kept(&journal(download)).unwrap_err();
    assert_eq!(refused.kind, FailureKind::Untrusted);
    let kept = Trust::authorise_kept(&journal(Source::Previous {})).unwrap();
    assert_eq!(kept.basis(), Basis::Kept);
}
