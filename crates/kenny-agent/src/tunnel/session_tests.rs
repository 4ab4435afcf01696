//! A session against the other end of a pipe, on a clock that does not wait.

use kenny_proto::frames::{Meta, Section, Snapshot, Status, Telemetry as TelemetryFrame};
use kenny_proto::{Os, RequestId};
use serde_json::{Map, Value, json};
use tokio::io::DuplexStream;
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::*;
use crate::cli::Identity;
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
    let telemetry = Telemetry::new(jiff::Timestamp::now(), false, policy.clone());
    let toolbox = Toolbox { telemetry };
    let dispatcher = Arc::new(Dispatcher::new(toolbox, driver, policy));
    let meta = Meta {
        hostname: "pc".to_owned(),
        os: Os::Linux,
        version: "1.0.0".to_owned(),
        protocol: None,
        arch: None,
        sha256: None,
        service: None,
        update: None,
        paused: None,
    };
    let register = Register { agent_id: config.agent_id, token: config.token, meta };
    let (times, accepted) = watch::channel(0);
    let pushes = outbox.clone();
    let session = tokio::spawn(async move {
        let mut on_accepted = || times.send_modify(|times| *times += 1);
        let session = Session {
            socket,
            register,
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
