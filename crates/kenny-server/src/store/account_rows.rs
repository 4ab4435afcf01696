//! The SQL of accounts, their tokens and recovery codes. Called on the database's thread only.

use jiff::Timestamp;
use kenny_proto::{AccountName, Role};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::rows::{parsed, parsed_option};
use crate::accounts::{Account, AccountId, FIRST_ACCOUNT, TokenEntry, TokenId};
use crate::auth::{TokenHash, new_operator_token};

/// What the first token is for.
const FIRST_TOKEN: &str = "first start";

/// What proves an account.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Whose they are.
    pub id: AccountId,
    /// Nobody acts through the account.
    pub disabled: bool,
    /// The password's hash as a PHC string.
    pub password_hash: Option<String>,
    /// The secret of the second factor, once it was confirmed.
    pub totp_secret: Option<Vec<u8>>,
    /// Of the account.
    pub generation: i64,
}

/// Every account.
pub fn accounts(connection: &Connection) -> rusqlite::Result<Vec<Account>> {
    connection
        .prepare_cached(
            "SELECT id, name, role, disabled, created_at, password_hash IS NOT NULL, totp_confirmed, generation,
             (SELECT count(*) FROM recovery_codes WHERE account_id = accounts.id) FROM accounts ORDER BY name",
        )?
        .query_map([], |row| {
            Ok(Account {
                id: AccountId(row.get(0)?),
                name: parsed(row, 1)?,
                role: parsed(row, 2)?,
                disabled: row.get(3)?,
                created_at: parsed(row, 4)?,
                has_password: row.get(5)?,
                has_totp: row.get(6)?,
                generation: row.get(7)?,
                recovery_codes_left: row.get(8)?,
            })
        })?
        .collect()
}

/// Every token with its hash.
pub fn tokens(connection: &Connection) -> rusqlite::Result<Vec<(TokenHash, TokenEntry)>> {
    connection
        .prepare_cached(
            "SELECT token_hash, id, account_id, name, role, created_at, expires_at, last_used_at FROM api_tokens",
        )?
        .query_map([], |row| {
            let times = (parsed(row, 5)?, parsed_option(row, 6)?, parsed_option(row, 7)?);
            let (id, account) = (TokenId(row.get(1)?), AccountId(row.get(2)?));
            let entry = TokenEntry::new(id, account, row.get(3)?, parsed(row, 4)?, times);
            Ok((TokenHash(parsed(row, 0)?), entry))
        })?
        .collect()
}

/// Adds an account without a password. A second one of the same name violates a constraint.
pub fn insert_account(
    connection: &Connection,
    name: &AccountName,
    role: Role,
    now: Timestamp,
) -> rusqlite::Result<AccountId> {
    connection.execute(
        "INSERT INTO accounts (name, role, created_at) VALUES (?1, ?2, ?3)",
        params![name.as_str(), role.as_str(), now.to_string()],
    )?;
    Ok(AccountId(connection.last_insert_rowid()))
}

/// Adds a token.
pub fn insert_token(
    connection: &Connection,
    account: AccountId,
    hash: TokenHash,
    token: &NewToken,
) -> rusqlite::Result<TokenId> {
    connection.execute(
        "INSERT INTO api_tokens (account_id, name, token_hash, role, created_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            account.0,
            token.name,
            hash.0.to_string(),
            token.role.as_str(),
            token.created_at.to_string(),
            token.expires_at.map(|at| at.to_string())
        ],
    )?;
    Ok(TokenId(connection.last_insert_rowid()))
}

/// A token that is to be made.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// What it is for.
    pub name: String,
    /// The most that it may do.
    pub role: Role,
    /// When it is made.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

/// What proves the account of this name.
pub fn credentials(connection: &Connection, name: &str) -> rusqlite::Result<Option<Credentials>> {
    connection
        .prepare_cached(
            "SELECT id, disabled, password_hash, totp_secret, totp_confirmed, generation FROM accounts WHERE name = ?1",
        )?
        .query_row([name], |row| {
            let confirmed: bool = row.get(4)?;
            Ok(Credentials {
                id: AccountId(row.get(0)?),
                disabled: row.get(1)?,
                password_hash: row.get(2)?,
                totp_secret: row.get::<_, Option<_>>(3)?.filter(|_| confirmed),
                generation: row.get(5)?,
            })
        })
        .optional()
}

