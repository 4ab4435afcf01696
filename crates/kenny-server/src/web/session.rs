//! Who is signed in: a random secret in a cookie, its hash in the database, and an account that still stands.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::{COOKIE, USER_AGENT};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::csrf::CsrfToken;
use super::error::WebError;
use super::next::{HOME, LocalPath};
use crate::accounts::{Account, AccountId};
use crate::app::App;
use crate::audit::{Entry, append};
use crate::auth::{self, TokenHash};
use crate::limits;
use crate::ops::{Face, Operator, Proof};
use crate::store::session_rows::{self, SessionRow};
use crate::store::{Right, Store, StoreError};

/// A browser that nobody used for so long is signed out.
const IDLE: SignedDuration = SignedDuration::from_hours(12);
/// After this time the password is asked for again in any case.
const LIFE: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How long a session goes on of which nothing is known.
const UNKNOWN_FOR: SignedDuration = SignedDuration::from_secs(10);
/// A use is noted at most this often.
const USE_NOTED: SignedDuration = SignedDuration::from_mins(1);
/// The most of a browser's own name that is kept.
const BROWSER_CHARACTERS: usize = 300;

/// Cookies of this server. Under HTTPS their names bind them to this very host (`__Host-`).
#[derive(Debug, Clone, Copy)]
pub enum Cookie {
    /// Of who is signed in.
    Session,
    /// Of who is about to sign in: it ties the form to the browser.
    Visitor,
}

impl Cookie {
    const fn name(self, secure: bool) -> &'static str {
        match (self, secure) {
            (Self::Session, true) => "__Host-kenny_session",
            (Self::Session, false) => "kenny_session",
            (Self::Visitor, true) => "__Host-kenny_visitor",
            (Self::Visitor, false) => "kenny_visitor",
        }
    }

    /// Its value in a request.
    pub fn read(self, headers: &HeaderMap, secure: bool) -> Option<&str> {
        headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(name, value)| *name == self.name(secure) && !value.is_empty())
            .map(|(_, value)| value)
    }

    /// The header that sets it until the browser is closed; the server ends it earlier.
    pub fn set(self, secret: &str, secure: bool) -> HeaderValue {
        self.header(&format!("{secret}; "), secure)
    }

    /// The header that removes it.
    pub fn remove(self, secure: bool) -> HeaderValue {
        self.header("; Max-Age=0; ", secure)
    }

    fn header(self, value: &str, secure: bool) -> HeaderValue {
        let (name, flag) = (self.name(secure), if secure { "; Secure" } else { "" });
        HeaderValue::try_from(format!("{name}={value}Path=/; HttpOnly; SameSite=Strict{flag}"))
            .expect("base64url is a header's value")
    }
}

/// By this, sessions begin and are looked up: nobody is known before.
struct Signing;

impl Right for Signing {}

/// Somebody who is signed in.
pub struct SignedIn {
    /// Who.
    pub account: Arc<Account>,
    /// To act.
    pub operator: Operator,
    /// Which session.
    pub session_id: String,
    /// What its forms carry.
    pub csrf: CsrfToken,
    /// Releases are signed by keys that this server does not have.
    pub releases_are_signed: bool,
}

impl FromRequestParts<Arc<App>> for SignedIn {
    type Rejection = WebError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, WebError> {
        let from = app.client(&parts.extensions, &parts.headers);
        if let Some(who) = Self::of(app, &parts.headers, from).await? {
            limits::prove(&parts.extensions);
            return Ok(who);
        }
        // What was posted is not repeated after the login.
        let path = parts.uri.path_and_query().map(axum::http::uri::PathAndQuery::as_str);
        let next = if parts.method == Method::GET { path } else { Some(HOME) };
        Err(WebError::NotSignedIn(LocalPath::or_home(next)))
    }
}

impl SignedIn {
    /// Whoever the cookie of a request belongs to.
    pub async fn of(
        app: &App,
        headers: &HeaderMap,
        from: Option<IpAddr>,
    ) -> Result<Option<Self>, StoreError> {
        let Some(secret) = Cookie::Session.read(headers, app.is_secure()) else { return Ok(None) };
        let Some(session) = find(app.store.by(&Signing), secret, Timestamp::now()).await? else {
            return Ok(None);
        };
        let account = app
            .accounts
            .get(session.account_id)
            .filter(|account| account.stands_since(session.generation));
        Ok(account.map(|account| Self {
            operator: Operator::of_account(
                &account,
                Proof::Session(session.id.clone()),
                Face::Web,
                from,
            ),
            account,
            session_id: session.id,
            csrf: CsrfToken::of(secret),
            releases_are_signed: app.trust.is_signed(),
        }))
    }
}

/// The session with this secret, unless its time is over. Notes that it was used.
async fn find(
    store: &Store,
    secret: &str,
    now: Timestamp,
) -> Result<Option<SessionRow>, StoreError> {
    let hash = TokenHash::of(secret);
    store
        .run(move |connection| {
            let Some(session) = session_rows::session_by_secret(connection, hash)? else {
                return Ok(None);
            };
            if has_ended(&session, now) {
                session_rows::delete_session(connection, session.account_id, &session.id)?;
                return Ok(None);
            }
            if now.duration_since(session.last_used_at) >= USE_NOTED {
                session_rows::touch_session(connection, &session.id, now)?;
            }
            Ok(Some(session))
        })
        .await
}

