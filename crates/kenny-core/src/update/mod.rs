//! The update engine: what follows after each step, where to go on after an interruption, and in which order things
//! are done.
//!
//! An update is a [`Journal`] that moves through [`Step`]s. Whoever carries it out (the agent up to `Staged`, the
//! updater after that) performs one [`Effect`] on its [`Host`], reports what came of it as an [`Event`], asks
//! [`step()`] what follows, and writes the new journal down before acting on it. Effects can be repeated:
//! after an interruption [`recover`] names the one to go on with.

mod engine;
mod finish;
mod host;
pub mod journal;
mod quarantine;
mod settle;
mod stage;
mod step;
mod watch;

pub use finish::{Finished, finish};
pub use host::{AgentSeen, File, Host, HostError, Refusal, Waited, Word};
pub use journal::{JOURNAL_FORMAT, Journal, JournalProblem, Source, Step, Wanted};
pub use quarantine::{Asked, BUDGET, Quarantine, Quarantined};
pub use settle::{Settled, prove_alone, settle};
pub use stage::stage;
pub use step::{
    AtStart, DEATHS, Effect, Event, Facts, RESUMES, STARTS, StartFacts, Unexpected, at_agent_start,
    recover, step,
};
pub use watch::{Reach, Seen, Verdict, Watch, WatchLimits};

#[cfg(test)]
mod tests;
