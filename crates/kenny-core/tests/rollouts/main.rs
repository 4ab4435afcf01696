//! Rollouts over whole fleets: scripts with their plans written out, a simulation with invariants, and the rules that
//! they are made of.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cutting;
mod fates;
mod measure;
mod random;
mod script;
mod scripts;
mod selections;
mod simulation;
mod strategies;
mod table;
mod windows;
mod world;
