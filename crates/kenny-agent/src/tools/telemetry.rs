//! `telemetry.collect` and the periodic push: each collector on a thread of its own, with a timeout, so that
//! one that hangs costs its section and nothing else.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use kenny_core::health;
use kenny_proto::MAX_PUSH_BYTES;
use kenny_proto::frames::{HOST_SECTION, Section, Snapshot, Status, UTC_OFFSET_FIELD};
use kenny_proto::policy::{PAUSED_FIELD, POLICY_SECTION};
use kenny_proto::tools::TelemetryArgs;
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::platform;
use crate::policy::Policy;
use crate::trust::Trust;

/// How long the collectors, which run side by side, may take.
const LIMIT: Duration = Duration::from_secs(10);
/// What a push may have of the limit: the rest is for the frame around the sections.
const FITS: usize = MAX_PUSH_BYTES - 1024;

const GIB: u64 = 1024 * 1024 * 1024;

/// The collectors of one agent.
#[derive(Debug, Clone)]
pub struct Telemetry {
    started_at: Timestamp,
    service: bool,
    policy: Policy,
    has_key: bool,
    refused: Arc<Mutex<Option<Refused>>>,
    trust: Option<Trust>,
    readings: Arc<[Reading; COLLECTORS.len()]>,
}

/// A server that could not prove that it is the agent's.
#[derive(Debug, Clone)]
struct Refused {
    times: u32,
    last_at: Timestamp,
    reason: String,
}

type Collector = fn(&Telemetry) -> io::Result<Section>;

const COLLECTORS: [(&str, Collector); 8] = [
    (HOST_SECTION, host),
    ("uptime", uptime),
    ("memory", memory),
    ("disk", disk),
    ("agent", agent),
    ("identity", identity),
    ("trust", trust),
    (POLICY_SECTION, policy),
];

impl Telemetry {
    /// Collectors of an agent that started then, as a service or not, and that has a key or a token.
    pub fn new(started_at: Timestamp, service: bool, has_key: bool, policy: Policy) -> Self {
        let (refused, readings) = (Arc::default(), Arc::default());
        Self { started_at, service, policy, has_key, refused, trust: None, readings }
    }

    /// The same, of an agent that is updated when this trust allows it.
    #[must_use]
    pub fn with_trust(self, trust: Trust) -> Self {
        Self { trust: Some(trust), ..self }
    }

    /// A server could not prove that it is the agent's: the right one is told when it is there again.
    pub fn server_refused(&self, reason: &str) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let times = refused.as_ref().map_or(0, |refused| refused.times).saturating_add(1);
        *refused = Some(Refused { times, last_at: Timestamp::now(), reason: reason.to_owned() });
    }

    /// Reads the wanted sections, all of them when none is named.
    pub async fn collect(&self, args: TelemetryArgs) -> Snapshot {
        let wanted = args.sections.unwrap_or_default();
        let until = Instant::now() + LIMIT;
        let mut running = Vec::new();
        for ((name, collector), reading) in COLLECTORS.into_iter().zip(self.readings.iter()) {
            if wanted.is_empty() || wanted.iter().any(|section| section == name) {
                let this = self.clone();
                running.push((name, reading.start(move || collector(&this))));
            }
        }
        let mut snapshot = Snapshot::new();
        for (name, outcome) in running {
            snapshot.insert(name.to_owned(), section_of(outcome, until).await);
        }
        snapshot
    }
}

/// At most one run of a collector at a time, which everybody shares who asks meanwhile: one that hangs holds one
/// thread, not one more with each push.
#[derive(Debug, Default)]
struct Reading(Mutex<Option<Outcome>>);

type Outcome = watch::Receiver<Option<Section>>;

impl Reading {
    fn start(&self, read: impl FnOnce() -> io::Result<Section> + Send + 'static) -> Outcome {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // An error says that the sender is gone: that run has ended, and one that has its section is about to.
        let runs = |outcome: &&Outcome| outcome.has_changed().is_ok() && outcome.borrow().is_none();
        if let Some(running) = current.as_ref().filter(runs) {
            return running.clone();
        }
        let (done, outcome) = watch::channel(None);
        tokio::task::spawn_blocking(move || {
            let section =
                read().unwrap_or_else(|error| failed(&format!("could not be read: {error}")));
            done.send_replace(Some(section));
        });
        *current = Some(outcome.clone());
        outcome
    }
}

async fn section_of(mut outcome: Outcome, until: Instant) -> Section {
    match timeout_at(until, outcome.wait_for(Option::is_some)).await {
        Ok(Ok(section)) => section.clone().expect("waited for until it was there"),
        Ok(Err(_)) => failed("could not be read, by a defect of the agent"),
        Err(_) => failed("could not be read within 10 s"),
    }
}

