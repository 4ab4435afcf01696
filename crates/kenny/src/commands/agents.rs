//! `kenny agents` and `kenny agent ...`.

use std::io::{self, BufRead as _, IsTerminal as _};

use jiff::Timestamp;
use kenny_proto::AgentId;
use kenny_proto::api::{Agent, AgentCreated, AgentDetail, Update, UpdateState};
use kenny_proto::frames::Status;

use super::update;
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
        output::note("There is no agent yet; `kenny agent add ID` makes one.");
        return Ok(());
    }
    output::text(&table(&list.agents, Timestamp::now()).render(output.palette))
}

/// `kenny agent add`.
pub async fn add(client: &Client, output: Output, id: AgentId) -> Result<(), CliError> {
    let created = client.add_agent(id).await?;
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

/// `kenny agent remove`.
pub async fn remove(client: &Client, id: &AgentId, yes: bool) -> Result<(), CliError> {
    if !yes && !confirmed(id)? {
        return Err(CliError::Failed(format!("{id} was not removed")));
    }
    client.remove_agent(id).await?;
    output::note(&format!(
        "{id} is removed. Its service on the PC, if there is one, still has to be uninstalled there."
    ));
    Ok(())
}

fn confirmed(id: &AgentId) -> Result<bool, CliError> {
    if !io::stdin().is_terminal() {
        return Err(CliError::Usage(format!(
            "removing {id} asks for confirmation; add --yes where nobody can answer"
        )));
    }
    output::note(&format!(
        "Remove {id}? Its token is worth nothing afterwards. Type the id to go on:"
    ));
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(CliError::File)?;
    Ok(line.trim() == id.as_str())
}

fn table(agents: &[Agent], now: Timestamp) -> Table {
    let mut table = Table::new(&["ID", "STATE", "VERSION", "OS", "UPDATE"]);
    for agent in agents {
        let presence = if agent.online { Tone::Good } else { Tone::Faint };
        let update = agent.update.as_ref();
        table.row([
            agent.id.as_str().into(),
            Cell::new(presence, words::presence(agent, now)),
            versions(agent).into(),
            platform(agent).into(),
            update.map_or_else(
                || "".into(),
                |update| Cell::new(tone(update.state), summary(update, now)),
            ),
        ]);
    }
    table
}

/// The colour of an update's state.
pub fn tone(state: UpdateState) -> Tone {
    match state {
        UpdateState::Waiting | UpdateState::Running | UpdateState::Online => Tone::Pending,
        UpdateState::Succeeded => Tone::Good,
        UpdateState::RolledBack | UpdateState::Failed => Tone::Bad,
        UpdateState::Superseded => Tone::Faint,
    }
}

fn versions(agent: &Agent) -> String {
    let runs = agent.version.as_deref().unwrap_or("-");
    match &agent.desired_version {
        Some(desired) if Some(desired) != agent.version.as_ref() => format!("{runs} -> {desired}"),
        _ => runs.to_owned(),
    }
}

fn platform(agent: &Agent) -> String {
    let os = agent.os.map(|os| os.to_string()).unwrap_or_default();
    let arch = agent.arch.map(|arch| arch.to_string()).unwrap_or_default();
    format!("{os} {arch}").trim().to_owned()
}

fn summary(update: &Update, now: Timestamp) -> String {
    let since = update.finished_at.unwrap_or(update.requested_at);
    format!("{} {}, {}", update.version, words::progress(update), words::ago(since, now))
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
        ("state", Some(words::presence(agent, now))),
        ("connected", agent.connected_at.map(ago)),
        ("last seen", agent.last_seen_at.map(ago)),
        ("added", Some(ago(agent.created_at))),
        ("host name", agent.hostname.clone()),
        ("platform", Some(platform(agent)).filter(|text| !text.is_empty())),
        ("version", agent.version.clone()),
        ("wanted", agent.desired_version.clone()),
        ("runs", agent.service.map(|is_service| service(is_service).to_owned())),
        ("protocol", agent.protocol.clone()),
        ("sha256", agent.sha256.map(|sha256| sha256.to_string())),
    ]);
    if !detail.updates.is_empty() {
        text.push_str("\nUpdates\n");
        text.push_str(&update::table(&detail.updates, now).render(palette));
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

#[cfg(test)]
mod tests {
    use kenny_proto::{Arch, Os};

    use super::*;

    const PLAIN: Palette = Palette { coloured: false };

    fn agent(id: &str, version: Option<&str>) -> Agent {
        Agent {
            id: id.parse().unwrap(),
            online: false,
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
        let text = table(&[online, away, agent("new", None)], now).render(PLAIN);
        assert_eq!(
            text,
            "ID       STATE                    VERSION         OS              UPDATE\n\
             anna-pc  online                   1.3.0 -> 1.4.0  windows x86_64  1.4.0 downloading 40 %, 16 min ago\n\
             b        offline, seen 3 min ago  1.3.0           linux\n\
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
            "id     new\nstate  never connected\nadded  1 min ago (1970-01-01 00:00:00Z)\n"
        );
    }
}
