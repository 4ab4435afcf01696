//! API tokens: everybody has their own, owners see and revoke all.

use jiff::Timestamp;
use kenny_proto::accounts::{NewToken, Token, TokenCreated, TokenList};
use kenny_proto::{Role, Secret};
use rusqlite::Connection;

use super::{Action, Operator, OpsError, Permit, accounts};
use crate::accounts::{Account, TokenEntry, TokenId};
use crate::app::App;
use crate::audit::{Entry, Facts, Subject, append};
use crate::auth::{TokenHash, new_operator_token};
use crate::store::{Right, account_rows};

/// Most tokens of one account: one for each machine and program of somebody, and then some.
const MOST_TOKENS: u32 = 100;
/// Most characters of what a token is for.
const MOST_CHARACTERS: usize = 100;

/// A token that somebody wants.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub name: String,
    pub role: Option<Role>,
    pub expires_at: Option<Timestamp>,
}

/// The tokens of an account: the own one, or for owners any.
pub fn list(app: &App, operator: &Operator, of: Option<&str>) -> Result<TokenList, OpsError> {
    let account = if let Some(name) = of.filter(|name| *name != operator.account()) {
        operator.may(app, Action::ListOthersTokens, Subject::named(name))?;
        accounts::find(app, name)?
    } else {
        operator.may(app, Action::ListTokens, Subject::default())?;
        app.accounts.get(operator.account_id()).ok_or(OpsError::WrongToken)?
    };
    let tokens = app.accounts.tokens_of(account.id);
    Ok(TokenList { tokens: tokens.iter().map(|token| view(&account, token)).collect() })
}

/// Makes a token of the own account, which may do no more than this request, and does not outlive the token that this
/// request came with.
pub async fn create(
    app: &App,
    operator: &Operator,
    wanted: NewToken,
) -> Result<TokenCreated, OpsError> {
    let permit = operator.may(app, Action::CreateToken, Subject::named(&wanted.name))?;
    permit.carry_out(app, create_own(app, &permit, operator, wanted)).await
}

async fn create_own(
    app: &App,
    permit: &Permit<'_>,
    operator: &Operator,
    wanted: NewToken,
) -> Result<TokenCreated, OpsError> {
    check_wish(&wanted.name, wanted.expires_at)?;
    let account = app.accounts.get(operator.account_id()).ok_or(OpsError::WrongToken)?;
    let maker = operator.token().and_then(|token| app.accounts.token_of_id(token));
    let bound = maker.and_then(|maker| maker.expires_at);
    let expires_at = wanted.expires_at.into_iter().chain(bound).min();
    let wanted = Wanted { name: wanted.name, role: wanted.role, expires_at };
    make(app, &Creating, permit.row(Facts::new()), &account, operator.role(), wanted).await
}

/// Revokes a token: the own ones, or for owners any. It is refused from the moment that this returns.
pub async fn revoke(app: &App, operator: &Operator, id: i64) -> Result<(), OpsError> {
    let permit = operator.may(app, Action::RevokeToken, Subject::named(&id.to_string()))?;
    permit.carry_out(app, take_back(app, &permit, operator, id)).await
}

async fn take_back(
    app: &App,
    permit: &Permit<'_>,
    operator: &Operator,
    id: i64,
) -> Result<(), OpsError> {
    let unknown = || OpsError::UnknownToken(id);
    let token = app.accounts.token_of_id(TokenId(id)).ok_or_else(unknown)?;
    if token.account != operator.account_id() && operator.role() < Role::Owner {
        // Whether others have such a token is not said.
        return Err(unknown());
    }
    let facts = Facts::from([("account_id".to_owned(), token.account.0.to_string())]);
    let token = token.id;
    let delete = move |connection: &Connection| account_rows::delete_token(connection, token);
    accounts::guarded(app, permit, facts, delete).await?;
    tracing::info!(token = id, by = operator.account(), "token revoked");
    Ok(())
}

/// Refuses what cannot be meant, before anything is done.
pub(super) fn check_wish(name: &str, expires_at: Option<Timestamp>) -> Result<(), OpsError> {
    let fits = (1..=MOST_CHARACTERS).contains(&name.chars().count())
        && !name.trim().is_empty()
        && !name.contains(char::is_control);
    if !fits {
        return Err(OpsError::BadTokenName);
    }
    match expires_at {
        Some(end) if end <= Timestamp::now() => Err(OpsError::EndsInThePast(end)),
        Some(_) | None => Ok(()),
    }
}

/// By this, who has the permit makes a token.
struct Creating;

impl Right for Creating {}

/// Makes a token that may do what `most` includes. `record` is its row in the audit log.
pub(super) async fn make(
    app: &App,
    right: &impl Right,
    record: Entry,
    account: &Account,
    most: Role,
    wanted: Wanted,
) -> Result<TokenCreated, OpsError> {
    let role = wanted.role.unwrap_or(most);
    if role > most {
        let account = account.name.to_string();
        return Err(OpsError::Forbidden { needed: role, role: most, account });
    }
    let secret = new_operator_token();
    let (owner, hash) = (account.id, TokenHash::of(&secret));
    let row = account_rows::NewToken {
        name: wanted.name.trim().to_owned(),
        role,
        created_at: Timestamp::now(),
        expires_at: wanted.expires_at,
    };
    let made = row.clone();
    let TokenId(id) = app
        .accounts
        .change(right, move |connection| {
            if account_rows::count_tokens(connection, owner)? >= MOST_TOKENS {
                return Ok(Err(OpsError::TooManyTokens));
            }
            let id = account_rows::insert_token(connection, owner, hash, &made)?;
            let facts = [("token", id.0.to_string()), ("role", made.role.to_string())];
            let facts = facts.map(|(name, value)| (name.to_owned(), value)).into();
            append(connection, &record.with(facts))?;
            Ok(Ok(id))
        })
        .await??;
    let account_rows::NewToken { name, role, created_at, expires_at } = row;
    tracing::info!(account = %account.name, token = id, name, %role, "token made");
    let account = account.name.clone();
    let token = Token { id, account, name, role, created_at, expires_at, last_used_at: None };
    Ok(TokenCreated { secret: Secret(secret), token })
}

/// A token as clients see it.
pub(super) fn view(account: &Account, token: &TokenEntry) -> Token {
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
