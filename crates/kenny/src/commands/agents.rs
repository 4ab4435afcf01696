//! `kenny agents` and `kenny agent ...`.

use std::fmt::Write as _;

use jiff::Timestamp;
use kenny_proto::AgentId;
use kenny_proto::api::{
    Agent, AgentCreated, AgentDetail, AgentIdentity, Update, UpdateKind, UpdateState,
};
use kenny_proto::frames::Status;

use super::{agent_settings, history, update};
use crate::ask;
use crate::client::Client;
use crate::error::CliError;
use crate::output::{self, Cell, Output, Palette, Table, Tone, facts};
use crate::words;

/// `kenny agents`.
pub async fn list(client: &Client, output: Output) -> Result<(), CliError> {
    let list = client.agents().await?;
    if output.json {
        return output::document(&list);
    }
    if list.agents.is_empty() {
        output::note("There is no agent yet; `kenny agent invite ID` makes one.");
        return Ok(());
    }
    output::text(&table(&list.agents, Timestamp::now()).render(output.palette))
}

/// `kenny agent add`.
pub async fn add(
    client: &Client,
    output: Output,
    id: AgentId,
    legacy: bool,
) -> Result<(), CliError> {
    if !legacy {
        return Err(CliError::Usage(format!(
            "agents are invited: `kenny agent invite {id}` makes the agent, and the PC gets a key of its own. A token is for \
             agents of 0.2: `kenny agent add {id} --legacy`"
        )));
    }
    let created = client.add_legacy_agent(id).await?;
    if output.json { output::document(&created) } else { output::text(&welcome(&created)) }
}

/// `kenny agent show`.
pub async fn show(client: &Client, output: Output, id: &AgentId) -> Result<(), CliError> {
    let detail = client.agent(id).await?;
    if output.json {
        return output::document(&detail);
    }
    output::text(&describe(&detail, Timestamp::now(), output.palette))
}

/// `kenny agent clear-hold`.
pub async fn clear_hold(client: &Client, id: &AgentId) -> Result<(), CliError> {
    let agent = client.agent(id).await?.agent;
    let Some(hold) = &agent.hold else {
        output::note(&format!("Nothing is held for {id}."));
        return Ok(());
    };
    client.clear_hold(id).await?;
    output::note(&cleared(&agent, &hold.version));
    Ok(())
}

fn cleared(agent: &Agent, version: &str) -> String {
    let id = &agent.id;
    let next = match (agent.desired_version.as_deref() == Some(version), agent.online) {
        (true, true) => {
            format!("It is tried again now; `kenny agent show {id}` shows how it goes.")
        }
        (true, false) => format!("It is tried again when {id} connects."),
        (false, _) => format!("`kenny update {id} --to {version}` asks for it."),
    };
    format!("{version} is not held for {id} any more. {next}")
}

/// `kenny agent remove`.
pub async fn remove(client: &Client, id: &AgentId, yes: bool) -> Result<(), CliError> {
    let question = format!("Remove {id}? Its key or token is worth nothing afterwards.");
    if !ask::confirmed(yes, &question, id.as_str())? {
        return Err(CliError::Failed(format!("{id} was not removed")));
    }
    client.remove_agent(id).await?;
    output::note(&format!(
        "{id} is removed. Its service on the PC, if there is one, still has to be uninstalled there."
    ));
    Ok(())
}

fn table(agents: &[Agent], now: Timestamp) -> Table {
    // What nobody said is no column.
    let are_described =
        agents.iter().any(|agent| agent_settings::description(&agent.settings).is_some());
    let mut headings = vec!["ID", "STATE", "VERSION", "OS", "UPDATE"];
    if are_described {
        headings.insert(1, "ABOUT");
    }
    let mut table = Table::new(&headings);
    for agent in agents {
        let presence = if agent.online { Tone::Good } else { Tone::Faint };
        let mut cells = vec![
            agent.id.as_str().into(),
            Cell::new(presence, words::presence(agent, now)),
            versions(agent),
            platform(agent).into(),
            news(agent, now),
        ];
        if are_described {
            let about = agent_settings::description(&agent.settings).unwrap_or_default();
            cells.insert(1, about.into());
        }
        table.row(cells);
    }
    table
}

/// What somebody should know of its updates: what is held, or else the last one and what comes next.
fn news(agent: &Agent, now: Timestamp) -> Cell {
    let wanted = agent.desired_version.as_deref();
    if let Some(hold) = agent.hold.as_ref().filter(|hold| Some(hold.version.as_str()) == wanted) {
        let since = words::ago(hold.since, now);
        return Cell::new(Tone::Bad, format!("{} held, {since}: {}", hold.version, hold.reason));
    }
    if let Some(pause) = &agent.paused {
        return Cell::new(Tone::Pending, words::pause(pause, now));
    }
    let Some(update) = &agent.update else { return "".into() };
    let next = match &agent.next_attempt {
        Some(next) => format!("; {}", words::next_attempt(next, agent, now)),
        None => String::new(),
    };
    Cell::new(tone(update.state), format!("{}{next}", summary(update, now)))
}

