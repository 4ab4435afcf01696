//! Signed releases: what is taken, what is refused, what is served, and that the server renews what is its own.

use aws_lc_rs::signature::Ed25519KeyPair;
use jiff::Timestamp;
use kenny_proto::Sha256Digest;
use kenny_proto::trust::Publication;
use reqwest::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use serde_json::{Value, json};
use tough::schema::key::Key;
use tough::schema::{RoleType, Root, Signed, Snapshot, Targets};
use tough::sign::Sign as _;

use super::browser::Browser;
use super::rig::Rig;
use super::signer::{Signer, pair, sign, targets};
use crate::auth::sha256;
use crate::releases::test_image::agent_image;

const DAY: i64 = 24 * 60 * 60;

/// Publishes the first root and targets of new keys.
pub async fn with_keys(rig: &Rig) {
    let signer = Signer::of(rig).await;
    rig.published(&signer.first()).await;
}

#[tokio::test]
async fn a_server_without_keys_says_so() {
    let rig = Rig::start().await;
    let status = rig.get("/trust").await;
    assert_eq!(status["mode"], "hash_only");
    assert_eq!(status["roles"], json!([]));
    assert_eq!(status["online_key"]["public"].as_str().unwrap().len(), 64);
    let response = rig.metadata("timestamp.json").await;
    assert_eq!(response.status(), 404);
    assert!(response.text().await.unwrap().contains("kenny keys init"));
    let (_, added) = rig.release("1.0.0").await;
    assert_eq!(added["warning"], Value::Null);
    rig.publishing_is_refused(&Publication::default(), "neither root nor targets").await;
    rig.stop().await;
}

#[tokio::test]
async fn every_page_says_that_releases_are_not_signed_until_they_are() {
    let rig = Rig::start().await;
    let said = "Releases are not signed";
    rig.person("anna", kenny_proto::Role::Viewer).await;
    let mut browser = Browser::signed_in(&rig, "anna").await;
    assert!(browser.get("/account").await.text.contains(said));
    assert!(!Browser::new(&rig).get("/login").await.text.contains(said), "not to strangers");
    let signer = Signer::of(&rig).await;
    rig.published(&signer.first()).await;
    assert!(!browser.get("/account").await.text.contains(said));
    rig.stop().await;
}

#[tokio::test]
async fn a_signed_release_becomes_one_that_agents_can_be_sent() {
    let rig = Rig::start().await;
    let signer = Signer::of(&rig).await;
    let published = rig.published(&signer.first()).await;
    assert_eq!((&published["root_version"], &published["targets_version"]), (&json!(1), &json!(1)));

    let image = agent_image("2.0.0", 50_000);
    let publication =
        Publication { roots: vec![], targets: Some(signer.signed_targets(2, &[&image])) };
    rig.publishing_is_refused(&publication, "is not here").await;
    let (status, body) = rig.artifact(&image, Sha256Digest([1; 32])).await;
    assert_eq!((status, body["code"].as_str()), (422, Some("other_artifact")), "{body}");
    assert_eq!(rig.artifact(&image, sha256(&image)).await.0, 204);
    assert_eq!(rig.get("/releases").await["releases"], json!([]), "not signed yet");

    let published = rig.published(&publication).await;
    assert_eq!(published["added"][0]["version"], "2.0.0");
    let again = rig.published(&publication).await;
    assert_eq!(again["added"], json!([]), "the same again changes nothing");
    assert_eq!(rig.get("/releases").await["releases"][0]["version"], "2.0.0");

    let status = rig.get("/trust").await;
    assert_eq!(status["mode"], "signed");
    let name = "kenny-agent/2.0.0/linux-x86_64/kenny-agent";
    assert_eq!(status["targets"][0]["name"], name);
    let roles: Vec<_> = status["roles"].as_array().unwrap().iter().collect();
    assert_eq!(roles.len(), 4);
    assert_eq!((&roles[0]["threshold"], &roles[0]["expiry"]), (&json!(2), &json!("far")));
    assert_eq!(roles[0]["key_ids"].as_array().unwrap().len(), 3);

    let folder = name.trim_end_matches("/kenny-agent");
    let url = format!("{}/tuf/targets/{folder}/{}.kenny-agent", rig.url, sha256(&image));
    assert_eq!(rig.http.get(&url).send().await.unwrap().status(), 401);
    let got = rig.http.get(&url).bearer_auth(&rig.token).send().await.unwrap();
    assert_eq!(got.bytes().await.unwrap(), image);
    let other = format!("{}/tuf/targets/{name}", rig.url);
    let missing = rig.http.get(other).bearer_auth(&rig.token).send().await.unwrap();
    assert_eq!(missing.status(), 404);

    let (_, unsigned) = rig.release("2.1.0").await;
    assert!(unsigned["warning"].as_str().unwrap().contains("agents that pin the root refuse it"));
    let (_, signed) = rig.upload(image.clone()).await;
    assert_eq!(signed["warning"], Value::Null, "{signed}");

    let rig = rig.restart().await;
    let kept = rig.get("/trust").await;
    assert_eq!((&kept["roles"], &kept["targets"]), (&status["roles"], &status["targets"]));
    let offline = rig.get("/trust/metadata").await;
    assert_eq!(offline["targets"].as_str(), publication.targets.as_deref(), "to the byte");
    rig.stop().await;
}

