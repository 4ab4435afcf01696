//! Channels: a release that is published is rolled out by itself where the operator said so.
//!
//! Whether that happened already is read from the rollouts that there are: a server that was killed after a release was
//! published begins when it is back, and never twice.

use std::sync::Arc;

use jiff::Timestamp;
use kenny_core::rollout::selection::channel_of;
use kenny_proto::audit::AuditOutcome;
use kenny_proto::channels::ChannelPolicies;
use kenny_proto::rollout::{Channel, NewRollout, Preset, Selection};
use rusqlite::Connection;
use semver::Version;
use serde::{Deserialize, Serialize};

use super::draft;
use crate::app::App;
use crate::audit::{Entry, Facts, Subject, Who, append};
use crate::events::kind;
use crate::ops::{Action, OpsError};
use crate::rollout::Reconciling;
use crate::store::rollout_rows;
use crate::store::rows::{set_setting, setting, to_json};

const SETTING: &str = "channel_policies";

/// What is switched on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policies {
    stable: Option<Policy>,
    beta: Option<Policy>,
}

/// Of one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Policy {
    preset: Preset,
    /// What was published before is nobody's wish.
    since: Timestamp,
}

impl Policies {
    /// What the database has.
    pub fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let kept = setting(connection, SETTING)?;
        Ok(kept.and_then(|kept| serde_json::from_str(&kept).ok()).unwrap_or_default())
    }

    /// Writes it.
    pub fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        set_setting(connection, SETTING, &to_json(self))
    }

    /// As operators see it.
    pub fn view(&self) -> ChannelPolicies {
        let preset = |policy: Option<Policy>| policy.map(|policy| policy.preset);
        ChannelPolicies { stable: preset(self.stable), beta: preset(self.beta) }
    }

    /// These, switched on now where they were not before.
    #[must_use]
    pub fn following(&self, wanted: ChannelPolicies, now: Timestamp) -> Self {
        let follow = |before: Option<Policy>, preset: Option<Preset>| {
            let since = before.map_or(now, |before| before.since);
            preset.map(|preset| Policy { preset, since })
        };
        Self { stable: follow(self.stable, wanted.stable), beta: follow(self.beta, wanted.beta) }
    }

    const fn of(&self, channel: Channel) -> Option<Policy> {
        match channel {
            Channel::Stable => self.stable,
            Channel::Beta => self.beta,
        }
    }
}

/// Begins what the policies want and that did not begin yet.
pub async fn look(app: &Arc<App>, now: Timestamp) {
    for channel in [Channel::Stable, Channel::Beta] {
        let Some(policy) = app.rollouts.policies().of(channel) else { continue };
        let Some((version, added_at)) = newest(app, channel) else { continue };
        let is_news = added_at > policy.since
            && !app.rollouts.is_open_to(&version)
            && !app.rollouts.is_handled(channel, &version, added_at);
        if !is_news {
            continue;
        }
        match begin(app, channel, policy.preset, (&version, added_at), now).await {
            Ok(()) => app.rollouts.handled(channel, version, added_at),
            Err(error) => {
                tracing::warn!(%version, %error, "a published release is not rolled out by itself yet");
            }
        }
    }
}

/// The newest version of a channel, and when its newest artifact was added.
fn newest(app: &App, channel: Channel) -> Option<(Version, Timestamp)> {
    let releases = app.releases.list();
    let versions = releases.iter().filter_map(|release| {
        let version = Version::parse(&release.version).ok()?;
        // One that waits for its signature is published when it has it.
        let is_published = release.withdrawn_at.is_none()
            && (!app.trust.is_signed() || app.trust.names(release.sha256));
        (is_published && channel_of(&version) == channel).then_some((version, release.added_at))
    });
    versions.max()
}

/// Begins a rollout unless there was one of all that the release has by now.
async fn begin(
    app: &Arc<App>,
    channel: Channel,
    preset: Preset,
    (version, added_at): (&Version, Timestamp),
    now: Timestamp,
) -> Result<(), OpsError> {
    let wanted = version.clone();
    let before = app
        .store
        .by(&Reconciling)
        .run(move |connection| rollout_rows::newest_of(connection, &wanted))
        .await?;
    if before.is_some_and(|started| started >= added_at) {
        return Ok(());
    }
    let selection = match channel {
        Channel::Stable => Selection { everyone: true, ..Selection::default() },
        Channel::Beta => Selection { channels: [Channel::Beta].into(), ..Selection::default() },
    };
    let request = NewRollout {
        version: version.to_string(),
        selection,
        preset: Some(preset),
        strategy: None,
        allow_downgrade: false,
    };
    let started_by = match channel {
        Channel::Stable => "channel stable",
        Channel::Beta => "channel beta",
    };
    let _turn = app.rollouts.turn().await;
    let rollout = match draft::of_request(app, &request, started_by, now) {
        Ok(rollout) => rollout,
        Err(OpsError::Rollout(error)) => {
            tracing::info!(%version, %error, "a published release is for nobody");
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let id = rollout.head.id;
    let who = Who { account: None, role: None, face: "rollout", from: None };
    let facts = Facts::from([
        ("rollout".to_owned(), id.to_string()),
        ("started_by".to_owned(), started_by.to_owned()),
    ]);
    let row = Entry::now(
        who,
        Action::StartRollout.name(),
        Subject::named(&request.version),
        AuditOutcome::Done,
    )
    .with(facts);
    let written = rollout.clone();
    app.store
        .by(&Reconciling)
        .run(move |connection| {
            rollout_rows::insert(connection, &written)?;
            append(connection, &row).map(drop)
        })
        .await?;
    let summary = format!("{} was started by {started_by}", rollout.head.words());
    tracing::info!(rollout.id = %id, "{summary}");
    app.rollouts.put(rollout);
    app.events.rollout(kind::ROLLOUT_STARTED, id, None, summary);
    Ok(())
}
