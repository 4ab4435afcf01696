//! Permissions that people give programs, from the code to the last refresh token.
//!
//! One permission is one family of tokens: whatever is used a second time (a code, a refresh token) has been copied by
//! somebody, and ends the whole family, since nobody can tell who holds the copy.

use std::sync::Arc;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use rusqlite::Connection;
use uuid::Uuid;

use super::audience;
use super::request::Authorization;
use super::scope::Scope;
use crate::accounts::{Account, AccountId, Accounts};
use crate::app::App;
use crate::audit::{Entry, Facts, Subject, Who, append};
use crate::auth::{self, TokenHash};
use crate::store::oauth_rows::{self, GrantRow, TokenKind, TokenRow};
use crate::store::{Right, StoreError};
use kenny_proto::audit::AuditOutcome;

/// How long a code may be redeemed: programs do it at once.
const CODE_LIFE: SignedDuration = SignedDuration::from_mins(2);
/// How long an access token lives: what a stolen one is worth.
pub const ACCESS_LIFE: SignedDuration = SignedDuration::from_mins(15);
/// How long a program may be silent before the person is asked again.
const REFRESH_LIFE: SignedDuration = SignedDuration::from_hours(30 * 24);
/// After this time the person is asked again in any case.
const GRANT_LIFE: SignedDuration = SignedDuration::from_hours(365 * 24);

/// A use is noted at most this often.
const USE_NOTED: SignedDuration = SignedDuration::from_mins(1);

const CODE_PREFIX: &str = "kenny_code_";
/// By this a bearer token is known to be one of a program.
pub const ACCESS_PREFIX: &str = "kenny_at_";
const REFRESH_PREFIX: &str = "kenny_rt_";

/// By this, permissions are kept: who shows a code or a token acts for nobody yet.
struct Granting;

impl Right for Granting {}

/// What a program gets.
#[derive(Debug)]
pub struct Tokens {
    /// To be shown with requests.
    pub access: String,
    /// To be exchanged, once.
    pub refresh: String,
    /// What may be done with the access token.
    pub scope: Scope,
}

/// Why a program gets no tokens.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// The code is worth nothing.
    #[error(
        "the code is unknown, has expired, was used before, or belongs to another program, address or verifier; ask for a \
         new one"
    )]
    Code,
    /// The refresh token is worth nothing.
    #[error(
        "the refresh token is unknown, has expired, was exchanged before, or its permission has ended; the person has to \
         be asked again"
    )]
    Refresh,
    /// More than was permitted.
    #[error("the permission covers `{}` only", .0.list())]
    Scope(Scope),
    /// Another server's.
    #[error("the permission is for {0} only")]
    Resource(String),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a program shows to redeem a code.
pub struct Redemption<'a> {
    /// The code.
    pub code: &'a str,
    /// Who shows it.
    pub client_id: &'a str,
    /// The address that it came to, where the program repeats it.
    pub redirect_uri: Option<&'a str>,
    /// What the challenge was made of.
    pub verifier: &'a str,
    /// What the tokens are for, where the program repeats it.
    pub resource: Option<&'a str>,
}

/// What a program shows to refresh.
pub struct Exchange<'a> {
    /// The refresh token.
    pub token: &'a str,
    /// Who shows it.
    pub client_id: &'a str,
    /// Less than was permitted.
    pub scope: Option<Scope>,
    /// What the tokens are for, where the program repeats it.
    pub resource: Option<&'a str>,
}

/// What an access token permits.
#[derive(Debug)]
pub struct Access {
    /// Who gave the permission.
    pub account: Arc<Account>,
    /// To do what.
    pub scope: Scope,
    /// Which permission it is.
    pub grant_id: String,
}

/// Keeps that a person permits what was asked for, up to `scope`; the code for the program.
pub async fn approve(
    app: &App,
    account: &Account,
    asked: &Authorization,
    client_name: &str,
    scope: Scope,
    record: Entry,
    now: Timestamp,
) -> Result<String, StoreError> {
    let code = auth::new_token(CODE_PREFIX);
    let hash = TokenHash::of(&code);
    let grant = GrantRow {
        id: Uuid::new_v4().to_string(),
        account_id: account.id,
        generation: account.generation,
        client_id: asked.client_id.clone(),
        client_name: client_name.to_owned(),
        redirect_uri: asked.redirect.uri.as_str().to_owned(),
        resource: asked.resource.clone(),
        scope,
        created_at: now,
        last_used_at: None,
        code_challenge: asked.code_challenge.clone(),
        code_expires_unix: (now + CODE_LIFE).as_second(),
        code_used: false,
    };
    app.store
        .by(&Granting)
        .run(move |connection| {
            oauth_rows::prune(connection, now)?;
            oauth_rows::insert_grant(connection, &grant, hash)?;
            append(connection, &record).map(drop)
        })
        .await?;
    Ok(code)
}

