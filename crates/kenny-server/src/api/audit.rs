//! `/audit`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use kenny_proto::api::Problem;
use kenny_proto::audit::AuditPage;
use serde::Deserialize;

use super::extract::ApiQuery;
use super::problem::ApiProblem;
use crate::app::App;
use crate::audit::Filter;
use crate::ops::{self, Operator};

/// Which rows.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// Only rows about this agent.
    agent: Option<String>,
    /// Only rows of this account.
    account: Option<String>,
    /// Only rows of this action, such as `agent.create`; `agent.` names all that begin with it.
    action: Option<String>,
    /// Only rows from this time on.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// Only rows up to this time.
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
    /// Only rows before this sequence number, newest first: the next page.
    before: Option<u64>,
    /// Only rows after this sequence number, oldest first: the whole log in order, from 0.
    after: Option<u64>,
    /// Rows of a page; 100 when absent, 1000 at most.
    limit: Option<u32>,
}

/// Reads the audit log
///
/// Every change and every call that was forwarded to an agent, append-only and chained by hashes. Needs the role `owner`.
#[utoipa::path(
    get,
    path = "/audit",
    operation_id = "read_audit",
    tag = "audit",
    params(Wanted),
    responses(
        (status = OK, body = AuditPage),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
        (status = FORBIDDEN, description = "`forbidden`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn read(
    State(app): State<Arc<App>>,
    operator: Operator,
    ApiQuery(wanted): ApiQuery<Wanted>,
) -> Result<Json<AuditPage>, ApiProblem> {
    let filter = Filter {
        agent: wanted.agent,
        account: wanted.account,
        action: wanted.action,
        since: wanted.since,
        until: wanted.until,
        before: wanted.before,
        after: wanted.after,
        limit: wanted.limit,
    };
    Ok(Json(ops::audit::read(&app, &operator, filter).await?))
}
