//! Every interruption of every story ends on a verified agent.

#![expect(clippy::panic, reason = "a test fails by panicking")]

use kenny_simulator::explore::{Depth, explore_all};
use kenny_simulator::scenario;

#[test]
fn every_single_interruption_is_recovered() {
    match explore_all(&scenario::all(), Depth::Single) {
        Ok(tried) => assert!(tried.power_cuts > 5_000, "{tried}"),
        Err(broken) => panic!("{}", broken.0),
    }
}