/// Whether nobody may use the session any more.
pub fn has_ended(session: &SessionRow, now: Timestamp) -> bool {
    now >= ends_at(session)
}

/// When the session ends by itself.
fn ends_at(session: &SessionRow) -> Timestamp {
    let ends = [session.created_at + LIFE, session.last_used_at + IDLE];
    ends.into_iter().min().expect("there are two")
}

/// When a session of this account ends by itself; none when it is over. A database that does not answer ends nothing:
/// it is asked again.
pub async fn end_of(app: &App, account: AccountId, id: &str) -> Option<Timestamp> {
    let read =
        move |connection: &rusqlite::Connection| session_rows::sessions_of(connection, account);
    match app.store.by(&Signing).run(read).await {
        Ok(sessions) => sessions.iter().find(|session| session.id == id).map(ends_at),
        Err(error) => {
            tracing::warn!(%error, "whether a session goes on is not known");
            Some(Timestamp::now() + UNKNOWN_FOR)
        }
    }
}

/// Signs in: a new session with a new secret, in place of the one that the browser may have had. Returns the secret.
pub async fn begin(
    app: &App,
    account: &Account,
    headers: &HeaderMap,
    from: Option<IpAddr>,
    record: Entry,
    now: Timestamp,
) -> Result<String, StoreError> {
    let secret = auth::new_token("");
    let hash = TokenHash::of(&secret);
    let old = Cookie::Session.read(headers, app.is_secure()).map(TokenHash::of);
    let session = SessionRow {
        id: Uuid::new_v4().to_string(),
        account_id: account.id,
        generation: account.generation,
        created_at: now,
        last_used_at: now,
        browser: browser(headers),
        address: from.map(|address| address.to_string()),
    };
    app.store
        .by(&Signing)
        .run(move |connection| {
            if let Some(old) = old
                && let Some(old) = session_rows::session_by_secret(connection, old)?
            {
                session_rows::delete_session(connection, old.account_id, &old.id)?;
            }
            for other in session_rows::sessions_of(connection, session.account_id)? {
                if has_ended(&other, now) || other.generation != session.generation {
                    session_rows::delete_session(connection, other.account_id, &other.id)?;
                }
            }
            session_rows::insert_session(connection, &session, hash)?;
            append(connection, &record).map(drop)
        })
        .await?;
    // The browser's session before this one is over.
    app.proofs_ended.send_replace(());
    Ok(secret)
}

fn browser(headers: &HeaderMap) -> String {
    let text = headers.get(USER_AGENT).map(|text| String::from_utf8_lossy(text.as_bytes()));
    text.unwrap_or_default().chars().take(BROWSER_CHARACTERS).collect()
}

/// Somebody who is about to sign in, known by nothing but a cookie.
pub struct Visitor {
    secret: String,
    is_new: bool,
}

impl Visitor {
    /// The visitor of this request; a new one where it has no cookie.
    pub fn of(app: &App, headers: &HeaderMap) -> Self {
        match Cookie::Visitor.read(headers, app.is_secure()) {
            Some(secret) => Self { secret: secret.to_owned(), is_new: false },
            None => Self { secret: auth::new_token(""), is_new: true },
        }
    }

    /// What its forms carry.
    pub fn csrf(&self) -> CsrfToken {
        CsrfToken::of(&self.secret)
    }

    /// Where what it began is kept.
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(&self.secret)
    }

    /// The header that makes the browser remember a new one.
    pub fn cookie(&self, app: &App) -> Option<HeaderValue> {
        self.is_new.then(|| Cookie::Visitor.set(&self.secret, app.is_secure()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(created_h: i64, used_h: i64) -> SessionRow {
        let at = |hours: i64| Timestamp::from_second(1_800_000_000 + hours * 3600).unwrap();
        SessionRow {
            id: String::new(),
            account_id: AccountId(1),
            generation: 0,
            created_at: at(created_h),
            last_used_at: at(used_h),
            browser: String::new(),
            address: None,
        }
    }

    #[test]
    fn a_session_ends_unused_and_ends_anyway() {
        let at = |hours: i64| Timestamp::from_second(1_800_000_000 + hours * 3600).unwrap();
        assert!(!has_ended(&session(0, 0), at(11)));
        assert!(has_ended(&session(0, 0), at(12)));
        assert!(!has_ended(&session(0, 160), at(167)));
        assert!(has_ended(&session(0, 167), at(168)));
    }

    #[test]
    fn cookies_are_bound_to_the_host_and_out_of_reach() {
        assert_eq!(
            Cookie::Session.set("s", true),
            "__Host-kenny_session=s; Path=/; HttpOnly; SameSite=Strict; Secure"
        );
        assert_eq!(
            Cookie::Visitor.remove(false),
            "kenny_visitor=; Max-Age=0; Path=/; HttpOnly; SameSite=Strict"
        );
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, "a=b; xkenny_session=no; kenny_session=yes=; c".parse().unwrap());
        assert_eq!(Cookie::Session.read(&headers, false), Some("yes="));
        assert_eq!(Cookie::Session.read(&headers, true), None);
    }
}
