//! Calls about agents, their updates and their tools.

use kenny_proto::api::{
    Agent, AgentCreated, AgentDetail, AgentInvited, AgentList, InvitationList, NewAgent,
    NewInvitation, NewUpdate, ToolCall, ToolList, ToolOutcome, Update, UpdateList, UpdateRequested,
};
use kenny_proto::rollout::AgentChange;
use kenny_proto::{AgentId, UpdateId};
use reqwest::Method;

use super::Client;
use crate::error::CliError;

impl Client {
    /// `GET /agents`.
    pub async fn agents(&self) -> Result<AgentList, CliError> {
        self.quick(Method::GET, &["agents"], None::<&()>).await
    }

    /// `GET /agents/{id}`.
    pub async fn agent(&self, id: &AgentId) -> Result<AgentDetail, CliError> {
        self.quick(Method::GET, &["agents", id.as_str()], None::<&()>).await
    }

    /// `PATCH /agents/{id}`.
    pub async fn change_agent(
        &self,
        id: &AgentId,
        change: &AgentChange,
    ) -> Result<Agent, CliError> {
        self.quick(Method::PATCH, &["agents", id.as_str()], Some(change)).await
    }

    /// `POST /agents`: one with a token.
    pub async fn add_legacy_agent(&self, id: AgentId) -> Result<AgentCreated, CliError> {
        self.quick(Method::POST, &["agents"], Some(&NewAgent { id, legacy: true })).await
    }

    /// `POST /agents/{id}/invite`.
    pub async fn invite(
        &self,
        id: &AgentId,
        wanted: &NewInvitation,
    ) -> Result<AgentInvited, CliError> {
        self.quick(Method::POST, &["agents", id.as_str(), "invite"], Some(wanted)).await
    }

    /// `DELETE /agents/{id}/invite`.
    pub async fn withdraw_invitation(&self, id: &AgentId) -> Result<(), CliError> {
        self.delete(&["agents", id.as_str(), "invite"]).await
    }

    /// `GET /invitations`.
    pub async fn invitations(&self) -> Result<InvitationList, CliError> {
        self.quick(Method::GET, &["invitations"], None::<&()>).await
    }

    /// `DELETE /agents/{id}`.
    pub async fn remove_agent(&self, id: &AgentId) -> Result<(), CliError> {
        self.delete(&["agents", id.as_str()]).await
    }

    /// `GET /agents/{id}/updates`.
    pub async fn updates(&self, agent: &AgentId) -> Result<UpdateList, CliError> {
        self.quick(Method::GET, &["agents", agent.as_str(), "updates"], None::<&()>).await
    }

    /// `POST /agents/{id}/updates`.
    pub async fn request_update(
        &self,
        agent: &AgentId,
        update: &NewUpdate,
    ) -> Result<UpdateRequested, CliError> {
        self.quick(Method::POST, &["agents", agent.as_str(), "updates"], Some(update)).await
    }

    /// `DELETE /agents/{id}/desired`.
    pub async fn clear_desired(&self, agent: &AgentId) -> Result<(), CliError> {
        self.delete(&["agents", agent.as_str(), "desired"]).await
    }

    /// `DELETE /agents/{id}/hold`.
    pub async fn clear_hold(&self, agent: &AgentId) -> Result<(), CliError> {
        self.delete(&["agents", agent.as_str(), "hold"]).await
    }

    /// `POST /agents/{id}/rollback`.
    pub async fn request_rollback(&self, agent: &AgentId) -> Result<Update, CliError> {
        self.quick(Method::POST, &["agents", agent.as_str(), "rollback"], None::<&()>).await
    }

    /// `GET /updates/{id}`.
    pub async fn update(&self, id: UpdateId) -> Result<Update, CliError> {
        self.quick(Method::GET, &["updates", &id.to_string()], None::<&()>).await
    }

    /// `GET /tools`.
    pub async fn tools(&self) -> Result<ToolList, CliError> {
        self.quick(Method::GET, &["tools"], None::<&()>).await
    }

    /// `POST /agents/{id}/tools/{tool}`. How long that may take is the server's to decide.
    pub async fn call(
        &self,
        agent: &AgentId,
        tool: &str,
        call: &ToolCall,
    ) -> Result<ToolOutcome, CliError> {
        let path = ["agents", agent.as_str(), "tools", tool];
        let request = self.request(Method::POST, &path)?.json(call);
        self.read(self.send(request).await?).await
    }
}
