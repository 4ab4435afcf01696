//! Breaks of who may do what, and of what the audit log has of it.

use super::Mutant;
use super::judge::{core, server};

const OPS_PERMIT: &str = "crates/kenny-server/src/ops/permit.rs";
const AUDIT_ROWS: &str = "crates/kenny-server/src/audit/rows.rs";
const CORE_AUDIT: &str = "crates/kenny-core/src/audit.rs";
const AUDIT_DENIALS: &str = "crates/kenny-server/src/audit/denials.rs";
const AUDIT: &str = "crates/kenny-server/src/audit/mod.rs";

/// The breaks.
pub const BREAKS: &[Mutant] = &[
    Mutant {
        name: "no role is asked for",
        file: OPS_PERMIT,
        find: "if self.role() >= action.needs() {",
        replace: "if true {",
        judged_by: server("test(/roles::/)"),
    },
    Mutant {
        name: "a refusal for want of a role is not recorded",
        file: OPS_PERMIT,
        find: "app.audit.denied(self.who(), action.name(), subject, &error.to_string());",
        replace: "let _ = subject;",
        judged_by: server("test(/audit::|roles::/)"),
    },
    Mutant {
        name: "a change is made without its row",
        file: OPS_PERMIT,
        find: "if made.is_ok() {",
        replace: "if false {",
        judged_by: server("test(/audit::|own_account::/)"),
    },
    Mutant {
        name: "what the server refused is not recorded",
        file: OPS_PERMIT,
        find: "Err(error) => self.refused(app, error).await,",
        replace: "Err(_) => {}",
        judged_by: server("test(/audit::/)"),
    },
    Mutant {
        name: "a row of the audit log does not name the one before",
        file: AUDIT_ROWS,
        find: "previous: end.hash,",
        replace: "previous: GENESIS,",
        judged_by: server("test(/audit::/)"),
    },
    Mutant {
        name: "the kept end of the audit log stays behind",
        file: AUDIT_ROWS,
        find: "set_setting(connection, HEAD, &row.anchor().to_string())?;",
        replace: "set_setting(connection, HEAD, &AuditAnchor { sequence: row.sequence, hash: GENESIS }.to_string())?;",
        judged_by: server("test(/audit::/)"),
    },
    Mutant {
        name: "a missing row of the audit log is not noticed",
        file: CORE_AUDIT,
        find: "if row.sequence > expected {",
        replace: "if false {",
        judged_by: core("test(/audit/)"),
    },
    Mutant {
        name: "a replaced row of the audit log is not noticed",
        file: CORE_AUDIT,
        find: "if row.previous != self.end.hash {",
        replace: "if false {",
        judged_by: core("test(/audit/)"),
    },
    Mutant {
        name: "denied attempts fill the audit log",
        file: AUDIT_DENIALS,
        find: "if of_one >= OF_ONE || window.of_all >= OF_ALL {",
        replace: "if OF_ALL < OF_ONE {",
        judged_by: server("test(/denials::|audit::/)"),
    },
    Mutant {
        name: "a call whose outcome nobody saw leaves nothing",
        file: AUDIT,
        find: "    fn drop(&mut self) {\n        let Some(row) = self.row.take() else { return };",
        replace: "    fn drop(&mut self) {\n        let Some(row) = self.row.take().filter(|_| false) else { return };",
        judged_by: server("test(/audit::/)"),
    },
];
