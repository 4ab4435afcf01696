//! Our agent with a key: it enrols, it is accepted, and it refuses what is not its server.

use anyhow::{Context, Result, ensure};
use kenny_proto::api::AgentIdentity;
use kenny_proto::{Invitation, PublicKey};
use kenny_testkit::raw::Heard;
use kenny_testkit::{Peer, eventually};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::site::{SOON, Site};

/// The files of a PC that may be an agent's key.
fn keys(site: &Site, pc: &str) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs_err::read_dir(site.pc(pc))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "key") {
            names.push(path.display().to_string());
        }
    }
    Ok(names)
}

#[tokio::test]
async fn a_pc_enrols_once_and_its_config_has_no_secret() -> Result<()> {
    let mut site = Site::create("enrols").await?;
    let invitation = site.client().invite("pc").await?;
    site.enroll("pc", &invitation).await?.success()?;
    let config: Value = serde_json::from_slice(&fs_err::read(site.config("pc"))?)?;
    assert_eq!(config["schema"], 3);
    assert_eq!(config["identity"]["server_key"], json!(invitation.server_key));
    assert_eq!(config.get("token"), None);
    assert_eq!(keys(&site, "pc")?.len(), 1);
    let key_file = config["identity"]["key_file"].as_str().context("no key file")?;
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs_err::metadata(key_file)?.permissions().mode() & 0o777, 0o600);
    }
    let key: Value = serde_json::from_slice(&fs_err::read(key_file)?)?;
    assert!(!config.to_string().contains(key["secret"].as_str().unwrap()));

    let agent = site.start("pc")?;
    let seen = site.client().online("pc", None, SOON).await?;
    assert_eq!(seen.identity, AgentIdentity::Key);
    assert_eq!(json!(seen.public_key), key["public_key"]);
    let asked = site.run("pc", &["preflight", "--json"]).await?.success()?;
    assert!(asked.stdout.contains(r#""server":"accepted""#), "{}", asked.text());
    assert_eq!(site.client().agent("pc").await?.agent.connected_at, seen.connected_at);

    // The answer was lost: the same PC may ask again, and finds its own key.
    site.enroll("pc", &invitation).await?.success()?;
    assert_eq!(keys(&site, "pc")?.len(), 1);
    assert_eq!(site.client().agent("pc").await?.agent.public_key, seen.public_key);
    // Another may not, and gets no config.
    let other = site.enroll("other", &invitation).await?.exited_with(1)?;
    assert!(other.stderr.contains("the code was used"), "{}", other.text());
    assert!(!other.text().contains(&invitation.code.to_string()), "{}", other.text());
    assert!(!site.config("other").exists());

    // What it enrolled survives both ends.
    drop(agent);
    site.server.stop().await?;
    site.server.start_again().await?;
    let _agent = site.start("pc")?;
    site.client().online("pc", None, SOON).await?;
    Ok(())
}

#[tokio::test]
async fn what_is_wrong_with_an_invitation_is_said() -> Result<()> {
    let site = Site::create("wrong_invitations").await?;
    let good = site.client().invite("pc").await?;
    let unknown = "0123-4567-89AB-CDEF-GHJK-MNPQ-RSTV".parse()?;
    let nobody = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
    for (wrong, words) in [
        (Invitation { code: unknown, ..good.clone() }, "no invitation has this code"),
        (Invitation { server_key: PublicKey([9; 32]), ..good.clone() }, "the proof does not hold"),
        (Invitation { agent_id: "other".parse()?, ..good.clone() }, "no invitation has this code"),
        (Invitation { server: "http://x".to_owned(), ..good.clone() }, "ws://"),
        (Invitation { server: format!("ws://{nobody}"), ..good.clone() }, "does not answer"),
        (Invitation { v: 2, ..good.clone() }, "newer kenny-agent"),
    ] {
        let output = site.enroll("pc", &wrong).await?.exited_with(1)?;
        assert!(output.stderr.contains(words), "not \"{words}\": {}", output.text());
        assert!(!site.config("pc").exists());
    }
    // By its parts, as people type them.
    let code = good.code.to_string().to_lowercase().replace('-', " ");
    let key = good.server_key.to_string();
    let parts = ["enroll", "--server", &good.server, "--agent-id", "pc", "--code", &code];
    let missing = site.run("pc", &parts).await?;
    ensure!(missing.code == 2 && missing.stderr.contains("--server-key"), "{}", missing.text());
    site.run("pc", &[&parts[..], &["--server-key", &key]].concat()).await?.success()?;
    let _agent = site.start("pc")?;
    site.client().online("pc", None, SOON).await?;
    Ok(())
}

#[tokio::test]
async fn a_server_that_lost_its_key_is_refused_and_nothing_is_told_to_it() -> Result<()> {
    let mut site = Site::create("lost_key").await?;
    let agent = site.agent("pc").await?;
    site.server.stop().await?;
    let key = site.server.data_dir().join("identity.key");
    let aside = key.with_extension("aside");
    fs_err::rename(&key, &aside)?;
    site.server.start_again().await?;
    eventually("the agent's refusal", SOON, async || {
        Ok(agent.said().contains("it is another server, or one that lost its key").then_some(()))
    })
    .await?;
    assert!(!site.client().agent("pc").await?.agent.online);
    let asked = site.run("pc", &["preflight", "--json"]).await?.exited_with(5)?;
    assert!(asked.stdout.contains("unreachable"), "{}", asked.text());
    drop(agent);

    site.server.stop().await?;
    fs_err::rename(&aside, &key)?;
    site.server.start_again().await?;
    let _agent = site.start("pc")?;
    site.client().online("pc", None, SOON).await?;
    Ok(())
}

#[tokio::test]
async fn a_peer_that_only_pretends_gets_no_token_and_no_work() -> Result<()> {
    let site = Site::create("pretender").await?;
    let _ = site.agent("pc").await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let mut config: Value = serde_json::from_slice(&fs_err::read(site.config("pc"))?)?;
    config["server"] = json!(format!("ws://{}/agent/ws", listener.local_addr()?));
    fs_err::write(site.config("pc"), config.to_string())?;
    let mut agent = site.start("pc")?;
    let id = "6f6d1e0e-8c3c-4f0e-9d5c-2f1f0a4f6a11";
    let welcome = json!({"type": "welcome", "protocol": "0.3", "session": id, "heartbeat_s": 30,
        "server_time": "2026-11-24T00:00:00Z"});
    let mut server = Peer::accept(&listener).await?;
    let Heard::Frame(register) = server.hear().await? else { panic!("no first frame") };
    assert_eq!((&register["type"], register.get("token")), (&json!("register"), None));
    server.send(&welcome).await?;
    let Heard::Closed(code, words) = server.hear().await? else { panic!("it said something") };
    assert_eq!(code, Some(4401), "{words}");
    eventually("its words", SOON, async || {
        Ok(agent.said().contains("does not prove who it is").then_some(()))
    })
    .await?;
    assert!(agent.runs()?, "it keeps trying");
    Ok(())
}

#[tokio::test]
async fn an_agent_of_0_2_gets_a_key_and_its_token_is_over() -> Result<()> {
    let site = Site::create("gets_a_key").await?;
    let (tunnel, token) = site.legacy("pc").await?;
    fs_err::create_dir_all(site.pc("pc"))?;
    let config = json!({"schema": 2, "server": tunnel, "agent_id": "pc", "token": token, "telemetry_interval_secs": 77});
    fs_err::write(site.config("pc"), config.to_string())?;
    let agent = site.start("pc")?;
    let seen = site.client().online("pc", None, SOON).await?;
    assert_eq!(seen.identity, AgentIdentity::Legacy);
    let invitation = site.client().invite("pc").await?;
    let still = site.client().agent("pc").await?.agent;
    assert!(still.online && still.connected_at == seen.connected_at, "{still:?}");
    drop(agent);

    site.enroll("pc", &invitation).await?.success()?;
    let config: Value = serde_json::from_slice(&fs_err::read(site.config("pc"))?)?;
    assert_eq!((config.get("token"), &config["telemetry_interval_secs"]), (None, &json!(77)));
    let _agent = site.start("pc")?;
    let seen = site.client().online("pc", None, SOON).await?;
    assert_eq!(seen.identity, AgentIdentity::Key);
    let mut old = Peer::register(&tunnel, "pc", &token, "0.2.0").await?;
    let Heard::Closed(code, words) = old.hear().await? else { panic!("it was taken in") };
    assert_eq!(code, Some(4401));
    assert!(words.contains("enrolled with a key"), "{words}");
    assert!(site.client().agent("pc").await?.agent.online);
    Ok(())
}
