//! A hostile mix of clients against a server that looks after agents: how many attacks it took, and whether any agent
//! noticed.
//!
//! Real frames over real sockets, encrypted where the server has TLS. The attackers come from loopback addresses of their own (127.0.0.2 and on) and from the
//! agents' address as well, as malware in an office would.

mod attacks;
mod fleet;
mod front;
mod loot;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::Instant;

use crate::client::Client;
use crate::server::Server;
use attacks::Attack;
use fleet::Fleet;
use front::Front;

/// How much of it.
#[derive(Debug, Clone, Copy)]
pub struct Mix {
    /// Agents that are to stay online.
    pub agents: usize,
    /// Attackers of each kind at a time.
    pub attackers: usize,
    /// How long.
    pub time: Duration,
}

/// How it went.
#[derive(Debug)]
pub struct Report {
    /// Attacks that were begun, by kind.
    pub attacks: BTreeMap<String, u64>,
    /// Large answers that began and were hardly read, by what was asked for.
    pub slow_answers: BTreeMap<&'static str, u64>,
    /// Those of them for which no socket was to be had.
    pub no_socket: u64,
    /// Agents online at the end, as the server says.
    pub online: usize,
    /// Connections of agents that ended.
    pub dropped: u64,
    /// Calls that agents answered meanwhile, and those that they did not.
    pub calls: (u64, u64),
    /// The longest of those calls.
    pub slowest: Duration,
    /// The memory that the server had for itself, in bytes: before, at its highest while it went on, and some seconds
    /// later. Without what it maps of releases, which the system takes back as it likes.
    pub memory: Option<(u64, u64, u64)>,
}

impl Report {
    /// Attacks of all kinds.
    pub fn total(&self) -> u64 {
        self.attacks.values().sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, count) in &self.attacks {
            writeln!(f, "  {kind:38} {count:>8}")?;
        }
        let mib = |bytes: u64| bytes / (1024 * 1024);
        let slow: u64 = self.slow_answers.values().sum();
        let (answered, unanswered) = self.calls;
        writeln!(
            f,
            "hostile: {} attacks ({} found no socket); {slow} large answers hardly read",
            self.total(),
            self.no_socket
        )?;
        writeln!(
            f,
            "hostile: {} agents online, {} dropped; {answered} calls answered, {unanswered} not, the slowest in {} ms",
            self.online,
            self.dropped,
            self.slowest.as_millis()
        )?;
        if let Some((before, highest, after)) = self.memory {
            writeln!(
                f,
                "hostile: memory of the server {} MiB before, {} at its highest, {} after",
                mib(before),
                mib(highest),
                mib(after)
            )?;
        }
        Ok(())
    }
}

/// Attacks a server and watches its agents. `release` is an executable of an agent for slow readers to ask for.
pub async fn run(server: &Server, release: &Path, mix: Mix) -> Result<Report> {
    let client = server.client().clone();
    let trust = server.certificate().map(super::tls::Certificate::trust).transpose()?;
    let loot = loot::gather(&client, trust.as_ref(), release).await?;
    let fleet = Fleet::start(&client, trust.as_ref(), mix.agents).await?;
    let before = own_bytes(server.pid());
    let kinds = Attack::all(trust.is_some());
    let front = Arc::new(Front::new(server.address()?, trust, loot, mix.time));
    let mut running = Vec::new();
    for (kind, attack) in (0_u8..).zip(kinds) {
        for number in 0..mix.attackers {
            // One of each kind sits where the agents sit.
            let last = if number == 0 { 1 } else { kind + 2 };
            let from = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
            let front = Arc::clone(&front);
            running.push((attack, tokio::spawn(async move { attack.repeat(&front, from).await })));
        }
    }
    let watch = watch(&client, &fleet, server.pid(), front.until()).await?;
    let mut attacks = BTreeMap::new();
    for (attack, task) in running {
        *attacks.entry(attack.name()).or_insert(0) += task.await?;
    }
    let online = fleet.online(&client).await?;
    // What waits for its deadline at the server goes with it.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let after = own_bytes(server.pid());
    Ok(Report {
        attacks,
        slow_answers: front.answers().map(|(answer, count)| (answer.name(), count)).into(),
        no_socket: front.no_socket(),
        online,
        dropped: fleet.dropped(),
        calls: watch.calls,
        slowest: watch.slowest,
        memory: before.zip(after).map(|(before, after)| (before, watch.highest, after)),
    })
}

struct Watch {
    calls: (u64, u64),
    slowest: Duration,
    highest: u64,
}

/// Calls one agent after the other, as an operator would, until it is over.
async fn watch(client: &Client, fleet: &Fleet, pid: u32, until: Instant) -> Result<Watch> {
    let mut watch = Watch { calls: (0, 0), slowest: Duration::ZERO, highest: 0 };
    let mut ids = fleet.ids().iter().cycle();
    while Instant::now() < until {
        let id = ids.next().context("a fleet has agents")?;
        let began = Instant::now();
        match client.call(id, "net.config", serde_json::json!({})).await {
            Ok(outcome) if outcome.ok => watch.calls.0 += 1,
            Ok(_) | Err(_) => watch.calls.1 += 1,
        }
        watch.slowest = watch.slowest.max(began.elapsed());
        watch.highest = watch.highest.max(own_bytes(pid).unwrap_or(0));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(watch)
}

/// Resident memory of a process that is no file's, where the system says it.
fn own_bytes(pid: u32) -> Option<u64> {
    let status = fs_err::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("RssAnon:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}
