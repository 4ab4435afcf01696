//! Which PCs are shown, in which order, and on which page. Pure.

use std::cmp::Reverse;
use std::fmt::Write as _;

use kenny_proto::api::{Agent, Release, UpdateState};
use kenny_proto::frames::Status;
use semver::Version;

use crate::web::fields::Fields;

/// PCs on a page: what somebody reads through, and quick to draw.
pub const PAGE: usize = 50;

/// Which of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Show {
    /// Every one.
    #[default]
    All,
    /// Those with a connection.
    Online,
    /// Those that do not run what they should, or not the newest release where nothing was said.
    Behind,
    /// Those where somebody should look.
    Trouble,
}

impl Show {
    /// In the order in which they are offered.
    pub const ALL: [Self; 4] = [Self::All, Self::Online, Self::Behind, Self::Trouble];

    /// The word in addresses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Online => "online",
            Self::Behind => "behind",
            Self::Trouble => "trouble",
        }
    }
}

/// In which order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sort {
    /// By name.
    #[default]
    Name,
    /// Who was heard of last comes first.
    Seen,
    /// The oldest version first.
    Version,
    /// The worst first.
    Health,
}

impl Sort {
    /// In the order in which they are offered, with their words.
    pub const ALL: [(Self, &'static str); 4] = [
        (Self::Name, "Name"),
        (Self::Seen, "Last seen"),
        (Self::Version, "Oldest version"),
        (Self::Health, "Trouble first"),
    ];

    /// The word in addresses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Seen => "seen",
            Self::Version => "version",
            Self::Health => "health",
        }
    }
}

/// What somebody wants to see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// Words that all have to occur in name, host name or version.
    pub search: String,
    /// Which of them.
    pub show: Show,
    /// In which order.
    pub sort: Sort,
    /// From 1.
    pub page: usize,
}

impl Wish {
    /// What an address says; what it does not say, or wrongly, is as usual.
    pub fn read(fields: &Fields) -> Self {
        let show = fields
            .get("show")
            .and_then(|word| Show::ALL.into_iter().find(|it| it.as_str() == word));
        let sort = fields.get("sort").and_then(|word| {
            Sort::ALL.into_iter().map(|(it, _)| it).find(|it| it.as_str() == word)
        });
        Self {
            search: fields.get("q").unwrap_or_default().trim().chars().take(100).collect(),
            show: show.unwrap_or_default(),
            sort: sort.unwrap_or_default(),
            page: fields.get("page").and_then(|page| page.parse().ok()).unwrap_or(1),
        }
    }

    /// The address of this wish.
    pub fn path(&self) -> String {
        let mut path = format!("/?show={}&sort={}", self.show.as_str(), self.sort.as_str());
        if !self.search.is_empty() {
            let encoded: String =
                url::form_urlencoded::byte_serialize(self.search.as_bytes()).collect();
            let _ = write!(path, "&q={encoded}");
        }
        if self.page > 1 {
            let _ = write!(path, "&page={}", self.page);
        }
        path
    }
}

/// A PC with what the list says of it besides.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The PC.
    pub agent: Agent,
    /// What it should run and does not: what was wished, or else the newest release for it.
    pub behind: Option<String>,
    /// Where somebody should look, in a few words.
    pub trouble: Option<String>,
    /// How bad.
    pub rank: Status,
}

impl Row {
    fn of(agent: Agent, releases: &[Release]) -> Self {
        let behind = behind(&agent, releases);
        let (rank, trouble) =
            trouble(&agent).map_or((Status::Ok, None), |(rank, why)| (rank, Some(why)));
        Self { agent, behind, trouble, rank }
    }

    fn is_shown(&self, show: Show) -> bool {
        match show {
            Show::All => true,
            Show::Online => self.agent.online,
            Show::Behind => self.behind.is_some(),
            Show::Trouble => self.trouble.is_some(),
        }
    }

