//! The whole server in this process, with raw WebSocket agents and HTTP clients on loopback.

mod api;
mod load;
mod rig;
mod tunnel;
mod updates;
