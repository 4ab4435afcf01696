//! What is bounded for whoever has not proved who it is, over real sockets.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use super::rig::{Rig, within};

async fn socket(rig: &Rig) -> TcpStream {
    within(TcpStream::connect(rig.url.trim_start_matches("http://"))).await.unwrap()
}

/// Until the server hangs up; what it said.
async fn said(mut socket: TcpStream) -> String {
    let mut said = Vec::new();
    let _ = within(socket.read_to_end(&mut said)).await;
    String::from_utf8_lossy(&said).into_owned()
}

async fn until_unproven(rig: &Rig, wanted: usize) {
    within(async {
        while rig.app.doorkeeper.unproven().0 != wanted {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_address_that_holds_sockets_is_turned_away_while_its_agents_stay() {
    let rig = Rig::start_with(|config| config.limits.sockets_of_address = 20).await;
    let token = rig.agent("pc-1").await;
    let mut agent = rig.online_0_3("pc-1", &token, "1.0.0", json!(null)).await;
    // The operator's and the agent's have proved themselves.
    until_unproven(&rig, 0).await;
    let mut held = Vec::new();
    for _ in 0..20 {
        held.push(socket(&rig).await);
    }
    until_unproven(&rig, 20).await;
    assert_eq!(said(socket(&rig).await).await, "", "turned away without a word");
    agent.settle().await;
    assert_eq!(rig.get("/agents/pc-1").await["agent"]["online"], true);
    drop(held);
    until_unproven(&rig, 0).await;
    rig.stop().await;
}

#[tokio::test]
async fn an_office_of_a_hundred_comes_in_through_one_address_and_a_narrow_door() {
    let rig = Rig::start_with(|config| {
        config.limits.sockets_of_address = 12;
        config.limits.tunnels_of_address = 4;
    })
    .await;
    let mut tokens = Vec::new();
    for number in 0..100 {
        tokens.push(rig.agent(&format!("pc-{number}")).await);
    }
    let url = format!("{}/agent/ws", rig.url.replace("http", "ws"));
    let come = |number: usize, token: String| {
        let url = url.clone();
        async move {
            use futures_util::SinkExt as _;
            let meta = json!({"hostname": "x", "os": "linux", "version": "1.0.0"});
            let id = format!("pc-{number}");
            let register =
                json!({"type": "register", "agent_id": id, "token": token, "meta": meta});
            loop {
                if let Ok((mut socket, _)) = tokio_tungstenite::connect_async(&url).await
                    && socket.send(Message::text(register.to_string())).await.is_ok()
                {
                    return socket;
                }
                tokio::task::yield_now().await;
            }
        }
    };
    let office = tokens.into_iter().enumerate().map(|(number, token)| come(number, token));
    let office = within(futures_util::future::join_all(office)).await;
    within(async {
        while rig.app.metrics.agents_online.get() < 100 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(rig.app.bounds.waiting_tunnels(), 0);
    drop(office);
    rig.stop().await;
}

#[tokio::test]
async fn who_is_wrong_again_and_again_waits_and_who_is_right_never_does() {
    let rig = Rig::start_with(|config| config.limits.free_failures = 10).await;
    let token = rig.agent("pc-1").await;
    let url = format!("{}/api/v1/agents", rig.url);
    let wrong = || rig.http.get(&url).bearer_auth("kenny_op_wrong").send();
    let mut last = within(wrong()).await.unwrap();
    for _ in 0..20 {
        last = within(wrong()).await.unwrap();
    }
    assert_eq!(last.status().as_u16(), 429);
    let wait: u64 = last.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=300).contains(&wait), "{wait}");
    // The same address, and what it says is true.
    assert_eq!(rig.call("GET", "/agents", None).await.0, 200);
    let _agent = rig.online_0_3("pc-1", &token, "1.0.0", json!(null)).await;
    let probe = |token: String| {
        let url = format!("{}/agent/probe", rig.url);
        rig.http.get(url).header("x-kenny-agent-id", "pc-1").bearer_auth(token).send()
    };
    assert_eq!(within(probe(token)).await.unwrap().status().as_u16(), 204);
    let busy = within(probe("wrong".to_owned())).await.unwrap();
    assert_eq!(busy.status().as_u16(), 429, "an agent takes that as a server with too much to do");
    rig.stop().await;
}

#[tokio::test]
async fn a_slow_head_a_slow_body_and_silence_end_by_themselves() {
    let rig = Rig::start_with(|config| {
        config.limits.head_time = Duration::from_millis(300);
        config.limits.proof_time = Duration::from_millis(700);
    })
    .await;
    let mut slow = socket(&rig).await;
    slow.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-slow: ").await.unwrap();
    said(slow).await;
    said(socket(&rig).await).await;
    // Without credentials a body is not even waited for.
    let mut slow = socket(&rig).await;
    let head = "POST /api/v1/agents HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n{";
    slow.write_all(head.as_bytes()).await.unwrap();
    assert!(said(slow).await.starts_with("HTTP/1.1 401"));
    // A connection that goes on asking what anybody may ask proves nothing.
    let mut idle = socket(&rig).await;
    idle.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert!(said(idle).await.starts_with("HTTP/1.1 200"));
    until_unproven(&rig, 0).await;
    rig.stop().await;
}

#[tokio::test]
async fn a_body_that_comes_drop_by_drop_ends_when_the_time_to_prove_oneself_is_over() {
    let rig = Rig::start_with(|config| config.limits.proof_time = Duration::from_millis(500)).await;
    let mut socket = socket(&rig).await;
    let head = "POST /oauth/register HTTP/1.1\r\nhost: x\r\ncontent-length: 16000\r\n\r\n";
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut drops = tokio::time::interval(Duration::from_millis(20));
    within(async {
        while socket.write_all(b" ").await.is_ok() {
            drops.tick().await;
        }
    })
    .await;
    until_unproven(&rig, 0).await;
    rig.stop().await;
}

#[tokio::test]
async fn a_body_is_bounded_for_operators_too() {
    let rig = Rig::start().await;
    // Hardly more than it may be, so that nothing of it is left unread.
    let body = json!({"id": "pc-1", "legacy": true, "x": "x".repeat(1024 * 1024)});
    assert_eq!(rig.post("/agents", body).await.0, 413);
    rig.stop().await;
}

#[tokio::test]
async fn before_it_registers_a_tunnel_may_send_a_register_frame_and_not_more() {
    let rig = Rig::start().await;
    let token = rig.agent("pc-1").await;
    let mut stranger = rig.connect().await;
    // What an agent may send: the server reads it in pieces and hangs up in between.
    let big = Message::text("x".repeat(6 * 1024 * 1024));
    let sent = stranger.try_send(big).await;
    assert!(sent.is_err() || stranger.gone().await, "6 MiB of a stranger were taken");
    let mut agent = rig.online_0_3("pc-1", &token, "1.0.0", json!(null)).await;
    let answer = async {
        let request = agent.request("screen.capture").await;
        agent.answer(&request, json!({"image_b64": "x".repeat(6 * 1024 * 1024)})).await;
    };
    let ((status, _), ()) =
        tokio::join!(rig.post("/agents/pc-1/tools/screen.capture", json!({})), answer);
    assert_eq!(status, 200, "whoever has registered may");
    rig.stop().await;
}

#[tokio::test]
async fn a_proxy_is_believed_about_where_a_request_comes_from_when_it_is_trusted() {
    for (trusted, expected) in [(false, "127.0.0.1"), (true, "198.51.100.7")] {
        let rig = Rig::start_with(|config| {
            if trusted {
                config.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
            }
        })
        .await;
        let url = format!("{}/api/v1/agents", rig.url);
        let request =
            rig.http.post(url).bearer_auth(&rig.token).json(&json!({"id": "pc-1", "legacy": true}));
        let request = request.header("x-forwarded-for", "203.0.113.9, 198.51.100.7");
        assert_eq!(within(request.send()).await.unwrap().status().as_u16(), 201);
        let page = rig.get("/audit?action=agent.create").await;
        assert_eq!(page["rows"][0]["from"], expected);
        rig.stop().await;
    }
}

#[tokio::test]
async fn what_anybody_may_ask_is_bounded_for_each_address_and_nobody_elses_waits() {
    let visits = 8;
    for (method, path) in [
        ("GET", "/invite/AAAA-AAAA"),
        ("GET", "/login"),
        ("POST", "/login"),
        ("POST", "/login/code"),
        ("POST", "/api/v1/login"),
        ("POST", "/oauth/register"),
        ("POST", "/oauth/token"),
        ("POST", "/oauth/revoke"),
    ] {
        let rig = Rig::start_with(|config| {
            config.limits.visits_of_address = visits;
            config.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
        })
        .await;
        let ask = |from: &'static str| {
            let request = rig.http.request(method.parse().unwrap(), format!("{}{path}", rig.url));
            within(request.header("x-forwarded-for", from).body("{}").send())
        };
        let mut answers = Vec::new();
        // More than the seconds that this takes give back.
        for _ in 0..visits * 5 {
            answers.push(ask("198.51.100.7").await.unwrap());
        }
        let first = answers.first().unwrap().status().as_u16();
        assert_ne!(first, 429, "{method} {path}");
        let refused = answers.iter().find(|answer| answer.status().as_u16() == 429);
        let refused = refused.unwrap_or_else(|| panic!("{method} {path} has no bound"));
        assert!(refused.headers().contains_key("retry-after"));
        assert_eq!(ask("198.51.100.8").await.unwrap().status().as_u16(), first, "{method} {path}");
        assert_eq!(rig.call("GET", "/agents", None).await.0, 200, "operators are not visitors");
        rig.stop().await;
    }
}

#[tokio::test]
async fn behind_a_trusted_proxy_clients_are_counted_and_the_proxy_is_not() {
    const MOST: usize = 5;
    let rig = Rig::start_with(|config| {
        config.limits.sockets_of_address = MOST;
        config.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    })
    .await;
    // A request that never ends: its body does not come.
    let slow = |client: &'static str| {
        let rig = &rig;
        async move {
            let mut socket = socket(rig).await;
            let head = format!(
                "POST /oauth/register HTTP/1.1\r\nhost: x\r\nx-forwarded-for: {client}\r\ncontent-length: 1000\r\n\r\n{{"
            );
            socket.write_all(head.as_bytes()).await.unwrap();
            socket
        }
    };
    let mut held = Vec::new();
    for client in ["198.51.100.1", "198.51.100.2", "198.51.100.3", "198.51.100.4"] {
        for _ in 0..MOST {
            held.push(slow(client).await);
        }
    }
    // Many more than one client has, all of them the proxy's.
    until_unproven(&rig, held.len()).await;
    let page = |client: &'static str| {
        let request = rig.http.get(format!("{}/login", rig.url));
        within(request.header("x-forwarded-for", client).send())
    };
    assert_eq!(page("198.51.100.1").await.unwrap().status().as_u16(), 429);
    assert_eq!(page("198.51.100.9").await.unwrap().status().as_u16(), 200);
    // Who proves who it is does not count, and who leaves makes room.
    let url = format!("{}/api/v1/me", rig.url);
    let own = rig.http.get(url).bearer_auth(&rig.token).header("x-forwarded-for", "198.51.100.9");
    assert_eq!(within(own.send()).await.unwrap().status().as_u16(), 200);
    drop(held);
    until_unproven(&rig, 0).await;
    assert_eq!(page("198.51.100.1").await.unwrap().status().as_u16(), 200);
    rig.stop().await;
}