/// Replaces a password's hash by one of the same password, unless the password was changed meanwhile.
pub fn upgrade_password(
    connection: &Connection,
    account: AccountId,
    old: &str,
    new: &str,
) -> rusqlite::Result<()> {
    connection.execute(
        "UPDATE accounts SET password_hash = ?3 WHERE id = ?1 AND password_hash = ?2",
        params![account.0, old, new],
    )?;
    Ok(())
}

/// Uses a step of the second factor up, with all before it; false when that happened already.
pub fn use_totp_step(
    connection: &Connection,
    account: AccountId,
    step: u64,
) -> rusqlite::Result<bool> {
    let step = i64::try_from(step).unwrap_or(i64::MAX);
    let changed = connection.execute(
        "UPDATE accounts SET totp_last_step = ?2 WHERE id = ?1 AND totp_last_step < ?2",
        params![account.0, step],
    )?;
    Ok(changed == 1)
}

/// Uses a recovery code up; false when there is no such code.
pub fn use_recovery_code(
    connection: &Connection,
    account: AccountId,
    code: TokenHash,
) -> rusqlite::Result<bool> {
    let changed = connection.execute(
        "DELETE FROM recovery_codes WHERE account_id = ?1 AND code_hash = ?2",
        params![account.0, code.0.to_string()],
    )?;
    Ok(changed == 1)
}

/// Where there is no account at all: makes the first one, an owner without a password, and its token.
pub fn first_account(connection: &Connection, now: Timestamp) -> rusqlite::Result<Option<String>> {
    let there: bool =
        connection.query_row("SELECT EXISTS (SELECT 1 FROM accounts)", [], |row| row.get(0))?;
    if there {
        return Ok(None);
    }
    let name = FIRST_ACCOUNT.parse().expect("a constant that is a name");
    let account = insert_account(connection, &name, Role::Owner, now)?;
    first_token(connection, account, now).map(Some)
}

fn first_token(
    connection: &Connection,
    account: AccountId,
    now: Timestamp,
) -> rusqlite::Result<String> {
    let token = new_operator_token();
    let new = NewToken {
        name: FIRST_TOKEN.to_owned(),
        role: Role::Owner,
        created_at: now,
        expires_at: None,
    };
    insert_token(connection, account, TokenHash::of(&token), &new)?;
    Ok(token)
}

/// Makes the first account an enabled owner again, whatever became of it, with a new token as its only one.
pub fn rescue_token(connection: &Connection, now: Timestamp) -> rusqlite::Result<String> {
    let account = if let Some(account) = find_account(connection, FIRST_ACCOUNT)? {
        connection.execute(
            "UPDATE accounts SET role = ?2, disabled = 0 WHERE id = ?1",
            params![account.0, Role::Owner.as_str()],
        )?;
        delete_tokens(connection, account)?;
        account
    } else {
        let name = FIRST_ACCOUNT.parse().expect("a constant that is a name");
        insert_account(connection, &name, Role::Owner, now)?
    };
    first_token(connection, account, now)
}

/// The account of this name.
pub fn find_account(connection: &Connection, name: &str) -> rusqlite::Result<Option<AccountId>> {
    connection
        .prepare_cached("SELECT id FROM accounts WHERE name = ?1")?
        .query_row([name], |row| row.get(0).map(AccountId))
        .optional()
}

/// Makes a change, or undoes it where afterwards no owner could act any more; false then.
pub fn leaving_an_owner(
    connection: &Connection,
    change: impl FnOnce(&Connection) -> rusqlite::Result<()>,
) -> rusqlite::Result<bool> {
    connection.execute_batch("SAVEPOINT owners")?;
    change(connection)?;
    // One who can log in, or has a token that does not end by itself.
    let there: bool = connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM accounts WHERE role = ?1 AND NOT disabled AND (password_hash IS NOT NULL OR EXISTS
         (SELECT 1 FROM api_tokens WHERE account_id = accounts.id AND api_tokens.role = ?1 AND expires_at IS NULL)))",
        [Role::Owner.as_str()],
        |row| row.get(0),
    )?;
    if !there {
        connection.execute_batch("ROLLBACK TO owners")?;
    }
    connection.execute_batch("RELEASE owners")?;
    Ok(there)
}

/// Sets what an account may do.
pub fn set_role(connection: &Connection, account: AccountId, role: Role) -> rusqlite::Result<()> {
    connection.execute(
        "UPDATE accounts SET role = ?2 WHERE id = ?1",
        params![account.0, role.as_str()],
    )?;
    Ok(())
}

