//! A rollout before it begins: who is in which stage.

use jiff::Timestamp;
use kenny_core::rollout::{selection, stages, strategy};
use kenny_proto::RolloutId;
use kenny_proto::rollout::{NewRollout, RolloutKind, RolloutState};
use semver::Version;

use super::facts::gather;
use super::{Head, Member, Staged, selected};
use crate::app::App;
use crate::ops::{OpsError, RolloutError};

/// What a request would begin. Nothing is written.
pub fn of_request(
    app: &App,
    request: &NewRollout,
    started_by: &str,
    now: Timestamp,
) -> Result<Staged, OpsError> {
    let version = Version::parse(&request.version)
        .map_err(|_| OpsError::BadVersion(request.version.clone()))?;
    selection::check(&request.selection).map_err(RolloutError::Invalid)?;
    let strategy = strategy::of_request(request).map_err(RolloutError::Invalid)?;
    app.releases.all_of(&version)?;
    let agents = selected(app, &request.selection);
    if agents.is_empty() {
        return Err(RolloutError::NobodySelected.into());
    }
    let preset = match &request.strategy {
        Some(_) => None,
        None => Some(request.preset.unwrap_or(kenny_proto::rollout::Preset::Careful)),
    };
    let head = Head {
        id: RolloutId::random(),
        kind: RolloutKind::Update,
        seed: app.rollouts.seed(&version, &request.selection, &strategy),
        version,
        selection: request.selection.clone(),
        preset,
        strategy,
        allow_downgrade: request.allow_downgrade,
        state: RolloutState::Running,
        reason: None,
        stage: 0,
        stage_since: now,
        started_by: started_by.to_owned(),
        started_at: now,
        ended_at: None,
        stages: Vec::new(),
    };
    let members = agents.into_iter().map(|agent| Member::waiting(agent, 0, now));
    Ok(staged(app, head, members, now))
}

/// A rollout of these members, each in its stage.
pub fn staged(
    app: &App,
    head: Head,
    members: impl Iterator<Item = Member>,
    now: Timestamp,
) -> Staged {
    let members = members.map(|member| (member.agent_id.clone(), member)).collect();
    let mut rollout = Staged { head, members, look_again_at: None, looked_at: None };
    let (course, mut facts) = gather(app, &rollout, &[], now);
    stages::cut(&course, &mut facts);
    for placed in facts {
        if let Some(member) = rollout.members.get_mut(&placed.id) {
            member.stage = placed.stage;
        }
    }
    rollout
}
