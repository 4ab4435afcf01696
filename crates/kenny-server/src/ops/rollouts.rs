//! Rollouts: what many agents should run, and how carefully; and what publishing a release begins by itself.

use std::sync::Arc;

use jiff::Timestamp;
use kenny_core::rollout::strategy;
use kenny_proto::RolloutId;
use kenny_proto::channels::ChannelPolicies;
use kenny_proto::rollout::{
    MemberState, NewRollout, Preset, Resume, Rollout, RolloutDetail, RolloutKind, RolloutList,
    RolloutPlan, RolloutState, Selection,
};

use super::{Action, Operator, OpsError, Permit, RolloutError};
use crate::app::App;
use crate::audit::{Facts, Subject, cut};
use crate::events::kind;
use crate::rollout::staged::{Head, Member, Staged, draft, view};
use crate::store::rows::to_json;
use crate::store::{rollout_rows, update_rows};

/// How many rollouts are listed.
const LISTED: u32 = 200;

/// What a rollout would do. Nothing is begun.
pub fn plan(app: &App, operator: &Operator, wanted: &NewRollout) -> Result<RolloutPlan, OpsError> {
    operator.may(app, Action::PlanRollout, Subject::named(&wanted.version))?;
    let now = Timestamp::now();
    let rollout = draft::of_request(app, wanted, operator.account(), now)?;
    Ok(view::plan_of(app, &rollout, now))
}

/// Begins a rollout.
pub async fn start(
    app: &Arc<App>,
    operator: &Operator,
    wanted: &NewRollout,
) -> Result<Rollout, OpsError> {
    let permit = operator.may(app, Action::StartRollout, Subject::named(&wanted.version))?;
    permit.carry_out(app, begin(app, &permit, wanted)).await
}

async fn begin(
    app: &Arc<App>,
    permit: &Permit<'_>,
    wanted: &NewRollout,
) -> Result<Rollout, OpsError> {
    let _turn = app.rollouts.turn().await;
    let now = Timestamp::now();
    let rollout = draft::of_request(app, wanted, permit.account(), now)?;
    let mut facts = Facts::from([
        ("rollout".to_owned(), rollout.head.id.to_string()),
        ("selection".to_owned(), cut(&to_json(&wanted.selection))),
        ("agents".to_owned(), rollout.members.len().to_string()),
    ]);
    if wanted.allow_downgrade {
        facts.insert("allow_downgrade".to_owned(), "true".to_owned());
    }
    let written = rollout.clone();
    permit.change(app, facts, move |connection| rollout_rows::insert(connection, &written)).await?;
    Ok(begun(app, rollout, permit.account(), now))
}

/// Puts in place what the database has by now, and tells it.
fn begun(app: &App, rollout: Staged, account: &str, now: Timestamp) -> Rollout {
    let id = rollout.head.id;
    let count = rollout.members.len();
    let summary = format!("{} to {count} PCs was started by {account}", rollout.head.words());
    let shown = view::ended(&rollout.head);
    tracing::info!(rollout.id = %id, "{summary}");
    app.rollouts.put(rollout);
    app.events.rollout(kind::ROLLOUT_STARTED, id, None, summary);
    view::unfinished(app, id, now).map_or(shown, |detail| detail.rollout)
}

/// The last rollouts, newest first.
pub async fn list(app: &App, operator: &Operator) -> Result<RolloutList, OpsError> {
    let permit = operator.may(app, Action::ListRollouts, Subject::default())?;
    let heads = permit.read(app, |connection| rollout_rows::list(connection, LISTED)).await?;
    let unfinished = view::all_unfinished(app, Timestamp::now());
    let shown = |head: &Head| {
        let now = unfinished.iter().find(|rollout| rollout.id == head.id);
        now.cloned().unwrap_or_else(|| view::ended(head))
    };
    Ok(RolloutList { rollouts: heads.iter().map(shown).collect() })
}

/// One rollout with its members.
pub async fn get(app: &App, operator: &Operator, id: &str) -> Result<RolloutDetail, OpsError> {
    let permit = operator.may(app, Action::ShowRollout, Subject::named(id))?;
    let unknown = || RolloutError::Unknown(id.to_owned());
    let rollout_id: RolloutId = id.parse().map_err(|_| unknown())?;
    let now = Timestamp::now();
    if let Some(detail) = view::unfinished(app, rollout_id, now) {
        return Ok(detail);
    }
    let rollout = read(app, &permit, rollout_id).await?.ok_or_else(unknown)?;
    Ok(view::ended_detail(app, &rollout, now))
}

