//! The agent's trust against every attack that the specification of The Update Framework names, and some more.
//!
//! The server of these tests is in the attacker's hands; the keys that he has differ from test to test.
//!
//! | attack | where |
//! |---|---|
//! | arbitrary software | `software`, `driver` |
//! | rollback, fast-forward, mix-and-match | `versions` |
//! | indefinite freeze | `clocks` |
//! | endless data, slow retrieval, flipped bytes | `data` |
//! | wrong signatures, keys below the threshold, changed keys | `keys` |
//! | a wholly compromised server | `software` |
//! | what is pinned, lost, damaged | `pin` |
//!
//! Extraneous dependencies are not among them: a target has none.

mod clocks;
mod data;
mod driver;
mod keys;
mod pin;
mod site;
mod software;
mod versions;
