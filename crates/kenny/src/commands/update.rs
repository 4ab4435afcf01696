//! `kenny update`, `kenny rollback` and `kenny updates`: says what an agent should run, and what came of it.

use std::time::Duration;

use jiff::Timestamp;
use kenny_proto::AgentId;
use kenny_proto::api::{Agent, NewUpdate, Update, UpdateKind, UpdateRequested, UpdateState};

use super::agents::tone;
use super::watch;
use crate::cli::{RollbackArgs, UpdateArgs, WatchArgs};
use crate::client::Client;
use crate::error::CliError;
use crate::output::{self, Cell, Output, Table};
use crate::words;

/// `kenny update`.
pub async fn run(client: &Client, output: Output, args: UpdateArgs) -> Result<(), CliError> {
    let UpdateArgs { agent, to, allow_downgrade, stay, cancel: _ } = args;
    let Some(version) = to else {
        client.clear_desired(&agent).await?;
        output::note(&format!(
            "No particular version is wanted of {agent} any more. An update that the agent is already at goes on."
        ));
        return Ok(());
    };
    let wanted = NewUpdate { version: version.to_string(), allow_downgrade };
    let UpdateRequested { update, warning } = client.request_update(&agent, &wanted).await?;
    if let Some(warning) = warning {
        output::note(&format!("Note: {warning}."));
    }
    follow(client, output, update, &stay).await
}

/// `kenny rollback`.
pub async fn roll_back(
    client: &Client,
    output: Output,
    args: RollbackArgs,
) -> Result<(), CliError> {
    let RollbackArgs { agent, stay } = args;
    let update = client.request_rollback(&agent).await?;
    follow(client, output, update, &stay).await
}

async fn follow(
    client: &Client,
    output: Output,
    update: Update,
    stay: &WatchArgs,
) -> Result<(), CliError> {
    if stay.watch {
        let limit = stay.timeout.map(Duration::from_secs);
        return judge(client, &watch::watch(client, output, update, limit).await?).await;
    }
    if output.json {
        output::document(&update)?;
    } else {
        output::line(&standing(&update))?;
    }
    judge(client, &update).await
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
    let mut table = Table::new(&["REQUESTED", "WHAT", "FROM", "TO", "STATE", "TOOK", "WHY"]);
    for update in updates {
        let took =
            update.finished_at.map(|at| words::duration(at.duration_since(update.requested_at)));
        table.row([
            words::ago(update.requested_at, now).into(),
            words::what(update).into(),
            update.from_version.as_deref().unwrap_or("-").into(),
            (&update.version).into(),
            Cell::new(tone(update.state), words::progress(update)),
            took.unwrap_or_default().into(),
            update.failure.as_ref().map_or("", |failure| failure.detail.as_str()).into(),
        ]);
    }
    table
}

/// A final state that is not success is a failure of the command. What comes next is said with it.
async fn judge(client: &Client, update: &Update) -> Result<(), CliError> {
    let Some(ended) = ended_badly(update) else { return Ok(()) };
    // The outcome is known; that this cannot be asked any more does not change it.
    let agent = client.agent(&update.agent_id).await.ok().map(|detail| detail.agent);
    let next = agent.map(|agent| comes_next(&agent, update, Timestamp::now())).unwrap_or_default();
    Err(CliError::Failed(format!("{ended}{next}")))
}

fn ended_badly(update: &Update) -> Option<String> {
    let ended = match (update.state, update.kind) {
        (
            UpdateState::Waiting
            | UpdateState::Running
            | UpdateState::Online
            | UpdateState::Unknown
            | UpdateState::Succeeded,
            _,
        ) => return None,
        (UpdateState::RolledBack, UpdateKind::Update) => {
            "was rolled back, and the old version runs again"
        }
        (UpdateState::RolledBack, UpdateKind::Rollback) => {
            "did not work out, and the version that ran before it runs again"
        }
        (UpdateState::Failed, UpdateKind::Update) => "failed; the old version runs on",
        (UpdateState::Failed, UpdateKind::Rollback) => "failed; what ran before runs on",
        (UpdateState::Superseded, _) => "was superseded by another one",
    };
    let why = match &update.failure {
        Some(failure) => format!("\n{} ({})", words::harmless(&failure.detail), failure.kind),
        None => String::new(),
    };
    let Update { agent_id: agent, version, .. } = update;
    Some(format!("the {} of {agent} to {version} {ended}{why}", words::what(update)))
}

/// What the server does about it by itself, or does no more.
fn comes_next(agent: &Agent, update: &Update, now: Timestamp) -> String {
    let id = &agent.id;
    match (&agent.hold, &agent.next_attempt) {
        (Some(hold), _) if hold.version == update.version => format!(
            "\nIt is held now: the server does not send it to {id} again until `kenny agent clear-hold {id}`."
        ),
        (_, Some(next)) if next.version == update.version => format!(
            "\nThe server tries again by itself: {}. `kenny agent show {id}` shows how it goes; \
             `kenny update {id} --cancel` ends it.",
            words::next_attempt(next, agent, now)
        ),
        (_, _) => String::new(),
    }
}

