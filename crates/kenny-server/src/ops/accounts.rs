//! Accounts and tokens: who may act, and by what it is proved.

use std::net::IpAddr;

use jiff::Timestamp;
use kenny_proto::accounts::{self as accounts_api, AccountList, Me, NewLogin, Token, TokenCreated};
use kenny_proto::{Role, Secret};

use super::{Operator, OpsError};
use crate::accounts::{self, Account, TokenEntry, TokenId};
use crate::app::App;
use crate::auth::{TokenHash, new_operator_token};
use crate::store::account_rows::{self, NewToken};

/// Makes a token for whoever proves an account by its password, and by a code where the account asks for one. `from` is
/// the peer's address.
pub async fn log_in(
    app: &App,
    login: NewLogin,
    from: Option<IpAddr>,
) -> Result<TokenCreated, OpsError> {
    let code = login.code.as_ref().map(Secret::expose);
    let account =
        accounts::log_in(app, &login.account, login.password.expose(), code, from).await?;
    let token = NewToken {
        name: login.token_name,
        role: login.role.unwrap_or(account.role).min(account.role),
        created_at: Timestamp::now(),
        expires_at: login.expires_at,
    };
    // audit: account.login
    make_token(app, &account, token).await
}

/// Who asks.
pub fn me(app: &App, operator: &Operator) -> Result<Me, OpsError> {
    let account = app.accounts.get(operator.account_id()).ok_or(OpsError::WrongToken)?;
    let tokens = app.accounts.tokens_of(account.id);
    let token = tokens.iter().find(|token| Some(token.id) == operator.token());
    let token = token.map(|token| token_view(&account, token));
    Ok(Me { account: view(app, &account), role: operator.role(), token, from: operator.from() })
}

/// Every account, by name. For owners.
pub fn list(app: &App, operator: &Operator) -> Result<AccountList, OpsError> {
    operator.require(Role::Owner)?;
    let accounts = app.accounts.all().iter().map(|account| view(app, account)).collect();
    Ok(AccountList { accounts })
}

fn view(app: &App, account: &Account) -> accounts_api::Account {
    accounts_api::Account {
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

fn token_view(account: &Account, token: &TokenEntry) -> Token {
    Token {
        id: token.id.0,
        account: account.name.clone(),
        name: token.name.clone(),
        role: token.role,
        created_at: token.created_at,
        expires_at: token.expires_at,
        last_used_at: token.last_used_at(),
    }
}

async fn make_token(
    app: &App,
    account: &Account,
    token: NewToken,
) -> Result<TokenCreated, OpsError> {
    let secret = new_operator_token();
    let hash = TokenHash::of(&secret);
    let (owner, row) = (account.id, token.clone());
    let TokenId(id) = app
        .accounts
        .change(move |connection| {
            account_rows::insert_token(connection, owner, hash, &row).map(Ok::<_, OpsError>)
        })
        .await??;
    let NewToken { name, role, created_at, expires_at } = token;
    let account = account.name.clone();
    let token = Token { id, account, name, role, created_at, expires_at, last_used_at: None };
    Ok(TokenCreated { secret: Secret(secret), token })
}
