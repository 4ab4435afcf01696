//! The part of the REST API that is about rollouts.

use kenny_proto::RolloutId;
use kenny_proto::channels::ChannelPolicies;
use kenny_proto::rollout::{NewRollout, Resume, Rollout, RolloutDetail, RolloutList, RolloutPlan};
use reqwest::Method;

use crate::client::Client;
use crate::error::CliError;

impl Client {
    /// `GET /rollouts`.
    pub async fn rollouts(&self) -> Result<RolloutList, CliError> {
        self.quick(Method::GET, &["rollouts"], None::<&()>).await
    }

    /// `GET /rollouts/{id}`.
    pub async fn rollout(&self, id: RolloutId) -> Result<RolloutDetail, CliError> {
        self.quick(Method::GET, &["rollouts", &id.to_string()], None::<&()>).await
    }

    /// One rollout without its members, which may be thousands.
    pub async fn rollout_summary(&self, id: RolloutId) -> Result<Rollout, CliError> {
        let listed = self.rollouts().await?.rollouts.into_iter().find(|rollout| rollout.id == id);
        match listed {
            Some(rollout) => Ok(rollout),
            None => Ok(self.rollout(id).await?.rollout),
        }
    }

    /// `POST /rollouts/plan`.
    pub async fn plan_rollout(&self, wanted: &NewRollout) -> Result<RolloutPlan, CliError> {
        self.quick(Method::POST, &["rollouts", "plan"], Some(wanted)).await
    }

    /// `POST /rollouts`.
    pub async fn start_rollout(&self, wanted: &NewRollout) -> Result<Rollout, CliError> {
        self.quick(Method::POST, &["rollouts"], Some(wanted)).await
    }

    /// `POST /rollouts/{id}/pause`.
    pub async fn pause_rollout(&self, id: RolloutId) -> Result<Rollout, CliError> {
        self.of_rollout(id, "pause", None::<&()>).await
    }

    /// `POST /rollouts/{id}/resume`.
    pub async fn resume_rollout(&self, id: RolloutId, how: Resume) -> Result<Rollout, CliError> {
        self.of_rollout(id, "resume", Some(&how)).await
    }

    /// `POST /rollouts/{id}/cancel`.
    pub async fn cancel_rollout(&self, id: RolloutId) -> Result<Rollout, CliError> {
        self.of_rollout(id, "cancel", None::<&()>).await
    }

    /// `POST /rollouts/{id}/roll-back`.
    pub async fn roll_back_rollout(&self, id: RolloutId) -> Result<Rollout, CliError> {
        self.of_rollout(id, "roll-back", None::<&()>).await
    }

    /// `GET /settings/channels`.
    pub async fn channels(&self) -> Result<ChannelPolicies, CliError> {
        self.quick(Method::GET, &["settings", "channels"], None::<&()>).await
    }

    /// `PUT /settings/channels`.
    pub async fn set_channels(
        &self,
        wanted: &ChannelPolicies,
    ) -> Result<ChannelPolicies, CliError> {
        self.quick(Method::PUT, &["settings", "channels"], Some(wanted)).await
    }

    async fn of_rollout(
        &self,
        id: RolloutId,
        what: &str,
        body: Option<&impl serde::Serialize>,
    ) -> Result<Rollout, CliError> {
        self.quick(Method::POST, &["rollouts", &id.to_string(), what], body).await
    }
}
