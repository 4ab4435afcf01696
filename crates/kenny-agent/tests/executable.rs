//! The executable from outside: what it says of itself and how it ends.

use std::path::Path;
use std::process::{Command, Output};

use kenny_core::image;

const AGENT: &str = env!("CARGO_BIN_EXE_kenny-agent");

fn agent(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(AGENT);
    command.args(arguments).current_dir(folder).env("XDG_STATE_HOME", folder).env("NO_COLOR", "1");
    for name in ["SERVER", "AGENT_ID", "TOKEN", "TELEMETRY_INTERVAL_SECS"] {
        command.env_remove(format!("KENNY_{name}"));
    }
    command.output().expect("the agent was built")
}

fn said(output: &Output) -> String {
    let both = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8(both).expect("the agent writes UTF-8")
}

#[test]
fn the_file_says_the_version_that_the_program_says() {
    let folder = tempfile::tempdir().unwrap();
    let facts = image::read_facts(&fs_err::read(AGENT).unwrap()).unwrap();
    assert_eq!(facts.version.to_string(), kenny_agent::VERSION);
    assert_eq!(facts.os, kenny_agent::platform::OS);
    assert_eq!(facts.arch, kenny_agent::platform::native_arch());

    let plain = agent(folder.path(), &["version"]);
    assert!(plain.status.success());
    assert_eq!(plain.stdout, format!("kenny-agent {}\n", kenny_agent::VERSION).as_bytes());
    let json = agent(folder.path(), &["version", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["version"], kenny_agent::VERSION);
    assert_eq!(json["protocol"], kenny_proto::PROTOCOL);
}

#[test]
fn wrong_use_ends_with_2_and_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("c.json");
    fs_err::write(&config, br#"{"server":"ws://h","agent_id":"pc","token":"secret","colour":1}"#)
        .unwrap();
    let config = config.to_str().unwrap();
    let identity = ["--agent-id", "pc", "--token", "secret"];
    let cases: [(&[&str], &str); 6] = [
        (&["bogus"], "--help"),
        (&["run", "--config", "nowhere.json"], "nowhere.json"),
        (&["run", "--config", config], "colour"),
        (&identity, "--server"),
        (&["--server", "http://h", "--agent-id", "pc", "--token", "secret"], "wss://"),
        (&["--server", "ws://h", "--agent-id", "p c", "--token", "secret"], "--agent-id"),
    ];
    for (arguments, named) in cases {
        let output = agent(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains(named), "{arguments:?}: {}", said(&output));
        assert!(!said(&output).contains("secret"), "{arguments:?}: {}", said(&output));
    }
}

#[cfg(not(windows))]
#[test]
fn the_service_commands_say_that_they_are_for_windows() {
    let folder = tempfile::tempdir().unwrap();
    let identity = ["--server", "ws://127.0.0.1:1", "--agent-id", "pc", "--token", "secret"];
    for arguments in [[&["install"], identity.as_slice()].concat(), vec!["uninstall"]] {
        let output = agent(folder.path(), &arguments);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains("Windows"), "{}", said(&output));
    }
    assert_eq!(agent(folder.path(), &["status"]).status.code(), Some(3));
}
