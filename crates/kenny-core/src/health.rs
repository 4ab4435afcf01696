//! Rules that turn facts of a PC into `ok`, `warn` or `crit`.

use kenny_proto::api::{AgentHealth, HealthProblem};
use kenny_proto::frames::{Snapshot, Status};

/// So many sections are named: who has more needs another look at the PC, not at the list.
const MOST_PROBLEMS: usize = 8;
/// What is kept of a sentence that an agent made.
const MOST_CHARACTERS: usize = 200;

/// How a PC is as a whole.
pub fn overall(snapshot: &Snapshot) -> AgentHealth {
    let status = snapshot.values().map(|section| section.status).max().unwrap_or(Status::Ok);
    let mut problems: Vec<HealthProblem> = snapshot
        .iter()
        .filter(|(_, section)| section.status > Status::Ok)
        .map(|(name, section)| HealthProblem {
            section: name.chars().take(MOST_CHARACTERS).collect(),
            status: section.status,
            summary: section.summary.chars().take(MOST_CHARACTERS).collect(),
        })
        .collect();
    problems.sort_by_key(|problem| std::cmp::Reverse(problem.status));
    problems.truncate(MOST_PROBLEMS);
    AgentHealth { status, problems }
}

/// How a volume looks: crit below 3 % free, warn below 10 %. The numbers are those at which Windows itself
/// starts to fail updates (a few GiB on a common 128 GiB disk) and at which it begins to warn.
#[expect(
    clippy::cast_possible_truncation,
    reason = "at most 1000 by the division, or every byte is free"
)]
pub const fn volume(free_bytes: u64, total_bytes: u64) -> Status {
    if total_bytes == 0 {
        return Status::Ok;
    }
    let free_per_mille = (free_bytes as u128 * 1000 / total_bytes as u128) as u64;
    match free_per_mille {
        0..30 => Status::Crit,
        30..100 => Status::Warn,
        100.. => Status::Ok,
    }
}

/// How memory looks: crit from 97 % used, warn from 90 %.
#[expect(clippy::cast_possible_truncation, reason = "a percentage")]
pub const fn memory(used_bytes: u64, total_bytes: u64) -> Status {
    if total_bytes == 0 {
        return Status::Ok;
    }
    match (used_bytes as u128 * 100 / total_bytes as u128) as u64 {
        0..90 => Status::Ok,
        90..97 => Status::Warn,
        97.. => Status::Crit,
    }
}

/// How the time since the last boot looks: warn from 60 days, when pending Windows updates have piled up.
pub const fn uptime(uptime_s: u64) -> Status {
    if uptime_s >= 60 * 24 * 60 * 60 { Status::Warn } else { Status::Ok }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pc_is_as_well_as_its_worst_section() {
        let section = |status, summary: &str| kenny_proto::frames::Section {
            status,
            summary: summary.to_owned(),
            fields: serde_json::Map::new(),
        };
        let mut snapshot = Snapshot::from([("uptime".to_owned(), section(Status::Ok, "on"))]);
        assert_eq!(overall(&snapshot), AgentHealth { status: Status::Ok, problems: Vec::new() });
        snapshot.insert("disk".to_owned(), section(Status::Warn, &"x".repeat(300)));
        snapshot.insert("memory".to_owned(), section(Status::Crit, "full"));
        let health = overall(&snapshot);
        assert_eq!((health.status, health.problems[0].section.as_str()), (Status::Crit, "memory"));
        assert_eq!((health.problems.len(), health.problems[1].summary.len()), (2, 200));
    }

    #[test]
    fn thresholds_are_where_they_are_said_to_be() {
        assert_eq!(volume(29, 1000), Status::Crit);
        assert_eq!(volume(30, 1000), Status::Warn);
        assert_eq!(volume(99, 1000), Status::Warn);
        assert_eq!(volume(100, 1000), Status::Ok);
        assert_eq!(volume(0, 0), Status::Ok);
        assert_eq!(memory(89, 100), Status::Ok);
        assert_eq!(memory(90, 100), Status::Warn);
        assert_eq!(memory(97, 100), Status::Crit);
        assert_eq!(uptime(60 * 86_400 - 1), Status::Ok);
        assert_eq!(uptime(60 * 86_400), Status::Warn);
    }
}
