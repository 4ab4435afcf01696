//! The server of kenny: agents dial in, the operator acts through REST and MCP, releases reach the agents.
//!
//! The way of one update through it: `api` or `mcp`, `ops`, intent in `store`, `rollout`, `tunnel`, the agent, and
//! back in with `register` through `tunnel` to the same `rollout`.

mod accounts;
pub mod api;
mod app;
mod audit;
mod auth;
pub mod config;
mod enrolment;
mod events;
mod fleet;
mod http;
mod identity;
mod invite;
mod limits;
mod mcp;
mod metrics;
mod oauth;
mod ops;
mod releases;
mod rollout;
#[cfg(test)]
mod scenarios;
mod server;
pub mod signals;
mod store;
#[cfg(test)]
mod testing;
mod tls;
mod trust;
mod tunnel;
mod web;

/// For the tests that show what does not compile. Nothing of it is an interface.
#[doc(hidden)]
pub mod compile_time {
    pub use crate::app::App;
    pub use crate::ops::{Action, Operator, Permit};
}

pub use audit::verify_offline as verify_audit;
pub use config::{Config, TlsFiles};
pub use limits::Limits;
pub use server::{Server, reset_account, reset_operator_token};
