//! How rollouts are shown: what is written down, with the plan of this moment.

use jiff::Timestamp;
use kenny_core::rollout::plan::plan;
use kenny_proto::RolloutId;
use kenny_proto::rollout::{Member as MemberView, Rollout, RolloutDetail, RolloutPlan};

use super::facts::gather;
use super::{Head, Staged};
use crate::app::App;

/// A rollout that is not over, as it stands now.
pub fn unfinished(app: &App, id: RolloutId, now: Timestamp) -> Option<RolloutDetail> {
    let unfinished = app.rollouts.lock();
    let index = unfinished.iter().position(|it| it.head.id == id)?;
    let (older, newer) = unfinished.split_at(index + 1);
    Some(detail(app, &older[index], newer, now))
}

/// Every rollout that is not over, without its members.
pub fn all_unfinished(app: &App, now: Timestamp) -> Vec<Rollout> {
    let unfinished = app.rollouts.lock();
    let shown = unfinished.iter().zip(1..).map(|(rollout, next)| {
        let (course, members) = gather(app, rollout, &unfinished[next..], now);
        let plan = plan(&course, &members, now);
        Rollout { stages: plan.stages, ..ended(&rollout.head) }
    });
    shown.collect()
}

/// One that is over: what it came to is written down.
pub fn ended(head: &Head) -> Rollout {
    let head = head.clone();
    Rollout {
        id: head.id,
        kind: head.kind,
        version: head.version.to_string(),
        selection: head.selection,
        preset: head.preset,
        strategy: head.strategy,
        allow_downgrade: head.allow_downgrade,
        state: head.state,
        reason: head.reason,
        stage: head.stage,
        stage_since: head.stage_since,
        started_by: head.started_by,
        started_at: head.started_at,
        ended_at: head.ended_at,
        stages: head.stages,
    }
}

/// One that is over, with its members.
pub fn ended_detail(app: &App, rollout: &Staged, now: Timestamp) -> RolloutDetail {
    let shown = detail(app, rollout, &[], now);
    RolloutDetail { rollout: ended(&rollout.head), ..shown }
}

/// What would happen if it began now.
pub fn plan_of(app: &App, rollout: &Staged, now: Timestamp) -> RolloutPlan {
    let RolloutDetail { rollout, members } = detail(app, rollout, &[], now);
    let members = members.into_iter().map(|member| MemberView { since: None, ..member });
    RolloutPlan { strategy: rollout.strategy, stages: rollout.stages, members: members.collect() }
}

fn detail(app: &App, rollout: &Staged, newer: &[Staged], now: Timestamp) -> RolloutDetail {
    let (course, members) = gather(app, rollout, newer, now);
    let plan = plan(&course, &members, now);
    let members = plan.entries.into_iter().map(|entry| {
        let member = rollout.members.get(entry.agent);
        let version = app.fleet.get(entry.agent).and_then(|agent| {
            let state = agent.lock();
            state.facts.as_ref().map(|facts| facts.version.clone())
        });
        MemberView {
            agent_id: entry.agent.clone(),
            stage: entry.stage,
            state: entry.state,
            when: entry.when,
            since: member.map(|member| member.since),
            version,
            detail: member.and_then(|member| member.detail.clone()),
        }
    });
    RolloutDetail {
        members: members.collect(),
        rollout: Rollout { stages: plan.stages, ..ended(&rollout.head) },
    }
}
