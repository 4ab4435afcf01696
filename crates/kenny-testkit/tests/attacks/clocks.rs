//! Freeze: signatures that the attacker holds on to. And clocks that are wrong.

use kenny_proto::FailureKind;
use kenny_proto::frames::Status;

use super::site::{GOOD, Site, WANTED, day, today};

#[tokio::test]
async fn a_server_that_goes_on_serving_old_signatures_is_noticed() {
    let mut site = Site::new().await;
    site.ask(today()).await.unwrap();
    let words = site.refuses(FailureKind::Expired, day(1)).await;
    assert!(words.contains("timestamp") && words.contains("2026-06-02"), "{words}");
    let (status, words) = site.status(day(1));
    assert_eq!(status, Status::Crit);
    assert!(words.contains("expired"), "{words}");
    // Once the server renews it, all is well again.
    site.repository.expires.timestamp = day(2);
    site.publish();
    site.ask(day(1)).await.unwrap();
    assert_eq!(site.status(day(1)).0, Status::Ok);
}

#[tokio::test]
async fn telemetry_notices_a_freeze_without_anybody_asking() {
    let site = Site::new().await;
    assert!(site.trust().look_again(today()).await);
    assert!(!site.trust().look_again(today()).await, "a fresh look is not repeated");
    assert_eq!(site.status(today()).0, Status::Ok);
    // It may be that nobody could be asked since.
    let (status, words) = site.status(day(1));
    assert_eq!(status, Status::Crit, "{words}");
    assert!(site.trust().look_again(day(1)).await);
    let told = site.told(day(1));
    assert_eq!(told.status, Status::Crit);
    assert_eq!(told.fields["problem"]["kind"], "expired");
}

#[tokio::test]
async fn each_role_expires() {
    for role in ["root", "timestamp", "snapshot", "targets"] {
        let mut site = Site::new().await;
        let expires = &mut site.repository.expires;
        let of = match role {
            "root" => &mut expires.root,
            "timestamp" => &mut expires.timestamp,
            "snapshot" => &mut expires.snapshot,
            _ => &mut expires.targets,
        };
        *of = today();
        site.repository.rotate(|_| {});
        site.publish();
        let words = site.refuses(FailureKind::Expired, today()).await;
        assert!(words.contains(role), "{role}: {words}");
        // The moment before it is still good.
        site.ask(today() - jiff::SignedDuration::from_secs(1)).await.unwrap();
    }
}

#[tokio::test]
async fn a_root_that_expired_is_followed_by_its_successor() {
    let mut site = Site::new().await;
    site.repository.expires.root = day(10);
    site.repository.rotate(|_| {});
    site.repository.expires.root = day(100);
    site.repository.rotate(|_| {});
    site.repository.expires.timestamp = day(60);
    site.repository.expires.snapshot = day(60);
    site.publish();
    site.ask(day(50)).await.unwrap();
}

#[tokio::test]
async fn a_clock_ten_years_ahead_refuses_until_it_is_right() {
    let site = Site::new().await;
    site.ask(today()).await.unwrap();
    let words = site.refuses(FailureKind::Expired, day(3650)).await;
    assert!(words.contains("the clock is wrong"), "{words}");
    assert_eq!(site.status(day(3650)).0, Status::Crit);
    // Nothing of that lasts.
    site.ask(today()).await.unwrap();
    assert_eq!(site.status(today()).0, Status::Ok);
    assert_eq!(
        site.trust().authorise_again(&site.wish(WANTED, GOOD)).unwrap().sha256(),
        super::site::digest(GOOD)
    );
}

#[tokio::test]
async fn a_clock_ten_years_behind_updates_and_says_so_and_versions_still_count() {
    let mut site = Site::new().await;
    let old = site.repository.files();
    site.publish();
    site.ask(today()).await.unwrap();
    let (status, words) = site.status(day(-3650));
    assert_eq!(status, Status::Warn, "{words}");
    assert!(words.contains("clock"), "{words}");
    site.ask(day(-3650)).await.unwrap();
    site.server.serve(old);
    site.refuses(FailureKind::Untrusted, day(-3650)).await;
}

#[tokio::test]
async fn what_has_expired_is_not_remembered_as_seen() {
    let mut site = Site::new().await;
    site.ask(today()).await.unwrap();
    let valid = site.repository.files();
    site.publish();
    // By a clock that is wrong, all of that is over, and its versions do not count.
    site.refuses(FailureKind::Expired, day(3650)).await;
    site.server.serve(valid);
    site.ask(today()).await.unwrap();
}
