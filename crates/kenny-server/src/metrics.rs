//! What `/metrics` shows. Labels have few values: tools come from the catalogue, reasons from enums.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// Every number that the server keeps.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Agents with a connection.
    pub agents_online: Gauge,
    /// Accepted `register` frames.
    pub agents_registered: Counter,
    /// Connections refused before or at `register`, by reason.
    pub agents_rejected: Family<ReasonLabel, Counter>,
    /// Frames from agents.
    pub frames_in: Counter,
    /// Frames to agents.
    pub frames_out: Counter,
    /// Frames from agents that were dropped, by reason.
    pub frames_dropped: Family<ReasonLabel, Counter>,
    /// Tool calls by tool and outcome.
    pub calls: Family<CallLabels, Counter>,
    /// Seconds from sending a request to its answer, by tool.
    pub call_seconds: Family<ToolLabel, Histogram, fn() -> Histogram>,
    /// Updates that came to an end, by outcome.
    pub updates: Family<OutcomeLabel, Counter>,
    /// Attempts that the server began by itself.
    pub update_retries: Counter,
    /// Agents whose wanted version is held; counted when somebody looks.
    pub agents_held: Gauge,
    /// Open updates of agents that have been silent for too long; counted when somebody looks.
    pub updates_unknown: Gauge,
    /// When the signed metadata of each role ends, in seconds of Unix time; set when somebody looks.
    pub trust_expires: Family<RoleLabel, Gauge>,
    /// Bytes of artifacts that were served.
    pub artifact_bytes: Counter,
    /// Database operations that failed.
    pub database_errors: Counter,
    /// Events that could not be kept because the database did not take them in time.
    pub events_dropped: Counter,
}

/// Why something was refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReasonLabel {
    /// A stable word.
    pub reason: &'static str,
}

/// Which way a frame went.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DirectionLabel {
    /// `in` or `out`.
    pub direction: &'static str,
}

/// A tool of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ToolLabel {
    /// The dotted name.
    pub tool: &'static str,
}

/// A tool and what its call came to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CallLabels {
    /// The dotted name.
    pub tool: &'static str,
    /// `ok`, `error`, `timeout`, `offline` or `connection_lost`.
    pub outcome: &'static str,
}

/// What an update came to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabel {
    /// A final `UpdateState`.
    pub outcome: &'static str,
}

/// A role of signed metadata.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RoleLabel {
    /// `root`, `targets`, `snapshot` or `timestamp`.
    pub role: String,
}

fn call_histogram() -> Histogram {
    // 1 ms to 65 s: a loopback call takes one, the default timeout is 60 s.
    Histogram::new(exponential_buckets(0.001, 2.0, 17))
}

impl Default for Metrics {
    fn default() -> Self {
        let frames = Family::<DirectionLabel, Counter>::default();
        let mut metrics = Self {
            registry: Registry::with_prefix("kenny"),
            agents_online: Gauge::default(),
            agents_registered: Counter::<u64, AtomicU64>::default(),
            agents_rejected: Family::default(),
            frames_in: frames.get_or_create_owned(&DirectionLabel { direction: "in" }),
            frames_out: frames.get_or_create_owned(&DirectionLabel { direction: "out" }),
            frames_dropped: Family::default(),
            calls: Family::default(),
            call_seconds: Family::new_with_constructor(call_histogram),
            updates: Family::default(),
            update_retries: Counter::default(),
            agents_held: Gauge::default(),
            updates_unknown: Gauge::default(),
            trust_expires: Family::default(),
            artifact_bytes: Counter::default(),
            database_errors: Counter::default(),
            events_dropped: Counter::default(),
        };
        let registry = &mut metrics.registry;
        registry.register(
            "agents_online",
            "Agents with a connection",
            metrics.agents_online.clone(),
        );
        registry.register(
            "agents_registered",
            "Accepted register frames",
            metrics.agents_registered.clone(),
        );
        registry.register(
            "agents_rejected",
            "Connections of agents that were refused",
            metrics.agents_rejected.clone(),
        );
        registry.register("frames", "Frames of the tunnel", frames);
        registry.register(
            "frames_dropped",
            "Frames from agents that were dropped",
            metrics.frames_dropped.clone(),
        );
        registry.register("calls", "Tool calls", metrics.calls.clone());
        registry.register(
            "call_seconds",
            "Seconds from sending a request to its answer",
            metrics.call_seconds.clone(),
        );
        registry.register("updates", "Updates that came to an end", metrics.updates.clone());
        registry.register(
            "update_retries",
            "Attempts that the server began by itself",
            metrics.update_retries.clone(),
        );
        registry.register(
            "agents_held",
            "Agents whose wanted version is held until the operator clears it",
            metrics.agents_held.clone(),
        );
        registry.register(
            "updates_unknown",
            "Open updates of agents that have been silent for too long",
            metrics.updates_unknown.clone(),
        );
        registry.register(
            "trust_expires_unix",
            "When the signed metadata of a role ends, in seconds of Unix time",
            metrics.trust_expires.clone(),
        );
        registry.register(
            "artifact_bytes",
            "Bytes of artifacts that were served",
            metrics.artifact_bytes.clone(),
        );
        registry.register(
            "database_errors",
            "Database operations that failed",
            metrics.database_errors.clone(),
        );
        registry.register(
            "events_dropped",
            "Events that were not kept because the database did not take them in time",
            metrics.events_dropped.clone(),
        );
        registry.register(
            "build",
            "The running build",
            Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]),
        );
        metrics
    }
}

impl Metrics {
    /// The text exposition.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        text::encode(&mut text, &self.registry).expect("writing to a String does not fail");
        text
    }

    /// Counts one refused connection.
    pub fn rejected(&self, reason: &'static str) {
        self.agents_rejected.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// Counts one dropped frame.
    pub fn dropped(&self, reason: &'static str) {
        self.frames_dropped.get_or_create(&ReasonLabel { reason }).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_a_name_and_the_build_is_told() {
        let metrics = Metrics::default();
        metrics.agents_registered.inc();
        metrics.rejected("wrong_token");
        let text = metrics.encode();
        assert!(text.contains("kenny_agents_registered_total 1"), "{text}");
        assert!(text.contains(r#"kenny_agents_rejected_total{reason="wrong_token"} 1"#), "{text}");
        assert!(text.contains(concat!(r#"version=""#, env!("CARGO_PKG_VERSION"), '"')), "{text}");
    }
}
