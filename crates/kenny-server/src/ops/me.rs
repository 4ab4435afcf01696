//! What everybody does with the own account: logging in and out, password and second factor.
//!
//! Changes of what proves the account need all that the account may do (a token of less cannot make itself more), and
//! the password where there is one.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use kenny_proto::Secret;
use kenny_proto::accounts::{
    Confirmation, Me, NewLogin, NewPassword, RecoveryCodes, TokenCreated, TotpCode, TotpEnrolment,
};
use kenny_proto::audit::AuditOutcome;

use super::tokens::{self, Wanted};
use super::{Action, Face, Operator, OpsError, Permit, accounts};
use crate::accounts as who;
use crate::accounts::{Account, LoginError};
use crate::app::App;
use crate::audit::{Entry, Facts, Subject, Who};
use crate::auth::TokenHash;
use crate::store::{Right, account_rows};

/// What logging in is called in the audit log; nobody needs a permit for it.
const LOGIN: &str = "account.login";
/// How many recovery codes there are.
const RECOVERY_CODES: usize = 10;

/// By this, a login makes a token: nobody is known before.
struct LoggingIn;

impl Right for LoggingIn {}

/// Makes a token for whoever proves an account by its password, and by a code where the account asks for one. `from` is
/// the peer's address.
pub async fn log_in(
    app: &App,
    login: NewLogin,
    from: Option<IpAddr>,
) -> Result<TokenCreated, OpsError> {
    tokens::check_wish(&login.token_name, login.expires_at)?;
    let code = login.code.as_ref().map(Secret::expose);
    let account = who::log_in(app, &login.account, login.password.expose(), code, from).await;
    let account =
        account.inspect_err(|error| not_let_in(app, Face::Rest, &login.account, from, error))?;
    let wanted = Wanted { name: login.token_name, role: login.role, expires_at: login.expires_at };
    let record = let_in(&account, Face::Rest, from);
    tokens::make(app, &LoggingIn, record, &account, account.role, wanted).await
}

/// The row of somebody who proved an account.
pub fn let_in(account: &Account, face: Face, from: Option<IpAddr>) -> Entry {
    let name = account.name.to_string();
    let who = Who { account: Some(name), role: Some(account.role), face: face.as_str(), from };
    Entry::now(who, LOGIN, Subject::default(), AuditOutcome::Done)
}

/// Records that somebody did not prove an account. That a code is still to come is no attempt.
pub fn not_let_in(app: &App, face: Face, name: &str, from: Option<IpAddr>, error: &LoginError) {
    let is_wrong = match error {
        LoginError::Wrong
        | LoginError::WrongCode
        | LoginError::Throttled(_)
        | LoginError::Disabled => true,
        LoginError::CodeNeeded
        | LoginError::PasswordNeeded
        | LoginError::Busy(_)
        | LoginError::Store(_) => false,
    };
    if is_wrong {
        let who = Who::stranger(face.as_str(), from);
        app.audit.denied(who, LOGIN, Subject::named(name), &error.to_string());
    }
}

/// Revokes the token that this came with.
pub async fn log_out(app: &App, operator: &Operator) -> Result<(), OpsError> {
    let token = operator.token().ok_or(OpsError::NoTokenToRevoke)?;
    tokens::revoke(app, operator, token.0).await
}

/// Who asks.
pub fn me(app: &App, operator: &Operator) -> Result<Me, OpsError> {
    operator.may(app, Action::ShowMe, Subject::default())?;
    let account = account(app, operator)?;
    let token = operator.token().and_then(|token| app.accounts.token_of_id(token));
    Ok(Me {
        account: accounts::view(app, &account),
        role: operator.role(),
        token: token.map(|token| tokens::view(&account, &token)),
        from: operator.from(),
    })
}

/// Sets the own password, which ends the account's sessions.
pub async fn set_password(
    app: &App,
    operator: &Operator,
    wanted: NewPassword,
) -> Result<(), OpsError> {
    let permit = operator.may(app, Action::SetPassword, Subject::default())?;
    let account = prepared(app, operator, &permit, wanted.current.as_ref()).await?;
    who::check_new(wanted.new.expose(), &account.name)?;
    let hash = app.accounts.hash(wanted.new.0).await?;
    let id = account.id;
    permit
        .change_accounts(app, Facts::new(), move |connection| {
            account_rows::set_password(connection, id, &hash).map(Ok::<_, OpsError>)
        })
        .await??;
    tracing::info!(account = operator.account(), "password changed");
    Ok(())
}