/// Makes the sections fit a push: the largest give way, and say so.
pub fn fitted(mut snapshot: Snapshot) -> Snapshot {
    let bytes = |section: &Section| serde_json::to_vec(section).map_or(0, |json| json.len());
    let mut sizes: Vec<(usize, String)> = snapshot
        .iter()
        .map(|(name, section)| (name.len() + bytes(section), name.clone()))
        .collect();
    sizes.sort_unstable_by(|one, other| other.cmp(one));
    let mut total: usize = sizes.iter().map(|(size, _)| size).sum();
    for (size, name) in sizes {
        if total <= FITS {
            break;
        }
        let words = format!(
            "left out: its {size} bytes do not fit a push; ask for it with telemetry.collect"
        );
        total = total - size + words.len();
        snapshot.insert(name, failed(&words));
    }
    snapshot
}

fn failed(summary: &str) -> Section {
    Section { status: Status::Warn, summary: summary.to_owned(), fields: Map::new() }
}

fn section(status: Status, summary: String, fields: Value) -> Section {
    let Value::Object(fields) = fields else { unreachable!("written as an object by the callers") };
    Section { status, summary, fields }
}

#[expect(clippy::unnecessary_wraps, reason = "the signature of a collector")]
fn host(_: &Telemetry) -> io::Result<Section> {
    let (hostname, os) = (platform::hostname(), platform::os_version());
    let fields = json!({
        "hostname": hostname, "os": platform::OS, "os_version": os, "arch": platform::native_arch(),
        UTC_OFFSET_FIELD: platform::utc_offset_s()
    });
    Ok(section(Status::Ok, format!("{hostname}, {os}"), fields))
}

fn uptime(_: &Telemetry) -> io::Result<Section> {
    let seconds = platform::uptime()?.as_secs();
    let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
    let summary = format!("on for {days} days and {hours} hours");
    Ok(section(health::uptime(seconds), summary, json!({"uptime_s": seconds})))
}

fn memory(_: &Telemetry) -> io::Result<Section> {
    let memory = platform::memory()?;
    let used = memory.total_bytes.saturating_sub(memory.available_bytes);
    let percent = used * 100 / memory.total_bytes.max(1);
    let summary = format!("{percent} % of {} GiB used", memory.total_bytes.div_ceil(GIB));
    let fields = json!({"total_bytes": memory.total_bytes, "used_bytes": used});
    Ok(section(health::memory(used, memory.total_bytes), summary, fields))
}

fn disk(_: &Telemetry) -> io::Result<Section> {
    let volumes = platform::volumes()?;
    let rated = volumes
        .iter()
        .map(|volume| (health::volume(volume.free_bytes, volume.total_bytes), volume));
    let Some((status, fullest)) = rated.max_by_key(|(status, volume)| {
        (*status, std::cmp::Reverse(volume.free_bytes * 100 / volume.total_bytes.max(1)))
    }) else {
        return Ok(section(Status::Warn, "no volumes found".to_owned(), json!({"volumes": []})));
    };
    let percent = fullest.free_bytes * 100 / fullest.total_bytes.max(1);
    let summary = format!(
        "{}: {percent} % free ({} GiB)",
        fullest.name.trim_end_matches([':', '\\']),
        fullest.free_bytes / GIB
    );
    let list: Vec<Value> = volumes
        .iter()
        .map(|volume| json!({"name": volume.name, "total_bytes": volume.total_bytes, "free_bytes": volume.free_bytes}))
        .collect();
    Ok(section(status, summary, json!({"volumes": list})))
}

fn agent(telemetry: &Telemetry) -> io::Result<Section> {
    let memory_bytes = platform::own_memory_bytes()?;
    let fields = json!({
        "version": crate::VERSION,
        "pid": std::process::id(),
        "service": telemetry.service,
        "started_at": telemetry.started_at,
        "memory_bytes": memory_bytes,
    });
    let summary = format!("{}, {} MiB of memory", crate::VERSION, memory_bytes / (1024 * 1024));
    Ok(section(Status::Ok, summary, fields))
}

#[expect(clippy::unnecessary_wraps, reason = "the signature of a collector")]
fn policy(telemetry: &Telemetry) -> io::Result<Section> {
    let paused = telemetry.policy.pause(Timestamp::now());
    let status = if paused.is_some() { Status::Warn } else { Status::Ok };
    let summary = telemetry.policy.in_words(paused.as_ref()).join("; ");
    let fields = json!({PAUSED_FIELD: paused, "refused_tools": telemetry.policy.refused_tools()});
    Ok(section(status, summary, fields))
}

#[expect(clippy::unnecessary_wraps, reason = "the signature of a collector")]
fn identity(telemetry: &Telemetry) -> io::Result<Section> {
    let kind = if telemetry.has_key { "key" } else { "legacy" };
    let refused = telemetry.refused.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let Some(Refused { times, last_at, reason }) = refused else {
        let summary = match kind {
            "key" => "by a key of this PC; the server proved itself every time",
            _ => "by a token, as 0.2 has it; the server does not prove itself",
        };
        let fields = json!({"kind": kind, "servers_refused": 0});
        return Ok(section(Status::Ok, summary.to_owned(), fields));
    };
    let summary =
        format!("{times} times since the start something else answered for the server: {reason}");
    let fields = json!({"kind": kind, "servers_refused": times, "last_refused_at": last_at, "reason": reason});
    Ok(section(Status::Warn, summary, fields))
}