#[tokio::test]
async fn metadata_is_served_with_what_caches_need() {
    let rig = Rig::start().await;
    let signer = Signer::of(&rig).await;
    rig.published(&signer.first()).await;
    let timestamp = rig.metadata("timestamp.json").await;
    assert_eq!(timestamp.headers()[CACHE_CONTROL], "no-cache");
    let etag = timestamp.headers()[ETAG].clone();
    let url = format!("{}/tuf/metadata/timestamp.json", rig.url);
    let known = rig.http.get(url).header(IF_NONE_MATCH, etag).send().await.unwrap();
    assert_eq!(known.status(), 304);
    let timestamp: Value = timestamp.json().await.unwrap();
    let snapshot = timestamp["signed"]["meta"]["snapshot.json"]["version"].as_u64().unwrap();
    for file in [format!("{snapshot}.snapshot.json"), "1.root.json".into(), "1.targets.json".into()]
    {
        let response = rig.metadata(&file).await;
        assert_eq!(response.status(), 200, "{file}");
        let cache = response.headers()[CACHE_CONTROL].to_str().unwrap();
        assert!(cache.contains("immutable"), "{file}: {cache}");
    }
    for missing in ["2.root.json", "root.json", "..%2Fkenny.db", "snapshot.json"] {
        assert_eq!(rig.metadata(missing).await.status(), 404, "{missing}");
    }
    rig.stop().await;
}

