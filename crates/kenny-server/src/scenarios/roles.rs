//! Every route of the REST API and every tool of MCP against every role.

use kenny_proto::Role;
use kenny_proto::tools::{CATALOGUE, TELEMETRY_COLLECT};
use serde_json::{Value, json};

use super::rig::{Rig, within};

/// The least role that each operation of the OpenAPI document needs. One that is missing here fails the test: whoever adds
/// a route says whose it is.
fn needed(operation: &str) -> Option<Role> {
    Some(match operation {
        "list_agents"
        | "show_agent"
        | "list_updates"
        | "show_update"
        | "list_tools"
        | "list_releases"
        | "follow_events"
        | "list_rollouts"
        | "show_rollout"
        | "plan_rollout"
        | "show_channels"
        | "list_invitations"
        | "show_server"
        | "show_trust"
        | "get_trust_metadata"
        | "who_am_i"
        | "list_tokens"
        | "create_token"
        | "revoke_token"
        | "log_out"
        | "set_password"
        | "begin_totp"
        | "confirm_totp"
        | "end_totp"
        | "renew_recovery_codes" => Role::Viewer,
        "create_agent"
        | "change_agent"
        | "remove_agent"
        | "request_update"
        | "clear_desired"
        | "clear_hold"
        | "request_rollback"
        | "call_tool"
        | "add_release"
        | "remove_release"
        | "start_rollout"
        | "pause_rollout"
        | "resume_rollout"
        | "cancel_rollout"
        | "roll_back_rollout"
        | "set_channels"
        | "invite_agent"
        | "withdraw_invitation" => Role::Operator,
        "read_audit"
        | "list_accounts"
        | "create_account"
        | "show_account"
        | "change_account"
        | "reset_account"
        | "remove_account"
        | "publish_trust_metadata"
        | "upload_trust_artifact"
        | "make_online_key" => Role::Owner,
        // It is how somebody gets a role.
        "log_in" => return None,
        other => panic!("`{other}` stands in no role table; say in this test which role it needs"),
    })
}

async fn tokens(rig: &Rig) -> Vec<(Role, String)> {
    let mut tokens = Vec::new();
    for role in [Role::Viewer, Role::Operator, Role::Owner] {
        let name = format!("role-{role}");
        let password = rig.account(&name, role.as_str()).await;
        tokens.push((role, rig.log_in(&name, &password).await));
    }
    tokens
}

/// Nothing of these bodies and names is there: whoever may gets another answer than 403, and nothing is changed.
#[tokio::test]
async fn every_route_has_a_role_and_keeps_to_it() {
    let rig = Rig::start().await;
    let document: Value = serde_json::from_str(&crate::api::openapi_json()).unwrap();
    let tokens = tokens(&rig).await;
    let mut asked = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap();
            let Some(needed) = needed(name) else { continue };
            // It would end the token that the test goes on with.
            if name == "log_out" {
                continue;
            }
            let address = path.strip_prefix("/api/v1").unwrap().replace(['{', '}'], "");
            let address = address.replace("sha256", &"0".repeat(64));
            let address = address.replace("/tools/tool", "/tools/powershell.exec");
            for (role, token) in &tokens {
                if name == "follow_events" && *role >= needed {
                    continue;
                }
                let body = match name {
                    "create_agent" => json!({"id": "new-pc", "legacy": true}),
                    "request_update" => json!({"version": "1.2.3"}),
                    "start_rollout" | "plan_rollout" => {
                        json!({"version": "1.2.3", "selection": {"everyone": true}})
                    }
                    "create_account" => json!({"name": "somebody", "role": "viewer"}),
                    "change_account" => json!({"role": "viewer"}),
                    _ => json!({}),
                };
                let method = method.to_uppercase();
                let (status, answer) = rig.call_as(token, &method, &address, Some(body)).await;
                let is_refused = status == 403 && answer["code"] == "forbidden";
                assert_eq!(is_refused, *role < needed, "{name} as {role}: {status} {answer}");
                asked += 1;
            }
        }
    }
    assert!(asked > 80, "{asked}");
    let denied = rig.get("/audit?limit=1000").await;
    let rows = denied["rows"].as_array().unwrap();
    let denied: Vec<&Value> = rows.iter().filter(|row| row["outcome"] == "denied").collect();
    assert!(denied.iter().any(|row| row["account"] == "role-viewer" && row["role"] == "viewer"));
    rig.stop().await;
}

#[tokio::test]
async fn every_tool_of_mcp_keeps_to_its_role() {
    let rig = Rig::start().await;
    rig.agent("pc-1").await;
    for (role, token) in tokens(&rig).await {
        let tools = CATALOGUE.iter().map(|tool| (tool.name, tool.underscore_name()));
        let own = [
            "list_agents",
            "set_agent",
            "list_rollouts",
            "plan_rollout",
            "start_rollout",
            "pause_rollout",
            "show_channels",
            "set_channels",
        ]
        .map(|name| (name, name.to_owned()));
        let all = tools.chain(own);
        for (name, spelled) in all {
            let needed = match name {
                TELEMETRY_COLLECT | "list_agents" | "list_rollouts" | "plan_rollout"
                | "show_channels" => Role::Viewer,
                _ => Role::Operator,
            };
            let arguments = match name {
                "set_agent" => json!({"agent_id": "pc-1", "owner": "anna"}),
                "plan_rollout" | "start_rollout" => {
                    json!({"version": "1.0.0", "selection": {"everyone": true}})
                }
                "pause_rollout" => json!({"rollout_id": "x"}),
                "set_channels" => json!({"stable": "careful"}),
                _ => json!({"agent_id": "pc-1", "version": "1.0.0"}),
            };
            let message = json!({
                "jsonrpc": "2.0", "id": 1, "method": "tools/call",
                "params": {"name": spelled, "arguments": arguments}
            });
            let request = rig.http.post(format!("{}/mcp", rig.url)).bearer_auth(&token);
            let request = request
                .header("accept", "application/json, text/event-stream")
                .header("mcp-protocol-version", "2025-06-18")
                .json(&message);
            let answer = within(request.send()).await.unwrap();
            assert_eq!(answer.status().as_u16(), 200, "{name}");
            let answer = within(answer.text()).await.unwrap();
            let is_refused = answer.contains("this needs the role");
            assert_eq!(is_refused, role < needed, "{name} as {role}: {answer}");
        }
    }
    rig.stop().await;
}
