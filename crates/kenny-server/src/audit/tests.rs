//! The log in a database.

use kenny_core::audit::{AuditProblem, check};
use kenny_proto::audit::AuditRow;
use rusqlite::Connection;

use super::*;
use crate::auth::sha256;
use crate::store::{DATABASE, DataDir};
use crate::testing::TempDir;

fn entry(action: &'static str) -> Entry {
    let who = Who {
        account: Some("anna".to_owned()),
        role: Some(Role::Operator),
        face: "rest",
        from: Some([192, 0, 2, 1].into()),
    };
    Entry::now(who, action, Subject::agent("pc-1").and("1.2.3"), AuditOutcome::Done)
        .with(Facts::from([("x".to_owned(), "y".to_owned())]))
}

async fn log(folder: &TempDir, rows: usize) {
    let data_dir = DataDir::open(folder.path()).unwrap();
    let store = Store::open(&data_dir, std::sync::Arc::default()).unwrap();
    let audit = Audit::new(store.clone());
    for _ in 0..rows {
        audit.change(entry("agent.create"), |_| Ok(())).await.unwrap();
    }
    store.close().await;
}

fn tamper(folder: &TempDir, sql: &str) -> rusqlite::Result<()> {
    Connection::open(folder.path().join(DATABASE)).unwrap().execute_batch(sql)
}

const WITHOUT_TRIGGERS: &str = "DROP TRIGGER audit_is_never_changed; DROP TRIGGER audit_is_never_deleted; \
                                DROP TRIGGER audit_only_grows; ";

#[tokio::test]
async fn a_row_is_neither_changed_nor_deleted_nor_replaced() {
    let folder = TempDir::new();
    log(&folder, 3).await;
    for attempt in [
        "UPDATE audit SET account = 'otto' WHERE sequence = 2",
        "DELETE FROM audit WHERE sequence = 3",
        "DELETE FROM audit",
        "INSERT OR REPLACE INTO audit SELECT * FROM audit WHERE sequence = 2",
        "REPLACE INTO audit SELECT 1, at, 'otto', role, face, from_address, action, agent_id, subject, outcome, call, facts, \
         previous, hash FROM audit WHERE sequence = 1",
    ] {
        let error = tamper(&folder, attempt).unwrap_err().to_string();
        assert!(error.contains("append-only"), "{attempt}: {error}");
    }
    assert_eq!(verify_offline(folder.path(), Vec::new()).unwrap().sequence, 3);
}

#[tokio::test]
async fn whoever_writes_to_the_file_past_the_server_is_found() {
    for (change, found) in [
        ("UPDATE audit SET account = 'otto' WHERE sequence = 2", "row 2 was changed"),
        ("UPDATE audit SET facts = '{\"x\":\"z\"}' WHERE sequence = 4", "row 4 was changed"),
        ("UPDATE audit SET outcome = 'denied' WHERE sequence = 1", "row 1 was changed"),
        ("DELETE FROM audit WHERE sequence = 2", "row 2 is missing"),
        ("DELETE FROM audit WHERE sequence > 3", "its end was cut off"),
        ("DELETE FROM audit", "its end was cut off"),
        (
            "UPDATE audit SET sequence = 99 WHERE sequence = 2; UPDATE audit SET sequence = 2 WHERE sequence = 3; \
             UPDATE audit SET sequence = 3 WHERE sequence = 99",
            "row 2 was changed",
        ),
        (
            "DELETE FROM settings WHERE name = 'audit_head'; DELETE FROM audit WHERE sequence = 1",
            "row 1 is missing",
        ),
    ] {
        let folder = TempDir::new();
        log(&folder, 5).await;
        tamper(&folder, &format!("{WITHOUT_TRIGGERS}{change}")).unwrap();
        let error = verify_offline(folder.path(), Vec::new()).unwrap_err().to_string();
        assert!(error.contains(found), "{change}: {error}");
    }
}

#[tokio::test]
async fn an_anchor_kept_elsewhere_finds_an_end_that_was_cut_off_with_its_head() {
    let folder = TempDir::new();
    log(&folder, 5).await;
    let anchor = verify_offline(folder.path(), Vec::new()).unwrap();
    tamper(
        &folder,
        &format!(
            "{WITHOUT_TRIGGERS} DELETE FROM audit WHERE sequence > 3;
             UPDATE settings SET value = (SELECT sequence || ':' || hash FROM audit WHERE sequence = 3)
             WHERE name = 'audit_head'"
        ),
    )
    .unwrap();
    assert_eq!(verify_offline(folder.path(), Vec::new()).unwrap().sequence, 3, "nothing shows it");
    let error = verify_offline(folder.path(), vec![anchor]).unwrap_err().to_string();
    assert!(error.contains("ends with row 3, and it had 5 once"), "{error}");
}

#[tokio::test]
async fn an_end_that_was_cut_off_stays_visible_when_the_log_goes_on() {
    let folder = TempDir::new();
    log(&folder, 5).await;
    tamper(&folder, &format!("{WITHOUT_TRIGGERS}DELETE FROM audit WHERE sequence > 3")).unwrap();
    log(&folder, 2).await;
    let error = verify_offline(folder.path(), Vec::new()).unwrap_err().to_string();
    assert!(error.contains("row 4 is missing: after it comes row 6"), "{error}");
}

