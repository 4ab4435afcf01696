//! A session against the other end of a pipe, on a clock that does not wait.

use kenny_proto::frames::{Meta, Section, Snapshot, Status, Telemetry as TelemetryFrame};
use kenny_proto::{Nonce, Os, RequestId};
use serde_json::{Map, Value, json};
use tokio::io::DuplexStream;
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::*;
use crate::cli::Identity;
use crate::identity::testing::Golden;
use crate::layout::Layout;
use crate::policy::{Policy, PolicyConfig};
use crate::run::Mode;
use crate::tools::Toolbox;
use crate::tools::telemetry::Telemetry;
use crate::tunnel::connect::Stream;
use crate::update::Driver;

/// The server's end, and the session that talks to it.
struct Pair {
    server: WebSocketStream<DuplexStream>,
    session: JoinHandle<End>,
    stop: watch::Sender<bool>,
    accepted: watch::Receiver<u32>,
    outbox: Outbox,
}

async fn pair() -> Pair {
    pair_with(Credential::Token("secret".to_owned())).await
}

async fn pair_with(credential: Credential) -> Pair {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let near: Box<dyn Stream> = Box::new(near);
    let limits = WebSocketConfig::default()
        .max_message_size(Some(MAX_FRAME_BYTES))
        .max_frame_size(Some(MAX_FRAME_BYTES));
    let socket = WebSocketStream::from_raw_socket(near, Role::Client, Some(limits)).await;
    let server = WebSocketStream::from_raw_socket(far, Role::Server, None).await;
    let identity = Identity {
        server: Some("ws://127.0.0.1:1".to_owned()),
        agent_id: Some("pc".to_owned()),
        token: Some("secret".to_owned()),
        ..Identity::default()
    };
    let config = identity.over(None).unwrap();
    let layout = Layout::with_state_dir("test", "/nowhere/kenny-agent".into(), "/nowhere".into());
    let outbox = Outbox::default();
    let (stop, stopping) = watch::channel(false);
    let driver =
        Driver::new(layout, config.clone(), Mode::Foreground, outbox.clone(), stopping.clone());
    let policy = Policy::new(&PolicyConfig::default(), "/nowhere/pause.json".into());
    let telemetry = Telemetry::new(jiff::Timestamp::now(), false, false, policy.clone());
    let toolbox = Toolbox { telemetry };
    let dispatcher = Arc::new(Dispatcher::new(toolbox, driver, policy));
    let meta = Meta {
        hostname: "pc".to_owned(),
        os: Os::Linux,
        version: "1.0.0".to_owned(),
        protocol: Some(kenny_proto::PROTOCOL.to_owned()),
        arch: None,
        sha256: None,
        service: None,
        update: None,
        paused: None,
        utc_offset_s: None,
    };
    let agent_id = config.agent_id;
    let (times, accepted) = watch::channel(0);
    let pushes = outbox.clone();
    let session = tokio::spawn(async move {
        let mut on_accepted = || times.send_modify(|times| *times += 1);
        let session = Session {
            socket,
            agent_id,
            credential,
            meta,
            dispatcher,
            outbox,
            stop: stopping,
            on_accepted: &mut on_accepted,
        };
        session.run().await
    });
    Pair { server, session, stop, accepted, outbox: pushes }
}

impl Pair {
    async fn hear(&mut self) -> Value {
        let message = self.server.next().await.unwrap().unwrap();
        serde_json::from_str(message.to_text().unwrap()).unwrap()
    }

    async fn say(&mut self, frame: Value) {
        self.server.send(Message::text(frame.to_string())).await.unwrap();
    }

    async fn opened() -> Self {
        let mut pair = pair().await;
        assert_eq!(pair.hear().await["type"], "register");
        assert_eq!(pair.hear().await["type"], "ping");
        pair
    }
}

/// What the server says and signs, as it should or not.
mod server {
    use kenny_core::identity::is_signed_by;
    use kenny_proto::transcript::{Exchange, Purpose};
    use kenny_proto::{Nonce, PublicKey, Signature};

    use super::*;
    use crate::identity::testing::Golden;

    pub const NONCE: Nonce = Nonce([3; 32]);

    fn exchange(golden: &Golden, nonce: Nonce) -> Exchange<'_> {
        Exchange {
            protocol: kenny_proto::PROTOCOL,
            agent_id: &golden.agent_id,
            client_nonce: nonce,
            server_nonce: NONCE,
            server_key: golden.server_key,
        }
    }

    pub fn challenge(golden: &Golden, nonce: Nonce) -> Value {
        let transcript = exchange(golden, nonce).transcript(Purpose::TunnelServer);
        json!({
            "type": "challenge", "server_nonce": NONCE, "server_key": golden.server_key,
            "server_signature": golden.server().sign(&transcript)
        })
    }

    pub fn is_answer(golden: &Golden, agent: PublicKey, nonce: Nonce, auth: &Value) -> bool {
        let signature: Signature = serde_json::from_value(auth["signature"].clone()).unwrap();
        let transcript = exchange(golden, nonce).transcript(Purpose::TunnelAgent);
        is_signed_by(&agent, &transcript, &signature)
    }
}

