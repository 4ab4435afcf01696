//! Reading the audit log.

use kenny_proto::audit::AuditPage;

use super::{Action, Operator, OpsError};
use crate::app::App;
use crate::audit::{Filter, Subject, page};

/// A page of the log.
pub async fn read(app: &App, operator: &Operator, filter: Filter) -> Result<AuditPage, OpsError> {
    let permit = operator.may(app, Action::ReadAudit, Subject::default())?;
    Ok(permit.read(app, move |connection| page(connection, &filter)).await?)
}
