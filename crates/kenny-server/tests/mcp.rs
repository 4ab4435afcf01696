//! MCP as its official client speaks it, against a whole server with an agent behind it.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may panic as it does")]

use std::path::PathBuf;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use kenny_proto::tools::CATALOGUE;
use kenny_server::{Config, Server};
use reqwest::StatusCode;
use rmcp::ServiceExt as _;
use rmcp::model::{CallToolRequestParams, CallToolResult};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio_tungstenite::tungstenite::Message;

struct Rig {
    url: String,
    token: String,
    stop: Option<oneshot::Sender<()>>,
    served: tokio::task::JoinHandle<()>,
    data: PathBuf,
}

impl Rig {
    async fn start() -> Self {
        // Each test is its own process or finds the same provider installed.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let data = std::env::temp_dir().join(format!("kenny-mcp-{}", uuid::Uuid::new_v4()));
        let config = Config { listen: "127.0.0.1:0".parse().unwrap(), ..Config::new(&data) };
        let server = Server::bind(config).await.unwrap();
        let (url, token) = (server.url(), server.operator_token.clone().unwrap());
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(async move {
            server
                .serve(async {
                    let _ = stopped.await;
                })
                .await
                .unwrap();
        });
        Self { url, token, stop: Some(stop), served, data }
    }

    fn mcp(&self) -> String {
        format!("{}/mcp", self.url)
    }

    async fn stop(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        tokio::time::timeout(Duration::from_secs(20), self.served).await.unwrap().unwrap();
        fs_err::remove_dir_all(&self.data).unwrap();
    }

    /// Makes the agent `pc-1` and connects it; it answers two tools.
    async fn connect_agent(&self) {
        let made: Value = reqwest::Client::new()
            .post(format!("{}/api/v1/agents", self.url))
            .bearer_auth(&self.token)
            .json(&json!({"id": "pc-1", "legacy": true}))
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        let (mut socket, _) =
            tokio_tungstenite::connect_async(made["server"].as_str().unwrap()).await.unwrap();
        let register = json!({
            "type": "register", "agent_id": "pc-1", "token": made["token"],
            "meta": {"hostname": "pc", "os": "windows", "version": "1.0.0", "protocol": "0.3"}
        });
        socket.send(Message::text(register.to_string())).await.unwrap();
        let welcome = socket.next().await.unwrap().unwrap();
        assert!(welcome.to_text().unwrap().contains("welcome"));
        tokio::spawn(async move {
            while let Some(Ok(message)) = socket.next().await {
                let Ok(frame) = serde_json::from_str::<Value>(message.to_text().unwrap()) else {
                    continue;
                };
                if frame["type"] != "request" {
                    continue;
                }
                let answer = match frame["tool"].as_str().unwrap() {
                    "powershell.exec" => {
                        json!({"ok": true, "result": {"stdout": frame["args"]["script"], "stderr": "", "exit_code": 0}})
                    }
                    _ => {
                        json!({"ok": false, "error": {"code": "not_found", "message": "no such file"}})
                    }
                };
                let mut response = json!({"type": "response", "id": frame["id"]});
                response.as_object_mut().unwrap().extend(answer.as_object().unwrap().clone());
                socket.send(Message::text(response.to_string())).await.unwrap();
            }
        });
    }
}

fn request(name: &'static str, arguments: Value) -> CallToolRequestParams {
    let Value::Object(arguments) = arguments else { panic!("not an object") };
    CallToolRequestParams::new(name).with_arguments(arguments)
}

fn error_code(result: &CallToolResult) -> &str {
    assert_eq!(result.is_error, Some(true), "{result:?}");
    assert!(!result.content.is_empty());
    result.structured_content.as_ref().unwrap()["code"].as_str().unwrap()
}

