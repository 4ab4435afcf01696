//! The agent's trust against every attack that the specification of The Update Framework names, and some more.
//!
//! The server of these tests is in the attacker's hands; the keys that he has differ from test to test.

mod clocks;
mod data;
mod driver;
mod keys;
mod pin;
mod site;
mod software;
mod versions;
