//! Hostile clients beside agents that behave: none of them notices. `cargo xtask bench hostile` is the long form.

use std::time::Duration;

use anyhow::Result;
use kenny_testkit::hostile::{self, Mix};
use kenny_testkit::places::{folder, program};
use kenny_testkit::{Certificate, Server};

const MIX: Mix = Mix { agents: 20, attackers: 2, time: Duration::from_secs(6) };

async fn survives(server: &Server) -> Result<()> {
    let report = hostile::run(server, &program("kenny-agent")?, MIX).await?;
    assert_eq!((report.online, report.dropped), (MIX.agents, 0), "{report}");
    assert_eq!(report.calls.1, 0, "{report}");
    assert!(report.calls.0 > 0 && report.attacks.values().all(|begun| *begun > 0), "{report}");
    // Those who were let in got what they asked for, and so the server had to hold it.
    assert!(report.slow_answers.values().all(|begun| *begun > 0), "{report}");
    // What an attacker may make the server hold is bounded: 256 sockets of 320 KiB each of two addresses would be 160 MiB.
    if let Some((before, highest, _)) = report.memory {
        assert!(highest.saturating_sub(before) < 160 * 1024 * 1024, "{report}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_agent_is_dropped_by_a_hostile_mix() -> Result<()> {
    let server = Server::start(&program("kenny-server")?, &folder("hostile")?).await?;
    survives(&server).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_agent_is_dropped_by_a_hostile_mix_with_tls() -> Result<()> {
    let folder = folder("hostile-tls")?;
    let certificate = Certificate::make(&folder)?;
    let server =
        Server::start_with_tls(&program("kenny-server")?, &folder.join("server"), certificate)
            .await?;
    survives(&server).await
}
