//! The binary as a script sees it: exit codes, and what goes where. A fake stands for the server's refusals; what the
//! real server answers is tested with the real server.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may panic as it does")]

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use kenny_proto::api::{Agent, AgentList, Event, Problem, Update, UpdateRequested, UpdateState};
use tokio::net::TcpListener;
use tokio::process::Command;
use uuid::Uuid;

const TOKEN: &str = "kenny_op_test";

struct Run {
    code: i32,
    stdout: String,
    stderr: String,
}

fn problem(status: u16, code: &str) -> Response {
    let problem = Problem {
        code: code.to_owned(),
        status,
        title: String::new(),
        detail: format!("this is {code}"),
    };
    let status = StatusCode::from_u16(status).unwrap();
    (
        status,
        [(header::CONTENT_TYPE, "application/problem+json")],
        serde_json::to_string(&problem).unwrap(),
    )
        .into_response()
}

async fn agents(headers: HeaderMap) -> Response {
    let expected = format!("Bearer {TOKEN}");
    if headers
        .get(header::AUTHORIZATION)
        .is_none_or(|value| value.as_bytes() != expected.as_bytes())
    {
        return problem(401, "unauthorized");
    }
    axum::Json(AgentList { agents: Vec::<Agent>::new() }).into_response()
}

async fn me(headers: HeaderMap) -> Response {
    let refused = agents(headers).await;
    if refused.status() != StatusCode::OK {
        return refused;
    }
    axum::Json(serde_json::json!({
        "account": {
            "name": "owner", "role": "owner", "disabled": false, "created_at": "2026-11-20T10:00:00Z",
            "has_password": false, "has_totp": false, "recovery_codes_left": 0, "tokens": 1
        },
        "role": "owner", "token": null, "from": null
    }))
    .into_response()
}

async fn tool(Path((agent, _tool)): Path<(String, String)>) -> Response {
    match agent.as_str() {
        "offline" => problem(409, "agent_offline"),
        "slow" => problem(504, "timeout"),
        "nobody" => problem(404, "not_found"),
        "picky" => problem(400, "bad_args"),
        "failing" => r#"{"ok":false,"error":{"code":"exec_failed","message":"it broke"},"duration_ms":1}"#.into_response(),
        _ => r#"{"ok":true,"result":{"stdout":"out\n","stderr":"err\n","exit_code":3},"duration_ms":1}"#.into_response(),
    }
}

fn update(state: UpdateState) -> Update {
    serde_json::from_value(serde_json::json!({
        "id": Uuid::nil(), "agent_id": "pc-1", "from_version": "1.0.0", "version": "2.0.0", "sha256": null,
        "state": state, "phase": null, "percent": null, "failure": null,
        "requested_at": "2026-11-20T10:00:00Z", "finished_at": null,
        "timeline": [{"step": "requested", "at": "2026-11-20T10:00:00Z", "detail": null}], "journal": []
    }))
    .unwrap()
}

/// Events that bring the update to its end, after one that belongs to another update.
async fn events() -> Response {
    let mut other = update(UpdateState::Failed);
    other.id = kenny_proto::UpdateId(Uuid::max());
    let mut text = ": hello\n\n".to_owned();
    for (id, update) in [(1, other), (2, update(UpdateState::RolledBack))] {
        let event = Event {
            id,
            at: update.requested_at,
            kind: "update_changed".to_owned(),
            agent_id: None,
            summary: String::new(),
            rollout: None,
            update: Some(Box::new(update)),
        };
        let data = serde_json::to_string(&event).unwrap();
        text.extend(["id: ", &id.to_string(), "\nevent: update_changed\ndata: ", &data, "\n\n"]);
    }
    ([(header::CONTENT_TYPE, "text/event-stream")], text).into_response()
}

async fn add_release(body: Bytes) -> Response {
    if body.starts_with(b"MZ") {
        problem(409, "release_exists")
    } else {
        problem(422, "not_an_agent")
    }
}

async fn remove_release(Path(version): Path<String>) -> Response {
    match version.as_str() {
        "1.0.0" => StatusCode::NO_CONTENT.into_response(),
        "2.0.0" => problem(409, "release_signed"),
        _ => problem(404, "no_such_release"),
    }
}

/// `held` has its wanted version held, `waiting` waits for its second attempt, `old` speaks 0.2.
async fn agent(Path(id): Path<String>) -> Response {
    let hold = serde_json::json!({
        "version": "2.0.0", "attempts": 3, "since": "2026-11-20T10:00:00Z", "reason": "it failed there 3 times"
    });
    let next = serde_json::json!({"version": "2.0.0", "attempt": 2, "at": "2020-01-01T00:00:00Z"});
    let agent = serde_json::json!({
        "id": id, "online": false, "created_at": "2026-11-20T10:00:00Z", "last_seen_at": null, "connected_at": null,
        "hostname": null, "os": null, "arch": null, "version": "1.0.0", "protocol": null, "service": null,
        "sha256": null, "desired_version": "2.0.0", "update": null,
        "hold": if id == "held" { hold } else { serde_json::Value::Null },
        "next_attempt": if id == "pc-1" { next } else { serde_json::Value::Null }
    });
    axum::Json(serde_json::json!({"agent": agent, "updates": [], "telemetry": null}))
        .into_response()
}

