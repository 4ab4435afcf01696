//! The decisions of kenny as pure functions: facts and time are arguments, the outcome is a value.
//!
//! Nothing here touches files, sockets or clocks; `clippy.toml` beside this crate bans them.

pub mod audit;
pub mod authenticode;
pub mod health;
#[cfg(feature = "identity")]
pub mod identity;
pub mod image;
pub mod invitation;
mod pe;
pub mod rollout;
pub mod trust;
pub mod update;
