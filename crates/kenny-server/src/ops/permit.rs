//! The one guard: whether an operator's role reaches for an action, and with it the only way to a recorded change or call.
//!
//! An op names its [`Action`] and gets a [`Permit`], which nothing else makes. An agent of the fleet, a change of the
//! database and a call to a PC are had through a permit, so that an op which forgot to ask has nothing to act on.

use std::sync::Arc;

use kenny_proto::audit::AuditOutcome;
use rusqlite::Connection;

use super::{Action, Operator, OpsError};
use crate::app::App;
use crate::audit::{Call, Entry, Facts, Subject, Who, append};
use crate::fleet::AgentEntry;
use crate::store::{Right, Store, StoreError};

/// The right of one operator to one action, now.
#[derive(Debug)]
pub struct Permit<'a> {
    operator: &'a Operator,
    action: Action,
    subject: Subject,
}

/// The right that a permit carries.
struct Permitted;

impl Right for Permitted {}

impl Operator {
    /// Whether this operator may do it. A refusal is recorded.
    pub fn may<'a>(
        &'a self,
        app: &App,
        action: Action,
        subject: Subject,
    ) -> Result<Permit<'a>, OpsError> {
        if self.role() >= action.needs() {
            return Ok(Permit { operator: self, action, subject });
        }
        let error = OpsError::Forbidden {
            needed: action.needs(),
            role: self.role(),
            account: self.account().to_owned(),
        };
        app.audit.denied(self.who(), action.name(), subject, &error.to_string());
        Err(error)
    }

    fn who(&self) -> Who {
        Who {
            account: Some(self.account().to_owned()),
            role: Some(self.role()),
            face: self.face().as_str(),
            from: self.from(),
        }
    }
}

impl Permit<'_> {
    /// The agent of this name: whoever has no permit has none.
    pub fn agent(&self, app: &App, id: &str) -> Result<Arc<AgentEntry>, OpsError> {
        app.fleet.find(id).ok_or_else(|| OpsError::UnknownAgent(id.to_owned()))
    }

    /// Whose it is.
    pub fn account(&self) -> &str {
        self.operator.account()
    }

    /// Through which face, for logs.
    pub const fn face(&self) -> &'static str {
        self.operator.face().as_str()
    }

    /// Reads the database.
    pub async fn read<T, F>(&self, app: &App, look: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.store(app).run(look).await
    }

    /// The database, for who writes the [`Self::row`] of a change in its transaction.
    pub const fn store<'app>(&self, app: &'app App) -> &'app Store {
        app.store.by(&Permitted)
    }

    /// Makes a change that may refuse (the inner error), and writes who made it where it did not.
    pub async fn change_unless<T, E, F>(
        &self,
        app: &App,
        facts: Facts,
        work: F,
    ) -> Result<Result<T, E>, StoreError>
    where
        T: Send + 'static,
        E: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<Result<T, E>> + Send + 'static,
    {
        self.store(app).run(self.recorded(facts, work)).await
    }

    /// The same, with accounts and tokens in memory following.
    pub async fn change_accounts<T, E, F>(
        &self,
        app: &App,
        facts: Facts,
        work: F,
    ) -> Result<Result<T, E>, StoreError>
    where
        T: Send + 'static,
        E: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<Result<T, E>> + Send + 'static,
    {
        app.accounts.change(&Permitted, self.recorded(facts, work)).await
    }

    /// Makes a change and writes who made it, in one transaction.
    pub async fn change<T, F>(&self, app: &App, facts: Facts, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        app.audit.change(self.entry(AuditOutcome::Done).with(facts), work).await
    }

    /// The row of a change that is made, for whoever makes it in a transaction of its own.
    pub fn row(&self, facts: Facts) -> Entry {
        self.entry(AuditOutcome::Done).with(facts)
    }

    /// A change that may refuse (the inner error), with its row where it did not.
    fn recorded<T, E>(
        &self,
        facts: Facts,
        work: impl FnOnce(&Connection) -> rusqlite::Result<Result<T, E>> + Send + 'static,
    ) -> impl FnOnce(&Connection) -> rusqlite::Result<Result<T, E>> + Send + 'static {
        let row = self.row(facts);
        move |connection: &Connection| {
            let made = work(connection)?;
            if made.is_ok() {
                append(connection, &row)?;
            }
            Ok(made)
        }
    }

    /// Carries a changing action out, and writes down where the server refused it.
    pub async fn carry_out<T>(
        &self,
        app: &App,
        action: impl Future<Output = Result<T, OpsError>>,
    ) -> Result<T, OpsError> {
        let result = action.await;
        match &result {
            Ok(_) | Err(OpsError::Store(_) | OpsError::Forbidden { .. }) => {}
            Err(error) => self.refused(app, error).await,
        }
        result
    }

    /// Writes down that the server refused it.
    pub async fn refused(&self, app: &App, error: &OpsError) {
        let facts = Facts::from([
            ("code".to_owned(), error.facts().0.to_owned()),
            ("why".to_owned(), crate::audit::cut(&error.to_string())),
        ]);
        let noted = app.audit.note(self.entry(AuditOutcome::Refused).with(facts)).await;
        if let Err(error) = noted {
            tracing::warn!(%error, "a refusal is not in the audit log");
        }
    }

    /// Before a call of this action is sent to an agent.
    pub async fn call<'a>(
        &self,
        app: &'a App,
        facts: Facts,
        changes: bool,
    ) -> Result<Call<'a>, StoreError> {
        app.audit.begin(self.entry(AuditOutcome::Sent).with(facts), changes).await
    }

    fn entry(&self, outcome: AuditOutcome) -> Entry {
        Entry::now(self.operator.who(), self.action.name(), self.subject.clone(), outcome)
    }
}