/// Has it begin nothing for now. What an agent has in hand goes on to its end.
pub async fn pause(app: &Arc<App>, operator: &Operator, id: &str) -> Result<Rollout, OpsError> {
    let permit = operator.may(app, Action::PauseRollout, Subject::named(id))?;
    let reason = format!("{} paused it", permit.account());
    let change = |rollout: &mut Staged| match rollout.head.state {
        RolloutState::Running | RolloutState::Paused => {
            rollout.head.state = RolloutState::Paused;
            rollout.head.reason = Some(reason.clone());
            Ok(Vec::new())
        }
        RolloutState::Halted => Err(RolloutError::Halted {
            what: rollout.head.words(),
            reason: rollout.head.reason.clone().unwrap_or_default(),
        }),
        RolloutState::Completed | RolloutState::Cancelled => Err(over(&rollout.head)),
    };
    let altering = alter(app, &permit, id, kind::ROLLOUT_PAUSED, "was paused", change);
    permit.carry_out(app, altering).await
}

/// Has it go on. Failures so far are forgiven; with `retry_failed` those members get another try.
pub async fn resume(
    app: &Arc<App>,
    operator: &Operator,
    id: &str,
    how: Resume,
) -> Result<Rollout, OpsError> {
    let permit = operator.may(app, Action::ResumeRollout, Subject::named(id))?;
    let now = Timestamp::now();
    let change = |rollout: &mut Staged| {
        if !rollout.head.state.is_open() {
            return Err(over(&rollout.head));
        }
        (rollout.head.state, rollout.head.reason) = (RolloutState::Running, None);
        let mut changed = Vec::new();
        for member in rollout.members.values_mut().filter(|member| member.state.is_bad()) {
            if how.retry_failed {
                (member.state, member.since) = (MemberState::Waiting, now);
                (member.forgiven, member.insisted, member.detail) = (false, true, None);
            } else {
                member.forgiven = true;
            }
            changed.push(member.clone());
        }
        Ok(changed)
    };
    let words = if how.retry_failed { "was resumed, failed PCs too" } else { "was resumed" };
    let altering = alter(app, &permit, id, kind::ROLLOUT_RESUMED, words, change);
    permit.carry_out(app, altering).await
}

/// Ends it. What an agent has in hand goes on to its end.
pub async fn cancel(app: &Arc<App>, operator: &Operator, id: &str) -> Result<Rollout, OpsError> {
    let permit = operator.may(app, Action::CancelRollout, Subject::named(id))?;
    let reason = format!("{} cancelled it", permit.account());
    let now = Timestamp::now();
    let change = |rollout: &mut Staged| {
        if !rollout.head.state.is_open() {
            return Err(over(&rollout.head));
        }
        cancelled(&mut rollout.head, &reason, now);
        Ok(Vec::new())
    };
    let altering = alter(app, &permit, id, kind::ROLLOUT_CANCELLED, "was cancelled", change);
    permit.carry_out(app, altering).await
}

fn cancelled(head: &mut Head, reason: &str, now: Timestamp) {
    (head.state, head.reason) = (RolloutState::Cancelled, Some(reason.to_owned()));
    head.ended_at = Some(now);
}

fn over(head: &Head) -> RolloutError {
    let state = match head.state {
        RolloutState::Completed => "it was completed",
        RolloutState::Cancelled => "it was cancelled",
        RolloutState::Running | RolloutState::Paused | RolloutState::Halted => "it is not",
    };
    RolloutError::Over { what: head.words(), state }
}

/// Changes an open rollout; `change` gives the members that it changed.
async fn alter(
    app: &Arc<App>,
    permit: &Permit<'_>,
    id: &str,
    kind: &'static str,
    words: &str,
    change: impl Fn(&mut Staged) -> Result<Vec<Member>, RolloutError>,
) -> Result<Rollout, OpsError> {
    let unknown = || RolloutError::Unknown(id.to_owned());
    let rollout_id: RolloutId = id.parse().map_err(|_| unknown())?;
    let _turn = app.rollouts.turn().await;
    let Some(mut rollout) = app.rollouts.get(rollout_id) else {
        let ended = read(app, permit, rollout_id).await?.ok_or_else(unknown)?;
        return Err(over(&ended.head).into());
    };
    let members = change(&mut rollout)?;
    let head = rollout.head.clone();
    let facts = Facts::from([("version".to_owned(), head.version.to_string())]);
    permit
        .change(app, facts, move |connection| {
            for member in &members {
                rollout_rows::save_member(connection, rollout_id, member)?;
            }
            rollout_rows::save(connection, &head)
        })
        .await?;
    // An operator's word about one agent may have come in between: only what this is about is changed.
    app.rollouts.alter(rollout_id, |there| {
        let changed = change(there);
        debug_assert!(changed.is_ok(), "the turn is held");
    });
    let summary = format!("{} {words} by {}", rollout.head.words(), permit.account());
    tracing::info!(rollout.id = %rollout_id, "{summary}");
    app.events.rollout(kind, rollout_id, None, summary);
    let shown = view::unfinished(app, rollout_id, Timestamp::now());
    Ok(shown.map_or_else(|| view::ended(&rollout.head), |detail| detail.rollout))
}

