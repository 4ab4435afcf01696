//! A running server, agents that speak frame by frame, and the operator.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use jiff::{SignedDuration, Timestamp};
use kenny_proto::AgentId;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::app::App;
use crate::config::Config;
use crate::releases::test_image::agent_image;
use crate::rollout;
use crate::server::Server;
use crate::store::rows;
use crate::testing::TempDir;

/// Nothing here takes longer unless it is broken.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Rig {
    pub app: Arc<App>,
    pub url: String,
    pub token: String,
    pub setup_link: Option<String>,
    pub http: reqwest::Client,
    folder: TempDir,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<anyhow::Result<()>>,
}

impl Rig {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        Self::start_in(TempDir::new(), None, change).await
    }

    pub async fn start_in(
        folder: TempDir,
        token: Option<String>,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        // Fails when another test of this process was first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut config = Config::new(folder.path());
        config.listen = "127.0.0.1:0".parse().unwrap();
        // Every stranger of a test has the same address.
        config.limits.free_failures = 1000;
        config.limits.visits_of_address = 10_000;
        change(&mut config);
        let server = Server::bind(config).await.unwrap();
        assert_eq!(server.operator_token.is_some(), token.is_none(), "printed once");
        let token = token.or_else(|| server.operator_token.clone()).unwrap();
        let setup_link = server.setup_link.clone();
        let (url, app) = (server.url(), Arc::clone(server.app()));
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(server.serve(async {
            let _ = stopped.await;
        }));
        Self { app, url, token, setup_link, http: reqwest::Client::new(), folder, stop, serving }
    }

    pub async fn stop(self) -> TempDir {
        let _ = self.stop.send(());
        self.serving.await.unwrap().unwrap();
        self.folder
    }

    pub fn app_folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    pub async fn restart(self) -> Self {
        let token = self.token.clone();
        Self::start_in(self.stop().await, Some(token), |_| {}).await
    }

    /// Restarts where it was, so that whoever lost it finds it again.
    pub async fn restart_on(self, port: u16) -> Self {
        let token = self.token.clone();
        let listen = move |config: &mut Config| config.listen.set_port(port);
        Self::start_in(self.stop().await, Some(token), listen).await
    }

    pub async fn call(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        self.call_as(&self.token, method, path, body).await
    }

    pub async fn call_as(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> (u16, Value) {
        let url = format!("{}/api/v1{path}", self.url);
        let mut request = self.http.request(method.parse().unwrap(), url).bearer_auth(token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = within(request.send()).await.unwrap();
        let status = response.status().as_u16();
        let text = within(response.text()).await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        (status, body)
    }

    pub async fn get(&self, path: &str) -> Value {
        let (status, body) = self.call("GET", path, None).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    pub async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.call("POST", path, Some(body)).await
    }

    /// Makes an agent of 0.2; its token.
    pub async fn agent(&self, id: &str) -> String {
        let (status, body) = self.post("/agents", json!({"id": id, "legacy": true})).await;
        assert_eq!(status, 201, "{body}");
        body["token"].as_str().unwrap().to_owned()
    }

    pub async fn release(&self, version: &str) -> (u16, Value) {
        self.upload(agent_image(version, 100_000)).await
    }

    pub async fn upload(&self, bytes: Vec<u8>) -> (u16, Value) {
        let url = format!("{}/api/v1/releases", self.url);
        let request = self.http.post(url).bearer_auth(&self.token).body(bytes);
        let response = within(request.send()).await.unwrap();
        (response.status().as_u16(), within(response.json()).await.unwrap())
    }

    /// Asks again until the answer is as wanted: facts reach the server when they do.
    pub async fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        within(async {
            loop {
                let body = self.get(path).await;
                if wanted(&body) {
                    return body;
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    }

    pub async fn until_online(&self, id: &str, online: bool) -> Value {
        self.until(&format!("/agents/{id}"), |body| body["agent"]["online"] == online).await
    }

    /// Has the rollout's timer look at the fleet as it will in so many minutes.
    pub fn look_in(&self, minutes: i64) {
        let later = Timestamp::now().checked_add(SignedDuration::from_mins(minutes)).unwrap();
        rollout::look(&self.app, later);
    }

    pub async fn agent_view(&self, id: &str) -> Value {
        self.get(&format!("/agents/{id}")).await["agent"].clone()
    }

    /// Asks for a version; the new update.
    pub async fn wanted(&self, id: &str, version: &str) -> Value {
        let path = format!("/agents/{id}/updates");
        let (status, update) = self.post(&path, json!({"version": version})).await;
        assert_eq!(status, 201, "{update}");
        update
    }

    /// Waits until an update stands like this.
    pub async fn outcome(&self, id: &Value, state: &str) -> Value {
        let path = format!("/updates/{}", id.as_str().unwrap());
        self.until(&path, |update| update["state"] == state).await
    }

    /// The kinds and summaries of what happened to an agent.
    pub async fn happened(&self, id: &AgentId) -> Vec<(String, String)> {
        let id = id.clone();
        let read = move |connection: &rusqlite::Connection| {
            rows::events_after(connection, 0, Some(&id), 10_000)
        };
        let events = self.app.store.run(read).await.unwrap();
        events.into_iter().map(|event| (event.kind, event.summary)).collect()
    }

    pub async fn metric(&self, name: &str) -> String {
        let text = within(self.http.get(format!("{}/metrics", self.url)).send()).await.unwrap();
        let text = within(text.text()).await.unwrap();
        let line = text.lines().find(|line| line.starts_with(name));
        line.unwrap_or_else(|| panic!("{name} is not in {text}")).to_owned()
    }

    pub async fn connect(&self) -> FakeAgent {
        let url = format!("{}/agent/ws", self.url.replace("http", "ws"));
        let (socket, _) = within(tokio_tungstenite::connect_async(url)).await.unwrap();
        FakeAgent { socket }
    }

    /// An accepted agent of 0.2.
    pub async fn online_0_2(&self, id: &str, token: &str, version: &str) -> FakeAgent {
        let mut agent = self.connect().await;
        agent.register(id, token, json!({"hostname": id, "os": "linux", "version": version})).await;
        agent
    }

    /// An accepted agent of 0.3 that has something to say of its last update, or nothing.
    pub async fn online_0_3(
        &self,
        id: &str,
        token: &str,
        version: &str,
        update: Value,
    ) -> FakeAgent {
        let mut agent = self.connect().await;
        let meta = json!({
            "hostname": id, "os": "linux", "version": version, "protocol": "0.3", "arch": "x86_64", "update": update
        });
        agent.register(id, token, meta).await;
        let welcome = agent.receive().await;
        assert_eq!(welcome["type"], "welcome", "{welcome}");
        agent
    }
}

pub struct FakeAgent {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl FakeAgent {
    pub async fn register(&mut self, id: &str, token: &str, meta: Value) {
        self.send(&json!({"type": "register", "agent_id": id, "token": token, "meta": meta})).await;
    }

    pub async fn send(&mut self, frame: &Value) {
        self.send_text(&frame.to_string()).await;
    }

    pub async fn send_text(&mut self, text: &str) {
        self.send_message(Message::text(text)).await;
    }

    pub async fn send_message(&mut self, message: Message) {
        within(self.socket.send(message)).await.unwrap();
    }

    /// Sends what the server may not take.
    pub async fn try_send(
        &mut self,
        message: Message,
    ) -> Result<(), tokio_tungstenite::tungstenite::Error> {
        within(self.socket.send(message)).await
    }

    /// True when the connection ends without a frame before.
    pub async fn gone(&mut self) -> bool {
        matches!(within(self.socket.next()).await, None | Some(Err(_) | Ok(Message::Close(_))))
    }

    /// The next frame that is no heartbeat.
    pub async fn receive(&mut self) -> Value {
        loop {
            let message = within(self.socket.next()).await.unwrap().unwrap();
            let text: Utf8Bytes = message.into_text().unwrap();
            let frame: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
            if frame["type"] == "ping" {
                self.send(&json!({"type": "pong"})).await;
            } else {
                return frame;
            }
        }
    }

    pub async fn request(&mut self, tool: &str) -> Value {
        let frame = self.receive().await;
        assert_eq!(frame["type"], "request", "{frame}");
        assert_eq!(frame["tool"], tool, "{frame}");
        frame
    }

    pub async fn answer(&mut self, request: &Value, result: Value) {
        self.send(&json!({"type": "response", "id": request["id"], "ok": true, "result": result}))
            .await;
    }

    pub async fn refuse(&mut self, request: &Value, code: &str, message: &str) {
        let error = json!({"code": code, "message": message});
        self.send(&json!({"type": "response", "id": request["id"], "ok": false, "error": error}))
            .await;
    }

    /// Ends the update that the request carried as failed: the report, then the answer.
    pub async fn fail(&mut self, request: &Value, kind: &str, detail: &str) {
        let failure = json!({"kind": kind, "detail": detail});
        self.status(request, "failed", json!({"failure": failure})).await;
        self.refuse(request, "exec_failed", detail).await;
    }

    pub async fn status(&mut self, request: &Value, phase: &str, more: Value) {
        let mut frame = json!({
            "type": "update_status", "update_id": request["args"]["update_id"],
            "version": request["args"]["version"], "phase": phase, "at": Timestamp::now()
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            frame[name] = value.clone();
        }
        self.send(&frame).await;
    }

    /// Code and reason with which the server closes, after whatever else it sends. Reads only.
    pub async fn closed(&mut self) -> (u16, String) {
        loop {
            match within(self.socket.next()).await {
                Some(Ok(Message::Close(Some(frame)))) => {
                    return (frame.code.into(), frame.reason.to_string());
                }
                Some(Ok(_)) => {}
                other => panic!("no close frame but {other:?}"),
            }
        }
    }

    /// Answers a ping of its own: whatever was sent before has been handled.
    pub async fn settle(&mut self) {
        self.send(&json!({"type": "ping"})).await;
        let pong = self.receive().await;
        assert_eq!(pong["type"], "pong", "{pong}");
    }

    pub async fn hang_up(mut self) {
        let _ = within(self.socket.close(None)).await;
    }
}

/// What an agent of 0.3 says of an update when it registers.
pub fn report(request: &Value, phase: &str, failure: Value) -> Value {
    let mut report = json!({
        "update_id": request["args"]["update_id"], "from_version": "1.0.0",
        "version": request["args"]["version"], "sha256": request["args"]["sha256"],
        "phase": phase,
        "history": [{"phase": phase, "step": "started", "at": Timestamp::now()}]
    });
    report["failure"] = failure;
    report
}

pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it does not take this long")
}