/// What came of looking at a code or a refresh token, inside the database's transaction.
enum Outcome {
    Granted(Tokens),
    Refused(GrantError),
    /// A copy was used.
    Copied(GrantRow),
}

impl Outcome {
    fn into_result(self, app: &App, on_copy: GrantError) -> Result<Tokens, GrantError> {
        match self {
            Self::Granted(tokens) => Ok(tokens),
            Self::Refused(why) => Err(why),
            Self::Copied(grant) => {
                tracing::warn!(
                    grant.id = grant.id,
                    client = grant.client_name,
                    "a code or refresh token was used twice: the program's permission has ended"
                );
                app.proofs_ended.send_replace(());
                Err(on_copy)
            }
        }
    }
}

/// Exchanges a code for the first tokens. Whatever does not fit uses the code up.
pub async fn redeem(
    app: &App,
    shown: Redemption<'_>,
    now: Timestamp,
) -> Result<Tokens, GrantError> {
    let code = TokenHash::of(shown.code);
    let challenge =
        URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, shown.verifier.as_bytes()));
    let client_id = shown.client_id.to_owned();
    let redirect_uri = shown.redirect_uri.map(ToOwned::to_owned);
    let resource = shown.resource.map(ToOwned::to_owned);
    let accounts = Arc::clone(&app.accounts);
    let look = move |connection: &Connection| {
        let Some(grant) = oauth_rows::grant_by_code(connection, code)? else {
            return Ok(Outcome::Refused(GrantError::Code));
        };
        if grant.code_used {
            end_for_a_copy(connection, &grant)?;
            return Ok(Outcome::Copied(grant));
        }
        let stands = giver(&accounts, &grant).is_some();
        let fits = stands
            && now.as_second() < grant.code_expires_unix
            && client_id == grant.client_id
            && redirect_uri.is_none_or(|uri| is_same_address(&uri, &grant.redirect_uri))
            && challenge == grant.code_challenge;
        if !fits {
            oauth_rows::delete_grant(connection, &grant.id)?;
            return Ok(Outcome::Refused(GrantError::Code));
        }
        if resource.is_some_and(|asked| !audience::is_same(&asked, &grant.resource)) {
            oauth_rows::delete_grant(connection, &grant.id)?;
            return Ok(Outcome::Refused(GrantError::Resource(grant.resource)));
        }
        oauth_rows::mark_code_used(connection, &grant.id)?;
        oauth_rows::touch_grant(connection, &grant.id, now)?;
        issue(connection, &grant, grant.scope, now).map(Outcome::Granted)
    };
    app.store.by(&Granting).run(look).await?.into_result(app, GrantError::Code)
}

/// Whoever shows what was used already may have stolen it: the permission ends, and the audit log says why.
fn end_for_a_copy(connection: &Connection, grant: &GrantRow) -> rusqlite::Result<()> {
    oauth_rows::delete_grant(connection, &grant.id)?;
    let why = "a code or refresh token was used twice".to_owned();
    let subject = Subject::named(&grant.id);
    let row = Entry::now(Who::stranger("oauth", None), "program.end", subject, AuditOutcome::Done);
    append(connection, &row.with(Facts::from([("why".to_owned(), why)]))).map(drop)
}

/// Who gave the permission, while the account stands as it stood then.
fn giver(accounts: &Accounts, grant: &GrantRow) -> Option<Arc<Account>> {
    accounts.get(grant.account_id).filter(|account| account.stands_since(grant.generation))
}

/// Addresses are kept as a browser writes them.
fn is_same_address(shown: &str, kept: &str) -> bool {
    shown == kept || url::Url::parse(shown).is_ok_and(|shown| shown.as_str() == kept)
}

