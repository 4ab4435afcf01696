//! The test rig: Windows machines that tests can break (Wine on Linux, the machine itself on Windows), a running
//! server, and a client of its REST API.
//!
//! Holds no product code and is never shipped. It waits for events by looking, with a deadline each, and never for
//! a fixed time.

pub mod client;
pub mod faults;
pub mod foreground;
pub mod hostile;
pub mod machine;
pub mod places;
pub mod poll;
pub mod process;
pub mod raw;
pub mod repository;
pub mod server;
pub mod signing;
pub mod tls;

pub use client::Client;
pub use faults::{Fault, Faults};
pub use foreground::Foreground;
pub use machine::Machine;
pub use poll::eventually;
pub use raw::Peer;
pub use repository::{Answer, Metadata};
pub use server::Server;
pub use tls::Certificate;
