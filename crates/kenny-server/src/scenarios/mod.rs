//! The whole server in this process, with raw WebSocket agents and HTTP clients on loopback.

mod accounts;
mod api;
mod attempts;
mod enrolment;
mod identity;
mod load;
mod own_account;
mod probe;
mod rig;
mod rollbacks;
mod silence;
mod tokens;
mod told;
mod trust;
mod tunnel;
mod updates;