fn standing(update: &Update) -> String {
    let Update { agent_id: agent, version, .. } = update;
    match update.state {
        UpdateState::Waiting => {
            format!("{agent} is offline: the update to {version} starts when it connects")
        }
        UpdateState::Running => match update.kind {
            UpdateKind::Update => format!(
                "{agent} is at it ({}); `kenny update {agent} --to {version} --watch` follows it",
                words::progress(update)
            ),
            UpdateKind::Rollback => format!(
                "{agent} goes back to {version} ({}); `kenny agent show {agent}` shows how it goes",
                words::progress(update)
            ),
        },
        UpdateState::Unknown => format!(
            "{agent} was not heard of for too long ({}); what happened is known when it connects",
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
    use kenny_proto::api::{NextAttempt, UpdateOrigin};
    use kenny_proto::update::Failure;
    use kenny_proto::{FailureKind, Phase, UpdateId};

    use super::super::agents;
    use super::*;
    use crate::output::Palette;

    /// An update of anna-pc from 1.3.0 to 1.4.0, requested at the epoch.
    pub fn update(state: UpdateState) -> Update {
        Update {
            id: UpdateId(uuid::Uuid::nil()),
            agent_id: "anna-pc".parse().unwrap(),
            from_version: Some("1.3.0".to_owned()),
            version: "1.4.0".to_owned(),
            kind: UpdateKind::Update,
            origin: UpdateOrigin::Operator,
            rollout: None,
            attempt: 1,
            sha256: None,
            state,
            phase: Some(Phase::Downloading),
            percent: Some(40),
            failure: None,
            requested_at: Timestamp::UNIX_EPOCH,
            finished_at: None,
            timeline: Vec::new(),
            journal: Vec::new(),
            log: Vec::new(),
        }
    }

    #[test]
    fn updates_are_listed_with_their_reasons() {
        let failed = Update {
            attempt: 2,
            failure: Some(Failure {
                kind: FailureKind::CandidateDied,
                detail: "it ended at once".to_owned(),
            }),
            finished_at: Some(Timestamp::from_second(65).unwrap()),
            ..update(UpdateState::RolledBack)
        };
        let silent = Update {
            kind: UpdateKind::Rollback,
            phase: Some(Phase::Swapping),
            percent: None,
            ..update(UpdateState::Unknown)
        };
        let all = [update(UpdateState::Running), failed, silent];
        let text = table(&all, Timestamp::from_second(120).unwrap());
        assert_eq!(
            text.render(Palette { coloured: false }),
            "REQUESTED  WHAT               FROM   TO     STATE                           TOOK        WHY\n\
             2 min ago  update             1.3.0  1.4.0  downloading 40 %\n\
             2 min ago  update, attempt 2  1.3.0  1.4.0  rolled back                     1 min 05 s  it ended at once\n\
             2 min ago  rollback           1.3.0  1.4.0  unknown, last seen in swapping\n"
        );
    }

    #[test]
    fn only_what_ended_badly_fails_the_command() {
        for state in [
            UpdateState::Waiting,
            UpdateState::Running,
            UpdateState::Online,
            UpdateState::Unknown,
            UpdateState::Succeeded,
        ] {
            assert_eq!(ended_badly(&update(state)), None);
        }
        for state in [UpdateState::RolledBack, UpdateState::Failed, UpdateState::Superseded] {
            let text = ended_badly(&update(state)).unwrap();
            assert!(text.starts_with("the update of anna-pc to 1.4.0 "), "{text}");
        }
    }

    #[test]
    fn what_comes_after_a_failure_is_said() {
        let now = Timestamp::UNIX_EPOCH;
        let failed = update(UpdateState::Failed);
        let agent = agents::tests::agent("anna-pc", Some("1.3.0"));
        assert_eq!(comes_next(&agent, &failed, now), "");
        let waits = Agent {
            online: true,
            next_attempt: Some(NextAttempt {
                version: "1.4.0".to_owned(),
                attempt: 2,
                at: Timestamp::from_second(299).unwrap(),
            }),
            ..agent.clone()
        };
        assert_eq!(
            comes_next(&waits, &failed, now),
            "\nThe server tries again by itself: attempt 2 in 4 min. `kenny agent show anna-pc` shows how it goes; \
             `kenny update anna-pc --cancel` ends it."
        );
        let held = Agent { hold: Some(agents::tests::hold("1.4.0")), ..waits };
        assert_eq!(
            comes_next(&held, &failed, now),
            "\nIt is held now: the server does not send it to anna-pc again until `kenny agent clear-hold anna-pc`."
        );
        let other = Agent { hold: Some(agents::tests::hold("1.2.0")), ..agent };
        assert_eq!(comes_next(&other, &failed, now), "");
    }
}
