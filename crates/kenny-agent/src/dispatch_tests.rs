//! What the dispatcher does around a tool: bounds, containment, abandonment.

use std::path::Path;

use serde_json::json;
use tokio::sync::watch;

use super::*;
use crate::cli::Identity;
use crate::layout::Layout;
use crate::policy::PolicyConfig;
use crate::run::Mode;
use crate::tools::telemetry::Telemetry;
use crate::tunnel::Outbox;

fn dispatcher(most: usize) -> Arc<Dispatcher> {
    let identity = Identity {
        server: Some("ws://127.0.0.1:1".to_owned()),
        agent_id: Some("pc".to_owned()),
        token: Some("secret".to_owned()),
        ..Identity::default()
    };
    let layout = Layout::with_state_dir("test", "/nowhere/kenny-agent".into(), "/nowhere".into());
    let config = identity.over(None).unwrap();
    let (_, stop) = watch::channel(false);
    let driver = Driver::new(layout, config, Mode::Foreground, Outbox::default(), stop);
    let policy = Policy::new(&PolicyConfig::default(), "/nowhere/pause.json".into());
    let telemetry = Telemetry::new(Timestamp::now(), false, false, policy.clone());
    let toolbox = Toolbox { telemetry };
    Arc::new(Dispatcher { most, ..Dispatcher::new(toolbox, driver, policy) })
}

fn request(tool: &str, args: Value) -> Request {
    let Value::Object(args) = args else { panic!("arguments are an object") };
    Request { id: RequestId::random(), tool: tool.to_owned(), args, deadline_ms: None }
}

fn script(script: &str) -> Request {
    request(tools::POWERSHELL_EXEC, json!({ "script": script, "timeout_s": 600 }))
}

async fn answer(answers: &mut mpsc::Receiver<Outbound>) -> Response {
    let Outbound { frame, sent } = answers.recv().await.unwrap();
    if let Some(sent) = sent {
        let _ = sent.send(());
    }
    let AgentFrame::Response(response) = frame else { panic!("no response: {frame:?}") };
    response
}

/// A script that runs until it is ended, and leaves the id of a grandchild in the file.
fn endless(pid_file: &Path) -> Request {
    script(&format!("sleep 600 & echo $! > {0}.new; mv {0}.new {0}; wait", pid_file.display()))
}

async fn pid(file: &Path) -> String {
    loop {
        if let Ok(pid) = fs_err::read_to_string(file) {
            return pid.trim().to_owned();
        }
        tokio::task::yield_now().await;
    }
}

async fn is_gone(pid: &str) {
    let path = format!("/proc/{pid}/stat");
    while fs_err::read_to_string(&path).is_ok_and(|stat| !stat.contains(") Z")) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn one_request_too_many_is_told_that_the_agent_is_busy() {
    let dispatcher = dispatcher(1);
    let (sender, mut answers) = mpsc::channel(8);
    dispatcher.attach(sender);
    dispatcher.start(script("sleep 600"));
    let second = script("echo too much");
    let id = second.id;
    dispatcher.start(second);
    let busy = answer(&mut answers).await;
    assert_eq!(busy.id, id);
    let error = busy.outcome.unwrap_err();
    assert_eq!(error.code, ErrorCode::ExecFailed);
    assert!(error.message.contains("busy"), "{}", error.message);
}

#[tokio::test]
async fn a_cancelled_request_is_not_answered_and_leaves_no_process() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let dispatcher = dispatcher(1);
    let (sender, mut answers) = mpsc::channel(8);
    dispatcher.attach(sender);
    let slow = endless(&file);
    let id = slow.id;
    dispatcher.start(slow);
    let pid = pid(&file).await;
    dispatcher.cancel(id);
    is_gone(&pid).await;
    // There is room for the next one, and its answer is the first.
    let next = script("echo next");
    let id = next.id;
    dispatcher.start(next);
    let next = answer(&mut answers).await;
    assert_eq!((next.id, next.outcome.unwrap()["stdout"].as_str()), (id, Some("next\n")));
}