/// The colour of an update's state.
pub fn tone(state: UpdateState) -> Tone {
    match state {
        UpdateState::Waiting
        | UpdateState::Running
        | UpdateState::Online
        | UpdateState::Unknown => Tone::Pending,
        UpdateState::Succeeded => Tone::Good,
        UpdateState::RolledBack | UpdateState::Failed => Tone::Bad,
        UpdateState::Superseded => Tone::Faint,
    }
}

fn versions(agent: &Agent) -> Cell {
    let runs = agent.version.as_deref().unwrap_or("-");
    let (withdrawn, tone) =
        if agent.runs_withdrawn { (" (withdrawn)", Tone::Bad) } else { ("", Tone::Plain) };
    let text = match &agent.desired_version {
        Some(desired) if Some(desired) != agent.version.as_ref() => {
            format!("{runs}{withdrawn} -> {desired}")
        }
        Some(_) | None => format!("{runs}{withdrawn}"),
    };
    Cell::new(tone, text)
}

fn platform(agent: &Agent) -> String {
    let os = agent.os.map(|os| os.to_string()).unwrap_or_default();
    let arch = agent.arch.map(|arch| arch.to_string()).unwrap_or_default();
    format!("{os} {arch}").trim().to_owned()
}

fn summary(update: &Update, now: Timestamp) -> String {
    let since = update.finished_at.unwrap_or(update.requested_at);
    let kind = match update.kind {
        UpdateKind::Update => "",
        UpdateKind::Rollback => "back to ",
    };
    format!("{kind}{} {}, {}", update.version, words::progress(update), words::ago(since, now))
}

fn welcome(created: &AgentCreated) -> String {
    let AgentCreated { id, token, server } = created;
    format!(
        "{id} may connect now. Its token is shown this once:\n\n  {token}\n\n\
         On the PC, in a terminal that runs as administrator:\n\n  \
         kenny-agent.exe install --server {server} --agent-id {id} --token {token}\n"
    )
}

fn describe(detail: &AgentDetail, now: Timestamp, palette: Palette) -> String {
    let agent = &detail.agent;
    let ago = |at: Timestamp| format!("{} ({})", words::ago(at, now), words::moment(at));
    let service = |is_service| if is_service { "as a service" } else { "in the foreground" };
    let mut text = facts(&[
        ("id", Some(agent.id.to_string())),
        ("name", agent.settings.name.clone()),
        ("owner", agent.settings.owner.clone()),
        ("group", agent.settings.group.clone()),
        ("labels", agent_settings::labels(&agent.settings)),
        ("channel", agent_settings::channel(&agent.settings)),
        ("pinned", agent.settings.pinned.clone()),
        ("state", Some(words::presence(agent, now))),
        ("connected", agent.connected_at.map(ago)),
        ("last seen", agent.last_seen_at.map(ago)),
        ("added", Some(ago(agent.created_at))),
        ("host name", agent.hostname.clone()),
        ("platform", Some(platform(agent)).filter(|text| !text.is_empty())),
        ("version", agent.version.clone()),
        ("wanted", agent.desired_version.clone()),
        (
            "held",
            agent
                .hold
                .as_ref()
                .map(|hold| format!("{}, {}: {}", hold.version, ago(hold.since), hold.reason)),
        ),
        (
            "tried next",
            agent.next_attempt.as_ref().map(|next| {
                let when = words::next_attempt(next, agent, now);
                format!("{}, {when} ({})", next.version, words::moment(next.at))
            }),
        ),
        ("paused", agent.paused.as_ref().map(|pause| words::pause(pause, now))),
        ("identity", Some(identity(agent))),
        ("runs", agent.service.map(|is_service| service(is_service).to_owned())),
        ("protocol", agent.protocol.clone()),
        ("sha256", agent.sha256.map(|sha256| sha256.to_string())),
    ]);
    if let Some(hold) = &agent.hold {
        let (id, version) = (&agent.id, &hold.version);
        let _ = writeln!(
            text,
            "\nThe server does not send {version} to {id} until `kenny agent clear-hold {id}`. Any other version can be had \
             with `kenny update {id} --to VERSION`."
        );
    }
    if let Some(version) = agent.version.as_ref().filter(|_| agent.runs_withdrawn) {
        let _ = writeln!(
            text,
            "\n{version} was withdrawn. `kenny rollout start NEW --to version:{version} --preset now` takes every PC off it."
        );
    }
    if !detail.updates.is_empty() {
        text.push_str("\nUpdates\n");
        text.push_str(&update::table(&detail.updates, now).render(palette));
    }
    if let Some(last) = last(detail) {
        text.push_str("\nThe last ");
        text.push_str(&history::describe(last, palette));
    }
    if let Some(telemetry) = &detail.telemetry {
        text.push_str("\nTelemetry, received ");
        text.push_str(&words::ago(telemetry.received_at, now));
        text.push('\n');
        let mut sections = Table::new(&["SECTION", "STATUS", "SUMMARY"]);
        for (name, section) in &telemetry.snapshot {
            let (word, tone) = match section.status {
                Status::Ok => ("ok", Tone::Good),
                Status::Warn => ("warn", Tone::Pending),
                Status::Crit => ("crit", Tone::Bad),
            };
            sections.row([name.into(), Cell::new(tone, word), (&section.summary).into()]);
        }
        text.push_str(&sections.render(palette));
    }
    text
}

