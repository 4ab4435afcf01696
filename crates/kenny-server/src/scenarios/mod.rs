//! The whole server in this process, with raw WebSocket agents and HTTP clients on loopback.

mod accounts;
mod api;
mod attempts;
mod load;
mod own_account;
mod probe;
mod rig;
mod rollbacks;
mod silence;
mod tokens;
mod told;
mod tunnel;
mod updates;