#[tokio::test]
async fn what_runs_ends_with_the_connection() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let dispatcher = dispatcher(8);
    let (sender, mut answers) = mpsc::channel(8);
    dispatcher.attach(sender);
    dispatcher.start(endless(&file));
    let pid = pid(&file).await;
    dispatcher.detach();
    is_gone(&pid).await;
    assert!(answers.recv().await.is_none());
    assert!(dispatcher.inner().running.is_empty());
}

#[tokio::test]
async fn the_callers_deadline_ends_the_tool() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let dispatcher = dispatcher(8);
    let (sender, mut answers) = mpsc::channel(8);
    dispatcher.attach(sender);
    dispatcher.start(Request { deadline_ms: Some(300), ..endless(&file) });
    let late = answer(&mut answers).await;
    assert_eq!(late.outcome.unwrap_err().code, ErrorCode::Timeout);
    is_gone(&pid(&file).await).await;
}

#[tokio::test]
async fn a_panic_becomes_the_answer_of_that_request() {
    let outcome = contained(async { panic!("on purpose") }, None).await;
    assert_eq!(outcome.err().unwrap().code, ErrorCode::Internal);
}

#[tokio::test]
async fn what_cannot_be_done_is_said_by_its_code() {
    let dispatcher = dispatcher(8);
    let (sender, mut answers) = mpsc::channel(8);
    dispatcher.attach(sender);
    let cases = [
        ("no.such.tool", json!({}), ErrorCode::NotFound, "no.such.tool"),
        ("winget.list", json!({}), ErrorCode::Unsupported, "winget.list"),
        ("fs.read", json!({}), ErrorCode::BadArgs, "`path`"),
        ("powershell.exec", json!({ "script": 7 }), ErrorCode::BadArgs, "`script`"),
        (
            "agent.update",
            json!({ "version": "1", "url": "x", "sha256": "a".repeat(64) }),
            ErrorCode::BadArgs,
            "`version`",
        ),
    ];
    for (tool, args, code, named) in cases {
        dispatcher.start(request(tool, args));
        let error = answer(&mut answers).await.outcome.unwrap_err();
        assert_eq!(error.code, code, "{tool}: {error}");
        assert!(error.message.contains(named), "{tool}: {error}");
    }
}

#[tokio::test]
async fn what_this_pc_refuses_is_refused_before_its_arguments_are_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let pause = folder.path().join("pause.json");
    let mut dispatcher = dispatcher(8);
    let config = PolicyConfig { refused_tools: vec!["fs.*".to_owned()] };
    let inner = Arc::get_mut(&mut dispatcher).unwrap();
    inner.policy = Policy::new(&config, pause.clone());
    let (sender, mut answers) = mpsc::channel(8);
    dispatcher.attach(sender.clone());
    dispatcher.start(request("fs.read", json!({})));
    let error = answer(&mut answers).await.outcome.unwrap_err();
    assert_eq!(error.code, ErrorCode::Unsupported, "a server of 0.2 knows no other word");
    dispatcher.welcomed();
    dispatcher.start(request("fs.read", json!({})));
    let error = answer(&mut answers).await.outcome.unwrap_err();
    assert_eq!(error.code, ErrorCode::Refused);
    assert!(error.message.contains("never allows fs.read"), "{error}");

    fs_err::write(&pause, json!({"since": Timestamp::now(), "reason": "a talk"}).to_string())
        .unwrap();
    let update = json!({ "version": "1.2.3", "url": "x", "sha256": "a".repeat(64) });
    for (tool, args) in [
        ("powershell.exec", json!({ "script": "touch x" })),
        ("agent.update", update),
        ("agent.rollback", json!({})),
    ] {
        dispatcher.start(request(tool, args));
        let error = answer(&mut answers).await.outcome.unwrap_err();
        assert_eq!(error.code, ErrorCode::Paused, "{tool}");
        assert!(error.message.contains("(a talk)"), "{error}");
    }
    dispatcher.start(request("telemetry.collect", json!({"sections": ["policy"]})));
    let telemetry = answer(&mut answers).await.outcome.unwrap();
    assert!(telemetry.contains_key("policy"), "reading goes on: {telemetry:?}");

    fs_err::remove_file(&pause).unwrap();
    dispatcher.start(script("echo again"));
    let resumed = answer(&mut answers).await.outcome.unwrap();
    assert_eq!(resumed["stdout"], "again\n");
}
