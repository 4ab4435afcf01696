//! How much the server carries: not part of the ordinary run, because the numbers are the machine's.
//!
//! `cargo test --release -p kenny-server load -- --ignored --nocapture --test-threads 1`

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rates and percentiles for people"
)]

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::rig::Rig;

/// Registers an agent that answers everything, for ever.
async fn answering_agent(url: String, id: String, token: String) {
    let config = WebSocketConfig::default().read_buffer_size(1024).write_buffer_size(0);
    let (mut socket, _) =
        tokio_tungstenite::connect_async_with_config(url, Some(config), true).await.unwrap();
    let meta = json!({"hostname": id, "os": "linux", "version": "1.0.0", "protocol": "0.3"});
    let register = json!({"type": "register", "agent_id": id, "token": token, "meta": meta});
    socket.send(Message::text(register.to_string())).await.unwrap();
    tokio::spawn(async move {
        while let Some(Ok(message)) = socket.next().await {
            let Ok(text) = message.into_text() else { continue };
            let Ok(frame) = serde_json::from_str::<Value>(&text) else { continue };
            let answer = match frame["type"].as_str() {
                Some("request") => json!({
                    "type": "response", "id": frame["id"], "ok": true,
                    "result": {"interfaces": [{"name": "eth0", "addresses": ["192.0.2.7"]}], "dns": []}
                }),
                Some("ping") => json!({"type": "pong"}),
                Some(_) | None => continue,
            };
            if socket.send(Message::text(answer.to_string())).await.is_err() {
                return;
            }
        }
    });
}

async fn fleet(rig: &Rig, count: usize) {
    let url = format!("{}/agent/ws", rig.url.replace("http", "ws"));
    for chunk in (0..count).collect::<Vec<_>>().chunks(100) {
        let agents = chunk.iter().map(async |number| {
            let id = format!("pc-{number}");
            let token = rig.agent(&id).await;
            answering_agent(url.clone(), id, token).await;
        });
        futures_util::future::join_all(agents).await;
    }
    let wanted = i64::try_from(count).unwrap();
    while rig.app.metrics.agents_online.get() < wanted {
        tokio::task::yield_now().await;
    }
}

async fn one_call(stream: &mut BufReader<TcpStream>, request: &str) {
    stream.get_mut().write_all(request.as_bytes()).await.unwrap();
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    assert!(line.starts_with("HTTP/1.1 200"), "{line}");
    let mut length = 0;
    loop {
        line.clear();
        stream.read_line(&mut line).await.unwrap();
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
}

#[ignore = "a measurement"]
#[tokio::test(flavor = "multi_thread")]
async fn load_calls() {
    const AGENTS: usize = 1000;
    const CALLERS: usize = 64;
    const TIME: Duration = Duration::from_secs(5);
    let rig = Rig::start().await;
    fleet(&rig, AGENTS).await;
    let host = rig.url.trim_start_matches("http://").to_owned();
    let callers = (0..CALLERS).map(|caller| {
        let (host, token) = (host.clone(), rig.token.clone());
        tokio::spawn(async move {
            let stream = TcpStream::connect(&host).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let mut stream = BufReader::new(stream);
            let mut times = Vec::new();
            let end = Instant::now() + TIME;
            let mut number = caller;
            while Instant::now() < end {
                number = (number + CALLERS) % AGENTS;
                let request = format!(
                    "POST /api/v1/agents/pc-{number}/tools/net.config HTTP/1.1\r\nhost: {host}\r\n\
                     authorization: Bearer {token}\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"
                );
                let started = Instant::now();
                one_call(&mut stream, &request).await;
                times.push(started.elapsed());
            }
            times
        })
    });
    let mut times: Vec<Duration> = Vec::new();
    for caller in futures_util::future::join_all(callers).await {
        times.extend(caller.unwrap());
    }
    times.sort();
    let rate = times.len() as f64 / TIME.as_secs_f64();
    let at = |part: f64| times[(times.len() as f64 * part) as usize];
    println!("{rate:.0} calls/s, p50 {:?}, p99 {:?}", at(0.5), at(0.99));
    assert!(!rig.app.metrics.encode().contains("kenny_events_dropped_total 1"));
    rig.stop().await;
}

fn resident_bytes() -> u64 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[ignore = "a measurement"]
#[tokio::test(flavor = "multi_thread")]
async fn load_idle_connections() {
    const AGENTS: usize = 4000;
    let rig = Rig::start().await;
    let rig_ref = &rig;
    let mut tokens = Vec::new();
    for chunk in (0..AGENTS).collect::<Vec<_>>().chunks(100) {
        let made = chunk.iter().map(|number| async move {
            let id = format!("pc-{number}");
            let token = rig_ref.agent(&id).await;
            (id, token)
        });
        tokens.extend(futures_util::future::join_all(made).await);
    }
    let before = resident_bytes();
    let address = rig.url.trim_start_matches("http://").to_owned();
    let mut sockets = Vec::new();
    for (id, token) in &tokens {
        // A bare socket, so that what is measured is the server's side.
        let mut stream = TcpStream::connect(&address).await.unwrap();
        let head = format!(
            "GET /agent/ws HTTP/1.1\r\nhost: {address}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let meta = json!({"hostname": id, "os": "windows", "version": "1.0.0", "protocol": "0.3", "arch": "x86_64"});
        let register =
            json!({"type": "register", "agent_id": id, "token": token, "meta": meta}).to_string();
        let mut frame = vec![0x81, 0x80 | 0x7e];
        frame.extend(u16::try_from(register.len()).unwrap().to_be_bytes());
        frame.extend([0; 4]); // A mask of zeros changes nothing.
        frame.extend(register.as_bytes());
        stream.write_all(&frame).await.unwrap();
        sockets.push(stream);
    }
    while rig.app.metrics.agents_online.get() < i64::try_from(AGENTS).unwrap() {
        tokio::task::yield_now().await;
    }
    rig.app.fleet.flush(&rig.app.store).await.unwrap();
    let after = resident_bytes();
    println!("{} bytes per idle connection", (after - before) / AGENTS as u64);
    drop(sockets);
    rig.stop().await;
}