#[tokio::test]
async fn a_change_that_fails_leaves_no_row_and_a_row_that_fails_no_change() {
    let folder = TempDir::new();
    let data_dir = DataDir::open(folder.path()).unwrap();
    let store = Store::open(&data_dir, std::sync::Arc::default()).unwrap();
    let audit = Audit::new(store.clone());
    let insert = |name: &'static str| {
        move |connection: &Connection| {
            connection.execute("INSERT INTO settings VALUES (?1, '')", [name]).map(drop)
        }
    };
    audit.change(entry("a"), insert("one")).await.unwrap();
    audit.change(entry("a"), insert("one")).await.unwrap_err();
    assert_eq!(audit.head().await.unwrap().sequence, 1);
    let full = "CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'full'); END";
    store.run(move |connection| connection.execute_batch(full)).await.unwrap();
    audit.change(entry("a"), insert("two")).await.unwrap_err();
    let count = "SELECT count(*) FROM settings WHERE name IN ('one', 'two')";
    let kept: i64 = store
        .run(move |connection| connection.query_row(count, [], |row| row.get(0)))
        .await
        .unwrap();
    assert_eq!(kept, 1);
    store.close().await;
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_ends_as_unknown() {
    let folder = TempDir::new();
    let data_dir = DataDir::open(folder.path()).unwrap();
    let store = Store::open(&data_dir, std::sync::Arc::default()).unwrap();
    let audit = Audit::new(store.clone());
    let sent = || Entry { outcome: AuditOutcome::Sent, ..entry("tool.call") };
    let call = audit.begin(sent(), true).await.unwrap();
    call.end(AuditOutcome::Ok, Facts::new()).await;
    drop(audit.begin(sent(), false).await.unwrap());
    let page = store.run(|connection| page(connection, &Filter::default())).await.unwrap();
    let told: Vec<(u64, AuditOutcome)> =
        page.rows.iter().map(|row| (row.sequence, row.outcome)).collect();
    let expected = [
        (4, AuditOutcome::Unknown),
        (3, AuditOutcome::Sent),
        (2, AuditOutcome::Ok),
        (1, AuditOutcome::Sent),
    ];
    assert_eq!(told, expected);
    assert_eq!(page.rows[0].call, page.rows[1].call);
    assert_ne!(page.rows[1].call, page.rows[2].call);
    store.close().await;
}

#[tokio::test]
async fn rows_that_wait_are_kept_by_a_clean_stop() {
    let folder = TempDir::new();
    let data_dir = DataDir::open(folder.path()).unwrap();
    let store = Store::open(&data_dir, std::sync::Arc::default()).unwrap();
    let audit = Audit::new(store.clone());
    for _ in 0..500 {
        audit.note(entry("x")).await.unwrap();
    }
    store.close().await;
    assert_eq!(verify_offline(folder.path(), Vec::new()).unwrap().sequence, 500);
}

#[tokio::test]
async fn an_export_out_of_order_is_found() {
    let folder = TempDir::new();
    log(&folder, 4).await;
    let connection = Connection::open(folder.path().join(DATABASE)).unwrap();
    let filter = Filter { after: Some(0), ..Filter::default() };
    let whole = page(&connection, &filter).unwrap();
    let rows: Vec<AuditRow> = whole.rows;
    assert_eq!(check(sha256, &rows, whole.head, Vec::new()), Ok(whole.head));
    let mut swapped = rows.clone();
    swapped.swap(1, 2);
    let problem = check(sha256, &swapped, whole.head, Vec::new());
    assert_eq!(problem, Err(AuditProblem::Missing { missing: 2, found: 3 }));
}

#[tokio::test]
async fn a_page_is_what_was_asked_for() {
    let folder = TempDir::new();
    log(&folder, 10).await;
    let connection = Connection::open(folder.path().join(DATABASE)).unwrap();
    let sequences = |filter: Filter| -> Vec<u64> {
        page(&connection, &filter).unwrap().rows.iter().map(|row| row.sequence).collect()
    };
    let of = || Filter { limit: Some(3), ..Filter::default() };
    assert_eq!(sequences(of()), [10, 9, 8]);
    assert_eq!(sequences(Filter { before: Some(8), ..of() }), [7, 6, 5]);
    assert_eq!(sequences(Filter { after: Some(2), ..of() }), [3, 4, 5]);
    let agent = |id: &str| Filter { agent: Some(id.to_owned()), ..of() };
    assert_eq!((sequences(agent("pc-1")).len(), sequences(agent("pc-2")).len()), (3, 0));
    let action = |name: &str| Filter { action: Some(name.to_owned()), ..of() };
    assert_eq!(sequences(action("agent.")).len(), 3);
    assert_eq!(sequences(action("agent")).len(), 0);
    assert_eq!(sequences(action("agent.create")).len(), 3);
    let account = |name: &str| Filter { account: Some(name.to_owned()), ..of() };
    assert_eq!((sequences(account("anna")).len(), sequences(account("otto")).len()), (3, 0));
    let hour = jiff::SignedDuration::from_hours(1);
    let now = Timestamp::now();
    assert_eq!(sequences(Filter { since: Some(now + hour), ..of() }).len(), 0);
    assert_eq!(sequences(Filter { until: Some(now - hour), ..of() }).len(), 0);
    assert_eq!(
        sequences(Filter { since: Some(now - hour), until: Some(now + hour), ..of() }).len(),
        3
    );
}
