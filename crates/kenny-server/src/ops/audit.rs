//! Reading the audit log.

use kenny_proto::audit::AuditPage;

use super::{Action, Operator, OpsError};
use crate::app::App;
use crate::audit::{Filter, Subject, page};

/// A page of the log.
pub async fn read(app: &App, operator: &Operator, filter: Filter) -> Result<AuditPage, OpsError> {
    operator.may(app, Action::ReadAudit, Subject::default())?;
    Ok(app.store.run(move |connection| page(connection, &filter)).await?)
}