/// Exchanges a refresh token for new tokens.
pub async fn refresh(app: &App, shown: Exchange<'_>, now: Timestamp) -> Result<Tokens, GrantError> {
    let hash = TokenHash::of(shown.token);
    let client_id = shown.client_id.to_owned();
    let resource = shown.resource.map(ToOwned::to_owned);
    let wanted = shown.scope;
    let accounts = Arc::clone(&app.accounts);
    let look = move |connection: &Connection| {
        let found = oauth_rows::grant_by_token(connection, TokenKind::Refresh, hash)?
            .filter(|(grant, _)| grant.client_id == client_id);
        let Some((grant, token)) = found else {
            return Ok(Outcome::Refused(GrantError::Refresh));
        };
        if token.used {
            end_for_a_copy(connection, &grant)?;
            return Ok(Outcome::Copied(grant));
        }
        let stands = giver(&accounts, &grant).is_some();
        if !stands || now.as_second() >= token.expires_unix {
            oauth_rows::delete_grant(connection, &grant.id)?;
            return Ok(Outcome::Refused(GrantError::Refresh));
        }
        if resource.is_some_and(|asked| !audience::is_same(&asked, &grant.resource)) {
            return Ok(Outcome::Refused(GrantError::Resource(grant.resource)));
        }
        let scope = wanted.unwrap_or(grant.scope);
        if scope > grant.scope {
            return Ok(Outcome::Refused(GrantError::Scope(grant.scope)));
        }
        oauth_rows::mark_token_used(connection, hash)?;
        oauth_rows::touch_grant(connection, &grant.id, now)?;
        oauth_rows::prune(connection, now)?;
        issue(connection, &grant, scope, now).map(Outcome::Granted)
    };
    app.store.by(&Granting).run(look).await?.into_result(app, GrantError::Refresh)
}

fn issue(
    connection: &Connection,
    grant: &GrantRow,
    scope: Scope,
    now: Timestamp,
) -> rusqlite::Result<Tokens> {
    let access = auth::new_token(ACCESS_PREFIX);
    let refresh = auth::new_token(REFRESH_PREFIX);
    let end = (grant.created_at + GRANT_LIFE).as_second();
    for (kind, token, scope, life) in [
        (TokenKind::Access, &access, scope, ACCESS_LIFE),
        (TokenKind::Refresh, &refresh, grant.scope, REFRESH_LIFE),
    ] {
        let expires_unix = (now + life).as_second().min(end);
        let row = TokenRow { scope, expires_unix, used: false };
        oauth_rows::insert_token(connection, &grant.id, kind, TokenHash::of(token), row)?;
    }
    Ok(Tokens { access, refresh, scope })
}

/// What an access token for this resource permits now; nothing when it is not worth anything here.
pub async fn access(
    app: &App,
    token: &str,
    resource: String,
    now: Timestamp,
) -> Result<Option<Access>, StoreError> {
    let hash = TokenHash::of(token);
    let accounts = Arc::clone(&app.accounts);
    app.store
        .by(&Granting)
        .run(move |connection| {
            let found = oauth_rows::grant_by_token(connection, TokenKind::Access, hash)?;
            let Some((grant, token)) = found.filter(|(grant, token)| {
                now.as_second() < token.expires_unix && grant.resource == resource
            }) else {
                return Ok(None);
            };
            let account = giver(&accounts, &grant);
            let noted = grant.last_used_at.is_some_and(|last| now.duration_since(last) < USE_NOTED);
            if account.is_some() && !noted {
                oauth_rows::touch_grant(connection, &grant.id, now)?;
            }
            Ok(account.map(|account| Access { account, scope: token.scope, grant_id: grant.id }))
        })
        .await
}

/// Ends the permission that a token of this program stands for (RFC 7009). One that is worth nothing is as good as
/// ended.
pub async fn revoke(app: &App, token: &str, client_id: &str) -> Result<(), StoreError> {
    let hash = TokenHash::of(token);
    let client_id = client_id.to_owned();
    app.store
        .by(&Granting)
        .run(move |connection| {
            for kind in [TokenKind::Refresh, TokenKind::Access] {
                let found = oauth_rows::grant_by_token(connection, kind, hash)?;
                if let Some((grant, _)) = found.filter(|(grant, _)| grant.client_id == client_id) {
                    oauth_rows::delete_grant(connection, &grant.id)?;
                }
            }
            Ok(())
        })
        .await?;
    app.proofs_ended.send_replace(());
    Ok(())
}

/// Whether a permission of this account is still there. A database that does not answer ends nothing.
pub async fn stands(app: &App, account: AccountId, id: &str) -> bool {
    let Some(generation) = app.accounts.get(account).map(|account| account.generation) else {
        return false;
    };
    let read =
        move |connection: &Connection| oauth_rows::grants_of(connection, account, generation);
    match app.store.by(&Granting).run(read).await {
        Ok(grants) => grants.iter().any(|grant| grant.id == id),
        Err(error) => {
            tracing::warn!(%error, "whether a program's permission goes on is not known");
            true
        }
    }
}