#[tokio::test]
async fn what_the_keys_did_not_authorise_is_refused() {
    let rig = Rig::start().await;
    let signer = Signer::of(&rig).await;
    let only = |roots: Vec<String>, targets: Option<String>| Publication { roots, targets };
    let root = |root: Root, keys: &[&Ed25519KeyPair]| only(vec![sign(root, keys)], None);
    let both = |root: String| only(vec![root], Some(signer.signed_targets(1, &[])));
    let keys = [&signer.roots[0], &signer.roots[1]];

    // The first publication.
    rig.publishing_is_refused(
        &only(vec![], Some(signer.signed_targets(1, &[]))),
        "no root metadata yet",
    )
    .await;
    rig.publishing_is_refused(
        &only(vec![signer.signed_root(1, 365)], None),
        "no targets metadata yet",
    )
    .await;
    rig.publishing_is_refused(&only(vec!["{}".to_owned()], None), "no root metadata of The Update")
        .await;
    rig.publishing_is_refused(&both(sign(signer.root(1, 365), &keys[..1])), "not signed by 2 of")
        .await;
    rig.publishing_is_refused(
        &both(sign(signer.root(1, 365), &[keys[0], &pair()])),
        "not signed by 2 of",
    )
    .await;
    rig.publishing_is_refused(&both(signer.signed_root(1, -1)), "expired at").await;
    let mut not_consistent = signer.root(1, 365);
    not_consistent.consistent_snapshot = false;
    rig.publishing_is_refused(&both(sign(not_consistent, &keys)), "consistent snapshots").await;
    let mut without_role = signer.root(1, 365);
    without_role.roles.remove(&RoleType::Snapshot);
    rig.publishing_is_refused(&both(sign(without_role, &keys)), "names no keys for snapshot").await;
    let foreign_online = Signer {
        roots: vec![pair(), pair(), pair()],
        targets: vec![pair()],
        online: pair().tuf_key(),
    };
    rig.publishing_is_refused(&foreign_online.first(), "does not name a key of this server").await;

    rig.published(&signer.first()).await;

    // Roots.
    rig.publishing_is_refused(&root(signer.root(1, 300), &keys), "has version 1, the server has 1")
        .await;
    rig.publishing_is_refused(&root(signer.root(3, 365), &keys), "has version 3, the server has 1")
        .await;
    let others = Signer { online: signer.online.clone(), ..foreign_online };
    let taken_over = sign(others.root(2, 365), &[&others.roots[0], &others.roots[1]]);
    rig.publishing_is_refused(&only(vec![taken_over], None), "not signed by 2 of").await;
    let below = sign(others.root(2, 365), &[&others.roots[0], &others.roots[1], &signer.roots[0]]);
    rig.publishing_is_refused(&only(vec![below], None), "not signed by 2 of").await;
    let mut other_targets = signer.root(2, 365);
    let targets_key = others.targets[0].tuf_key();
    let id = targets_key.key_id().unwrap();
    other_targets.keys.insert(id.clone(), targets_key);
    other_targets.roles.get_mut(&RoleType::Targets).unwrap().keyids = vec![id];
    rig.publishing_is_refused(&root(other_targets, &keys), "sign targets with them").await;

    // Targets.
    let image = agent_image("2.0.0", 0);
    assert_eq!(rig.artifact(&image, sha256(&image)).await.0, 204);
    let targets_by = |role: Targets, key: &Ed25519KeyPair| only(vec![], Some(sign(role, &[key])));
    let key = &signer.targets[0];
    rig.publishing_is_refused(
        &targets_by(targets(2, 90, &[&image]), &pair()),
        "not signed by 1 of",
    )
    .await;
    rig.publishing_is_refused(
        &targets_by(targets(2, 90, &[&image]), &signer.roots[0]),
        "not signed by 1",
    )
    .await;
    rig.publishing_is_refused(
        &targets_by(targets(1, 80, &[&image]), key),
        "version 1, the server has 1",
    )
    .await;
    rig.publishing_is_refused(&targets_by(targets(2, -1, &[&image]), key), "expired at").await;
    let mut longer = targets(2, 90, &[&image]);
    longer.targets.values_mut().next().unwrap().length += 1;
    rig.publishing_is_refused(&targets_by(longer, key), "bytes, not").await;
    let mut renamed = targets(2, 90, &[]);
    let target = targets(2, 90, &[&image]).targets.into_values().next().unwrap();
    let name = tough::TargetName::new("kenny-agent/9.0.0/linux-x86_64/kenny-agent").unwrap();
    renamed.targets.insert(name.clone(), target.clone());
    rig.publishing_is_refused(&targets_by(renamed, key), "says in its custom object").await;
    let mut claimed = targets(2, 90, &[]);
    let mut target = target;
    target.custom.insert("version".to_owned(), json!("9.0.0"));
    claimed.targets.insert(name, target);
    rig.publishing_is_refused(&targets_by(claimed, key), "the executable says that it is 2.0.0")
        .await;
    assert_eq!(rig.get("/releases").await["releases"], json!([]));
    rig.stop().await;
}

#[tokio::test]
async fn a_version_that_is_there_with_other_bytes_is_not_signed_over() {
    let rig = Rig::start().await;
    let signer = Signer::of(&rig).await;
    rig.published(&signer.first()).await;
    assert_eq!(rig.release("2.0.0").await.0, 201);
    let image = agent_image("2.0.0", 7);
    assert_eq!(rig.artifact(&image, sha256(&image)).await.0, 204);
    let targets = Some(signer.signed_targets(2, &[&image]));
    let (status, body) = rig.publish(&Publication { roots: vec![], targets }).await;
    assert_eq!((status, body["code"].as_str()), (409, Some("release_exists")), "{body}");
    assert_eq!(rig.get("/trust").await["roles"][1]["version"], 1);
    rig.stop().await;
}

