//! Breaks of who is an operator: logins, sessions, forms, tokens.

use super::Mutant;
use super::judge::server;

const STORE_ACCOUNT_ROWS: &str = "crates/kenny-server/src/store/account_rows.rs";
const ACCOUNTS_THROTTLE: &str = "crates/kenny-server/src/accounts/throttle.rs";
const ACCOUNTS_LOGIN: &str = "crates/kenny-server/src/accounts/login.rs";
const WEB_SESSION: &str = "crates/kenny-server/src/web/session.rs";
const WEB_CSRF: &str = "crates/kenny-server/src/web/csrf.rs";
const WEB_FORMS: &str = "crates/kenny-server/src/web/forms.rs";
const ACCOUNTS: &str = "crates/kenny-server/src/accounts/mod.rs";
const OPS_SESSIONS: &str = "crates/kenny-server/src/ops/sessions.rs";
const OPS: &str = "crates/kenny-server/src/ops/mod.rs";
const OPS_EVENTS: &str = "crates/kenny-server/src/ops/events.rs";
const OPS_TOOLS: &str = "crates/kenny-server/src/ops/tools.rs";

/// The breaks.
pub const BREAKS: &[Mutant] = &[
    Mutant {
        name: "a code of the second factor is good twice",
        file: STORE_ACCOUNT_ROWS,
        find: "UPDATE accounts SET totp_last_step = ?2 WHERE id = ?1 AND totp_last_step < ?2",
        replace: "UPDATE accounts SET totp_last_step = ?2 WHERE id = ?1",
        judged_by: server("test(/accounts::|sessions::/)"),
    },
    Mutant {
        name: "logins are never throttled",
        file: ACCOUNTS_THROTTLE,
        find: "if !wait.is_zero() {",
        replace: "if false {",
        judged_by: server("test(/throttle::|sessions::failures/)"),
    },
    Mutant {
        name: "a disabled account logs in",
        file: ACCOUNTS_LOGIN,
        find: "if found.disabled {\n        return Err(LoginError::Disabled);",
        replace: "if false {\n        return Err(LoginError::Disabled);",
        judged_by: server("test(/accounts::|sessions::/)"),
    },
    Mutant {
        name: "the session's cookie is within scripts' reach",
        file: WEB_SESSION,
        find: "{name}={value}Path=/; HttpOnly; SameSite=Strict{flag}",
        replace: "{name}={value}Path=/; SameSite=Strict{flag}",
        judged_by: server("test(/session/)"),
    },
    Mutant {
        name: "the token of a form is not compared",
        file: WEB_CSRF,
        find: "verify_slices_are_equal(self.0.as_bytes(), posted.as_bytes()).is_ok()",
        replace: "!posted.is_empty()",
        judged_by: server("test(/csrf::|browser_safety::/)"),
    },
    Mutant {
        name: "forms of other pages are taken",
        file: WEB_FORMS,
        find: "if csrf::is_from_own_page(headers, app.public_url.as_ref()) {",
        replace: "if app.tls || !app.tls || headers.is_empty() {",
        judged_by: server("test(/browser_safety::/)"),
    },
    Mutant {
        name: "a session outlives a new password",
        file: ACCOUNTS,
        find: "!self.disabled && self.generation == generation",
        replace: "!self.disabled && generation >= 0",
        judged_by: server("test(/sessions::|permissions::|own_account::/)"),
    },
    Mutant {
        name: "a session never ends by time",
        file: WEB_SESSION,
        find: "if has_ended(&session, now) {",
        replace: "if false {",
        judged_by: server("test(/sessions::/)"),
    },
    Mutant {
        name: "somebody ends another account's session",
        file: OPS_SESSIONS,
        find: "session_rows::delete_session(connection, account, &id).map(drop)",
        replace: "connection.execute(\"DELETE FROM sessions WHERE id = ?1 AND account_id <> ?2 OR id = ?1\", rusqlite::params![id, account.0]).map(drop)",
        judged_by: server("test(/sessions::/)"),
    },
    Mutant {
        name: "a token may do all that its account may",
        file: OPS,
        find: "Self::of_account(&account, Proof::Token(token.id), face, from).limited_to(token.role)",
        replace: "Self::of_account(&account, Proof::Token(token.id), face, from)",
        judged_by: server("test(/tokens::|roles::/)"),
    },
    Mutant {
        name: "a token never ends",
        file: ACCOUNTS,
        find: "token.expires_at.filter(|end| *end <= now)",
        replace: "token.expires_at.filter(|end| *end <= now && now.as_second() < 0)",
        judged_by: server("test(/tokens::/)"),
    },
    Mutant {
        name: "a stream outlives what opened it",
        file: OPS_EVENTS,
        find: "operator.until_over(&app).await",
        replace: "{ drop(operator); drop(app); std::future::pending::<()>().await }",
        judged_by: server("test(/tokens::|streams::/)"),
    },
    Mutant {
        name: "a browser's stream outlives its session",
        file: OPS,
        find: "Proof::Session(id) => Some(session::end_of(app, account.id, id).await?),",
        replace: "Proof::Session(_) => None,",
        judged_by: server("test(/streams::/)"),
    },
    Mutant {
        name: "a program's call outlives its permission",
        file: OPS,
        find: "Proof::Permission(id) => grants::stands(app, account.id, id).await.then_some(None)?,",
        replace: "Proof::Permission(_) => None,",
        judged_by: server("test(/streams::/)"),
    },
    Mutant {
        name: "a call outlives the token that it came with",
        file: OPS_TOOLS,
        find: "() = operator.until_over(app) =>",
        replace: "() = std::future::pending::<()>() =>",
        judged_by: server("test(/streams::/)"),
    },
    Mutant {
        name: "the end of a session is not told",
        file: OPS_SESSIONS,
        find: "app.proofs_ended.send_replace(());",
        replace: "",
        judged_by: server("test(/streams::/)"),
    },
];