#[expect(clippy::unnecessary_wraps, reason = "the signature of a collector")]
fn trust(telemetry: &Telemetry) -> io::Result<Section> {
    Ok(match &telemetry.trust {
        Some(trust) => trust.section(Timestamp::now()),
        None => section(Status::Ok, "it is not updated by itself".to_owned(), json!({})),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::PolicyConfig;

    #[tokio::test]
    async fn every_section_says_something() {
        let policy = Policy::new(&PolicyConfig::default(), "/nowhere/pause.json".into());
        let telemetry = Telemetry::new(Timestamp::now(), false, true, policy);
        let all = telemetry.collect(TelemetryArgs::default()).await;
        let names = ["agent", "disk", "host", "identity", "memory", "policy", "trust", "uptime"];
        assert_eq!(all.keys().collect::<Vec<_>>(), names);
        for (name, section) in &all {
            assert!(
                !section.summary.is_empty() && !section.summary.contains("could not"),
                "{name}: {section:?}"
            );
        }
        let one =
            telemetry.collect(TelemetryArgs { sections: Some(vec!["memory".to_owned()]) }).await;
        assert_eq!(one.len(), 1);
    }

    #[tokio::test]
    async fn servers_that_were_refused_are_told_to_the_right_one() {
        let policy = Policy::new(&PolicyConfig::default(), "/nowhere/pause.json".into());
        let telemetry = Telemetry::new(Timestamp::now(), false, true, policy);
        let asked = TelemetryArgs { sections: Some(vec!["identity".to_owned()]) };
        let well = telemetry.collect(asked.clone()).await.remove("identity").unwrap();
        assert_eq!((well.status, &well.fields["servers_refused"]), (Status::Ok, &json!(0)));
        telemetry.server_refused("one");
        telemetry.server_refused("another key");
        let told = telemetry.collect(asked).await.remove("identity").unwrap();
        assert_eq!((told.status, &told.fields["servers_refused"]), (Status::Warn, &json!(2)));
        assert!(told.summary.contains("another key"), "{}", told.summary);
    }

    #[tokio::test(start_paused = true)]
    async fn a_collector_that_hangs_costs_its_section_and_one_thread() {
        let reading = Reading::default();
        let (release, hangs) = std::sync::mpsc::channel::<()>();
        let first = reading.start(move || {
            let _ = hangs.recv();
            Ok(section(Status::Ok, "late".to_owned(), json!({})))
        });
        let second = reading.start(|| unreachable!("the first one still runs"));
        // Nothing wakes a paused clock while a blocking thread runs: the limit has passed already.
        let late = section_of(first.clone(), Instant::now()).await;
        assert_eq!(
            (late.status, late.summary.as_str()),
            (Status::Warn, "could not be read within 10 s")
        );
        release.send(()).unwrap();
        let in_time = Instant::now() + LIMIT;
        assert_eq!(section_of(second, in_time).await.summary, "late");
    }

    #[tokio::test]
    async fn a_collector_that_fails_costs_its_section_only_and_runs_again() {
        let reading = Reading::default();
        let until = Instant::now() + LIMIT;
        let failed =
            section_of(reading.start(|| Err(io::Error::other("no such file"))), until).await;
        assert_eq!(failed.summary, "could not be read: no such file");
        let panicked = section_of(reading.start(|| panic!("on purpose")), until).await;
        assert!(panicked.summary.contains("defect"), "{panicked:?}");
        let read = reading.start(|| Ok(section(Status::Ok, "well".to_owned(), json!({}))));
        assert_eq!(section_of(read, until).await.summary, "well");
    }

    #[test]
    fn sections_that_do_not_fit_a_push_give_way_and_say_so() {
        let of = |bytes: usize| section(Status::Ok, "x".repeat(bytes), json!({}));
        let snapshot = Snapshot::from([
            ("small".to_owned(), of(1000)),
            ("large".to_owned(), of(200_000)),
            ("larger".to_owned(), of(300_000)),
        ]);
        assert_eq!(fitted(fitted(snapshot.clone())), fitted(snapshot.clone()));
        let fitted = fitted(snapshot.clone());
        assert_eq!(fitted["small"], snapshot["small"]);
        assert_eq!(fitted["large"], snapshot["large"]);
        assert_eq!(fitted["larger"].status, Status::Warn);
        assert!(fitted["larger"].summary.contains("left out"));
        assert!(serde_json::to_vec(&fitted).unwrap().len() < MAX_PUSH_BYTES);
    }
}
