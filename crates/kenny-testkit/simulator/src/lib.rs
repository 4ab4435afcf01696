//! A PC in memory for the update engine: its power can be cut before and after every effect, writes that were not
//! flushed are lost, processes are killed, effects refused, files held, the clock set.
//!
//! [`explore::explore`] enumerates all of it for a story and checks the invariants of the engine at every instant and
//! its promise at the end: a verified agent runs, old or new, and there is one outcome. Never shipped.

pub mod disk;
pub mod ending;
pub mod explore;
mod host;
pub mod scenario;
pub mod world;
