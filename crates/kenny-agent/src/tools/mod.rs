//! The tools that this agent has.

pub mod powershell;
pub mod telemetry;

/// What the tools need of the agent.
#[derive(Debug, Clone)]
pub struct Toolbox {
    /// The collectors.
    pub telemetry: telemetry::Telemetry,
}
