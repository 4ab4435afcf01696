//! Rows of what programs were permitted, and of their tokens.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::rows::{parsed, parsed_option};
use crate::accounts::AccountId;
use crate::auth::TokenHash;
use crate::oauth::scope::Scope;

/// One permission that a person gave a program.
#[derive(Debug, Clone)]
pub struct GrantRow {
    /// Names it where it is ended.
    pub id: String,
    /// Who gave it.
    pub account_id: AccountId,
    /// The account's generation at that time; another one now means that the permission has ended.
    pub generation: i64,
    /// The program.
    pub client_id: String,
    /// What it called itself.
    pub client_name: String,
    /// Where its answer went.
    pub redirect_uri: String,
    /// What its tokens are for.
    pub resource: String,
    /// What it may do.
    pub scope: Scope,
    /// Since when.
    pub created_at: Timestamp,
    /// When it was last used, to the minute.
    pub last_used_at: Option<Timestamp>,
    /// What the verifier's SHA-256 has to be.
    pub code_challenge: String,
    /// Until when the code may be redeemed.
    pub code_expires_unix: i64,
    /// The code was redeemed.
    pub code_used: bool,
}

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// It is shown with requests.
    Access,
    /// It is exchanged for new ones, once.
    Refresh,
}

impl TokenKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Refresh => "refresh",
        }
    }
}

/// A token.
#[derive(Debug, Clone, Copy)]
pub struct TokenRow {
    /// What may be done with it.
    pub scope: Scope,
    /// Until when.
    pub expires_unix: i64,
    /// It was exchanged already.
    pub used: bool,
}

const GRANT: &str = "oauth_grants.id, account_id, generation, client_id, client_name, redirect_uri, resource, oauth_grants.scope, \
     created_at, last_used_at, code_challenge, code_expires_unix, code_used";

fn grant(row: &Row<'_>) -> rusqlite::Result<GrantRow> {
    Ok(GrantRow {
        id: row.get(0)?,
        account_id: AccountId(row.get(1)?),
        generation: row.get(2)?,
        client_id: row.get(3)?,
        client_name: row.get(4)?,
        redirect_uri: row.get(5)?,
        resource: row.get(6)?,
        scope: parsed(row, 7)?,
        created_at: parsed(row, 8)?,
        last_used_at: parsed_option(row, 9)?,
        code_challenge: row.get(10)?,
        code_expires_unix: row.get(11)?,
        code_used: row.get(12)?,
    })
}

/// Keeps a new permission with the hash of its code.
pub fn insert_grant(
    connection: &Connection,
    grant: &GrantRow,
    code: TokenHash,
) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT INTO oauth_grants (id, account_id, generation, client_id, client_name, redirect_uri, resource, scope, \
         created_at, code_hash, code_challenge, code_expires_unix) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        params![
            grant.id,
            grant.account_id.0,
            grant.generation,
            grant.client_id,
            grant.client_name,
            grant.redirect_uri,
            grant.resource,
            grant.scope.as_str(),
            grant.created_at.to_string(),
            code.0.to_string(),
            grant.code_challenge,
            grant.code_expires_unix,
        ],
    )?;
    Ok(())
}

/// The permission whose code this is.
pub fn grant_by_code(
    connection: &Connection,
    code: TokenHash,
) -> rusqlite::Result<Option<GrantRow>> {
    connection
        .prepare_cached(&format!("SELECT {GRANT} FROM oauth_grants WHERE code_hash = ?1"))?
        .query_row([code.0.to_string()], grant)
        .optional()
}

/// A token of this kind, and the permission that it stands for.
pub fn grant_by_token(
    connection: &Connection,
    kind: TokenKind,
    token: TokenHash,
) -> rusqlite::Result<Option<(GrantRow, TokenRow)>> {
    let sql = format!(
        "SELECT {GRANT}, oauth_tokens.scope, expires_unix, used FROM oauth_tokens \
         JOIN oauth_grants ON oauth_grants.id = grant_id WHERE token_hash = ?1 AND kind = ?2"
    );
    connection
        .prepare_cached(&sql)?
        .query_row([token.0.to_string().as_str(), kind.as_str()], |row| {
            let token = TokenRow {
                scope: parsed(row, 13)?,
                expires_unix: row.get(14)?,
                used: row.get(15)?,
            };
            Ok((grant(row)?, token))
        })
        .optional()
}

/// Keeps that the code was redeemed.
pub fn mark_code_used(connection: &Connection, grant_id: &str) -> rusqlite::Result<()> {
    connection.execute("UPDATE oauth_grants SET code_used = 1 WHERE id = ?1", [grant_id])?;
    Ok(())
}

/// Keeps a new token.
pub fn insert_token(
    connection: &Connection,
    grant_id: &str,
    kind: TokenKind,
    hash: TokenHash,
    token: TokenRow,
) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT INTO oauth_tokens (token_hash, grant_id, kind, scope, expires_unix) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![
            hash.0.to_string(),
            grant_id,
            kind.as_str(),
            token.scope.as_str(),
            token.expires_unix
        ],
    )?;
    Ok(())
}

/// Keeps that a refresh token was exchanged.
pub fn mark_token_used(connection: &Connection, token: TokenHash) -> rusqlite::Result<()> {
    let sql = "UPDATE oauth_tokens SET used = 1 WHERE token_hash = ?1";
    connection.execute(sql, [token.0.to_string()])?;
    Ok(())
}

/// Keeps when a permission was last used.
pub fn touch_grant(
    connection: &Connection,
    grant_id: &str,
    now: Timestamp,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE oauth_grants SET last_used_at = ?2 WHERE id = ?1")?
        .execute([grant_id, &now.to_string()])?;
    Ok(())
}

/// Ends a permission with all its tokens.
pub fn delete_grant(connection: &Connection, grant_id: &str) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM oauth_grants WHERE id = ?1", [grant_id])?;
    Ok(())
}

/// Ends a permission that this account gave; false when it gave none such.
pub fn delete_own_grant(
    connection: &Connection,
    account_id: AccountId,
    grant_id: &str,
) -> rusqlite::Result<bool> {
    let sql = "DELETE FROM oauth_grants WHERE id = ?1 AND account_id = ?2";
    Ok(connection.execute(sql, params![grant_id, account_id.0])? > 0)
}

/// The permissions that an account gave and that are in use, the newest first.
pub fn grants_of(
    connection: &Connection,
    account_id: AccountId,
    generation: i64,
) -> rusqlite::Result<Vec<GrantRow>> {
    let sql = format!(
        "SELECT {GRANT} FROM oauth_grants WHERE account_id = ?1 AND generation = ?2 AND code_used = 1 ORDER BY created_at DESC"
    );
    connection.prepare(&sql)?.query_map([account_id.0, generation], grant)?.collect()
}

/// Removes tokens that expired, and permissions that nothing is left of.
pub fn prune(connection: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    let now = now.as_second();
    connection.execute("DELETE FROM oauth_tokens WHERE expires_unix <= ?1", [now])?;
    connection.execute(
        "DELETE FROM oauth_grants WHERE code_expires_unix <= ?1 AND id NOT IN (SELECT grant_id FROM oauth_tokens)",
        [now],
    )?;
    Ok(())
}
