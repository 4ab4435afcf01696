//! The first owner: whoever opens the link that the server printed at its start chooses a name and a password.
//!
//! The link is kept in memory alone. It is good once, for an hour, and only while no account has a password: whoever reads
//! the server's log a day later finds nothing in it.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kenny_proto::audit::AuditOutcome;
use kenny_proto::{AccountName, Role, Secret};
use rusqlite::Connection;

use super::{Face, OpsError};
use crate::accounts::{self, Account, Directory};
use crate::app::App;
use crate::audit::{Entry, Subject, Who, append};
use crate::auth::{TokenHash, new_token};
use crate::store::{Right, account_rows};

/// Where the page is; the code follows.
pub const PATH: &str = "/setup";

/// Enough to get from the console to a browser.
const LIFE: Duration = Duration::from_hours(1);
/// What it is called in the audit log; nobody needs a permit for it.
const ACTION: &str = "account.setup";

/// The link of this start, while there is one.
#[derive(Debug, Default)]
pub struct Setup(Mutex<Option<(TokenHash, Instant)>>);

impl Setup {
    /// A new link, unless an account has a password; its code.
    pub fn begin(directory: &Directory, now: Instant) -> (Self, Option<String>) {
        if directory.accounts().iter().any(|account| account.has_password) {
            return (Self::default(), None);
        }
        let code = new_token("");
        let kept = (TokenHash::of(&code), now);
        (Self(Mutex::new(Some(kept))), Some(code))
    }

    fn has(&self, code: &str, now: Instant) -> bool {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.is_some_and(|(hash, since)| hash.matches(code) && now.duration_since(since) < LIFE)
    }

    fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// The link for the console. A server that listens everywhere is reached by its machine's own name, among others.
pub fn link(app: &App, code: &str) -> String {
    let base = match &app.public_url {
        Some(url) => url.as_str().trim_end_matches('/').to_owned(),
        None if app.address.ip().is_unspecified() => {
            let scheme = if app.tls { "https" } else { "http" };
            format!("{scheme}://localhost:{}", app.address.port())
        }
        None => app.own_url(),
    };
    format!("{base}{PATH}/{code}")
}

/// Whether this code opens the page now.
pub fn is_open(app: &App, code: &str, now: Instant) -> bool {
    app.setup.has(code, now) && !app.accounts.all().iter().any(|account| account.has_password)
}

/// By this, whoever has the link makes the first owner.
struct SettingUp;

impl Right for SettingUp {}

/// Makes the account of this name an owner with this password. The account that the first start made is another one,
/// unless it is named; its token goes on working.
pub async fn create_owner(
    app: &App,
    code: &str,
    name: &str,
    password: Secret,
    from: Option<IpAddr>,
) -> Result<Arc<Account>, OpsError> {
    if !is_open(app, code, Instant::now()) {
        return Err(OpsError::SetupOver);
    }
    let name: AccountName = name.parse()?;
    accounts::check_new(password.expose(), &name)?;
    let hash = app.accounts.hash(password.0).await?;
    let who = Who::stranger(Face::Web.as_str(), from);
    let row = Entry::now(who, ACTION, Subject::named(name.as_str()), AuditOutcome::Done);
    let wanted = name.clone();
    let made = move |connection: &Connection| {
        // The only word that counts: two that came at the same moment are one after the other here.
        if account_rows::accounts(connection)?.iter().any(|account| account.has_password) {
            return Ok(Err(OpsError::SetupOver));
        }
        let id = match account_rows::find_account(connection, wanted.as_str())? {
            Some(id) => {
                account_rows::set_role(connection, id, Role::Owner)?;
                account_rows::set_disabled(connection, id, false)?;
                id
            }
            None => {
                account_rows::insert_account(connection, &wanted, Role::Owner, Timestamp::now())?
            }
        };
        account_rows::set_password(connection, id, &hash)?;
        append(connection, &row)?;
        Ok(Ok(id))
    };
    let id = app.accounts.change(&SettingUp, made).await??;
    app.setup.forget();
    tracing::info!(account = %name, "the first owner was set up");
    app.accounts.get(id).ok_or_else(|| OpsError::UnknownAccount(name.to_string()))
}