/// Has those go back that a rollout brought to its version, each to the version that it kept: a rollout of its own. The
/// first is cancelled where it is not over.
pub async fn roll_back(app: &Arc<App>, operator: &Operator, id: &str) -> Result<Rollout, OpsError> {
    let permit = operator.may(app, Action::RollBackRollout, Subject::named(id))?;
    permit.carry_out(app, go_back(app, &permit, id)).await
}

async fn go_back(app: &Arc<App>, permit: &Permit<'_>, id: &str) -> Result<Rollout, OpsError> {
    let unknown = || RolloutError::Unknown(id.to_owned());
    let first_id: RolloutId = id.parse().map_err(|_| unknown())?;
    let _turn = app.rollouts.turn().await;
    let first = match app.rollouts.get(first_id) {
        Some(first) => first,
        None => read(app, permit, first_id).await?.ok_or_else(unknown)?,
    };
    if first.head.kind == RolloutKind::Rollback {
        return Err(RolloutError::IsRollback(first.head.words()).into());
    }
    let now = Timestamp::now();
    let succeeded = first.members.values().filter(|it| it.state == MemberState::Succeeded);
    let agents: Vec<_> = succeeded.map(|member| member.agent_id.clone()).collect();
    if agents.is_empty() {
        return Err(RolloutError::NothingToRollBack(first.head.words()).into());
    }
    let members = permit
        .read(app, move |connection| {
            let members = agents.into_iter().map(|agent| {
                let kept = update_rows::left_in_rollout(connection, &agent, first_id)?;
                Ok(Member { kept, ..Member::waiting(agent, 0, now) })
            });
            members.collect::<rusqlite::Result<Vec<Member>>>()
        })
        .await?;
    let strategy = strategy::of_preset(Preset::Now);
    let agents = members.iter().map(|member| member.agent_id.clone()).collect();
    let selection = Selection { agents, ..Selection::default() };
    let head = Head {
        id: RolloutId::random(),
        kind: RolloutKind::Rollback,
        version: first.head.version.clone(),
        seed: app.rollouts.seed(&first.head.version, &selection, &strategy),
        selection,
        preset: Some(Preset::Now),
        strategy,
        allow_downgrade: true,
        state: RolloutState::Running,
        reason: None,
        stage: 0,
        stage_since: now,
        started_by: permit.account().to_owned(),
        started_at: now,
        ended_at: None,
        stages: Vec::new(),
    };
    let rollout = draft::staged(app, head, members.into_iter(), now);
    let ends = first.head.state.is_open().then(|| {
        let mut head = first.head.clone();
        cancelled(&mut head, &format!("{} had it rolled back", permit.account()), now);
        head
    });
    let (written, ended) = (rollout.clone(), ends.clone());
    let facts = Facts::from([
        ("rollout".to_owned(), rollout.head.id.to_string()),
        ("version".to_owned(), first.head.version.to_string()),
        ("agents".to_owned(), rollout.members.len().to_string()),
    ]);
    permit
        .change(app, facts, move |connection| {
            if let Some(ended) = &ended {
                rollout_rows::save(connection, ended)?;
            }
            rollout_rows::insert(connection, &written)
        })
        .await?;
    if let Some(ended) = ends {
        let summary = format!("{} was cancelled: it is rolled back", ended.words());
        app.rollouts.alter(first_id, |there| there.head = ended);
        app.events.rollout(kind::ROLLOUT_CANCELLED, first_id, None, summary);
    }
    Ok(begun(app, rollout, permit.account(), now))
}

async fn read(app: &App, permit: &Permit<'_>, id: RolloutId) -> Result<Option<Staged>, OpsError> {
    Ok(permit.read(app, move |connection| rollout_rows::get(connection, id)).await?)
}

/// What publishing a release begins by itself.
pub fn channels(app: &App, operator: &Operator) -> Result<ChannelPolicies, OpsError> {
    operator.may(app, Action::ShowChannels, Subject::default())?;
    Ok(app.rollouts.policies().view())
}

/// Says what publishing a release begins by itself. What was published before is not rolled out by it.
pub async fn set_channels(
    app: &Arc<App>,
    operator: &Operator,
    wanted: ChannelPolicies,
) -> Result<ChannelPolicies, OpsError> {
    let permit = operator.may(app, Action::ChangeChannels, Subject::default())?;
    let change = async {
        let _turn = app.rollouts.turn().await;
        let policies = app.rollouts.policies().following(wanted, Timestamp::now());
        let facts = Facts::from([("policies".to_owned(), to_json(&wanted))]);
        permit.change(app, facts, move |connection| policies.write(connection)).await?;
        app.rollouts.set_policies(policies);
        let summary = format!("{} changed what publishing a release begins", permit.account());
        app.events.publish(kind::CHANNELS_CHANGED, None, summary);
        Ok(policies.view())
    };
    permit.carry_out(app, change).await
}
