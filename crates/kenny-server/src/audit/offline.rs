//! Checking the log in a data folder, without a server: with a running one it changes nothing.

use std::path::{Path, PathBuf};

use kenny_core::audit::{AuditChain, AuditProblem};
use kenny_proto::audit::{AUDIT_PAGE_ROWS, AuditAnchor};
use rusqlite::{Connection, OpenFlags};

use super::rows::{Filter, head, page};
use crate::auth::sha256;
use crate::store::DATABASE;

/// Why a log was not found whole.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// There is nothing to read.
    #[error("{} cannot be read; --data-dir must name the folder of a kenny-server", .path.display())]
    Unreadable {
        /// The database.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// The log is not what it was.
    #[error("the audit log is not whole: {0}")]
    Broken(#[from] AuditProblem),
}

/// Follows the whole chain; the end of a log that is whole.
pub fn verify(data_dir: &Path, known: Vec<AuditAnchor>) -> Result<AuditAnchor, OfflineError> {
    let path = data_dir.join(DATABASE);
    let unreadable = |source| OfflineError::Unreadable { path: path.clone(), source };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(&path, flags).map_err(unreadable)?;
    // One view of the database from the first row to the head.
    let view = connection.transaction().map_err(unreadable)?;
    let mut chain = AuditChain::new(sha256, known);
    loop {
        let filter = Filter {
            after: Some(chain.end().sequence),
            limit: Some(AUDIT_PAGE_ROWS),
            ..Filter::default()
        };
        let rows = page(&view, &filter).map_err(unreadable)?.rows;
        if rows.is_empty() {
            break;
        }
        for row in &rows {
            chain.follow(row)?;
        }
    }
    Ok(chain.finish(head(&view).map_err(unreadable)?)?)
}
