//! What proves the own account: password, second factor, recovery codes. What ends the account's sessions gives this
//! browser a new one.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Redirect, Response};
use jiff::Timestamp;
use kenny_proto::Secret;
use kenny_proto::accounts::{Confirmation, NewPassword, RecoveryCodes, TotpCode, TotpEnrolment};
use maud::{Markup, html};

use super::PATH;
use crate::app::App;
use crate::ops::me::let_in;
use crate::ops::{self, Face, OpsError};
use crate::web::components::{count, csrf_field, problem};
use crate::web::error::{WebError, sentence};
use crate::web::fields::Fields;
use crate::web::forms::SignedInForm;
use crate::web::layout::{Page, Place, card};
use crate::web::qr;
use crate::web::session::{self, Cookie, SignedIn};

/// The form for a new password.
pub fn password_form(who: &SignedIn, wrong: Option<&str>) -> Markup {
    html! {
        section aria-labelledby="password-title" {
            h2 #password-title { "Password" }
            form.panel method="post" action="/account/password" {
                @if let Some(words) = wrong { (problem(words)) }
                (csrf_field(&who.csrf))
                // Password managers want to know whose it is.
                input type="hidden" name="username" value=(who.account.name.as_str()) autocomplete="username";
                @if who.account.has_password {
                    label for="current" { "Password so far" }
                    input #current type="password" name="current" autocomplete="current-password" maxlength="1024" required;
                }
                label for="new" { "New password" }
                input #new type="password" name="new" autocomplete="new-password" minlength="12" maxlength="1024" required
                    aria-describedby="new-hint";
                p.hint #new-hint { "At least 12 characters. Your other browsers are signed out." }
                p.actions { button type="submit" { "Change the password" } }
            }
        }
    }
}

/// How the second factor stands.
pub fn second_factor(who: &SignedIn) -> Markup {
    let account = &who.account;
    html! {
        section aria-labelledby="totp-title" {
            h2 #totp-title { "Second factor" }
            @if !account.has_password {
                p.hint { "It comes on top of a password. Set one first." }
            } @else if account.has_totp {
                div.panel {
                    p { "On: signing in asks for a code of your authenticator app besides." }
                    p.hint { (count(account.recovery_codes_left as usize, "recovery code is", "recovery codes are")) " left." }
                    (with_password(who, "/account/recovery-codes", "codes", "Make new recovery codes", "", "Make them"))
                    (with_password(who, "/account/totp/end", "end", "Switch it off", "danger", "Switch it off"))
                }
            } @else {
                div.panel {
                    p { "Off. With it, whoever learns your password cannot sign in with that alone." }
                    (with_password(who, "/account/totp", "begin", "Switch it on", "primary", "Go on"))
                }
            }
        }
    }
}

fn with_password(
    who: &SignedIn,
    path: &str,
    id: &str,
    title: &str,
    class: &str,
    button: &str,
) -> Markup {
    let field = format!("password-{id}");
    html! {
        details {
            summary { (title) }
            form method="post" action=(path) {
                (csrf_field(&who.csrf))
                label for=(field) { "Your password" }
                input id=(field) type="password" name="password" autocomplete="current-password" maxlength="1024" required;
                p.actions { button.(class) type="submit" { (button) } }
            }
        }
    }
}

fn secret(fields: &Fields, name: &str) -> Option<Secret> {
    fields.get(name).map(|text| Secret(text.to_owned()))
}

fn confirmation(fields: &Fields) -> Confirmation {
    Confirmation { password: secret(fields, "password") }
}

fn refused(error: OpsError) -> WebError {
    WebError::refused(error, PATH, "your account")
}

/// `POST /account/password`.
pub async fn set_password(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    form: SignedInForm,
) -> Result<Response, WebError> {
    let new = secret(&form.fields, "new").unwrap_or_else(|| Secret(String::new()));
    let wanted = NewPassword { current: secret(&form.fields, "current"), new };
    ops::me::set_password(&app, &form.who.operator, wanted).await.map_err(refused)?;
    stay(&app, &form.who, &headers).await
}