async fn rollback(Path(id): Path<String>) -> Response {
    if id == "old" {
        return problem(409, "rollback_unsupported");
    }
    if id == "offline" {
        return problem(409, "agent_offline");
    }
    let mut update = update(UpdateState::Running);
    update.kind = kenny_proto::api::UpdateKind::Rollback;
    "0.9.0".clone_into(&mut update.version);
    axum::Json(update).into_response()
}

async fn fake_server() -> String {
    let running = || async { axum::Json(update(UpdateState::Running)) };
    let request = async |Path(agent): Path<String>| {
        if agent == "held" {
            return problem(409, "held");
        }
        if agent == "pinned" {
            return problem(409, "not_signed");
        }
        let mut update = update(UpdateState::Running);
        if agent == "stuck" {
            update.id = kenny_proto::UpdateId(Uuid::from_u128(7));
        }
        let warning = (agent == "unpinned").then(|| "2.0.0 is not signed".to_owned());
        axum::Json(UpdateRequested { update, warning }).into_response()
    };
    let router = Router::new()
        .route("/api/v1/agents", get(agents))
        .route("/api/v1/me", get(me))
        .route("/api/v1/agents/{id}", get(agent))
        .route("/api/v1/agents/{id}/hold", delete(|| async { StatusCode::NO_CONTENT }))
        .route("/api/v1/agents/{id}/rollback", post(rollback))
        .route("/api/v1/agents/{id}/tools/{tool}", post(tool))
        .route("/api/v1/agents/{id}/updates", post(request))
        .route("/api/v1/agents/{id}/desired", delete(|| async { StatusCode::NO_CONTENT }))
        .route("/api/v1/updates/{id}", get(running))
        .route("/api/v1/events", get(events))
        .route("/api/v1/releases", post(add_release))
        .route("/api/v1/releases/{version}", delete(remove_release));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("kenny-test-{}", Uuid::new_v4()));
        fs_err::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs_err::remove_dir_all(&self.0);
    }
}

