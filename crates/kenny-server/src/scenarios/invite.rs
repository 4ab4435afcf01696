//! What an invited person gets: the page, the installer, and plain words where there is neither.

use kenny_core::invitation::find;
use kenny_proto::Invitation;
use serde_json::json;

use super::enrolment::{Enrolling, enrol, invite};
use super::rig::{Rig, within};
use crate::auth::sha256;
use crate::releases::test_image::signed_agent;

/// Fetches without any token: status, content security policy, and body.
async fn fetch(rig: &Rig, path: &str) -> (u16, String, Vec<u8>) {
    let response = within(rig.http.get(format!("{}{path}", rig.url)).send()).await.unwrap();
    let status = response.status().as_u16();
    let headers = response.headers();
    assert_eq!(headers["cache-control"], "no-store", "{path}");
    assert_eq!(headers["referrer-policy"], "no-referrer", "{path}");
    let policy = headers.get("content-security-policy").map_or("", |value| value.to_str().unwrap());
    let policy = policy.to_owned();
    (status, policy, within(response.bytes()).await.unwrap().to_vec())
}

async fn page(rig: &Rig, path: &str) -> (u16, String) {
    let (status, policy, body) = fetch(rig, path).await;
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    (status, String::from_utf8(body).unwrap())
}

#[tokio::test]
async fn an_invited_person_downloads_the_agent_with_her_invitation_inside() {
    let rig = Rig::start().await;
    let (_, body) = rig.post("/agents/annas-pc/invite", json!({})).await;
    assert!(body["problem"].as_str().unwrap().contains("kenny release add"), "{body}");
    let own = signed_agent();
    let (status, added) = rig.upload(own.clone()).await;
    assert_eq!((status, &added["release"]["signer"]["common_name"]), (201, &json!("Kenny Test")));

    let (_, body) = rig.post("/agents/annas-pc/invite", json!({})).await;
    let invitation: Invitation = serde_json::from_value(body["invitation"].clone()).unwrap();
    let path = format!("/invite/{}", invitation.code);
    let (status, text) = page(&rig, &path).await;
    assert_eq!(status, 200);
    for part in ["annas-pc", "Kenny Test", "kenny-agent-setup-annas-pc.exe"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }

    let (status, _, whole) = fetch(&rig, &format!("{path}/kenny-agent-setup-annas-pc.exe")).await;
    assert_eq!(status, 200);
    let found = find(&whole, sha256).unwrap().unwrap();
    let inside = Invitation::parse(std::str::from_utf8(found.text()).unwrap()).unwrap();
    assert_eq!(inside, invitation);
    assert_eq!(found.without(sha256).unwrap(), own);

    // The line for PowerShell names exactly these bytes.
    let line = body["powershell"].as_str().unwrap();
    assert!(line.contains(&sha256(&whole).to_string()), "{line}");
    let named = line.split('\'').find(|part| part.starts_with(&rig.url)).unwrap();
    let named = named.strip_prefix(&rig.url).unwrap();
    assert_eq!(fetch(&rig, named).await.2, whole);

    // Looking used nothing up; the PC that enrols does.
    assert_eq!(enrol(&rig, &Enrolling::new(1, &invitation)).await.0, 200);
    for path in [path.clone(), named.to_owned()] {
        let (status, text) = page(&rig, &path).await;
        assert_eq!(status, 410, "{text}");
        assert!(text.contains("was used"), "{text}");
    }
    rig.stop().await;
}

#[tokio::test]
async fn what_cannot_be_used_is_a_page_in_words() {
    let rig = Rig::start().await;
    let invitation = invite(&rig, "pc-1").await;
    let (status, text) = page(&rig, &format!("/invite/{}", invitation.code)).await;
    assert_eq!(status, 200);
    assert!(text.contains("nothing to download yet"), "{text}");

    rig.upload(signed_agent()).await;
    let code = invitation.code;
    for path in [
        "/invite/7K2M-9QXT-4HBC-W0ZD-3NVR-8JFP-6SYA",
        "/invite/cut-off",
        "/invite/cut-off/kenny-agent-setup-pc-1.exe",
    ] {
        let (status, text) = page(&rig, path).await;
        assert_eq!(status, 404, "{path}");
        assert!(text.contains("no such invitation"), "{text}");
    }
    // Another name, or a release that is not there, is no download; the page says what there is.
    for path in [
        format!("/invite/{code}/kenny-agent-setup-pc-2.exe"),
        format!("/invite/{code}/kenny-agent-setup-pc-1.exe?release={}", "0".repeat(64)),
    ] {
        let (_, text) = page(&rig, &path).await;
        assert!(text.contains("Download for Windows"), "{text}");
    }
    // Its time is over.
    rig.execute("UPDATE invitations SET expires_at = '2026-01-01T00:00:00Z'").await;
    for path in [format!("/invite/{code}"), format!("/invite/{code}/kenny-agent-setup-pc-1.exe")] {
        let (status, text) = page(&rig, &path).await;
        assert_eq!(status, 410, "{path}: {text}");
        assert!(!text.contains("Download for Windows"), "{text}");
    }
    // Another invitation took its place.
    invite(&rig, "pc-1").await;
    assert_eq!(page(&rig, &format!("/invite/{code}")).await.0, 404);
    rig.stop().await;
}