/// Switches an account off, with its tokens and sessions, or on.
pub fn set_disabled(
    connection: &Connection,
    account: AccountId,
    disabled: bool,
) -> rusqlite::Result<()> {
    connection.execute(
        "UPDATE accounts SET disabled = ?2, generation = generation + 1 WHERE id = ?1",
        params![account.0, disabled],
    )?;
    if disabled {
        delete_tokens(connection, account)?;
    }
    Ok(())
}

/// Removes an account with all that it has.
pub fn delete_account(connection: &Connection, account: AccountId) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM accounts WHERE id = ?1", [account.0])?;
    Ok(())
}

/// Sets an account's password and ends its sessions. Its tokens stay.
pub fn set_password(
    connection: &Connection,
    account: AccountId,
    hash: &str,
) -> rusqlite::Result<()> {
    connection.execute(
        "UPDATE accounts SET password_hash = ?2, generation = generation + 1 WHERE id = ?1",
        params![account.0, hash],
    )?;
    Ok(())
}

/// Gives an account a password and takes everything else that proves it: second factor, tokens, sessions.
pub fn reset_account(
    connection: &Connection,
    account: AccountId,
    hash: &str,
) -> rusqlite::Result<()> {
    clear_totp(connection, account)?;
    delete_tokens(connection, account)?;
    set_password(connection, account, hash)
}

/// Keeps the secret of a second factor that has yet to be confirmed; false where one is confirmed already.
pub fn begin_totp(
    connection: &Connection,
    account: AccountId,
    secret: &[u8],
) -> rusqlite::Result<bool> {
    let changed = connection.execute(
        "UPDATE accounts SET totp_secret = ?2, totp_last_step = 0 WHERE id = ?1 AND NOT totp_confirmed",
        params![account.0, secret],
    )?;
    Ok(changed == 1)
}

/// The secret of a second factor that has yet to be confirmed.
pub fn begun_totp(
    connection: &Connection,
    account: AccountId,
) -> rusqlite::Result<Option<Vec<u8>>> {
    let secret = connection
        .query_row(
            "SELECT totp_secret FROM accounts WHERE id = ?1 AND NOT totp_confirmed",
            [account.0],
            |row| row.get(0),
        )
        .optional()?;
    Ok(secret.flatten())
}

/// Has the second factor count from now on, and its step be used up.
pub fn confirm_totp(
    connection: &Connection,
    account: AccountId,
    step: u64,
) -> rusqlite::Result<()> {
    connection.execute("UPDATE accounts SET totp_confirmed = 1 WHERE id = ?1", [account.0])?;
    use_totp_step(connection, account, step)?;
    Ok(())
}

/// Has logging in need the password alone, and ends the account's sessions.
pub fn clear_totp(connection: &Connection, account: AccountId) -> rusqlite::Result<()> {
    connection.execute(
        "UPDATE accounts SET totp_secret = NULL, totp_confirmed = 0, totp_last_step = 0, generation = generation + 1
         WHERE id = ?1",
        [account.0],
    )?;
    set_recovery_codes(connection, account, &[])
}

/// Replaces an account's recovery codes.
pub fn set_recovery_codes(
    connection: &Connection,
    account: AccountId,
    codes: &[TokenHash],
) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM recovery_codes WHERE account_id = ?1", [account.0])?;
    let mut insert = connection
        .prepare_cached("INSERT INTO recovery_codes (account_id, code_hash) VALUES (?1, ?2)")?;
    for code in codes {
        insert.execute(params![account.0, code.0.to_string()])?;
    }
    Ok(())
}

/// Removes a token.
pub fn delete_token(connection: &Connection, token: TokenId) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM api_tokens WHERE id = ?1", [token.0])?;
    Ok(())
}

fn delete_tokens(connection: &Connection, account: AccountId) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM api_tokens WHERE account_id = ?1", [account.0])?;
    Ok(())
}

/// How many tokens an account has.
pub fn count_tokens(connection: &Connection, account: AccountId) -> rusqlite::Result<u32> {
    connection.query_row(
        "SELECT count(*) FROM api_tokens WHERE account_id = ?1",
        [account.0],
        |row| row.get(0),
    )
}

/// Keeps when tokens were last used.
pub fn save_uses(connection: &Connection, uses: &[(TokenId, Timestamp)]) -> rusqlite::Result<()> {
    let mut update =
        connection.prepare_cached("UPDATE api_tokens SET last_used_at = ?2 WHERE id = ?1")?;
    for (token, at) in uses {
        update.execute(params![token.0, at.to_string()])?;
    }
    Ok(())
}
