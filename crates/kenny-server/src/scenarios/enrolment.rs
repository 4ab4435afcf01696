//! Invitations and their redemption.

use kenny_core::identity::{IdentityKey, is_signed_by};
use kenny_proto::transcript::Enrolment;
use kenny_proto::{AgentId, Invitation, InvitationCode, Nonce, PublicKey, Signature};
use serde_json::{Value, json};

use super::rig::{Rig, within};

pub struct Enrolling {
    pub key: IdentityKey,
    pub invitation: Invitation,
}

impl Enrolling {
    pub fn new(seed: u8, invitation: &Invitation) -> Self {
        Self { key: IdentityKey::from_seed(&[seed; 32]), invitation: invitation.clone() }
    }

    fn body(&self) -> Value {
        let (code, agent_id) = (&self.invitation.code, &self.invitation.agent_id);
        let (public_key, nonce) = (self.key.public(), Nonce([9; 32]));
        let server_key = self.invitation.server_key;
        let enrolment = Enrolment { code, agent_id, public_key, nonce, server_key };
        let signature = self.key.sign(&enrolment.agent_transcript());
        json!({
            "code": code, "agent_id": agent_id, "public_key": public_key, "nonce": nonce, "signature": signature
        })
    }
}

pub async fn invite(rig: &Rig, id: &str) -> Invitation {
    let (status, body) = rig.post(&format!("/agents/{id}/invite"), json!({})).await;
    assert_eq!(status, 201, "{body}");
    serde_json::from_value(body["invitation"].clone()).unwrap()
}

async fn post(rig: &Rig, body: &Value) -> (u16, Value) {
    let request = rig.http.post(format!("{}/agent/enroll", rig.url)).json(body);
    let response = within(request.send()).await.unwrap();
    (response.status().as_u16(), within(response.json()).await.unwrap())
}

pub async fn enrol(rig: &Rig, who: &Enrolling) -> (u16, Value) {
    post(rig, &who.body()).await
}

async fn refused(rig: &Rig, body: &Value, status: u16, code: &str) {
    let (got, problem) = post(rig, body).await;
    assert_eq!((got, problem["code"].as_str()), (status, Some(code)), "{problem}");
}

#[tokio::test]
async fn an_invitation_makes_an_agent_without_any_token_and_a_pc_enrols_once() {
    let rig = Rig::start().await;
    let (status, body) = rig.post("/agents/annas-pc/invite", json!({})).await;
    assert_eq!(status, 201, "{body}");
    assert_eq!((&body["new_agent"], &body["replaces"]), (&json!(true), &json!("none")));
    let invitation: Invitation = serde_json::from_value(body["invitation"].clone()).unwrap();
    assert_eq!(invitation.server, format!("{}/agent/ws", rig.url.replace("http", "ws")));
    assert_eq!(body["link"], format!("{}/invite/{}", rig.url, invitation.code));
    assert_eq!(rig.get("/server").await["server_key"], json!(invitation.server_key));
    assert_eq!(rig.agent_view("annas-pc").await["identity"], "none");
    let open = rig.get("/invitations").await;
    assert_eq!(open["invitations"][0]["agent_id"], "annas-pc");
    assert_eq!(open["invitations"][0]["created_by"], "owner");
    assert!(!open.to_string().contains(&invitation.code.to_string()), "the code is told once");

    let who = Enrolling::new(1, &invitation);
    let (status, enrolled) = enrol(&rig, &who).await;
    assert_eq!(status, 200, "{enrolled}");
    let server_key: PublicKey = serde_json::from_value(enrolled["server_key"].clone()).unwrap();
    assert_eq!(server_key, invitation.server_key);
    let signature: Signature =
        serde_json::from_value(enrolled["server_signature"].clone()).unwrap();
    let enrolment = Enrolment {
        code: &invitation.code,
        agent_id: &invitation.agent_id,
        public_key: who.key.public(),
        nonce: Nonce([9; 32]),
        server_key,
    };
    assert!(is_signed_by(&server_key, &enrolment.server_transcript(), &signature));
    let view = rig.agent_view("annas-pc").await;
    assert_eq!((&view["identity"], &view["public_key"]), (&json!("key"), &json!(who.key.public())));
    assert_eq!(rig.get("/invitations").await["invitations"], json!([]));

    // Its answer was lost: the same key may ask again, another may not.
    assert_eq!(enrol(&rig, &who).await.0, 200);
    refused(&rig, &Enrolling::new(2, &invitation).body(), 409, "code_used").await;
    assert_eq!(rig.agent_view("annas-pc").await["public_key"], json!(who.key.public()));

    // All of it survives a restart, the server's key too.
    let rig = rig.restart().await;
    assert_eq!(rig.get("/server").await["server_key"], json!(server_key));
    assert_eq!(rig.agent_view("annas-pc").await["public_key"], json!(who.key.public()));
    assert_eq!(enrol(&rig, &who).await.0, 200);
    rig.stop().await;
}

