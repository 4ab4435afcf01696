//! The whole server in this process, with raw WebSocket agents and HTTP clients on loopback.

mod api;
mod attempts;
mod enrolment;
mod identity;
mod invite;
mod load;
mod probe;
mod rig;
mod rollbacks;
mod silence;
mod told;
mod tunnel;
mod updates;
