//! The old version judges candidates that are shell scripts.

use std::os::unix::fs::PermissionsExt;

use jiff::Timestamp;
use kenny_core::update::{Quarantine, Source, Wanted};
use kenny_proto::{Sha256Digest, UpdateId};
use semver::Version;

use super::*;

fn journal() -> Journal {
    let wanted = Wanted {
        update_id: UpdateId::random(),
        version: Version::new(1, 1, 0),
        sha256: Sha256Digest([7; 32]),
        source: Source::Previous {},
    };
    let from = (Version::new(1, 0, 0), Sha256Digest([6; 32]));
    Journal::accepted(wanted, from, Quarantine::default(), Timestamp::UNIX_EPOCH)
}

fn said(server: Option<ServerSaid>) -> Said {
    Said {
        version: "1.1.0".to_owned(),
        protocol: "0.3".to_owned(),
        os: platform::OS,
        arch: platform::native_arch(),
        problem: None,
        server,
        detail: Some("because".to_owned()),
    }
}

/// What becomes of a candidate that is this script.
async fn prove_script(script: &str, limit: Duration) -> Result<Option<String>, Failure> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("candidate");
    fs_err::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs_err::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    prove_within(&path, Path::new("the.config"), &journal(), limit).await
}

fn saying(said: &Said, code: u8) -> String {
    format!("echo '{}'\nexit {code}", serde_json::to_string(said).unwrap())
}

const LONG: Duration = Duration::from_secs(30);

#[tokio::test]
async fn one_that_is_well_passes_and_gets_this_pcs_config() {
    let good = saying(&said(Some(ServerSaid::Accepted)), 0);
    assert_eq!(prove_script(&good, LONG).await, Ok(None));
    let script = format!("[ \"$*\" = 'preflight --json --config the.config' ] || exit 9\n{good}");
    assert_eq!(prove_script(&script, LONG).await, Ok(None));
}

#[tokio::test]
async fn a_server_that_it_does_not_reach_is_for_the_old_version_to_judge() {
    for server in [ServerSaid::Unreachable, ServerSaid::Refused] {
        let script = saying(&said(Some(server)), EXIT_NO_SERVER);
        assert_eq!(prove_script(&script, LONG).await, Ok(Some("because".to_owned())));
    }
    assert_eq!(without_server("x", Reach::Reachable).kind, FailureKind::Preflight);
    assert_eq!(without_server("x", Reach::Busy).kind, FailureKind::Network);
    assert_eq!(without_server("x", Reach::Unreachable).kind, FailureKind::Network);
}

#[tokio::test]
async fn whatever_else_it_does_counts_against_it_with_its_last_words() {
    let good = said(Some(ServerSaid::Accepted));
    let other_version = Said { version: "2.0.0".to_owned(), ..good.clone() };
    let other_system = Said { os: Os::Windows, ..good.clone() };
    let odd_protocol = Said { protocol: "tomorrow".to_owned(), ..good.clone() };
    let bad_config = Said { problem: Some("`colour` is no key".to_owned()), ..good.clone() };
    let cases = [
        ("exit 1".to_owned(), "exit code 1"),
        ("echo starting >&2; kill -SEGV $$".to_owned(), "starting"),
        ("echo kenny-agent 1.1.0".to_owned(), "kenny-agent 1.1.0"),
        (saying(&other_version, 0), "2.0.0"),
        (saying(&other_system, 0), "windows"),
        (saying(&odd_protocol, 0), "tomorrow"),
        (saying(&bad_config, EXIT_UNFIT), "colour"),
        (saying(&good, 1), "exit code 1"),
        (saying(&said(Some(ServerSaid::Unreachable)), 0), "exit code 0"),
    ];
    for (script, named) in cases {
        let failure = prove_script(&script, LONG).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Preflight, "{script}");
        assert!(failure.detail.contains(named), "{script}: {}", failure.detail);
    }
}

#[tokio::test]
async fn one_that_hangs_is_ended_with_all_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let pid_file = folder.path().join("pid");
    let script = format!(
        "sleep 600 & echo $! > {0}.new; mv {0}.new {0}; echo waiting; wait",
        pid_file.display()
    );
    let failure = prove_script(&script, Duration::from_millis(500)).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Preflight);
    assert!(failure.detail.contains("waiting"), "{}", failure.detail);
    let pid = fs_err::read_to_string(pid_file).unwrap();
    let stat = format!("/proc/{}/stat", pid.trim());
    while fs_err::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z")) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn one_that_is_not_there_is_unfit() {
    let failure = prove(Path::new("/nowhere/agent"), Path::new("c"), &journal()).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Preflight);
}

#[test]
fn exit_codes_tell_the_three_apart() {
    assert_eq!(said(Some(ServerSaid::Busy)).exit_code(), 0);
    assert_eq!(said(Some(ServerSaid::Refused)).exit_code(), EXIT_NO_SERVER);
    let unfit = Said { problem: Some("no".to_owned()), ..said(Some(ServerSaid::Accepted)) };
    assert_eq!(unfit.exit_code(), EXIT_UNFIT);
}