async fn kenny(folder: &Folder, arguments: &[&str], input: &str) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kenny"));
    for variable in ["KENNY_SERVER_URL", "KENNY_TOKEN", "KENNY_CA_FILE", "HTTP_PROXY", "http_proxy"]
    {
        command.env_remove(variable);
    }
    command.env("XDG_CONFIG_HOME", &folder.0).args(arguments).kill_on_drop(true);
    let input_file = folder.0.join(Uuid::new_v4().to_string());
    fs_err::File::create(&input_file).unwrap().write_all(input.as_bytes()).unwrap();
    command.stdin(fs_err::File::open(&input_file).unwrap().into_parts().0);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let output =
        tokio::time::timeout(Duration::from_secs(30), command.output()).await.unwrap().unwrap();
    Run {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

async fn kenny_at(server: &str, line: &str) -> Run {
    let mut arguments = vec!["--server", server, "--token", TOKEN];
    arguments.extend(line.split(' '));
    kenny(&Folder::new(), &arguments, "").await
}

#[tokio::test]
async fn exit_codes_tell_scripts_what_happened() {
    let server = fake_server().await;
    for (line, code, said) in [
        ("agents --json", 0, ""),
        ("call failing fs.list --arg path=/", 1, "it broke (exec_failed)"),
        ("call picky fs.list", 2, "this is bad_args"),
        ("call pc-1 fs.list --args [1]", 2, "JSON object"),
        ("agent show nobody/at-all", 2, "an agent id has"),
        ("agent remove pc-1", 2, "--yes"),
        ("call nobody fs.list", 5, "this is not_found"),
        ("call offline fs.list", 6, "this is agent_offline"),
        ("call slow fs.list", 7, "this is timeout"),
        ("tools", 3, "not of a kenny server"),
        ("update pc-1 --cancel", 0, "No particular version"),
        ("update held --to 2.0.0", 1, "this is held"),
        ("update pinned --to 2.0.0", 1, "this is not_signed"),
        ("update unpinned --to 2.0.0", 0, "Note: 2.0.0 is not signed."),
        ("release remove 1.0.0", 2, "--yes"),
        ("release remove 1.0.0 --yes", 0, "1.0.0 is no release any more."),
        ("release remove 2.0.0 --yes", 1, "this is release_signed"),
        ("release remove 3.0.0 --yes", 5, "this is no_such_release"),
        ("rollback pc-1", 0, ""),
        ("rollback old", 1, "this is rollback_unsupported"),
        ("rollback offline --watch", 6, "this is agent_offline"),
        (
            "agent clear-hold held",
            0,
            "2.0.0 is not held for held any more. It is tried again when held connects.",
        ),
        ("agent clear-hold pc-1", 0, "Nothing is held for pc-1."),
    ] {
        let run = kenny_at(&server, line).await;
        assert_eq!(run.code, code, "{line}: {}", run.stderr);
        assert!(run.stderr.contains(said), "{line}: {}", run.stderr);
    }
    let wrong = kenny(&Folder::new(), &["--server", &server, "--token", "x", "agents"], "").await;
    assert_eq!(wrong.code, 4, "{}", wrong.stderr);
    assert!(wrong.stderr.contains("kenny login"), "{}", wrong.stderr);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_said_with_a_remedy() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let run = kenny_at(&server, "agents").await;
    assert_eq!(run.code, 3, "{}", run.stderr);
    assert!(run.stderr.contains(&server) && run.stderr.contains("--server"), "{}", run.stderr);
}

#[tokio::test]
async fn a_login_is_kept_for_later_calls() {
    let server = fake_server().await;
    let folder = Folder::new();
    let before = kenny(&folder, &["--server", &server, "agents"], "").await;
    assert_eq!(before.code, 4);
    assert!(before.stderr.contains("kenny login"), "{}", before.stderr);
    let refused = kenny(&folder, &["login", &server], "kenny_op_wrong\n").await;
    assert_eq!(refused.code, 4, "{}", refused.stderr);
    let accepted = kenny(&folder, &["login", &server], &format!("{TOKEN}\n")).await;
    assert_eq!(accepted.code, 0, "{}", accepted.stderr);
    assert_eq!(accepted.stdout, "");
    let after = kenny(&folder, &["agents", "--json"], "").await;
    assert_eq!(after.code, 0, "{}", after.stderr);
    assert!(after.stdout.contains("\"agents\""));
    assert!(!after.stdout.contains('\u{1b}'));
}

#[tokio::test]
async fn a_script_on_the_pc_speaks_through() {
    let server = fake_server().await;
    let run = kenny_at(&server, "call pc-1 powershell.exec --arg script=x").await;
    assert_eq!((run.code, run.stdout.as_str()), (1, "out\n"));
    assert!(
        run.stderr.starts_with("err\n") && run.stderr.contains("exit code 3"),
        "{}",
        run.stderr
    );
}

#[tokio::test]
async fn watching_ends_with_the_outcome_that_an_event_brings() {
    let server = fake_server().await;
    let run = kenny_at(&server, "update pc-1 --to 2.0.0 --watch").await;
    assert_eq!(run.code, 1, "{}", run.stderr);
    assert_eq!(run.stdout, "      0.00 s  requested\n");
    assert!(run.stderr.contains("rolled back"), "{}", run.stderr);
    let next = "The server tries again by itself: attempt 2 when it connects.";
    assert!(run.stderr.contains(next), "{}", run.stderr);
    let run = kenny_at(&server, "rollback pc-1").await;
    assert_eq!(
        run.stdout,
        "pc-1 goes back to 0.9.0 (running); `kenny agent show pc-1` shows how it goes\n"
    );
    let run = kenny_at(&server, "update pc-1 --to 2.0.0 --watch --json").await;
    let states: Vec<UpdateState> = run
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Update>(line).unwrap().state)
        .collect();
    assert_eq!(states, [UpdateState::Running, UpdateState::RolledBack]);
    let run = kenny_at(&server, "update stuck --to 2.0.0 --watch --timeout 0").await;
    assert_eq!(run.code, 7, "{}", run.stderr);
    assert!(run.stderr.contains("it goes on"), "{}", run.stderr);
}

#[tokio::test]
async fn one_bad_file_does_not_keep_the_others_from_being_tried() {
    let server = fake_server().await;
    let folder = Folder::new();
    let exe = folder.0.join("a.exe").display().to_string();
    let text = folder.0.join("b.txt").display().to_string();
    fs_err::write(&exe, b"MZ").unwrap();
    fs_err::write(&text, b"text").unwrap();
    let run = kenny_at(&server, &format!("release add {exe} {text} /nonexistent")).await;
    assert_eq!(run.code, 1);
    for said in [
        "a.exe: this is release_exists",
        "b.txt: this is not_an_agent",
        "/nonexistent",
        "3 of 3 files",
    ] {
        assert!(run.stderr.contains(said), "{said}: {}", run.stderr);
    }
}

#[tokio::test]
async fn help_documents_the_exit_codes() {
    let run = kenny(&Folder::new(), &["--help"], "").await;
    assert_eq!(run.code, 0);
    for line in ["0  it worked", "6  the agent is offline", "7  timed out"] {
        assert!(run.stdout.contains(line), "{}", run.stdout);
    }
}
