//! The fleet and its PCs, as pages: what they show, and what their forms do.

use kenny_proto::Role;
use serde_json::{Value, json};

use super::browser::Browser;
use super::rig::{FakeAgent, Rig};

/// What a PC tells of itself: nearly full, and otherwise well.
pub fn telemetry(id: &str) -> Value {
    json!({"type": "telemetry", "agent_id": id, "collected_at": "2026-11-01T12:00:00Z", "snapshot": {
        "disk": {"status": "warn", "summary": "C: 6 % free (14 GiB)", "volumes": [
            {"name": "C:\\", "total_bytes": 255_000_000_000_u64, "free_bytes": 15_300_000_000_u64},
            {"name": "D:\\", "total_bytes": 1_000_000_000_000_u64, "free_bytes": 730_000_000_000_u64}
        ]},
        "memory": {"status": "ok", "summary": "51 % of 16 GiB used", "total_bytes": 17_179_869_184_u64, "used_bytes": 8_800_000_000_u64},
        "uptime": {"status": "ok", "summary": "on for 3 days and 4 hours", "uptime_s": 273_600},
        "host": {"status": "ok", "summary": "ANNAS-PC, Windows 11 24H2", "hostname": "ANNAS-PC"},
        "policy": {"status": "ok", "summary": "refuses powershell.exec", "paused": null, "refused_tools": ["powershell.exec"]}
    }})
}

/// A PC that is online on 1.0.0 and has told how it is.
pub async fn online(rig: &Rig, id: &str) -> FakeAgent {
    let token = rig.agent(id).await;
    online_with(rig, id, &token).await
}

/// The same, of one that is there already.
pub async fn online_with(rig: &Rig, id: &str, token: &str) -> FakeAgent {
    let mut agent = rig.online_0_3(id, token, "1.0.0", Value::Null).await;
    agent.send(&telemetry(id)).await;
    agent.settle().await;
    agent
}

#[tokio::test]
async fn an_empty_fleet_says_how_to_begin() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Owner).await;
    let page = Browser::signed_in(&rig, "anna").await.get("/").await;
    page.has(&["No PC yet", "href=\"/add\"", "data-live=\"/live?after="]);
    rig.stop().await;
}

#[tokio::test]
async fn the_fleet_is_searched_filtered_and_paged_on_the_server() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Viewer).await;
    let _anna = online(&rig, "annas-pc").await;
    for number in 0..60 {
        rig.agent(&format!("pc-{number:02}")).await;
    }
    let mut browser = Browser::signed_in(&rig, "anna").await;
    let page = browser.get("/").await;
    page.has(&["<strong>61</strong>", "C: 6 % free (14 GiB)", "Page 1 of 2"]);
    assert_eq!(page.text.matches("<tr id=\"pc-").count(), 50);
    let second = browser.get("/?page=2").await;
    assert_eq!(second.text.matches("<tr id=\"pc-").count(), 11);
    let found = browser.piece("/?q=ANNAS&show=trouble").await;
    assert_eq!(found.text.matches("<tr id=\"pc-").count(), 1);
    found.has(&["hx-get=\"/?show=trouble&amp;sort=name&amp;q=ANNAS\""]);
    browser.get("/?q=nothing").await.has(&["No PC fits", "Show all PCs"]);
    browser.get("/?q=<script>").await.has(&["value=\"&lt;script&gt;\""]);
    rig.stop().await;
}

#[tokio::test]
async fn health_is_known_again_after_a_restart() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Viewer).await;
    online(&rig, "annas-pc").await.hang_up().await;
    rig.until_online("annas-pc", false).await;
    let rig = rig.restart().await;
    let health = rig.agent_view("annas-pc").await["health"].clone();
    assert_eq!(
        (&health["status"], &health["problems"][0]["section"]),
        (&json!("warn"), &json!("disk"))
    );
    rig.stop().await;
}

