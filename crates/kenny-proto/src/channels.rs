//! Channels: what publishing a release starts by itself.

use serde::{Deserialize, Serialize};

use crate::rollout::{Channel, Preset};

/// `GET` and `PUT /settings/channels`: how a release that is published into a channel is rolled out by itself, to the agents
/// that take it; not at all where a channel has no preset.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct ChannelPolicies {
    /// Of versions without a pre-release part.
    pub stable: Option<Preset>,
    /// Of those with one.
    pub beta: Option<Preset>,
}

impl ChannelPolicies {
    /// That of one channel.
    pub const fn of(&self, channel: Channel) -> Option<Preset> {
        match channel {
            Channel::Stable => self.stable,
            Channel::Beta => self.beta,
        }
    }
}
