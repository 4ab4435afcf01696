//! Hostile clients beside agents that behave: none of them notices. `cargo xtask bench hostile` is the long form.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use kenny_testkit::Server;
use kenny_testkit::hostile::{self, Mix};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_agent_is_dropped_by_a_hostile_mix() -> Result<()> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hostile");
    if folder.exists() {
        fs_err::remove_dir_all(&folder)?;
    }
    let test = std::env::current_exe()?;
    let programs = test.parent().and_then(Path::parent).expect("tests lie in target/PROFILE/deps");
    let server = Server::start(&programs.join("kenny-server"), &folder).await?;
    let mix = Mix { agents: 20, attackers: 4, time: Duration::from_secs(6) };
    let report = hostile::run(&server, mix).await?;
    println!("{report}");
    assert_eq!((report.online, report.dropped), (20, 0), "{report}");
    assert_eq!(report.calls.1, 0, "{report}");
    assert!(report.calls.0 > 0 && report.attacks.values().all(|begun| *begun > 0), "{report}");
    // What an attacker may make the server hold is bounded: 256 sockets of 320 KiB each of two addresses would be 160 MiB.
    if let Some((before, highest, _)) = report.memory {
        assert!(highest.saturating_sub(before) < 160 * 1024 * 1024, "{report}");
    }
    Ok(())
}
