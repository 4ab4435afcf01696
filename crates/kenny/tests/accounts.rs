//! The binary against the real server: logging in and out, accounts, tokens, the second factor.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may panic as it does")]

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use kenny_server::{Config, Server};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;
use tokio::sync::oneshot;
use uuid::Uuid;

struct Run {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Run {
    fn worked(self) -> Self {
        assert_eq!(self.code, 0, "{}", self.stderr);
        self
    }

    fn json(self) -> Value {
        serde_json::from_str(&self.worked().stdout).unwrap()
    }
}

/// A server, and the machines of its people.
struct Rig {
    url: String,
    token: String,
    folder: PathBuf,
    stop: oneshot::Sender<()>,
    served: tokio::task::JoinHandle<()>,
}

impl Rig {
    async fn start() -> Self {
        // Another test of this process may have been first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = std::env::temp_dir().join(format!("kenny-test-{}", Uuid::new_v4()));
        let config =
            Config { listen: "127.0.0.1:0".parse().unwrap(), ..Config::new(folder.join("data")) };
        let server = Server::bind(config).await.unwrap();
        let (url, token) = (server.url(), server.operator_token.clone().unwrap());
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(async move {
            let stopped = async {
                let _ = stopped.await;
            };
            server.serve(stopped).await.unwrap();
        });
        Self { url, token, folder, stop, served }
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        tokio::time::timeout(Duration::from_secs(30), self.served).await.unwrap().unwrap();
        fs_err::remove_dir_all(&self.folder).unwrap();
    }

    fn command(&self, machine: &str, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kenny"));
        for variable in
            ["KENNY_SERVER_URL", "KENNY_TOKEN", "KENNY_CA_FILE", "HTTP_PROXY", "http_proxy"]
        {
            command.env_remove(variable);
        }
        command.env("XDG_CONFIG_HOME", self.folder.join(machine)).args(line.split(' '));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.kill_on_drop(true);
        command
    }

