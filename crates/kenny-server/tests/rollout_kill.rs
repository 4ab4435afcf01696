//! A rollout over fifty agents while the server is killed twenty times: nobody is updated twice, and nobody is forgotten.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may panic as it does")]

#[path = "../src/scenarios/puppet.rs"]
#[expect(dead_code, reason = "the scenarios of the server need more of it")]
mod puppet;
#[path = "../src/releases/test_image.rs"]
#[expect(dead_code, reason = "the tests of the server need more of it")]
mod test_image;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use puppet::{Identity, Manner, Puppet};
use serde_json::{Value, json};

const AGENTS: usize = 50;
const KILLS: usize = 20;
/// Nothing here takes longer unless it is broken.
const PATIENCE: Duration = Duration::from_mins(2);

struct Rig {
    folder: PathBuf,
    address: String,
    token: String,
    child: Child,
    http: reqwest::Client,
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs_err::remove_dir_all(&self.folder);
    }
}

fn spawn(folder: &Path, address: &str) -> Child {
    let output = fs_err::File::create(folder.join("said")).unwrap().into_parts().0;
    Command::new(env!("CARGO_BIN_EXE_kenny-server"))
        .arg("--data-dir")
        .arg(folder.join("data"))
        .args(["--listen", address])
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

impl Rig {
    async fn start() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = std::env::temp_dir().join(format!("kenny-kill-{}", uuid::Uuid::new_v4()));
        fs_err::create_dir_all(&folder).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let child = spawn(&folder, &address);
        let mut rig =
            Self { folder, address, token: String::new(), child, http: reqwest::Client::new() };
        rig.until_ready().await;
        let said = fs_err::read_to_string(rig.folder.join("said")).unwrap();
        let at = said.find("kenny_op_").expect("the first start prints a token");
        said[at..].split_whitespace().next().unwrap().clone_into(&mut rig.token);
        rig
    }

    async fn until_ready(&self) {
        let began = Instant::now();
        let url = format!("http://{}/readyz", self.address);
        while !self.http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
            assert!(began.elapsed() < PATIENCE, "the server does not come up");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn kill_and_start(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = spawn(&self.folder, &self.address);
        self.until_ready().await;
    }

    async fn call(&self, method: &str, path: &str, body: Value) -> Value {
        let url = format!("http://{}/api/v1{path}", self.address);
        let request = self.http.request(method.parse().unwrap(), url).bearer_auth(&self.token);
        let answer = request.json(&body).send().await.unwrap();
        let status = answer.status();
        let body: Value = answer.json().await.unwrap();
        assert!(status.is_success(), "{method} {path}: {status} {body}");
        body
    }

    async fn get(&self, path: &str) -> Value {
        self.call("GET", path, Value::Null).await
    }
}

/// Somewhere between a fifth of a second and a whole one.
fn some_time() -> Duration {
    let random = uuid::Uuid::new_v4().as_u128() % 800;
    Duration::from_millis(200 + u64::try_from(random).unwrap())
}

#[tokio::test]
async fn a_server_that_is_killed_twenty_times_updates_nobody_twice_and_forgets_nobody() {
    let mut rig = Rig::start().await;
    let image = test_image::agent_image("1.1.0", 100_000);
    let url = format!("http://{}/api/v1/releases", rig.address);
    let added = rig.http.post(url).bearer_auth(&rig.token).body(image).send().await.unwrap();
    assert_eq!(added.status().as_u16(), 201);
    let mut puppets = Vec::new();
    for number in 0..AGENTS {
        let id = format!("pc-{number}");
        let made = rig.call("POST", "/agents", json!({"id": id, "legacy": true})).await;
        let identity = Identity {
            tunnel: format!("ws://{}/agent/ws", rig.address),
            id,
            token: made["token"].as_str().unwrap().to_owned(),
            meta: json!({}),
            takes: Duration::from_millis(300),
        };
        puppets.push(Puppet::start(identity, Manner::Obeys));
    }
    let wanted = json!({
        "version": "1.1.0", "selection": {"everyone": true},
        "strategy": {
            "stages": [{"to": {"count": 2}, "bake_s": 0}, {"to": {"percent": 30}, "bake_s": 0}, {"to": {"percent": 100}, "bake_s": 0}],
            "max_in_flight": 2, "tolerated": {}, "silent_after_s": 3600
        }
    });
    let rollout = rig.call("POST", "/rollouts", wanted).await;
    let path = format!("/rollouts/{}", rollout["id"].as_str().unwrap());
    let stages = |detail: &Value| {
        let members = detail["members"].as_array().unwrap().iter();
        let mut stages: Vec<String> =
            members.map(|it| format!("{} {}", it["agent_id"], it["stage"])).collect();
        stages.sort();
        stages
    };
    let before = stages(&rig.get(&path).await);
    assert_eq!(before.len(), AGENTS);

    let mut in_the_middle = 0;
    for _ in 0..KILLS {
        tokio::time::sleep(some_time()).await;
        rig.kill_and_start().await;
        let seen = rig.get(&path).await;
        assert_eq!(stages(&seen), before, "a restart moves nobody");
        in_the_middle += usize::from(seen["rollout"]["state"] == "running");
    }
    assert!(in_the_middle > KILLS / 2, "it was over after {in_the_middle} of {KILLS} kills");

    let began = Instant::now();
    let done = loop {
        let seen = rig.get(&path).await;
        if seen["rollout"]["state"] != "running" {
            break seen;
        }
        assert!(began.elapsed() < PATIENCE, "it does not go on: {}", seen["rollout"]);
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(done["rollout"]["state"], "completed", "{}", done["rollout"]);
    for (number, puppet) in puppets.iter().enumerate() {
        assert_eq!(puppet.begun(), 1, "pc-{number}");
        let agent = rig.get(&format!("/agents/pc-{number}")).await;
        assert_eq!(agent["agent"]["version"], "1.1.0", "pc-{number}");
        let updates = agent["updates"].as_array().unwrap();
        assert_eq!(updates.len(), 1, "pc-{number}: {updates:?}");
        assert_eq!(updates[0]["state"], "succeeded");
    }
    let members = done["members"].as_array().unwrap();
    assert!(members.iter().all(|member| member["state"] == "succeeded"));
}
