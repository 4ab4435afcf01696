//! Agents with keys: the handshake, the probe, and what is refused.

use kenny_core::identity::{IdentityKey, is_signed_by};
use kenny_proto::transcript::{Exchange, Purpose};
use kenny_proto::{AgentId, Nonce, PublicKey, Signature};
use reqwest::Response;
use serde_json::{Value, json};

use super::enrolment::{Enrolling, enrol, invite};
use super::rig::{FakeAgent, Rig, within};

/// An agent that enrolled, and what it pinned.
struct Enrolled {
    id: AgentId,
    key: IdentityKey,
    server_key: PublicKey,
}

impl Enrolled {
    async fn new(rig: &Rig, id: &str, seed: u8) -> Self {
        let who = Enrolling::new(seed, &invite(rig, id).await);
        let (status, answer) = enrol(rig, &who).await;
        assert_eq!(status, 200, "{answer}");
        Self { id: id.parse().unwrap(), key: who.key, server_key: who.invitation.server_key }
    }

    fn register(&self, nonce: Nonce) -> Value {
        let meta = json!({"hostname": "x", "os": "linux", "version": "1.0.0", "protocol": "0.3"});
        json!({"type": "register", "agent_id": self.id, "nonce": nonce, "meta": meta})
    }

    fn exchange(&self, client_nonce: Nonce, server_nonce: Nonce) -> Exchange<'_> {
        let (agent_id, server_key) = (&self.id, self.server_key);
        Exchange { protocol: "0.3", agent_id, client_nonce, server_nonce, server_key }
    }

    fn auth(&self, client_nonce: Nonce, server_nonce: Nonce) -> Value {
        let transcript = self.exchange(client_nonce, server_nonce).transcript(Purpose::TunnelAgent);
        json!({"type": "auth", "signature": self.key.sign(&transcript)})
    }

    /// Registers with this nonce; the server's, whose signature holds.
    async fn challenged(&self, rig: &Rig, client_nonce: Nonce) -> (FakeAgent, Nonce) {
        let mut agent = rig.connect().await;
        agent.send(&self.register(client_nonce)).await;
        let challenge = agent.receive().await;
        assert_eq!(challenge["type"], "challenge", "{challenge}");
        let server_nonce: Nonce =
            serde_json::from_value(challenge["server_nonce"].clone()).unwrap();
        let signature: Signature =
            serde_json::from_value(challenge["server_signature"].clone()).unwrap();
        let transcript =
            self.exchange(client_nonce, server_nonce).transcript(Purpose::TunnelServer);
        assert!(is_signed_by(&self.server_key, &transcript, &signature));
        (agent, server_nonce)
    }

    async fn online(&self, rig: &Rig) -> FakeAgent {
        let nonce = Nonce(crate::auth::random_bytes());
        let (mut agent, server_nonce) = self.challenged(rig, nonce).await;
        agent.send(&self.auth(nonce, server_nonce)).await;
        let welcome = agent.receive().await;
        assert_eq!(welcome["type"], "welcome", "{welcome}");
        agent
    }
}

async fn turned_away(mut agent: FakeAgent, code: u16, word: &str) {
    let (got, reason) = agent.closed().await;
    assert_eq!(got, code, "{reason}");
    assert!(reason.contains(word), "{reason}");
}

const ONE: Nonce = Nonce([1; 32]);
const TWO: Nonce = Nonce([2; 32]);

#[tokio::test]
async fn both_sides_prove_themselves_and_the_agent_works_as_any() {
    let rig = Rig::start().await;
    let pc = Enrolled::new(&rig, "pc-1", 1).await;
    let mut agent = pc.online(&rig).await;
    let answer = async {
        let request = agent.request("net.config").await;
        agent.answer(&request, json!({"interfaces": [], "dns": []})).await;
    };
    let ((status, _), ()) =
        tokio::join!(rig.post("/agents/pc-1/tools/net.config", json!({})), answer);
    assert_eq!(status, 200);
    // The newest connection wins here too.
    let _newer = pc.online(&rig).await;
    turned_away(agent, 4409, "newer").await;
    let rig = rig.restart().await;
    let _again = pc.online(&rig).await;
    rig.until_online("pc-1", true).await;
    rig.stop().await;
}

