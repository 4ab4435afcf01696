//! Who comes to run what, and when: [`decide`] about one agent that should run a version, [`plan::plan`] about the many
//! that a rollout is for.
//!
//! Both are asked again after every fact and have no memory of their own: what happened is in the facts.

mod agent;
pub mod course;
mod member;
pub mod plan;
mod reasons;
pub mod selection;
pub mod stages;
pub mod strategy;
pub mod window;

pub use agent::{
    Attempt, BACKOFF_GROWTH, BUDGET, DOWNLOAD_SILENCE, Decision, FIRST_BACKOFF, Facts, Intent,
    LONGEST_BACKOFF, Last, MAX_SENDS, Next, PREFLIGHT_SILENCE, Pace, SENT_SILENCE, Standing, Tally,
    UPDATER_SILENCE, VERIFY_SILENCE, Why, decide,
};
