//! Programs that act for an account by its permission (OAuth).

use jiff::Timestamp;

use super::{Action, Operator, OpsError};
use crate::accounts::Account;
use crate::app::App;
use crate::audit::{Facts, Subject};
use crate::oauth::grants;
use crate::oauth::request::Authorization;
use crate::oauth::scope::Scope;
use crate::store::oauth_rows::{self, GrantRow};

/// Those that an account permitted, the newest first.
pub async fn list(app: &App, operator: &Operator) -> Result<Vec<GrantRow>, OpsError> {
    let permit = operator.may(app, Action::ListPrograms, Subject::default())?;
    let Some(account) = app.accounts.get(operator.account_id()) else { return Ok(Vec::new()) };
    let read = move |connection: &rusqlite::Connection| {
        oauth_rows::prune(connection, Timestamp::now())?;
        oauth_rows::grants_of(connection, account.id, account.generation)
    };
    Ok(permit.read(app, read).await?)
}

/// Permits what a program asked for, up to `scope`, which the account itself may; the code for the program.
pub async fn approve(
    app: &App,
    operator: &Operator,
    account: &Account,
    asked: &Authorization,
    name: &str,
    scope: Scope,
) -> Result<String, OpsError> {
    let permit = operator.may(app, Action::ApproveProgram, Subject::named(name))?;
    operator.require(scope.role(kenny_proto::Role::Owner))?;
    let row = permit.row(Facts::from([("scope".to_owned(), scope.list().to_owned())]));
    Ok(grants::approve(app, account, asked, name, scope, row, Timestamp::now()).await?)
}

/// Ends a permission with all its tokens; nothing happens when it is not the account's, or ended already.
pub async fn end(app: &App, operator: &Operator, id: &str) -> Result<(), OpsError> {
    let permit = operator.may(app, Action::EndProgram, Subject::named(id))?;
    let (account, id) = (operator.account_id(), id.to_owned());
    permit
        .change(app, Facts::new(), move |connection| {
            oauth_rows::delete_own_grant(connection, account, &id).map(drop)
        })
        .await?;
    app.proofs_ended.send_replace(());
    Ok(())
}