#[tokio::test]
async fn keys_are_rotated_along_a_chain_of_roots() {
    let rig = Rig::start().await;
    let signer = Signer::of(&rig).await;
    rig.published(&signer.first()).await;
    let (status, online) = rig.post("/trust/online-key", json!({})).await;
    assert_eq!(status, 201, "{online}");
    let online: Key = online["public"].as_str().unwrap().parse().unwrap();

    // Version 2 has other root keys, version 3 other keys for everything.
    let second = Signer {
        roots: vec![pair(), pair()],
        targets: vec![
            Ed25519KeyPair::from_pkcs8(signer.targets[0].to_pkcs8().unwrap().as_ref()).unwrap(),
        ],
        online: signer.online.clone(),
    };
    let third = Signer { roots: vec![pair(), pair()], targets: vec![pair(), pair()], online };
    let all = |old: &Signer, new: &Signer, number| {
        sign(new.root(number, 365), &[&old.roots[0], &old.roots[1], &new.roots[0], &new.roots[1]])
    };
    let publication = Publication {
        roots: vec![signer.signed_root(1, 365), all(&signer, &second, 2), all(&second, &third, 3)],
        targets: Some(third.signed_targets(2, &[])),
    };
    let mut with_a_hole = publication.clone();
    with_a_hole.roots.remove(1);
    rig.publishing_is_refused(&with_a_hole, "version").await;
    let before: Value = rig.metadata("timestamp.json").await.json().await.unwrap();
    rig.published(&Publication { roots: publication.roots[1..].to_vec(), ..publication }).await;
    let after: Value = rig.metadata("timestamp.json").await.json().await.unwrap();
    assert_ne!(before["signatures"][0]["keyid"], after["signatures"][0]["keyid"]);
    assert!(before["signed"]["version"].as_u64() < after["signed"]["version"].as_u64());
    for root in 1..=3 {
        assert_eq!(rig.metadata(&format!("{root}.root.json")).await.status(), 200);
    }
    let rig = rig.restart().await;
    let status = rig.get("/trust").await;
    assert_eq!(status["next_online_key"], Value::Null);
    assert_eq!(status["online_key"]["key_id"], after["signatures"][0]["keyid"]);
    assert!(rig.app.trust.renew(&rig.app.store, later(2 * DAY)).await.unwrap());
    rig.stop().await;
}

fn later(seconds: i64) -> Timestamp {
    Timestamp::from_second(Timestamp::now().as_second() + seconds).unwrap()
}

#[tokio::test]
async fn the_server_renews_its_own_signatures_well_before_their_end() {
    let rig = Rig::start().await;
    let signer = Signer::of(&rig).await;
    rig.published(&signer.first()).await;
    let roles = |now| rig.app.trust.status(now).roles;
    let mut versions: Vec<(u64, u64)> = Vec::new();
    for hours in [1, 7, 13, 100, 101] {
        let now = later(hours * 60 * 60);
        rig.app.trust.renew(&rig.app.store, now).await.unwrap();
        let roles = roles(now);
        assert!(roles[2].expires > now && roles[3].expires > now, "{hours} h");
        versions.push((roles[2].version, roles[3].version));
    }
    let [hour_1, hour_7, hour_13, hour_100, hour_101] = versions[..] else { panic!("five looks") };
    assert_eq!(hour_1.0, hour_13.0, "the snapshot holds for seven days");
    assert!(hour_1.1 < hour_7.1 && hour_7.1 < hour_13.1, "{versions:?}");
    assert!(hour_13.0 < hour_100.0 && hour_13.1 < hour_100.1, "{versions:?}");
    assert_eq!(hour_100, hour_101);

    let rig = rig.restart().await;
    let kept = rig.app.trust.status(later(0)).roles;
    assert_eq!((kept[2].version, kept[3].version), hour_101);
    let snapshot: Signed<Snapshot> =
        rig.metadata(&format!("{}.snapshot.json", hour_1.0)).await.json().await.unwrap();
    assert_eq!(snapshot.signed.version.get(), hour_1.0, "an older one is still there");
    rig.stop().await;
}

#[tokio::test]
async fn an_end_that_comes_near_is_an_event_and_a_number() {
    let rig = Rig::start().await;
    let signer = Signer::of(&rig).await;
    let mut events = rig.app.events.listen();
    let publication = Publication { roots: vec![signer.signed_root(1, 20)], ..signer.first() };
    rig.published(&publication).await;
    assert_eq!(events.recv().await.unwrap().kind, "trust_changed");
    let status = rig.get("/trust").await;
    assert_eq!(status["roles"][0]["expiry"], "near");
    let metrics = rig.http.get(format!("{}/metrics", rig.url)).send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    assert!(metrics.contains("kenny_trust_expires_unix{role=\"root\"} 1"), "{metrics}");
    let rig = rig.restart().await;
    let told = rig.kept_event("trust_expiring").await;
    assert!(told.contains("version 1 of the root metadata expires at"), "{told}");
    rig.stop().await;
}
