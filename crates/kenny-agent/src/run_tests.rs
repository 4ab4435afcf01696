//! The whole agent, in the foreground, against a server at the other end of a loopback socket.

use futures_util::{SinkExt as _, StreamExt as _};
use kenny_proto::frames::{ErrorCode, Request};
use kenny_proto::{Parsed, PublicKey, RequestId, ServerFrame};
use serde_json::Map;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, accept_async};

use super::*;
use crate::config::IdentityConfig;

/// An agent that has connected, and the server's end.
struct Running {
    server: WebSocketStream<TcpStream>,
    agent: JoinHandle<()>,
    stop: watch::Sender<bool>,
    folder: tempfile::TempDir,
}

/// Runs an agent with a token, whose config and state folder were changed so.
async fn run_with(change: impl FnOnce(&mut Config, &Layout)) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("ws://{}/agent/ws", listener.local_addr().unwrap());
    let token = Some("secret".to_owned());
    let mut config = Config::new(address.parse().unwrap(), "pc".parse().unwrap(), token);
    let folder = tempfile::tempdir().unwrap();
    let executable = folder.path().join("kenny-agent");
    let layout = Layout::with_state_dir("test", executable, folder.path().to_owned());
    change(&mut config, &layout);
    let (stop, stopping) = watch::channel(false);
    let options = RunOptions { config, layout, mode: Mode::Foreground, stop: stopping };
    let agent = tokio::spawn(run(options));
    let (socket, _) = listener.accept().await.unwrap();
    Running { server: accept_async(socket).await.unwrap(), agent, stop, folder }
}

impl Running {
    /// The next frame; none where the agent hung up.
    async fn hear(&mut self) -> Option<AgentFrame> {
        loop {
            let Message::Text(text) = self.server.next().await?.ok()? else { continue };
            let Ok(Parsed::Frame(frame)) = AgentFrame::parse(&text) else { panic!("{text}") };
            return Some(frame);
        }
    }

    /// The code with which this agent refuses a tool that is called without arguments.
    async fn refusal(&mut self, tool: &str) -> ErrorCode {
        let id = RequestId::random();
        let request = Request { id, tool: tool.to_owned(), args: Map::new(), deadline_ms: None };
        let request = ServerFrame::Request(request).to_json();
        self.server.send(Message::text(request)).await.unwrap();
        loop {
            let frame = self.hear().await.expect("it stays connected");
            let AgentFrame::Response(response) = frame else { continue };
            if response.id == id {
                return response.outcome.unwrap_err().code;
            }
        }
    }

    async fn stopped(self) {
        self.stop.send_replace(true);
        self.agent.await.unwrap();
    }
}

#[tokio::test]
async fn the_agent_that_runs_has_the_policy_of_its_config_and_the_pause_of_its_folder() {
    let mut running = run_with(|config, _| {
        config.policy.refused_tools = vec!["fs.*".to_owned()];
    })
    .await;
    // A server of 0.2 is told in its own words; `fs.read` without its argument would be `bad_args`.
    assert_eq!(running.refusal("fs.read").await, ErrorCode::Unsupported);
    assert_eq!(running.refusal("powershell.exec").await, ErrorCode::BadArgs);
    let pause = running.folder.path().join("pause.json");
    fs_err::write(&pause, format!(r#"{{"since":"{}"}}"#, Timestamp::now())).unwrap();
    assert_eq!(running.refusal("powershell.exec").await, ErrorCode::Unsupported);
    fs_err::remove_file(&pause).unwrap();
    assert_eq!(running.refusal("powershell.exec").await, ErrorCode::BadArgs);
    running.stopped().await;
}

#[tokio::test]
async fn an_agent_without_the_key_it_enrolled_with_says_nothing_not_even_its_token() {
    let mut running = run_with(|config, layout| {
        let key_file = layout.install_dir.join("kenny-agent.0011223344556677.key");
        config.identity = Some(IdentityConfig { key_file, server_key: PublicKey([1; 32]) });
    })
    .await;
    assert_eq!(running.hear().await, None);
    running.stopped().await;
}