/// Back to the account with a session of its generation now.
async fn stay(app: &App, who: &SignedIn, headers: &HeaderMap) -> Result<Response, WebError> {
    let mut response = Redirect::to(PATH).into_response();
    if let Some(account) = app.accounts.get(who.account.id) {
        let from = who.operator.from();
        let record = let_in(&account, Face::Web, from);
        let secret = session::begin(app, &account, headers, from, record, Timestamp::now()).await?;
        let cookie = Cookie::Session.set(&secret, app.is_secure());
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    Ok(response)
}

/// `POST /account/totp`.
pub async fn begin_totp(
    State(app): State<Arc<App>>,
    form: SignedInForm,
) -> Result<Response, WebError> {
    let begun = ops::me::begin_totp(&app, &form.who.operator, confirmation(&form.fields)).await;
    Ok(totp_page(&form.who, &begun.map_err(refused)?, None))
}

fn totp_page(who: &SignedIn, enrolment: &TotpEnrolment, wrong: Option<&OpsError>) -> Response {
    let (secret, uri) = (enrolment.secret.expose(), enrolment.uri.expose());
    let content = html! {
        p { "Have your authenticator app read this, then type the code that it shows." }
        (qr::code(uri, "The secret of the second factor as a QR code"))
        details { summary { "The app cannot read it?" } p { "Type the secret: " code.breaks { (secret) } } }
        @if let Some(error) = wrong { (problem(&sentence(&error.to_string()))) }
        form method="post" action="/account/totp/confirm" {
            (csrf_field(&who.csrf))
            // Kept with the page, so that a mistyped code does not begin everything anew.
            input type="hidden" name="secret" value=(secret);
            input type="hidden" name="uri" value=(uri);
            label for="code" { "Code" }
            input #code type="text" name="code" inputmode="numeric" autocomplete="one-time-code" maxlength="16" required autofocus;
            p.actions {
                button.primary type="submit" { "Switch it on" }
                a.button href=(PATH) { "Not now" }
            }
        }
    };
    let status = if wrong.is_some() { StatusCode::FORBIDDEN } else { StatusCode::OK };
    Page::new("Second factor")
        .of(who)
        .at(Place::Account)
        .with_status(status)
        .show(&card("Second factor", &content))
}

/// `POST /account/totp/confirm`.
pub async fn confirm_totp(
    State(app): State<Arc<App>>,
    form: SignedInForm,
) -> Result<Response, WebError> {
    let SignedInForm { who, fields } = form;
    let code = TotpCode { code: secret(&fields, "code").unwrap_or_else(|| Secret(String::new())) };
    match ops::me::confirm_totp(&app, &who.operator, code, Timestamp::now()).await {
        Ok(codes) => Ok(codes_page(&who, &codes)),
        Err(error @ OpsError::Login(_)) => {
            let enrolment = secret(&fields, "secret").zip(secret(&fields, "uri"));
            let (secret, uri) = enrolment.ok_or(WebError::Unreadable)?;
            Ok(totp_page(&who, &TotpEnrolment { secret, uri }, Some(&error)))
        }
        Err(error) => Err(refused(error)),
    }
}

fn codes_page(who: &SignedIn, codes: &RecoveryCodes) -> Response {
    let content = html! {
        p { "Each of these signs you in once where the app is lost. They are shown this once: print them, or keep them where your passwords are." }
        pre.codes #codes tabindex="0" { @for code in &codes.codes { (code.expose()) "\n" } }
        p.actions {
            button type="button" data-copy="#codes" { "Copy" }
            a.button.primary href=(PATH) { "I have them" }
        }
    };
    Page::new("Recovery codes").of(who).at(Place::Account).show(&card("Recovery codes", &content))
}

/// `POST /account/recovery-codes`.
pub async fn renew_codes(
    State(app): State<Arc<App>>,
    form: SignedInForm,
) -> Result<Response, WebError> {
    let codes =
        ops::me::renew_recovery_codes(&app, &form.who.operator, confirmation(&form.fields)).await;
    Ok(codes_page(&form.who, &codes.map_err(refused)?))
}

/// `POST /account/totp/end`.
pub async fn end_totp(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    form: SignedInForm,
) -> Result<Response, WebError> {
    let ended = ops::me::end_totp(&app, &form.who.operator, confirmation(&form.fields)).await;
    ended.map_err(refused)?;
    stay(&app, &form.who, &headers).await
}
