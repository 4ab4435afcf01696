//! The whole server in this process, with raw WebSocket agents and HTTP clients on loopback.

mod accounts;
mod api;
mod attempts;
mod browser;
mod browser_safety;
mod chromium;
mod consent;
mod enrolment;
mod identity;
mod in_chromium;
mod invite;
mod load;
mod official_client;
mod own_account;
mod permissions;
mod probe;
mod program;
mod rig;
mod rollbacks;
mod sessions;
mod silence;
mod tokens;
mod told;
mod trust;
mod tunnel;
mod updates;
