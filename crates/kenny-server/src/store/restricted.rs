//! The database as the parts of a running server see it: nobody reaches it without saying by which right.

use super::Store;

/// A right to the database. An operator's is a [`crate::ops::Permit`], which reads and changes for whoever asked for it;
/// a part of the server that acts for no operator has a type of its own, which only that part can name.
pub trait Right {}

/// The database behind a right.
///
/// An op that forgot to ask whether its operator may has nothing to read or change with:
///
/// ```compile_fail,E0599
/// use kenny_server::compile_time::App;
///
/// async fn forgot_to_ask(app: &App) {
///     let _ = app.store.check().await;
/// }
/// ```
///
/// With a permit it compiles:
///
/// ```
/// use kenny_server::compile_time::{App, Permit};
///
/// async fn asked(app: &App, permit: &Permit<'_>) {
///     let _ = permit.read(app, |_| Ok(())).await;
/// }
/// ```
///
/// Nobody but the guard makes a permit:
///
/// ```compile_fail,E0451
/// use kenny_server::compile_time::{Action, Operator, Permit};
///
/// fn made_up<'a>(operator: &'a Operator, action: Action) -> Permit<'a> {
///     Permit { operator, action, subject: Default::default() }
/// }
/// ```
#[derive(Debug)]
pub struct Restricted(Store);

impl Restricted {
    /// Behind it.
    pub const fn new(store: Store) -> Self {
        Self(store)
    }

    /// The database, by this right.
    pub const fn by(&self, _right: &impl Right) -> &Store {
        &self.0
    }
}

/// Tests look at what the server did.
#[cfg(test)]
impl std::ops::Deref for Restricted {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.0
    }
}