/// How it proves who it is.
fn identity(agent: &Agent) -> String {
    match (agent.identity, agent.public_key) {
        (AgentIdentity::Key, Some(key)) => format!("the key {key}"),
        (AgentIdentity::Key, None) => "a key".to_owned(),
        (AgentIdentity::Legacy, _) => {
            format!("a token, as 0.2 has it; `kenny agent invite {}` gives it a key", agent.id)
        }
        (AgentIdentity::None, _) => {
            format!("none: no PC has enrolled yet; `kenny agent invite {}` invites one", agent.id)
        }
    }
}

/// The agent's last update, as the list has it: with its log.
fn last(detail: &AgentDetail) -> Option<&Update> {
    let last = detail.agent.update.as_ref()?;
    detail.updates.iter().find(|update| update.id == last.id).or(Some(last))
}

#[cfg(test)]
pub(super) mod tests {
    use kenny_proto::api::{Hold, NextAttempt};
    use kenny_proto::policy::Pause;
    use kenny_proto::rollout::AgentSettings;
    use kenny_proto::{Arch, Os};

    use super::*;

    const PLAIN: Palette = Palette { coloured: false };

    /// An agent that is offline and of which nothing else is known.
    pub fn agent(id: &str, version: Option<&str>) -> Agent {
        Agent {
            id: id.parse().unwrap(),
            online: false,
            identity: AgentIdentity::Key,
            public_key: None,
            created_at: Timestamp::UNIX_EPOCH,
            last_seen_at: None,
            connected_at: None,
            hostname: None,
            os: None,
            arch: None,
            version: version.map(str::to_owned),
            protocol: None,
            service: None,
            sha256: None,
            desired_version: None,
            update: None,
            hold: None,
            next_attempt: None,
            paused: None,
            settings: AgentSettings::default(),
            health: None,
            runs_withdrawn: false,
        }
    }

    /// A hold of this version since the epoch.
    pub fn hold(version: &str) -> Hold {
        Hold {
            version: version.to_owned(),
            attempts: 3,
            since: Timestamp::UNIX_EPOCH,
            reason: "it failed there 3 times, the last time: it ended at once".to_owned(),
        }
    }

    #[test]
    fn agents_are_listed_with_what_matters() {
        let now = Timestamp::from_second(1000).unwrap();
        let online = Agent {
            online: true,
            os: Some(Os::Windows),
            arch: Some(Arch::X86_64),
            desired_version: Some("1.4.0".to_owned()),
            update: Some(update::tests::update(UpdateState::Running)),
            ..agent("anna-pc", Some("1.3.0"))
        };
        let away = Agent {
            last_seen_at: Some(Timestamp::from_second(800).unwrap()),
            os: Some(Os::Linux),
            desired_version: Some("1.3.0".to_owned()),
            ..agent("b", Some("1.3.0"))
        };
        let failed = Update {
            finished_at: Some(Timestamp::from_second(940).unwrap()),
            ..update::tests::update(UpdateState::RolledBack)
        };
        let waits = Agent {
            online: true,
            desired_version: Some("1.4.0".to_owned()),
            next_attempt: Some(NextAttempt {
                version: "1.4.0".to_owned(),
                attempt: 2,
                at: Timestamp::from_second(1240).unwrap(),
            }),
            update: Some(failed.clone()),
            ..agent("c", Some("1.3.0"))
        };
        let held = Agent { hold: Some(hold("1.4.0")), ..waits.clone() };
        let held = Agent { id: "d".parse().unwrap(), ..held };
        let text = table(&[online, away, waits, held, agent("new", None)], now).render(PLAIN);
        assert_eq!(
            text,
            "ID       STATE                    VERSION         OS              UPDATE\n\
             anna-pc  online                   1.3.0 -> 1.4.0  windows x86_64  1.4.0 downloading 40 %, 16 min ago\n\
             b        offline, seen 3 min ago  1.3.0           linux\n\
             c        online                   1.3.0 -> 1.4.0                  1.4.0 rolled back, 1 min ago; attempt 2 in 4 min\n\
             d        online                   1.3.0 -> 1.4.0                  1.4.0 held, 16 min ago: it failed there 3 times, the last time: it ended at once\n\
             new      never connected          -\n"
        );
    }

