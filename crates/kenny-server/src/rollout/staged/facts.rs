//! What a plan is made of: the members as they are written down, and what the fleet knows of their agents now.

use std::collections::HashMap;

use jiff::Timestamp;
use kenny_core::rollout::Last;
use kenny_core::rollout::course::{Course, MemberFacts, Outcome};
use kenny_proto::api::{Release, UpdateKind, UpdateState};
use kenny_proto::rollout::RolloutKind;
use kenny_proto::{Arch, Os};
use semver::Version;

use super::{Head, Member, Staged};
use crate::app::App;
use crate::fleet::AgentState;
use crate::ops::releases::Releases;
use crate::rollout::{UpdateRecord, is_version};

/// What the plan of a rollout is asked with. `newer` are those that were started later. Members whose agents are gone are
/// left out.
pub fn gather(
    app: &App,
    rollout: &Staged,
    newer: &[Staged],
    now: Timestamp,
) -> (Course, Vec<MemberFacts>) {
    let head = &rollout.head;
    let course = Course {
        kind: head.kind,
        version: head.version.clone(),
        allow_downgrade: head.allow_downgrade,
        strategy: head.strategy.clone(),
        seed: head.seed,
        state: head.state,
        stage: head.stage,
        stage_since: head.stage_since,
        listening_since: app.rollouts.listening_since(),
    };
    let mut platforms = Platforms::new(app, head);
    let members = rollout.members.values().filter_map(|member| {
        let entry = app.fleet.get(&member.agent_id)?;
        let is_overtaken = newer.iter().any(|it| it.decides_about(&member.agent_id));
        let state = entry.lock();
        (!state.removed).then(|| facts(head, member, &state, is_overtaken, &mut platforms, now))
    });
    let members = members.collect();
    (course, members)
}

/// The release for each platform: looked for once per platform and not once per agent.
struct Platforms<'a> {
    app: &'a App,
    version: &'a Version,
    known: HashMap<(Os, Option<Arch>), Option<Release>>,
}

impl<'a> Platforms<'a> {
    fn new(app: &'a App, head: &'a Head) -> Self {
        Self { app, version: &head.version, known: HashMap::new() }
    }

    /// Whether there is one that the agent takes. Of an agent that never connected it is not known which it is.
    fn have(&mut self, state: &AgentState) -> bool {
        let Some(facts) = &state.facts else { return true };
        let platform = (facts.os, facts.arch);
        let Self { app, version, known } = self;
        known
            .entry(platform)
            .or_insert_with(|| app.releases.find(version, platform.0, platform.1).ok())
            .as_ref()
            .is_some_and(|release| Releases::is_taken(&app.trust, release, facts.pins_root()))
    }
}

fn facts(
    head: &Head,
    member: &Member,
    state: &AgentState,
    is_overtaken: bool,
    platforms: &mut Platforms<'_>,
    now: Timestamp,
) -> MemberFacts {
    let update = state.update.as_deref().filter(|record| is_of(record, head, member));
    let target = match head.kind {
        RolloutKind::Update => Some(head.version.to_string()),
        RolloutKind::Rollback => member.kept.as_ref().map(ToString::to_string),
    };
    MemberFacts {
        id: member.agent_id.clone(),
        stage: member.stage,
        state: member.state,
        since: member.since,
        begun_at: member.begun_at,
        forgiven: member.forgiven,
        outcome: update.map_or(Outcome::None, outcome),
        wanted: state.desired.as_ref().is_some_and(|desired| desired.rollout == Some(head.id)),
        in_hand: update.is_some_and(|record| record.is_open() && record.sent > 0),
        overtaken: is_overtaken,
        online: state.session.is_some(),
        paused: state.paused(now).is_some(),
        running: Version::parse(state.running()).ok(),
        kept: member.kept.clone(),
        channel: state.settings.channel,
        pinned: state.settings.pinned.as_ref().and_then(|pinned| pinned.parse().ok()),
        held: target.is_some_and(|target| state.hold_of(&target).is_some()),
        release_available: head.kind == RolloutKind::Rollback || platforms.have(state),
        utc_offset_s: state.facts.as_ref().and_then(|facts| facts.utc_offset_s),
    }
}

/// True for what was begun for this member, and not before it was begun last.
fn is_of(record: &UpdateRecord, head: &Head, member: &Member) -> bool {
    let Some(begun_at) = member.begun_at else { return false };
    record.update.rollout == Some(head.id)
        && record.update.finished_at.is_none_or(|finished| finished >= begun_at)
}

/// What an update came to.
fn outcome(record: &UpdateRecord) -> Outcome {
    let update = &record.update;
    let detail = || {
        let failure = update.failure.as_ref().map(|failure| failure.detail.clone());
        failure.unwrap_or_else(|| "the agent gave no reason".to_owned())
    };
    match update.state {
        UpdateState::Waiting
        | UpdateState::Running
        | UpdateState::Online
        | UpdateState::Unknown
        | UpdateState::Superseded => Outcome::None,
        UpdateState::Succeeded => Outcome::Succeeded,
        UpdateState::Failed | UpdateState::RolledBack => {
            let rolled_back = update.state == UpdateState::RolledBack;
            match (update.kind, record.standing().last) {
                (UpdateKind::Update, Last::Excused(_)) => Outcome::Excused { detail: detail() },
                (
                    UpdateKind::Update,
                    Last::Open | Last::Over | Last::Blamed(_) | Last::Quarantined,
                )
                | (UpdateKind::Rollback, _) => Outcome::Blamed { rolled_back, detail: detail() },
            }
        }
    }
}

/// The open update of an agent that does just what the rollout wants of it.
pub fn does_it<'a>(
    state: &'a AgentState,
    kind: UpdateKind,
    version: &Version,
) -> Option<&'a UpdateRecord> {
    let open = state.update.as_deref().filter(|record| record.is_open())?;
    let is_it = open.update.kind == kind && is_version(&open.update.version, &version.to_string());
    is_it.then_some(open)
}
