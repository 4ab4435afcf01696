//! `kenny update` and `kenny updates`: says what an agent should run, and what came of it.

use std::time::Duration;

use jiff::Timestamp;
use kenny_proto::AgentId;
use kenny_proto::api::{NewUpdate, Update, UpdateState};

use super::agents::tone;
use super::watch;
use crate::cli::UpdateArgs;
use crate::client::Client;
use crate::error::CliError;
use crate::output::{self, Cell, Output, Table};
use crate::words;

/// `kenny update`.
pub async fn run(client: &Client, output: Output, args: UpdateArgs) -> Result<(), CliError> {
    let UpdateArgs { agent, to, allow_downgrade, watch, timeout, cancel: _ } = args;
    let Some(version) = to else {
        client.clear_desired(&agent).await?;
        output::note(&format!(
            "No particular version is wanted of {agent} any more. An update that the agent is already at goes on."
        ));
        return Ok(());
    };
    let wanted = NewUpdate { version: version.to_string(), allow_downgrade };
    let update = client.request_update(&agent, &wanted).await?;
    if watch {
        let limit = timeout.map(Duration::from_secs);
        return judge(&watch::watch(client, output, update, limit).await?);
    }
    if output.json {
        output::document(&update)?;
    } else {
        output::line(&standing(&update))?;
    }
    judge(&update)
}

/// `kenny updates`.
pub async fn list(client: &Client, output: Output, agent: &AgentId) -> Result<(), CliError> {
    let list = client.updates(agent).await?;
    if output.json {
        return output::document(&list);
    }
    if list.updates.is_empty() {
        output::note(&format!("{agent} was never updated."));
        return Ok(());
    }
    output::text(&table(&list.updates, Timestamp::now()).render(output.palette))
}

/// Updates, one a line.
pub fn table(updates: &[Update], now: Timestamp) -> Table {
    let mut table = Table::new(&["REQUESTED", "FROM", "TO", "STATE", "TOOK", "WHY"]);
    for update in updates {
        let took =
            update.finished_at.map(|at| words::duration(at.duration_since(update.requested_at)));
        table.row([
            words::ago(update.requested_at, now).into(),
            update.from_version.as_deref().unwrap_or("-").into(),
            (&update.version).into(),
            Cell::new(tone(update.state), words::progress(update)),
            took.unwrap_or_default().into(),
            update.failure.as_ref().map_or("", |failure| failure.detail.as_str()).into(),
        ]);
    }
    table
}

/// A final state that is not success is a failure of the command.
fn judge(update: &Update) -> Result<(), CliError> {
    let ended = match update.state {
        UpdateState::Waiting
        | UpdateState::Running
        | UpdateState::Online
        | UpdateState::Succeeded => return Ok(()),
        UpdateState::RolledBack => "was rolled back, and the old version runs again",
        UpdateState::Failed => "failed; the old version runs on",
        UpdateState::Superseded => "was superseded by another one",
    };
    let why = match &update.failure {
        Some(failure) => format!("\n{} ({})", words::harmless(&failure.detail), failure.kind),
        None => String::new(),
    };
    Err(CliError::Failed(format!(
        "the update of {} to {} {ended}{why}",
        update.agent_id, update.version
    )))
}

fn standing(update: &Update) -> String {
    let Update { agent_id: agent, version, .. } = update;
    match update.state {
        UpdateState::Waiting => {
            format!("{agent} is offline: the update to {version} starts when it connects")
        }
        UpdateState::Running => format!(
            "{agent} is at it ({}); `kenny update {agent} --to {version} --watch` follows it",
            words::progress(update)
        ),
        UpdateState::Online => {
            format!("{agent} is online on {version} and has yet to prove itself")
        }
        UpdateState::Succeeded => format!("{agent} runs {version}"),
        UpdateState::RolledBack | UpdateState::Failed | UpdateState::Superseded => {
            format!("{agent}: {version} {}", words::state(update.state))
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use kenny_proto::update::Failure;
    use kenny_proto::{FailureKind, Phase, UpdateId};

    use super::*;
    use crate::output::Palette;

    /// An update of anna-pc from 1.3.0 to 1.4.0, requested at the epoch.
    pub fn update(state: UpdateState) -> Update {
        Update {
            id: UpdateId(uuid::Uuid::nil()),
            agent_id: "anna-pc".parse().unwrap(),
            from_version: Some("1.3.0".to_owned()),
            version: "1.4.0".to_owned(),
            sha256: None,
            state,
            phase: Some(Phase::Downloading),
            percent: Some(40),
            failure: None,
            requested_at: Timestamp::UNIX_EPOCH,
            finished_at: None,
            timeline: Vec::new(),
            journal: Vec::new(),
        }
    }

    #[test]
    fn updates_are_listed_with_their_reasons() {
        let failed = Update {
            failure: Some(Failure {
                kind: FailureKind::CandidateDied,
                detail: "it ended at once".to_owned(),
            }),
            finished_at: Some(Timestamp::from_second(65).unwrap()),
            ..update(UpdateState::RolledBack)
        };
        let text =
            table(&[update(UpdateState::Running), failed], Timestamp::from_second(120).unwrap());
        assert_eq!(
            text.render(Palette { coloured: false }),
            "REQUESTED  FROM   TO     STATE             TOOK        WHY\n\
             2 min ago  1.3.0  1.4.0  downloading 40 %\n\
             2 min ago  1.3.0  1.4.0  rolled back       1 min 05 s  it ended at once\n"
        );
    }

    #[test]
    fn only_what_ended_badly_fails_the_command() {
        for state in [
            UpdateState::Waiting,
            UpdateState::Running,
            UpdateState::Online,
            UpdateState::Succeeded,
        ] {
            assert!(judge(&update(state)).is_ok());
        }
        for state in [UpdateState::RolledBack, UpdateState::Failed, UpdateState::Superseded] {
            assert_eq!(judge(&update(state)).unwrap_err().exit_code(), 1);
        }
    }
}