#[tokio::test]
async fn a_pc_is_updated_from_its_page_and_tells_how_it_went() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Operator).await;
    let mut agent = online(&rig, "annas-pc").await;
    rig.release("1.1.0").await;
    let mut browser = Browser::signed_in(&rig, "anna").await;
    let page = browser.get("/agents/annas-pc").await;
    page.has(&[
        "1.1.0",
        "14.2 GiB free of 237 GiB",
        "width=\"940\"",
        "Windows 11 24H2",
        "This PC refuses it.",
    ]);
    assert!(!page.text.contains("Who did what here"), "the log is for owners");

    let sent = browser.submit(&page, "/agents/annas-pc/update", &[("version", "1.1.0")]).await;
    assert_eq!(sent.location(), "/agents/annas-pc");
    let request = agent.request("agent.update").await;
    agent.status(&request, "downloading", json!({"percent": 40})).await;
    agent.settle().await;
    let page = browser.get("/agents/annas-pc").await;
    page.has(&[
        "Update to 1.1.0",
        "downloading, 40 %",
        "<progress max=\"100\" value=\"22\" aria-label=\"Update of annas-pc\"",
    ]);
    browser.get("/").await.has(&["downloading, 40 %", "should run"]);

    agent.fail(&request, "hash_mismatch", "the bytes have another SHA-256").await;
    agent.settle().await;
    let page = browser.get("/agents/annas-pc").await;
    page.has(&[
        "Nothing was changed.",
        "the bytes have another SHA-256",
        "ended without a change",
        "is tried again",
    ]);
    let gone = browser.submit(&page, "/agents/annas-pc/clear-intent", &[]).await;
    assert_eq!(gone.location(), "/agents/annas-pc");
    assert_eq!(rig.agent_view("annas-pc").await["desired_version"], Value::Null);
    rig.stop().await;
}

#[tokio::test]
async fn what_is_refused_is_said_on_a_page_with_a_way_back() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Owner).await;
    let _agent = online(&rig, "annas-pc").await;
    let mut browser = Browser::signed_in(&rig, "anna").await;
    let page = browser.get("/agents/annas-pc").await;
    let refused = browser.submit(&page, "/agents/annas-pc/update", &[("version", "9.9.9")]).await;
    assert_eq!(refused.status, 404);
    refused.has(&["There is no release 9.9.9", "href=\"/agents/annas-pc\"", "Back to annas-pc"]);
    let refused = browser.submit(&page, "/agents/annas-pc/rollback", &[]).await;
    refused.has(&["nothing that annas-pc could go back to"]);
    assert_eq!(browser.get("/agents/nobody").await.status, 404);

    let removed = browser.submit(&page, "/agents/annas-pc/remove", &[]).await;
    assert_eq!(removed.location(), "/");
    assert_eq!(browser.get("/agents/annas-pc").await.status, 404);
    rig.stop().await;
}

#[tokio::test]
async fn a_viewer_gets_no_buttons_and_no_way_around_them() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Viewer).await;
    let _agent = online(&rig, "annas-pc").await;
    let mut browser = Browser::signed_in(&rig, "anna").await;
    let page = browser.get("/agents/annas-pc").await;
    assert!(!page.text.contains("id=\"actions\"") && !page.text.contains("<h2 id=\"tools\""));
    for (path, fields) in [
        ("/agents/annas-pc/update", &[("version", "1.1.0")][..]),
        ("/agents/annas-pc/remove", &[]),
        ("/agents/annas-pc/rollback", &[]),
        ("/agents/annas-pc/tools/fs.list", &[("arg.path", "/")]),
        ("/add", &[("pc", "berts-pc")]),
        ("/settings/accounts", &[("name", "bert"), ("role", "owner")]),
    ] {
        let refused = browser.submit(&page, path, fields).await;
        assert!([403, 422].contains(&refused.status), "{path}: {}", refused.status);
        refused.has(&["his needs the role"]);
    }
    assert_eq!(browser.get("/activity/audit").await.status, 403);
    assert_eq!(browser.get("/activity/export/audit.csv").await.status, 403);
    rig.stop().await;
}

