//! The pinned root: what counts as one, what takes it away (nothing of the server's), and what a power cut leaves.

use kenny_agent::trust::{Basis, PinError, pin_root};
use kenny_proto::FailureKind;
use kenny_proto::frames::Status;
use kenny_testkit::signing::{Files, Holders, Repository};
use serde_json::json;

use super::site::{EVIL, GOOD, Site, WANTED, damage, platform, today};

#[tokio::test]
async fn without_a_root_the_hash_has_the_say_and_telemetry_says_so() {
    let site = Site::without_root().await;
    site.server.serve(Files::new());
    let authorised = site.ask_for("6.6.6", EVIL, today()).await.unwrap();
    assert_eq!((authorised.basis(), authorised.length()), (Basis::HashOnly, None));
    assert_eq!(site.server.asked(), <[String; 0]>::default());
    let told = site.told(today());
    assert_eq!((told.status, &told.fields["mode"]), (Status::Warn, &json!("hash-only")));
    assert!(!site.trust().look_again(today()).await);
    // The floor is kept for the day when a root is pinned, and holds nobody back until then.
    site.trust().committed(&"9.0.0".parse().unwrap());
    site.ask_for("6.6.6", EVIL, today()).await.unwrap();
    assert_eq!(site.told(today()).fields["floor"], "9.0.0");
}

#[tokio::test]
async fn a_root_that_is_pinned_stays_whatever_the_config_says() {
    let mut site = Site::new().await;
    site.ask(today()).await.unwrap();
    site.config.trust.root = None;
    site.refuses_all_of(FailureKind::Untrusted, "6.6.6", EVIL, today()).await;
    site.ask(today()).await.unwrap();
}

#[tokio::test]
async fn a_root_that_is_lost_takes_nothing_with_it() {
    let site = Site::new().await;
    site.ask(today()).await.unwrap();
    for content in [None, Some(b"{".as_slice()), Some(GOOD), Some(b"")] {
        let pinned = fs_err::read(site.layout.trust_dir().join("pinned.json")).unwrap();
        damage(&site, "pinned.json", content);
        let words = site.refuses(FailureKind::Untrusted, today()).await;
        assert!(words.contains("--trust-root"), "{words}");
        site.refuses_all_of(FailureKind::Untrusted, "6.6.6", EVIL, today()).await;
        assert_eq!(site.status(today()).0, Status::Crit);
        damage(&site, "pinned.json", Some(&pinned));
        site.ask(today()).await.unwrap();
    }
    // Another root in its place is not the one that the config names.
    let mut his = Repository::new(today());
    his.root = Holders::numbered([81, 82], 2);
    let root = his.root.sign(&his.root_value());
    damage(&site, "pinned.json", Some(&root));
    site.refuses(FailureKind::Untrusted, today()).await;
}

#[tokio::test]
async fn what_a_power_cut_took_is_learned_again() {
    let mut site = Site::new().await;
    site.repository.rotate(|_| {});
    site.publish();
    site.ask(today()).await.unwrap();
    for name in ["root.json", "timestamp.json", "snapshot.json", "targets.json", "memory.json"] {
        for content in [Some(b"{\"signed\":".as_slice()), Some(b""), None] {
            damage(&site, name, content);
            site.ask(today()).await.unwrap();
            let told = site.told(today());
            assert_eq!(
                (told.status, &told.fields["root_version"]),
                (Status::Ok, &json!(2)),
                "{name}"
            );
        }
    }
}

#[tokio::test]
async fn the_updater_does_not_take_up_what_is_no_longer_vouched_for() {
    let mut site = Site::new().await;
    let wish = site.wish(WANTED, GOOD);
    let before = site.trust().authorise_again(&wish).unwrap_err();
    assert_eq!(before.kind, FailureKind::Untrusted, "nothing was verified yet");
    site.ask(today()).await.unwrap();
    site.trust().authorise_again(&wish).unwrap();
    // Damaged on the disk, or changed by whoever could write there.
    let targets = fs_err::read(site.layout.trust_dir().join("targets.json")).unwrap();
    let before = site.trust().authorise_again(&wish).unwrap();
    let mut harmless = 0;
    for at in 0..targets.len() {
        let mut flipped = targets.clone();
        flipped[at] ^= 1;
        damage(&site, "targets.json", Some(&flipped));
        match site.trust().authorise_again(&wish) {
            Err(failure) => assert_eq!(failure.kind, FailureKind::Untrusted, "at {at}"),
            Ok(same) => {
                assert_eq!(same, before, "at {at}");
                harmless += 1;
            }
        }
    }
    assert_eq!(harmless, "targets".len(), "only the name of the role may read otherwise");
    damage(&site, "targets.json", Some(&targets));
    site.trust().authorise_again(&wish).unwrap();
    // The operator takes the release back before the swap.
    site.repository.releases.clear();
    site.release("1.2.0", GOOD, &json!({}));
    site.publish();
    site.ask_for("1.2.0", GOOD, today()).await.unwrap();
    assert_eq!(site.trust().authorise_again(&wish).unwrap_err().kind, FailureKind::Untrusted);
}

#[tokio::test]
async fn only_a_root_can_be_pinned() {
    let site = Site::without_root().await;
    let files = site.repository.files();
    let mut unsigned = Repository::new(today());
    unsigned.root.threshold = 1;
    let mut below = Repository::new(today());
    below.root = Holders::numbered([1], 2);
    let below = below.root.sign(&below.root_value());
    let large = vec![b' '; 2 * 1024 * 1024];
    for bytes in [b"".as_slice(), b"{}", GOOD, &files["timestamp.json"], &below, &large] {
        let refused = pin_root(&site.layout, bytes);
        assert!(matches!(refused, Err(PinError::NoRoot(_))), "{refused:?}");
    }
    assert!(!site.layout.trust_dir().exists(), "nothing was left");
}

#[tokio::test]
async fn the_same_root_again_changes_nothing_and_another_one_begins_anew() {
    let mut site = Site::new().await;
    let root = site.repository.root_json().to_owned();
    let old = site.repository.files();
    site.publish();
    site.ask(today()).await.unwrap();
    pin_root(&site.layout, &root).unwrap();
    site.server.serve(old);
    site.refuses(FailureKind::Untrusted, today()).await;

    // Somebody at the PC pins the root of other keys.
    let mut other = Repository::new(today());
    other.root = Holders::numbered([81, 82], 2);
    other.targets = Holders::numbered([83], 1);
    let root = other.root.sign(&other.root_value());
    other.roots.insert(1, root.clone());
    site.config.trust.root = Some(pin_root(&site.layout, &root).unwrap());
    site.refuses(FailureKind::Untrusted, today()).await;
    other.release(platform(WANTED), GOOD, &json!({}));
    site.server.serve(other.publish());
    site.ask(today()).await.unwrap();
}