#[tokio::test]
async fn the_official_client_lists_and_calls_tools() {
    let rig = Rig::start().await;
    rig.connect_agent().await;
    let config = StreamableHttpClientTransportConfig::with_uri(rig.mcp()).auth_header(&rig.token);
    let transport = StreamableHttpClientTransport::from_config(config);
    let client = ().serve(transport).await.unwrap();

    let tools = client.list_all_tools().await.unwrap();
    let own = [
        "list_agents",
        "set_agent",
        "show_channels",
        "set_channels",
        "list_rollouts",
        "show_rollout",
        "plan_rollout",
        "start_rollout",
        "pause_rollout",
        "resume_rollout",
        "cancel_rollout",
        "roll_back_rollout",
        "invite_agent",
        "list_invitations",
        "withdraw_invitation",
    ];
    let mut expected: Vec<String> = own.map(str::to_owned).to_vec();
    expected.extend(CATALOGUE.iter().map(kenny_proto::tools::ToolSpec::underscore_name));
    assert_eq!(tools.iter().map(|tool| tool.name.to_string()).collect::<Vec<_>>(), expected);

    let agents = client.call_tool(request("list_agents", json!({}))).await.unwrap();
    let agents = agents.structured_content.unwrap();
    assert_eq!(agents["agents"][0]["id"], "pc-1");
    assert_eq!(agents["agents"][0]["online"], true);

    let script = json!({"agent_id": "pc-1", "script": "hostname"});
    let ran = client.call_tool(request("powershell_exec", script)).await.unwrap();
    assert_eq!(ran.is_error, Some(false));
    assert_eq!(ran.structured_content.unwrap()["stdout"], "hostname");

    for (tool, arguments, code) in [
        ("fs_read", json!({"agent_id": "pc-1", "path": "/x"}), "not_found"),
        ("fs_read", json!({"agent_id": "pc-1"}), "bad_args"),
        ("fs_read", json!({"path": "/x"}), "bad_args"),
        ("fs_read", json!({"agent_id": "pc-2", "path": "/x"}), "unknown_agent"),
    ] {
        let failed = client.call_tool(request(tool, arguments)).await.unwrap();
        assert_eq!(error_code(&failed), code);
    }
    let invite = json!({"agent_id": "pc-2", "expires_s": 3600});
    let invited = client.call_tool(request("invite_agent", invite)).await.unwrap();
    let invited = invited.structured_content.unwrap();
    assert_eq!(invited["invitation"]["agent_id"], "pc-2");
    let link = format!("{}/invite/{}", rig.url, invited["invitation"]["code"].as_str().unwrap());
    assert_eq!(invited["link"], link);
    let open = client.call_tool(request("list_invitations", json!({}))).await.unwrap();
    assert_eq!(open.structured_content.unwrap()["invitations"][0]["agent_id"], "pc-2");
    let whose = || json!({"agent_id": "pc-2"});
    let gone = client.call_tool(request("withdraw_invitation", whose())).await.unwrap();
    assert_eq!(gone.structured_content.unwrap(), json!({"ok": true}));
    let again = client.call_tool(request("withdraw_invitation", whose())).await.unwrap();
    assert_eq!(error_code(&again), "no_invitation");
    for wrong in [json!({}), json!({"agent_id": "pc-2", "expires_s": "soon"})] {
        let failed = client.call_tool(request("invite_agent", wrong)).await.unwrap();
        assert_eq!(error_code(&failed), "bad_args");
    }
    assert!(client.call_tool(request("selfdestruct", json!({}))).await.is_err());
    client.cancel().await.unwrap();
    rig.stop().await;
}

#[tokio::test]
async fn only_the_operator_is_let_in_and_no_foreign_page() {
    let rig = Rig::start().await;
    let http = reqwest::Client::new();
    let initialize = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}
    }});
    let post = || {
        http.post(rig.mcp())
            .header("Accept", "application/json, text/event-stream")
            .json(&initialize)
    };

    let refused = post().send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert!(refused.headers()["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
    let refused = post().bearer_auth("kenny_op_wrong").send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let refused = post()
        .bearer_auth(&rig.token)
        .header("Origin", "https://evil.example")
        .send()
        .await
        .unwrap();
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);

    let accepted = post().bearer_auth(&rig.token).header("Origin", &rig.url).send().await.unwrap();
    assert_eq!(accepted.status(), StatusCode::OK);
    let text = accepted.text().await.unwrap();
    assert!(text.contains(r#""name":"kenny""#) && text.contains("2025-06-18"), "{text}");
    rig.stop().await;
}