    fn has(&self, words: &[String]) -> bool {
        let agent = &self.agent;
        let texts = [Some(agent.id.as_str()), agent.hostname.as_deref(), agent.version.as_deref()];
        let texts: Vec<String> = texts.into_iter().flatten().map(str::to_lowercase).collect();
        words.iter().all(|word| texts.iter().any(|text| text.contains(word)))
    }
}

/// What a PC should run and does not.
fn behind(agent: &Agent, releases: &[Release]) -> Option<String> {
    let running = Version::parse(agent.version.as_deref()?).ok()?;
    if let Some(wanted) = &agent.desired_version {
        let wanted = Version::parse(wanted).ok()?;
        return wanted.cmp_precedence(&running).is_ne().then(|| wanted.to_string());
    }
    let newest = newest_for(agent, releases)?;
    newest.cmp_precedence(&running).is_gt().then(|| newest.to_string())
}

/// The newest finished release for a PC's platform.
fn newest_for(agent: &Agent, releases: &[Release]) -> Option<Version> {
    let os = agent.os?;
    releases
        .iter()
        .filter(|it| it.os == os && agent.arch.is_none_or(|arch| arch == it.arch))
        .filter_map(|it| Version::parse(&it.version).ok())
        .filter(|version| version.pre.is_empty())
        .max()
}

/// Where somebody should look: what is worst comes first.
fn trouble(agent: &Agent) -> Option<(Status, String)> {
    if let Some(hold) = &agent.hold {
        return Some((Status::Crit, format!("{} is held", hold.version)));
    }
    let health = agent.health.as_ref().filter(|health| health.status > Status::Ok);
    let health =
        health.and_then(|health| Some((health.status, health.problems.first()?.summary.clone())));
    let update = agent.update.as_ref().and_then(|update| {
        let words = match update.state {
            UpdateState::Unknown => "no word since its update began",
            UpdateState::RolledBack => "its last update was rolled back",
            UpdateState::Failed => "its last update failed",
            UpdateState::Waiting
            | UpdateState::Running
            | UpdateState::Online
            | UpdateState::Succeeded
            | UpdateState::Superseded => return None,
        };
        Some((Status::Warn, words.to_owned()))
    });
    health.into_iter().chain(update).max_by_key(|(status, _)| *status)
}

/// What is shown of a fleet.
#[derive(Debug, Clone, PartialEq)]
pub struct Selected {
    /// The PCs of the page.
    pub rows: Vec<Row>,
    /// How many the search finds, of each kind in the order of [`Show::ALL`].
    pub counts: [usize; 4],
    /// How many there are at all.
    pub all: usize,
    /// The page, which is never beyond the last.
    pub page: usize,
    /// How many pages.
    pub pages: usize,
}