/// Makes the secret of a second factor, which counts once a code confirmed it.
pub async fn begin_totp(
    app: &App,
    operator: &Operator,
    confirmation: Confirmation,
) -> Result<TotpEnrolment, OpsError> {
    let permit = operator.may(app, Action::BeginTotp, Subject::default())?;
    let account = prepared(app, operator, &permit, confirmation.password.as_ref()).await?;
    if !account.has_password {
        return Err(OpsError::NoPassword);
    }
    let secret = who::new_secret();
    let (text, uri) = who::enrolment(&secret, &account.name);
    let id = account.id;
    permit
        .change_accounts(app, Facts::new(), move |connection| {
            let begun = account_rows::begin_totp(connection, id, &secret)?;
            Ok(if begun { Ok(()) } else { Err(OpsError::TotpThere) })
        })
        .await??;
    Ok(TotpEnrolment { secret: text, uri })
}

/// Has the second factor count, now that a code shows that an authenticator has it.
pub async fn confirm_totp(
    app: &App,
    operator: &Operator,
    code: TotpCode,
    now: Timestamp,
) -> Result<RecoveryCodes, OpsError> {
    let permit = operator.may(app, Action::ConfirmTotp, Subject::default())?;
    let account = own(app, operator)?;
    let (codes, hashes) = recovery_codes();
    let id = account.id;
    permit
        .change_accounts(app, Facts::new(), move |connection| {
            let Some(secret) = account_rows::begun_totp(connection, id)? else {
                return Ok(Err(OpsError::TotpNotBegun));
            };
            let unix_s = u64::try_from(now.as_second()).unwrap_or_default();
            let Some(step) = who::step_of(&secret, code.code.expose().trim(), unix_s) else {
                return Ok(Err(OpsError::Login(LoginError::WrongCode)));
            };
            account_rows::confirm_totp(connection, id, step)?;
            account_rows::set_recovery_codes(connection, id, &hashes)?;
            Ok(Ok(()))
        })
        .await??;
    tracing::info!(account = operator.account(), "second factor on");
    Ok(codes)
}

/// Has logging in need the password alone, which ends the account's sessions.
pub async fn end_totp(
    app: &App,
    operator: &Operator,
    confirmation: Confirmation,
) -> Result<(), OpsError> {
    let permit = operator.may(app, Action::EndTotp, Subject::default())?;
    let id = prepared(app, operator, &permit, confirmation.password.as_ref()).await?.id;
    permit
        .change_accounts(app, Facts::new(), move |connection| {
            account_rows::clear_totp(connection, id).map(Ok::<_, OpsError>)
        })
        .await??;
    tracing::info!(account = operator.account(), "second factor off");
    Ok(())
}

/// Makes new recovery codes; the ones before are worth nothing from then on.
pub async fn renew_recovery_codes(
    app: &App,
    operator: &Operator,
    confirmation: Confirmation,
) -> Result<RecoveryCodes, OpsError> {
    let permit = operator.may(app, Action::MakeRecoveryCodes, Subject::default())?;
    let account = prepared(app, operator, &permit, confirmation.password.as_ref()).await?;
    if !account.has_totp {
        return Err(OpsError::TotpNotBegun);
    }
    let (codes, hashes) = recovery_codes();
    let id = account.id;
    permit
        .change_accounts(app, Facts::new(), move |connection| {
            account_rows::set_recovery_codes(connection, id, &hashes).map(Ok::<_, OpsError>)
        })
        .await??;
    Ok(codes)
}

fn recovery_codes() -> (RecoveryCodes, Vec<TokenHash>) {
    let codes: Vec<String> = (0..RECOVERY_CODES).map(|_| who::new_recovery_code()).collect();
    let hashes = codes.iter().map(|code| TokenHash::of(&who::plain(code))).collect();
    (RecoveryCodes { codes: codes.into_iter().map(Secret).collect() }, hashes)
}

fn account(app: &App, operator: &Operator) -> Result<Arc<Account>, OpsError> {
    app.accounts.get(operator.account_id()).ok_or(OpsError::WrongToken)
}

/// The own account, for somebody who may do all that it may.
fn own(app: &App, operator: &Operator) -> Result<Arc<Account>, OpsError> {
    let account = account(app, operator)?;
    operator.require(account.role)?;
    Ok(account)
}

/// The own account, once its password was given besides.
async fn prepared(
    app: &App,
    operator: &Operator,
    permit: &Permit<'_>,
    password: Option<&Secret>,
) -> Result<Arc<Account>, OpsError> {
    let account = own(app, operator)?;
    let confirmed = who::confirm(app, &account, password, operator.from()).await;
    permit.carry_out(app, async { Ok(confirmed?) }).await?;
    Ok(account)
}
