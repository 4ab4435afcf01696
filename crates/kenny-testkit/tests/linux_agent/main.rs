//! The real agent in the foreground and the real server, each also against a peer that speaks bare JSON.
#![cfg(target_os = "linux")]

mod agent_with_raw_server;
mod both;
mod identity;
mod server_with_raw_agents;
mod site;