#[tokio::test]
async fn a_tool_that_changes_something_asks_first() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Owner).await;
    let mut agent = online(&rig, "annas-pc").await;
    let mut browser = Browser::signed_in(&rig, "anna").await;
    let path = "/agents/annas-pc/tools/powershell.exec";
    let page = browser.get(path).await;
    page.has(&["<textarea", "name=\"arg.script\"", "type=\"number\"", "required"]);
    let asked = browser
        .submit(&page, path, &[("arg.script", "echo <1>\r\necho 2"), ("arg.timeout_s", "5")])
        .await;
    asked.has(&["Really, on annas-pc?", "echo &lt;1&gt;", "name=\"confirmed\""]);

    let fields = [
        ("arg.script", asked.hidden("arg.script").replace("&lt;", "<").replace("&gt;", ">")),
        ("arg.timeout_s", "5".to_owned()),
        ("confirmed", "yes".to_owned()),
    ];
    let fields: Vec<(&str, &str)> =
        fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let answering = async {
        let request = agent.request("powershell.exec").await;
        assert_eq!(request["args"], json!({"script": "echo <1>\necho 2", "timeout_s": 5}));
        agent.answer(&request, json!({"stdout": "1\n2\n", "stderr": "", "exit_code": 0})).await;
    };
    let (answer, ()) = tokio::join!(browser.submit(&asked, path, &fields), answering);
    assert_eq!(answer.status, 200);
    answer.has(&["exit_code", "<pre tabindex=\"0\">1\n2\n</pre>"]);

    // One that only looks does not; what comes back is escaped, in a table where it is one.
    let path = "/agents/annas-pc/tools/fs.list";
    let answering = async {
        let request = agent.request("fs.list").await;
        agent
            .answer(
                &request,
                json!({"entries": [{"name": "<b>", "size": 1}, {"name": "c", "dir": true}]}),
            )
            .await;
    };
    let page = browser.get(path).await;
    let (answer, ()) = tokio::join!(browser.submit(&page, path, &[("arg.path", "/")]), answering);
    answer.has(&["<th scope=\"col\">size</th>", "<td>&lt;b&gt;</td>"]);

    let wrong = browser.submit(&page, path, &[]).await;
    assert_eq!(wrong.status, 422);
    wrong.has(&["argument <code>path</code> is missing"]);
    rig.stop().await;
}

#[tokio::test]
async fn pieces_of_pages_lead_to_the_sign_in_as_a_whole() {
    let rig = Rig::start().await;
    let mut browser = Browser::new(&rig);
    let answer = browser.piece("/?q=a").await;
    assert_eq!((answer.status, answer.header("hx-redirect")), (204, "/login?next=%2F%3Fq%3Da"));
    assert_eq!(browser.get("/?q=a").await.location(), "/login?next=%2F%3Fq%3Da");
    rig.stop().await;
}

#[tokio::test]
async fn the_stream_of_a_page_tells_what_was_missed_once_and_ends_with_the_permission() {
    let rig = Rig::start().await;
    rig.person("anna", Role::Viewer).await;
    let mut browser = Browser::signed_in(&rig, "anna").await;
    let page = browser.get("/").await;
    let path = page.between("data-live=\"", "\"").replace("&amp;", "&");
    // Both happen after the page was made and before it listens.
    rig.agent("one").await;
    rig.agent("two").await;
    let cookie = format!("kenny_session={}", browser.cookies["kenny_session"]);
    let request = rig.http.get(format!("{}{path}", rig.url)).header("cookie", cookie);
    let mut stream = super::rig::within(request.send()).await.unwrap();
    let mut heard = String::new();
    while !heard.contains("event: changed") {
        let piece = super::rig::within(stream.chunk()).await.unwrap().unwrap();
        heard.push_str(&String::from_utf8_lossy(&piece));
    }
    assert_eq!(heard.matches("event: changed").count(), 1, "{heard}");
    rig.execute("UPDATE accounts SET generation = generation + 1 WHERE name = 'anna'").await;
    while super::rig::within(stream.chunk()).await.unwrap().is_some() {}
    rig.stop().await;
}