#[tokio::test]
async fn an_auth_that_is_not_the_answer_is_refused_and_a_replayed_one_too() {
    let rig = Rig::start().await;
    let pc = Enrolled::new(&rig, "pc-1", 1).await;
    let other = Enrolled::new(&rig, "pc-2", 2).await;

    // What was heard on the line once is worth nothing on the next connection, with the same nonce of the agent or not.
    let (mut agent, server_nonce) = pc.challenged(&rig, ONE).await;
    let heard = pc.auth(ONE, server_nonce);
    agent.send(&heard).await;
    assert_eq!(agent.receive().await["type"], "welcome");
    for nonce in [ONE, TWO] {
        let (mut replay, fresh) = pc.challenged(&rig, nonce).await;
        assert_ne!(fresh, server_nonce);
        replay.send(&heard).await;
        turned_away(replay, 4401, "signature").await;
    }
    agent.settle().await;

    let wrongs: [fn(&Enrolled, &Enrolled, Nonce) -> Value; 6] = [
        // By another agent's key.
        |_, other, nonce| other.auth(ONE, nonce),
        // The nonces the other way round.
        |pc, _, nonce| pc.auth(nonce, ONE),
        // Another nonce.
        |pc, _, nonce| pc.auth(TWO, nonce),
        // Signed for another purpose.
        |pc, _, nonce| {
            let transcript = pc.exchange(ONE, nonce).transcript(Purpose::ProbeAgent);
            json!({"type": "auth", "signature": pc.key.sign(&transcript)})
        },
        // For another server.
        |pc, _, nonce| {
            let exchange = Exchange { server_key: pc.key.public(), ..pc.exchange(ONE, nonce) };
            json!({"type": "auth", "signature": pc.key.sign(&exchange.transcript(Purpose::TunnelAgent))})
        },
        |_, _, _| json!({"type": "auth", "signature": Signature([0; 64])}),
    ];
    for wrong in wrongs {
        let (mut agent, nonce) = pc.challenged(&rig, ONE).await;
        agent.send(&wrong(&pc, &other, nonce)).await;
        turned_away(agent, 4401, "signature").await;
    }
    // The server's own signature sent back to it.
    let mut agent = rig.connect().await;
    agent.send(&pc.register(ONE)).await;
    let challenge = agent.receive().await;
    agent.send(&json!({"type": "auth", "signature": challenge["server_signature"]})).await;
    turned_away(agent, 4401, "signature").await;

    // Without a signature, and with other frames instead of it.
    for instead in [
        json!({"type": "auth"}),
        json!({"type": "auth", "signature": "AAAA"}),
        json!({"type": "ping"}),
        json!({"type": "hologram"}),
        pc.register(ONE),
    ] {
        let (mut agent, _) = pc.challenged(&rig, ONE).await;
        agent.send(&instead).await;
        turned_away(agent, 4400, "auth").await;
    }
    agent = pc.online(&rig).await;
    agent.settle().await;
    rig.stop().await;
}

#[tokio::test]
async fn a_token_is_never_accepted_after_a_key() {
    let rig = Rig::start().await;
    let token = rig.agent("pc-1").await;
    let legacy = rig.online_0_3("pc-1", &token, "1.0.0", json!(null)).await;
    // The old identity holds until the new one has enrolled.
    let invitation = invite(&rig, "pc-1").await;
    let mut still = rig.online_0_3("pc-1", &token, "1.0.0", json!(null)).await;
    turned_away(legacy, 4409, "newer").await;
    still.settle().await;
    let who = Enrolling::new(1, &invitation);
    assert_eq!(enrol(&rig, &who).await.0, 200);
    turned_away(still, 4401, "another identity").await;

    let pc = Enrolled {
        id: "pc-1".parse().unwrap(),
        key: who.key,
        server_key: who.invitation.server_key,
    };
    let meta = json!({"hostname": "x", "os": "linux", "version": "1.0.0", "protocol": "0.3"});
    let mut downgraded = rig.connect().await;
    downgraded.register("pc-1", &token, meta.clone()).await;
    turned_away(downgraded, 4401, "enrolled with a key").await;
    // A token beside a nonce opens nothing either.
    let mut both = rig.connect().await;
    let mut register = pc.register(ONE);
    register["token"] = json!(token);
    both.send(&register).await;
    assert_eq!(both.receive().await["type"], "challenge");
    drop(both);
    let rig = rig.restart().await;
    let mut downgraded = rig.connect().await;
    downgraded.register("pc-1", &token, meta).await;
    turned_away(downgraded, 4401, "enrolled with a key").await;
    pc.online(&rig).await.settle().await;
    rig.stop().await;
}

#[tokio::test]
async fn a_new_identity_ends_the_old_one_when_it_has_enrolled_and_not_before() {
    let rig = Rig::start().await;
    let old = Enrolled::new(&rig, "pc-1", 1).await;
    let mut agent = old.online(&rig).await;
    let invitation = invite(&rig, "pc-1").await;
    agent.settle().await;
    let (mut between, nonce) = old.challenged(&rig, ONE).await;

    let who = Enrolling::new(2, &invitation);
    assert_eq!(enrol(&rig, &who).await.0, 200);
    turned_away(agent, 4401, "another identity").await;
    // It had its challenge already: the key that it proves is not the agent's any more.
    between.send(&old.auth(ONE, nonce)).await;
    turned_away(between, 4401, "another identity").await;
    let (mut again, nonce) = old.challenged(&rig, TWO).await;
    again.send(&old.auth(TWO, nonce)).await;
    turned_away(again, 4401, "signature").await;
    let new = Enrolled { id: old.id.clone(), key: who.key, server_key: old.server_key };
    new.online(&rig).await.settle().await;
    rig.stop().await;
}