#[tokio::test]
async fn each_rejection_has_its_words_and_is_told() {
    let rig = Rig::start().await;
    let invitation = invite(&rig, "pc-1").await;
    invite(&rig, "pc-2").await;
    let good = Enrolling::new(1, &invitation).body();
    let changed = |name: &str, value: Value| {
        let mut body = good.clone();
        body[name] = value;
        body
    };
    let mut another_server = invitation.clone();
    another_server.server_key = PublicKey([5; 32]);
    let unknown: InvitationCode = InvitationCode::from_random([3; 28]);
    let signed = |agent: &str, code: &InvitationCode| {
        let agent_id: AgentId = agent.parse().unwrap();
        Enrolling::new(1, &Invitation { agent_id, code: code.clone(), ..invitation.clone() }).body()
    };
    for (body, status, code) in [
        (json!({}), 400, "bad_request"),
        (json!([1]), 400, "bad_request"),
        (changed("code", json!("short")), 400, "bad_request"),
        (changed("more", json!(1)), 400, "bad_request"),
        (changed("agent_id", json!("pc-2")), 403, "bad_proof"),
        (changed("public_key", json!(PublicKey([7; 32]))), 403, "bad_proof"),
        (changed("nonce", json!(Nonce([1; 32]))), 403, "bad_proof"),
        (changed("signature", json!(Signature([1; 64]))), 403, "bad_proof"),
        (Enrolling::new(1, &another_server).body(), 403, "bad_proof"),
        (signed("pc-1", &unknown), 404, "code_unknown"),
        (signed("pc-9", &invitation.code), 404, "code_unknown"),
        (signed("pc-2", &invitation.code), 409, "code_of_another_agent"),
    ] {
        refused(&rig, &body, status, code).await;
    }
    refused(&rig, &json!({"code": "x".repeat(9000)}), 413, "too_large").await;

    // None of it used the code up.
    assert_eq!(post(&rig, &good).await.0, 200);
    let told = rig.happened(&"pc-1".parse().unwrap()).await;
    let rejections = told.iter().filter(|(kind, _)| kind == "enrolment_rejected");
    let rejections: Vec<&str> = rejections.map(|(_, summary)| summary.as_str()).collect();
    assert!(rejections.iter().any(|summary| summary.contains("no invitation has this code")));
    assert!(rejections.iter().any(|summary| summary.contains("proof does not hold")));
    let kinds: Vec<&str> = told.iter().map(|(kind, _)| kind.as_str()).collect();
    assert!(kinds.contains(&"agent_invited") && kinds.contains(&"agent_enrolled"), "{kinds:?}");
    assert!(rig.metric("kenny_agents_rejected_total{reason=\"bad_proof\"}").await.ends_with(" 5"));
    rig.stop().await;
}

#[tokio::test]
async fn invitations_end_are_withdrawn_and_replaced() {
    let rig = Rig::start().await;
    for bad in [0, 59, 30 * 86_400 + 1] {
        let (status, problem) = rig.post("/agents/pc-1/invite", json!({"expires_s": bad})).await;
        assert_eq!((status, problem["code"].as_str()), (400, Some("bad_args")), "{bad}");
    }
    assert_eq!(rig.get("/agents").await["agents"], json!([]), "nothing was made of it");

    let first = invite(&rig, "pc-1").await;
    let second = invite(&rig, "pc-1").await;
    assert_eq!(rig.get("/invitations").await["invitations"].as_array().unwrap().len(), 1);
    refused(&rig, &Enrolling::new(1, &first).body(), 404, "code_unknown").await;

    assert_eq!(rig.call("DELETE", "/agents/pc-1/invite", None).await.0, 204);
    refused(&rig, &Enrolling::new(1, &second).body(), 404, "code_unknown").await;
    let (status, problem) = rig.call("DELETE", "/agents/pc-1/invite", None).await;
    assert_eq!((status, problem["code"].as_str()), (404, Some("no_invitation")));
    let (status, problem) = rig.call("DELETE", "/agents/pc-9/invite", None).await;
    assert_eq!((status, problem["code"].as_str()), (404, Some("unknown_agent")));

    let third = invite(&rig, "pc-1").await;
    let expired = rig.app.store.run(|connection| {
        connection.execute("UPDATE invitations SET expires_at = '2026-01-01T00:00:00Z'", [])
    });
    assert_eq!(expired.await.unwrap(), 1);
    refused(&rig, &Enrolling::new(1, &third).body(), 410, "code_expired").await;
    assert_eq!(rig.get("/invitations").await["invitations"], json!([]));

    // Who removes the agent takes its codes along.
    let last = invite(&rig, "pc-1").await;
    assert_eq!(rig.call("DELETE", "/agents/pc-1", None).await.0, 204);
    refused(&rig, &Enrolling::new(1, &last).body(), 404, "code_unknown").await;
    rig.stop().await;
}

#[tokio::test]
async fn a_code_is_redeemed_once_however_many_come_at_the_same_moment() {
    let rig = Rig::start().await;
    let invitation = invite(&rig, "pc-1").await;
    let many: Vec<Enrolling> = (1..=12).map(|seed| Enrolling::new(seed, &invitation)).collect();
    let answers = futures_util::future::join_all(many.iter().map(|who| enrol(&rig, who))).await;
    let won: Vec<usize> = answers
        .iter()
        .enumerate()
        .filter(|(_, (status, _))| *status == 200)
        .map(|(at, _)| at)
        .collect();
    assert_eq!(won.len(), 1, "{answers:?}");
    for (_, problem) in answers.iter().filter(|(status, _)| *status != 200) {
        assert_eq!(problem["code"], "code_used", "{problem}");
    }
    let key = many[won[0]].key.public();
    assert_eq!(rig.agent_view("pc-1").await["public_key"], json!(key));
    rig.stop().await;
}

#[tokio::test]
async fn tokens_are_made_where_they_are_asked_for_only() {
    let rig = Rig::start().await;
    for body in [json!({"id": "pc-1"}), json!({"id": "pc-1", "legacy": false})] {
        let (status, problem) = rig.post("/agents", body).await;
        assert_eq!((status, problem["code"].as_str()), (400, Some("invite_instead")));
        assert!(
            problem["detail"].as_str().unwrap().contains("kenny agent invite pc-1"),
            "{problem}"
        );
    }
    rig.agent("pc-1").await;
    assert_eq!(rig.agent_view("pc-1").await["identity"], "legacy");
    rig.stop().await;
}