    #[test]
    fn a_new_agent_comes_with_the_line_that_installs_it() {
        let text = welcome(&AgentCreated {
            id: "anna-pc".parse().unwrap(),
            token: "kenny_agent_x".to_owned(),
            server: "wss://kenny.example.net/agent/ws".to_owned(),
        });
        assert!(text.ends_with(
            "\n  kenny-agent.exe install --server wss://kenny.example.net/agent/ws --agent-id anna-pc --token kenny_agent_x\n"
        ));
    }

    #[test]
    fn an_agent_is_described_without_empty_lines_for_what_is_unknown() {
        let detail =
            AgentDetail { agent: agent("new", None), updates: Vec::new(), telemetry: None };
        assert_eq!(
            describe(&detail, Timestamp::from_second(60).unwrap(), PLAIN),
            "id        new\nstate     never connected\nadded     1 min ago (1970-01-01 00:00:00Z)\nidentity  a key\n"
        );
    }

    #[test]
    fn who_runs_a_withdrawn_release_is_shown_and_what_to_do() {
        let agent = Agent { runs_withdrawn: true, ..agent("anna-pc", Some("1.3.0")) };
        let now = Timestamp::from_second(60).unwrap();
        let text = table(std::slice::from_ref(&agent), now).render(PLAIN);
        assert!(text.contains("1.3.0 (withdrawn)"), "{text}");
        let detail = AgentDetail { agent, updates: Vec::new(), telemetry: None };
        let text = describe(&detail, now, PLAIN);
        assert!(text.contains("kenny rollout start NEW --to version:1.3.0"), "{text}");
    }

    #[test]
    fn a_hold_is_shown_with_its_reason_and_what_to_do() {
        let detail = AgentDetail {
            agent: Agent {
                desired_version: Some("1.4.0".to_owned()),
                hold: Some(hold("1.4.0")),
                update: Some(update::tests::update(UpdateState::Failed)),
                ..agent("anna-pc", Some("1.3.0"))
            },
            updates: vec![Update {
                log: vec!["the end".to_owned()],
                ..update::tests::update(UpdateState::Failed)
            }],
            telemetry: None,
        };
        let text = describe(&detail, Timestamp::from_second(7200).unwrap(), PLAIN);
        for part in [
            "\nheld      1.4.0, 2 h ago (1970-01-01 00:00:00Z): it failed there 3 times, the last time: it ended at once\n",
            "\nThe server does not send 1.4.0 to anna-pc until `kenny agent clear-hold anna-pc`. Any other version can be had \
             with `kenny update anna-pc --to VERSION`.\n",
            "\nThe last update: 1.3.0 -> 1.4.0, failed\n",
            "\nLog of the updater on the PC, its last lines\n  the end\n",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }

    #[test]
    fn a_pause_at_the_pc_is_shown_where_somebody_looks() {
        let reason = Some("a talk".to_owned());
        let pause = Pause { since: Timestamp::UNIX_EPOCH, until: None, reason };
        let agent = Agent { online: true, paused: Some(pause), ..agent("pc-1", Some("1.0.0")) };
        let now = Timestamp::from_second(3600).unwrap();
        let listed = table(std::slice::from_ref(&agent), now).render(PLAIN);
        assert!(listed.contains("paused at the PC 1 h ago: a talk"), "{listed}");
        let detail = AgentDetail { agent, updates: Vec::new(), telemetry: None };
        assert!(describe(&detail, now, PLAIN).contains("paused at the PC"));
    }

    #[test]
    fn clearing_a_hold_says_what_follows() {
        let held = Agent { hold: Some(hold("1.4.0")), ..agent("anna-pc", None) };
        assert_eq!(
            cleared(&held, "1.4.0"),
            "1.4.0 is not held for anna-pc any more. `kenny update anna-pc --to 1.4.0` asks for it."
        );
        let wanted = Agent { desired_version: Some("1.4.0".to_owned()), ..held };
        assert!(cleared(&wanted, "1.4.0").ends_with("It is tried again when anna-pc connects."));
        let online = Agent { online: true, ..wanted };
        assert!(cleared(&online, "1.4.0").contains("It is tried again now"));
    }
}