    /// Runs `kenny` on a machine, with these lines to read.
    async fn kenny(&self, machine: &str, line: &str, input: &str) -> Run {
        let mut child = self.command(machine, line).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // It may not read what it does not ask for.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        let output = tokio::time::timeout(Duration::from_mins(1), child.wait_with_output());
        let output = output.await.unwrap().unwrap();
        Run {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The first login, by the token that the server printed.
    async fn owner(&self, machine: &str) {
        let login = self.kenny(machine, &format!("login {}", self.url), &self.token).await.worked();
        assert!(login.stderr.contains("as owner (owner)"), "{}", login.stderr);
    }

    /// Makes an account; its random password.
    async fn account(&self, name: &str, role: &str) -> String {
        let line = format!("account create {name} --role {role} --json");
        self.kenny("owner", &line, "").await.json()["password"].as_str().unwrap().to_owned()
    }
}

fn code(secret: &str, steps: u64) -> String {
    let secret = totp_rs::Secret::try_from_base32(secret).unwrap();
    let totp = totp_rs::Builder::new().with_secret(secret.as_bytes().to_vec()).build().unwrap();
    let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap();
    totp.generate(now + 30 * steps).to_string()
}

#[tokio::test]
async fn a_family_shares_a_server() {
    let rig = Rig::start().await;
    rig.owner("owner").await;
    let said = rig.kenny("owner", "account create anna --role operator", "").await.worked();
    let login = format!("login {} --account anna", rig.url);
    assert!(said.stdout.contains(&format!("kenny {login}")), "{}", said.stdout);
    let password = said.stdout.lines().nth(2).unwrap().trim().to_owned();

    let wrong = rig.kenny("laptop", &login, "guess\n").await;
    assert_eq!(wrong.code, 4, "{}", wrong.stderr);
    assert!(wrong.stderr.contains("is not right"), "{}", wrong.stderr);
    let right = rig.kenny("laptop", &login, &format!("{password}\n")).await.worked();
    assert!(right.stderr.contains("as anna (operator)"), "{}", right.stderr);
    assert!(!right.stderr.contains(&password) && right.stdout.is_empty());
    rig.kenny("laptop", "agents", "").await.worked();
    let whoami = rig.kenny("laptop", "whoami --json", "").await.json();
    assert_eq!(whoami["account"]["name"], "anna");
    assert!(!whoami["token"]["name"].as_str().unwrap().is_empty(), "the machine's name");
    let not_hers = rig.kenny("laptop", "account list", "").await;
    assert_eq!(not_hers.code, 4);
    assert!(not_hers.stderr.contains("needs the role owner"), "{}", not_hers.stderr);

    // A password of her own, and another login on the same machine, which takes the place of the one before.
    let own = format!("{password}\nwords upon words\n");
    rig.kenny("laptop", "account password", &own).await.worked();
    let before = whoami["token"]["id"].as_i64().unwrap();
    let again = rig.kenny("laptop", &login, "words upon words\n").await.worked();
    assert!(again.stderr.contains("the login before is revoked"), "{}", again.stderr);
    let tokens = rig.kenny("owner", "token list --account anna --json", "").await.json();
    let ids: Vec<_> = tokens["tokens"].as_array().unwrap().iter().map(|one| &one["id"]).collect();
    assert!(ids.len() == 1 && *ids[0] != before, "{tokens}");

    let list = rig.kenny("owner", "account list", "").await.worked();
    assert!(list.stdout.contains("anna") && list.stdout.contains("no password"), "{}", list.stdout);
    rig.kenny("owner", "account set-role anna viewer", "").await.worked();
    let whoami = rig.kenny("laptop", "whoami", "").await.worked();
    assert!(whoami.stdout.contains("viewer"), "{}", whoami.stdout);
    rig.kenny("owner", "account disable anna", "").await.worked();
    assert_eq!(rig.kenny("laptop", "agents", "").await.code, 4);
    let disabled = rig.kenny("laptop", &login, "words upon words\n").await;
    assert!(disabled.stderr.contains("disabled"), "{}", disabled.stderr);
    rig.kenny("owner", "account enable anna", "").await.worked();
    assert_eq!(rig.kenny("owner", "account remove anna", "").await.code, 2, "nobody can answer");
    rig.kenny("owner", "account remove anna --yes", "").await.worked();
    let last = rig.kenny("owner", "account remove owner --yes", "").await;
    assert!(last.code == 1 && last.stderr.contains("no owner could act"), "{}", last.stderr);
    rig.stop().await;
}

#[tokio::test]
async fn tokens_are_made_for_programs_and_a_logout_ends_the_own_one() {
    let rig = Rig::start().await;
    rig.owner("owner").await;
    let made = rig.kenny("owner", "token create backup --role viewer --expires 90d", "").await;
    let made = made.worked();
    let token = made.stdout.trim();
    assert!(token.starts_with("kenny_op_"), "the token alone is on standard output");
    assert!(made.stderr.contains("(viewer)") && made.stderr.contains("ends at"), "{}", made.stderr);
    let used = format!("--server {} --token {token} whoami --json", rig.url);
    let whoami = rig.kenny("elsewhere", &used, "").await.json();
    assert_eq!(whoami["role"], "viewer");
    let id = whoami["token"]["id"].as_i64().unwrap();
    let list = rig.kenny("owner", "token list", "").await.worked();
    assert!(list.stdout.contains("backup") && list.stdout.contains("first start"));
    rig.kenny("owner", &format!("token revoke {id}"), "").await.worked();
    let refused = rig.kenny("elsewhere", &used, "").await;
    assert_eq!(refused.code, 4);
    assert!(refused.stderr.contains("kenny login"), "{}", refused.stderr);
    assert_eq!(rig.kenny("owner", &format!("token revoke {id}"), "").await.code, 5);

    let stays = rig.kenny("owner", "logout", "").await;
    assert!(stays.code == 1 && stays.stderr.contains("kenny account password"), "{}", stays.stderr);
    rig.kenny("owner", "account password", "words upon words\n").await.worked();
    rig.kenny("owner", "logout", "").await.worked();
    assert_eq!(rig.kenny("owner", "whoami", "").await.code, 4);
    let by_token = format!("--server {} --token {} whoami", rig.url, rig.token);
    assert_eq!(rig.kenny("elsewhere", &by_token, "").await.code, 4, "revoked, not only forgotten");
    let login =
        format!("login {} --account owner --role viewer --name phone --expires 1h", rig.url);
    rig.kenny("owner", &login, "words upon words\n").await.worked();
    let whoami = rig.kenny("owner", "whoami", "").await.worked();
    for said in ["viewer (the account is owner)", "phone", "expires"] {
        assert!(whoami.stdout.contains(said), "{said}: {}", whoami.stdout);
    }
    rig.stop().await;
}

#[tokio::test]
async fn the_second_factor_is_set_up_by_conversation_and_asked_for_at_the_login() {
    let rig = Rig::start().await;
    rig.owner("owner").await;
    let password = rig.account("anna", "operator").await;
    let login = format!("login {} --account anna", rig.url);
    rig.kenny("laptop", &login, &format!("{password}\n")).await.worked();

    let mut child = rig.command("laptop", "account totp enable").spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap()).lines();
    stdin.write_all(format!("{password}\n").as_bytes()).await.unwrap();
    let secret = tokio::time::timeout(Duration::from_mins(1), async {
        loop {
            let line = stderr.next_line().await.unwrap().expect("the secret is said");
            if let Some((_, rest)) = line.split_once("otpauth://totp/kenny:anna?secret=") {
                return rest.split('&').next().unwrap().to_owned();
            }
        }
    });
    let secret = secret.await.unwrap();
    stdin.write_all(format!("{}\n", code(&secret, 0)).as_bytes()).await.unwrap();
    drop(stdin);
    let mut codes = String::new();
    child.stdout.take().unwrap().read_to_string(&mut codes).await.unwrap();
    assert!(child.wait().await.unwrap().success());
    let codes: Vec<&str> = codes.lines().collect();
    assert_eq!(codes.len(), 10, "the recovery codes alone are on standard output");

    let without = rig.kenny("laptop", &login, &format!("{password}\n\n")).await;
    assert_eq!(without.code, 4, "{}", without.stderr);
    let with = format!("{password}\n{}\n", code(&secret, 1));
    rig.kenny("laptop", &login, &with).await.worked();
    rig.kenny("laptop", &login, &format!("{password}\n{}\n", codes[0])).await.worked();
    let used = rig.kenny("laptop", &login, &format!("{password}\n{}\n", codes[0])).await;
    assert!(used.code == 4 && used.stderr.contains("used before"), "{}", used.stderr);
    let renewed =
        rig.kenny("laptop", "account totp recovery-codes", &format!("{password}\n")).await;
    assert_eq!(renewed.worked().stdout.lines().count(), 10);
    rig.kenny("laptop", "account totp disable", &format!("{password}\n")).await.worked();
    rig.kenny("laptop", &login, &format!("{password}\n")).await.worked();

    // Everything is lost: an owner helps.
    let reset = rig.kenny("owner", "account reset anna --yes", "").await.worked();
    let password = reset.stdout.lines().nth(2).unwrap().trim().to_owned();
    assert_eq!(rig.kenny("laptop", "whoami", "").await.code, 4);
    rig.kenny("laptop", &login, &format!("{password}\n")).await.worked();
    rig.stop().await;
}