fn key_agent(golden: &Golden) -> Credential {
    Credential::Key(Arc::new(golden.agent()))
}

/// An agent with a key that has registered, and its nonce.
async fn registered(golden: &Golden) -> (Pair, Nonce) {
    let mut pair = pair_with(key_agent(golden)).await;
    let register = pair.hear().await;
    assert_eq!((&register["type"], &register["token"]), (&json!("register"), &Value::Null));
    let nonce = serde_json::from_value(register["nonce"].clone()).unwrap();
    (pair, nonce)
}

const WELCOME: &str = r#"{"type":"welcome","protocol":"0.3","session":"6f6d1e0e-8c3c-4f0e-9d5c-2f1f0a4f6a11",
    "heartbeat_s":30,"server_time":"2026-11-24T00:00:00Z"}"#;

#[tokio::test(start_paused = true)]
async fn an_agent_with_a_key_is_accepted_by_its_own_server_after_both_signed() {
    let golden = Golden::read();
    let (mut pair, nonce) = registered(&golden).await;
    pair.say(server::challenge(&golden, nonce)).await;
    let auth = pair.hear().await;
    assert_eq!(auth["type"], "auth");
    assert!(server::is_answer(&golden, golden.agent_key, nonce, &auth), "{auth}");
    assert_eq!(*pair.accepted.borrow(), 0);
    pair.say(serde_json::from_str(WELCOME).unwrap()).await;
    pair.accepted.wait_for(|times| *times == 1).await.unwrap();
    pair.say(json!({"type": "pong"})).await;
    pair.say(json!({"type": "ping"})).await;
    assert_eq!(pair.hear().await["type"], "pong");
    assert_eq!(*pair.accepted.borrow(), 1);

    let (_other, another) = registered(&golden).await;
    assert_ne!(another, nonce, "a nonce is used once");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_sign_is_hung_up_on_and_nothing_of_it_is_done() {
    let golden = Golden::read();
    let request = json!({ "type": "request", "id": RequestId::random(), "tool": "powershell.exec",
        "args": {"script": "exit", "timeout_s": 1} });
    let (_, elsewhere) = registered(&golden).await;
    let mut not_signed = server::challenge(&golden, elsewhere);
    not_signed["server_signature"] = json!(kenny_proto::Signature([1; 64]));
    let mut other_key = server::challenge(&golden, elsewhere);
    other_key["server_key"] = json!(golden.agent_key);
    for instead in [
        serde_json::from_str(WELCOME).unwrap(),
        json!({ "type": "pong" }),
        request,
        json!({ "type": "hologram" }),
        // A challenge to another register, one without a signature, one of another server.
        server::challenge(&golden, elsewhere),
        not_signed,
        other_key,
    ] {
        let (mut pair, _) = registered(&golden).await;
        pair.say(instead.clone()).await;
        let Message::Close(Some(frame)) = pair.server.next().await.unwrap().unwrap() else {
            panic!("no close but an answer to {instead}")
        };
        assert_eq!(u16::from(frame.code), CloseCode::Unauthorized.as_u16());
        let end = pair.session.await.unwrap();
        assert!(matches!(end, End::Impostor(_)), "{instead}: {end:?}");
        assert_eq!(*pair.accepted.borrow(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_or_refuses_ends_the_handshake() {
    let golden = Golden::read();
    let (pair, _) = registered(&golden).await;
    let End::Lost(reason) = pair.session.await.unwrap() else { panic!("not lost") };
    assert!(reason.contains("prove itself within"), "{reason}");

    let (mut pair, nonce) = registered(&golden).await;
    pair.say(server::challenge(&golden, nonce)).await;
    pair.hear().await;
    let frame = CloseFrame { code: 4401.into(), reason: "not this key".into() };
    pair.server.send(Message::Close(Some(frame))).await.unwrap();
    let End::Unauthorized(reason) = pair.session.await.unwrap() else { panic!("not refused") };
    assert!(reason.contains("not this key"), "{reason}");

    let (pair, _) = registered(&golden).await;
    pair.stop.send_replace(true);
    assert!(matches!(pair.session.await.unwrap(), End::Stopped));
}

fn telemetry(bytes: usize) -> AgentFrame {
    let section =
        Section { status: Status::Ok, summary: "x".repeat(bytes), fields: Map::default() };
    AgentFrame::Telemetry(TelemetryFrame {
        agent_id: "pc".parse().unwrap(),
        collected_at: jiff::Timestamp::UNIX_EPOCH,
        snapshot: Snapshot::from([("s".to_owned(), section)]),
    })
}

#[tokio::test(start_paused = true)]
async fn welcome_pong_or_a_request_counts_as_acceptance_once() {
    let welcome = json!({
        "type": "welcome", "protocol": "0.3", "session": "6f6d1e0e-8c3c-4f0e-9d5c-2f1f0a4f6a11",
        "heartbeat_s": 30, "server_time": "2026-11-24T00:00:00Z",
    });
    let request =
        json!({ "type": "request", "id": RequestId::random(), "tool": "x.y", "args": {} });
    for proof in [welcome, json!({ "type": "pong" }), request] {
        let mut pair = Pair::opened().await;
        pair.say(json!({ "type": "ping" })).await;
        assert_eq!(pair.hear().await["type"], "pong");
        assert_eq!(*pair.accepted.borrow(), 0, "a ping proves nothing");
        pair.say(proof).await;
        pair.say(json!({ "type": "pong" })).await;
        pair.accepted.wait_for(|times| *times == 1).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_given_up_after_three_heartbeats() {
    let mut pair = Pair::opened().await;
    let began = Instant::now();
    for _ in 0..3 {
        assert_eq!(pair.hear().await["type"], "ping");
    }
    let End::Lost(reason) = pair.session.await.unwrap() else { panic!("not lost") };
    assert!(reason.contains("silent"), "{reason}");
    let took = began.elapsed();
    assert!(took >= HEARTBEAT * 3 && took <= HEARTBEAT * 4, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stop_says_goodbye_and_does_not_wait_for_the_server() {
    let mut pair = Pair::opened().await;
    let began = Instant::now();
    pair.stop.send_replace(true);
    assert!(matches!(pair.session.await.unwrap(), End::Stopped));
    assert!(began.elapsed() < FAREWELL, "{:?}", began.elapsed());
    let Message::Close(Some(frame)) = pair.server.next().await.unwrap().unwrap() else {
        panic!("no close")
    };
    assert_eq!(u16::from(frame.code), CloseCode::GoingAway.as_u16());
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_a_server_that_reads_nothing() {
    let pair = Pair::opened().await;
    for _ in 0..4 {
        pair.outbox.push(telemetry(100 * 1024));
    }
    let began = Instant::now();
    pair.stop.send_replace(true);
    assert!(matches!(pair.session.await.unwrap(), End::Stopped));
    assert!(began.elapsed() <= FAREWELL * 2, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_the_servers_close_code_means() {
    for code in [4401, 4409, 4400, 1001] {
        let mut pair = Pair::opened().await;
        let frame = CloseFrame { code: code.into(), reason: "because".into() };
        pair.server.send(Message::Close(Some(frame))).await.unwrap();
        let end = pair.session.await.unwrap();
        let reason = match (code, end) {
            (4401, End::Unauthorized(reason))
            | (4409, End::Displaced(reason))
            | (4400 | 1001, End::Lost(reason)) => reason,
            (_, end) => panic!("{code}: {end:?}"),
        };
        assert!(reason.contains("because"), "{code}: {reason}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_frame_over_the_limit_is_refused_with_1009() {
    let mut pair = Pair::opened().await;
    let big = Message::text("x".repeat(MAX_FRAME_BYTES + 1));
    // The session may be gone before all of it is written.
    let (_, end) = tokio::join!(pair.server.send(big), pair.session);
    assert!(matches!(end.unwrap(), End::TooBig));
    let mut code = None;
    while let Some(Ok(message)) = pair.server.next().await {
        if let Message::Close(Some(frame)) = message {
            code = Some(u16::from(frame.code));
        }
    }
    assert_eq!(code, Some(1009));
}

#[tokio::test(start_paused = true)]
async fn pushes_reach_the_server_unless_they_are_over_their_limit() {
    let mut pair = Pair::opened().await;
    pair.outbox.push(telemetry(MAX_PUSH_BYTES));
    pair.outbox.push(telemetry(10));
    let heard = pair.hear().await;
    assert_eq!(heard["snapshot"]["s"]["summary"].as_str().unwrap().len(), 10);
}

#[test]
fn an_answer_over_the_limit_becomes_an_error_that_says_so() {
    let id = RequestId::random();
    // NULs take six bytes each in JSON: 2 MiB of output are 12 MiB of frame.
    let result = Map::from_iter([("stdout".to_owned(), Value::from("\0".repeat(2 * 1024 * 1024)))]);
    let text = encode(&AgentFrame::Response(Response { id, outcome: Ok(result) })).unwrap();
    assert!(text.len() < 1024);
    let Ok(Parsed::Frame(AgentFrame::Response(response))) = AgentFrame::parse(&text) else {
        panic!("{text}")
    };
    assert_eq!(response.id, id);
    let error = response.outcome.unwrap_err();
    assert_eq!(error.code, ErrorCode::ExecFailed);
    assert!(error.message.contains("ask for less"), "{error}");
}
