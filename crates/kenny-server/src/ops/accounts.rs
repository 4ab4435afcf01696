//! Accounts: who may act on this server. For owners.

use std::sync::Arc;

use jiff::Timestamp;
use kenny_proto::accounts::{
    Account as AccountView, AccountChange, AccountList, AccountPassword, NewAccount,
};
use kenny_proto::{Role, Secret};
use rusqlite::{Connection, ErrorCode};

use super::{Action, Operator, OpsError, Permit};
use crate::accounts::{Account, AccountId, Busy, new_password};
use crate::app::App;
use crate::audit::{Facts, Subject};
use crate::store::{StoreError, account_rows};

/// Every account, by name.
pub fn list(app: &App, operator: &Operator) -> Result<AccountList, OpsError> {
    operator.may(app, Action::ListAccounts, Subject::default())?;
    let accounts = app.accounts.all().iter().map(|account| view(app, account)).collect();
    Ok(AccountList { accounts })
}

/// One account.
pub fn show(app: &App, operator: &Operator, name: &str) -> Result<AccountView, OpsError> {
    operator.may(app, Action::ShowAccount, Subject::named(name))?;
    Ok(view(app, &*find(app, name)?))
}

/// Makes an account with a random password.
pub async fn create(
    app: &App,
    operator: &Operator,
    wanted: NewAccount,
) -> Result<AccountPassword, OpsError> {
    let permit = operator.may(app, Action::CreateAccount, Subject::named(wanted.name.as_str()))?;
    permit.carry_out(app, make(app, &permit, wanted)).await
}

async fn make(
    app: &App,
    permit: &Permit<'_>,
    wanted: NewAccount,
) -> Result<AccountPassword, OpsError> {
    let (password, hash) = random_password(app).await?;
    let NewAccount { name, role } = wanted;
    let (taken, now) = (name.to_string(), Timestamp::now());
    let facts = Facts::from([("role".to_owned(), role.to_string())]);
    let made = permit
        .change_accounts(app, facts, move |connection| {
            let id = account_rows::insert_account(connection, &name, role, now)?;
            account_rows::set_password(connection, id, &hash)?;
            Ok(Ok::<_, OpsError>(id))
        })
        .await;
    let id = match made {
        Ok(id) => id?,
        Err(StoreError::Database(rusqlite::Error::SqliteFailure(error, _)))
            if error.code == ErrorCode::ConstraintViolation =>
        {
            return Err(OpsError::AccountExists(taken));
        }
        Err(error) => return Err(error.into()),
    };
    tracing::info!(account = taken, %role, by = permit.account(), "account created");
    Ok(AccountPassword { account: now_as(app, id, &taken)?, password })
}

/// Changes what an account may do, or switches it off or on.
pub async fn change(
    app: &App,
    operator: &Operator,
    name: &str,
    wanted: AccountChange,
) -> Result<AccountView, OpsError> {
    let permit = operator.may(app, Action::ChangeAccount, Subject::named(name))?;
    permit.carry_out(app, alter(app, &permit, name, wanted)).await
}

async fn alter(
    app: &App,
    permit: &Permit<'_>,
    name: &str,
    wanted: AccountChange,
) -> Result<AccountView, OpsError> {
    let id = find(app, name)?.id;
    let mut facts = Facts::new();
    facts.extend(wanted.role.map(|role| ("role".to_owned(), role.to_string())));
    facts.extend(wanted.disabled.map(|it| ("disabled".to_owned(), it.to_string())));
    guarded(app, permit, facts, move |connection| {
        if let Some(role) = wanted.role {
            account_rows::set_role(connection, id, role)?;
        }
        match wanted.disabled {
            Some(disabled) => account_rows::set_disabled(connection, id, disabled),
            None => Ok(()),
        }
    })
    .await?;
    tracing::info!(
        account = name,
        role = wanted.role.map(Role::as_str),
        disabled = wanted.disabled,
        by = permit.account(),
        "account changed"
    );
    now_as(app, id, name)
}

/// Gives an account a random password and takes its second factor, its tokens and its sessions.
pub async fn reset(
    app: &App,
    operator: &Operator,
    name: &str,
) -> Result<AccountPassword, OpsError> {
    let permit = operator.may(app, Action::ResetAccount, Subject::named(name))?;
    permit.carry_out(app, start_over(app, &permit, name)).await
}

async fn start_over(
    app: &App,
    permit: &Permit<'_>,
    name: &str,
) -> Result<AccountPassword, OpsError> {
    let id = find(app, name)?.id;
    let (password, hash) = random_password(app).await?;
    permit
        .change_accounts(app, Facts::new(), move |connection| {
            account_rows::reset_account(connection, id, &hash).map(Ok::<_, OpsError>)
        })
        .await??;
    tracing::info!(account = name, by = permit.account(), "account reset");
    Ok(AccountPassword { account: now_as(app, id, name)?, password })
}

/// Removes an account with its tokens and sessions.
pub async fn remove(app: &App, operator: &Operator, name: &str) -> Result<(), OpsError> {
    let permit = operator.may(app, Action::RemoveAccount, Subject::named(name))?;
    permit.carry_out(app, take_away(app, &permit, name)).await
}

async fn take_away(app: &App, permit: &Permit<'_>, name: &str) -> Result<(), OpsError> {
    let id = find(app, name)?.id;
    let delete = move |connection: &Connection| account_rows::delete_account(connection, id);
    guarded(app, permit, Facts::new(), delete).await?;
    tracing::info!(account = name, by = permit.account(), "account removed");
    Ok(())
}

/// Makes a change, unless no owner could act any more afterwards.
pub(super) async fn guarded(
    app: &App,
    permit: &Permit<'_>,
    facts: Facts,
    change: impl FnOnce(&Connection) -> rusqlite::Result<()> + Send + 'static,
) -> Result<(), OpsError> {
    permit
        .change_accounts(app, facts, move |connection| {
            let done = account_rows::leaving_an_owner(connection, change)?;
            Ok(if done { Ok(()) } else { Err(OpsError::LastOwner) })
        })
        .await?
}

/// An account as clients see it.
pub(super) fn view(app: &App, account: &Account) -> AccountView {
    AccountView {
        name: account.name.clone(),
        role: account.role,
        disabled: account.disabled,
        created_at: account.created_at,
        has_password: account.has_password,
        has_totp: account.has_totp,
        recovery_codes_left: account.recovery_codes_left,
        tokens: app.accounts.tokens_of(account.id).len(),
    }
}

/// The account of this name.
pub(super) fn find(app: &App, name: &str) -> Result<Arc<Account>, OpsError> {
    app.accounts.find(name).ok_or_else(|| OpsError::UnknownAccount(name.to_owned()))
}

fn now_as(app: &App, id: AccountId, name: &str) -> Result<AccountView, OpsError> {
    let account = app.accounts.get(id);
    let account = account.ok_or_else(|| OpsError::UnknownAccount(name.to_owned()))?;
    Ok(view(app, &account))
}

async fn random_password(app: &App) -> Result<(Secret, String), Busy> {
    let password = new_password();
    let hash = app.accounts.hash(password.clone()).await?;
    Ok((Secret(password), hash))
}