/// Selects. Agents come by name.
pub fn select(agents: Vec<Agent>, releases: &[Release], wish: &Wish) -> Selected {
    let all = agents.len();
    let words: Vec<String> = wish.search.split_whitespace().map(str::to_lowercase).collect();
    let mut rows: Vec<Row> = agents
        .into_iter()
        .map(|agent| Row::of(agent, releases))
        .filter(|row| row.has(&words))
        .collect();
    let counts = Show::ALL.map(|show| rows.iter().filter(|row| row.is_shown(show)).count());
    rows.retain(|row| row.is_shown(wish.show));
    match wish.sort {
        Sort::Name => {}
        Sort::Seen => rows.sort_by_key(|row| Reverse((row.agent.online, row.agent.last_seen_at))),
        Sort::Version => rows.sort_by_cached_key(|row| {
            let version = row.agent.version.as_deref().and_then(|text| Version::parse(text).ok());
            (version.is_none(), version)
        }),
        Sort::Health => rows.sort_by_key(|row| Reverse(row.rank)),
    }
    let pages = rows.len().div_ceil(PAGE).max(1);
    let page = wish.page.clamp(1, pages);
    let rows = rows.into_iter().skip((page - 1) * PAGE).take(PAGE).collect();
    Selected { rows, counts, all, page, pages }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn agent(id: &str, more: &Value) -> Agent {
        let mut agent = json!({"id": id, "online": false, "created_at": "2026-01-01T00:00:00Z", "os": "linux", "arch": "x86_64"});
        agent.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(agent).unwrap()
    }

    fn release(version: &str, os: &str) -> Release {
        serde_json::from_value(json!({
            "version": version, "os": os, "arch": "x86_64", "sha256": "0".repeat(64), "size_bytes": 1,
            "added_at": "2026-01-01T00:00:00Z"
        }))
        .unwrap()
    }

    fn ids(selected: &Selected) -> Vec<&str> {
        selected.rows.iter().map(|row| row.agent.id.as_str()).collect()
    }

    fn wish(query: &str) -> Wish {
        Wish::read(&Fields::parse(query.as_bytes()).unwrap())
    }

    #[test]
    fn a_wish_is_read_as_it_is_written() {
        for path in ["/?show=behind&sort=health&q=a+b%26&page=3", "/?show=all&sort=name"] {
            assert_eq!(wish(&path[2..]).path(), path);
        }
        assert_eq!(wish("show=x&sort=&page=-1&q=+"), Wish { page: 1, ..Wish::default() });
    }

    #[test]
    fn behind_is_who_does_not_run_what_was_wished_or_the_newest_there_is() {
        let releases = [
            release("1.1.0", "linux"),
            release("2.0.0-rc.1", "linux"),
            release("3.0.0", "windows"),
        ];
        let of = |more| behind(&agent("a", &more), &releases);
        assert_eq!(of(json!({"version": "1.0.0"})).as_deref(), Some("1.1.0"));
        assert_eq!(of(json!({"version": "1.1.0"})), None);
        assert_eq!(of(json!({"version": "1.0.0", "desired_version": "1.0.0"})), None, "as wished");
        assert_eq!(
            of(json!({"version": "1.1.0", "desired_version": "1.0.0"})).as_deref(),
            Some("1.0.0")
        );
        assert_eq!(of(json!({})), None, "nothing is known of one that was never here");
    }

    #[test]
    fn trouble_is_the_worst_that_is_known() {
        let hold = json!({"version": "2.0.0", "attempts": 3, "since": "2026-01-01T00:00:00Z", "reason": "r"});
        let health = |status: &str| json!({"status": status, "problems": [{"section": "disk", "status": status, "summary": "C: full"}]});
        let of = |more| trouble(&agent("a", &more));
        assert_eq!(of(json!({})), None);
        assert_eq!(of(json!({"health": {"status": "ok", "problems": []}})), None);
        assert_eq!(
            of(json!({"health": health("warn")})),
            Some((Status::Warn, "C: full".to_owned()))
        );
        let both = of(json!({"health": health("warn"), "hold": hold}));
        assert_eq!(both, Some((Status::Crit, "2.0.0 is held".to_owned())));
    }

    #[test]
    fn search_filter_sort_and_page_go_together() {
        let agents: Vec<Agent> = (0..120)
            .map(|n| agent(&format!("pc-{n:03}"), &json!({"online": n % 2 == 0, "hostname": format!("HOST-{n}"), "version": format!("1.{}.0", 200 - n)})))
            .collect();
        let first = select(agents.clone(), &[], &wish(""));
        assert_eq!(
            (first.rows.len(), first.pages, first.counts, first.all),
            (50, 3, [120, 60, 0, 0], 120)
        );
        let last = select(agents.clone(), &[], &wish("page=99&show=online"));
        assert_eq!((last.page, last.pages, ids(&last)[9]), (2, 2, "pc-118"));
        let found = select(agents.clone(), &[], &wish("q=host-11+PC&sort=version"));
        assert_eq!(found.counts[0], 11);
        assert_eq!(ids(&found)[0], "pc-119", "the oldest version first");
        assert!(select(agents, &[], &wish("q=nowhere")).rows.is_empty());
    }
}
