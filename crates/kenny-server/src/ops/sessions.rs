//! An account's own signed-in browsers.

use jiff::Timestamp;

use super::{Action, Operator, OpsError};
use crate::app::App;
use crate::audit::{Facts, Subject};
use crate::store::session_rows::{self, SessionRow};
use crate::web::session::has_ended;

/// Those that may still be used, the one that was used last first.
pub async fn list(app: &App, operator: &Operator) -> Result<Vec<SessionRow>, OpsError> {
    let permit = operator.may(app, Action::ListSessions, Subject::default())?;
    let (id, now) = (operator.account_id(), Timestamp::now());
    let mut sessions =
        permit.read(app, move |connection| session_rows::sessions_of(connection, id)).await?;
    let account = app.accounts.get(id);
    sessions.retain(|session| {
        !has_ended(session, now)
            && account.as_ref().is_some_and(|account| account.stands_since(session.generation))
    });
    Ok(sessions)
}

/// Ends one of them; nothing happens when it is not the account's, or ended already.
pub async fn end(app: &App, operator: &Operator, id: &str) -> Result<(), OpsError> {
    let permit = operator.may(app, Action::EndSession, Subject::named(id))?;
    let (account, id) = (operator.account_id(), id.to_owned());
    permit
        .change(app, Facts::new(), move |connection| {
            session_rows::delete_session(connection, account, &id).map(drop)
        })
        .await?;
    app.proofs_ended.send_replace(());
    Ok(())
}