#[tokio::test]
async fn who_has_no_identity_yet_or_another_kind_is_told_so() {
    let rig = Rig::start().await;
    invite(&rig, "pc-1").await;
    rig.agent("pc-2").await;
    let stranger = |id: &str| Enrolled {
        id: id.parse().unwrap(),
        key: IdentityKey::from_seed(&[1; 32]),
        server_key: rig.app.identity.public(),
    };
    for (id, word) in [
        ("pc-1", "no PC has enrolled"),
        ("pc-2", "authenticates by its token"),
        ("pc-9", "no agent"),
    ] {
        let mut agent = rig.connect().await;
        agent.send(&stranger(id).register(ONE)).await;
        turned_away(agent, 4401, word).await;
    }
    rig.stop().await;
}

async fn probe(rig: &Rig, headers: &[(&str, &str)]) -> Response {
    let mut request = rig.http.get(format!("{}/agent/probe", rig.url));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    within(request.send()).await.unwrap()
}

#[tokio::test]
async fn the_probe_is_signed_by_both_and_displaces_nobody() {
    let rig = Rig::start().await;
    let pc = Enrolled::new(&rig, "pc-1", 1).await;
    let other = Enrolled::new(&rig, "pc-2", 2).await;
    let mut agent = pc.online(&rig).await;
    let client = ONE.to_string();
    let asked =
        [("x-kenny-agent-id", "pc-1"), ("x-kenny-protocol", "0.3"), ("x-kenny-nonce", &client)];
    let first = probe(&rig, &asked).await;
    assert_eq!(first.status().as_u16(), 401);
    assert_eq!(first.headers()["www-authenticate"], "Kenny-Ed25519");
    let header =
        |answer: &Response, name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    let nonce: Nonce = header(&first, "x-kenny-server-nonce").parse().unwrap();
    let signature: Signature = header(&first, "x-kenny-signature").parse().unwrap();
    let exchange = pc.exchange(ONE, nonce);
    let proves = |purpose, signature: &Signature| {
        is_signed_by(&pc.server_key, &exchange.transcript(purpose), signature)
    };
    assert!(proves(Purpose::ProbeServer, &signature));

    let server_nonce = nonce.to_string();
    let second = async |id: &str, client: &str, nonce: &str, signature: Signature| {
        let signature = signature.to_string();
        probe(
            &rig,
            &[
                ("x-kenny-agent-id", id),
                ("x-kenny-protocol", "0.3"),
                ("x-kenny-nonce", client),
                ("x-kenny-server-nonce", nonce),
                ("x-kenny-signature", &signature),
            ],
        )
        .await
    };
    let good = pc.key.sign(&exchange.transcript(Purpose::ProbeAgent));
    let accepted = second("pc-1", &client, &server_nonce, good).await;
    assert_eq!(accepted.status().as_u16(), 204);
    assert!(proves(
        Purpose::ProbeAccepted,
        &header(&accepted, "x-kenny-signature").parse().unwrap()
    ));

    let for_tunnel = pc.key.sign(&exchange.transcript(Purpose::TunnelAgent));
    let by_other = other.key.sign(&exchange.transcript(Purpose::ProbeAgent));
    let own_nonce = Nonce([7; 32]);
    let of_own = pc.key.sign(&pc.exchange(ONE, own_nonce).transcript(Purpose::ProbeAgent));
    let of_two = pc.key.sign(&pc.exchange(TWO, nonce).transcript(Purpose::ProbeAgent));
    for (id, client, nonce, signature) in [
        ("pc-1", client.as_str(), server_nonce.as_str(), for_tunnel),
        ("pc-1", &client, &server_nonce, by_other),
        ("pc-2", &client, &server_nonce, good),
        ("pc-1", &client, &own_nonce.to_string(), of_own),
        ("pc-1", &TWO.to_string(), &server_nonce, of_two),
        ("pc-1", &client, &server_nonce, signature),
    ] {
        let refused = second(id, client, nonce, signature).await;
        assert_eq!(refused.status().as_u16(), 401, "{id}");
        assert!(!refused.headers().contains_key("x-kenny-signature"));
    }
    // Neither a token nor nothing is an answer.
    let token = probe(&rig, &[("x-kenny-agent-id", "pc-1"), ("authorization", "Bearer x")]).await;
    assert_eq!(token.status().as_u16(), 401);
    let text = within(token.text()).await.unwrap();
    assert!(text.contains("a token is not accepted"), "{text}");
    agent.settle().await;
    rig.stop().await;
}

#[tokio::test]
async fn whoever_goes_silent_in_the_handshake_is_sent_away() {
    let time = std::time::Duration::from_millis(300);
    let rig = Rig::start_with(|config| config.limits.register_time = time).await;
    let enrolled = Enrolled::new(&rig, "pc-1", 1).await;
    turned_away(rig.connect().await, 4400, "no register frame came within 0.3 s").await;
    let (agent, _) = enrolled.challenged(&rig, ONE).await;
    turned_away(agent, 4400, "no auth frame came within 0.3 s").await;
    rig.stop().await;
}
