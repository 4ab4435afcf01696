//! The official MCP client, from the bare address to a call: it finds the metadata, registers, asks, and refreshes.

use kenny_proto::Role;
use rmcp::ServiceExt as _;
use rmcp::model::CallToolRequestParams;
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::auth::{AuthClient, AuthorizationRequest, OAuthState};
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;

use super::browser::Browser;
use super::program::{self, CALLBACK, is_let_in};
use super::rig::Rig;

#[tokio::test]
async fn the_official_client_is_connected_by_a_person() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Owner).await;
    rig.agent("pc-1").await;
    let address = format!("{}/mcp", rig.url);
    let (_, challenge) = program::mcp(&rig, None, "initialize", program::hello()).await;

    let mut state = OAuthState::new(&address, None).await.unwrap();
    let asked = AuthorizationRequest::new(CALLBACK)
        .with_client_name("Official")
        .with_application_type("native")
        .with_challenge(challenge);
    state.start_authorization(asked).await.unwrap();
    let url = state.get_authorization_url().await.unwrap();
    let path = url.strip_prefix(&rig.url).unwrap();

    let mut browser = Browser::signed_in(&rig, "anna").await;
    let question = browser.get(path).await;
    assert!(question.text.contains("Official"), "{}", question.text);
    let request = question.hidden("request");
    let fields = [("request", request.as_str()), ("decision", "approve"), ("scope", "operator")];
    let approved = browser.submit(&question, "/oauth/authorize", &fields).await;
    state.handle_callback_url(approved.location()).await.unwrap();

    let client =
        AuthClient::new(reqwest::Client::new(), state.into_authorization_manager().unwrap());
    let access = client.get_access_token().await.unwrap();
    assert!(is_let_in(&rig, &access).await);
    let config = StreamableHttpClientTransportConfig::with_uri(address);
    let transport = StreamableHttpClientTransport::with_client(client.clone(), config);
    let service = ().serve(transport).await.unwrap();
    let agents = service.call_tool(CallToolRequestParams::new("list_agents")).await.unwrap();
    assert_eq!(agents.structured_content.unwrap()["agents"][0]["id"], "pc-1");

    client.auth_manager.lock().await.refresh_token().await.unwrap();
    assert_ne!(client.get_access_token().await.unwrap(), access);
    service.call_tool(CallToolRequestParams::new("list_agents")).await.unwrap();
    service.cancel().await.unwrap();
    rig.stop().await;
}
