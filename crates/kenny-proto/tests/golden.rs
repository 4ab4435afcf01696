//! Every golden frame is parsed, serialised, and equal to itself as a JSON value.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use kenny_proto::{AgentFrame, FrameError, Parsed, ServerFrame};
use serde_json::Value;

fn fixtures(side: &str) -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(side);
    let mut fixtures: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), std::fs::read_to_string(path).unwrap()))
        .collect();
    fixtures.sort();
    fixtures
}

fn assert_same(path: &Path, original: &str, written: &str) {
    let original: Value = serde_json::from_str(original).unwrap();
    let written: Value = serde_json::from_str(written).unwrap();
    assert_eq!(written, original, "{}", path.display());
}

#[test]
fn agent_frames_round_trip() {
    let fixtures = fixtures("agent");
    assert!(fixtures.len() >= 14, "{} fixtures", fixtures.len());
    for (path, text) in fixtures {
        let Parsed::Frame(frame) = AgentFrame::parse(&text).unwrap() else {
            panic!("{} is not known", path.display())
        };
        assert_same(&path, &text, &frame.to_json());
    }
}

#[test]
fn server_frames_round_trip() {
    let fixtures = fixtures("server");
    assert!(fixtures.len() >= 6, "{} fixtures", fixtures.len());
    for (path, text) in fixtures {
        let Parsed::Frame(frame) = ServerFrame::parse(&text).unwrap() else {
            panic!("{} is not known", path.display())
        };
        assert_same(&path, &text, &frame.to_json());
    }
}

#[test]
fn unknown_types_and_fields_are_no_errors() {
    let unknown = AgentFrame::parse(r#"{"type":"hologram","x":1}"#).unwrap();
    assert_eq!(unknown, Parsed::Unknown("hologram".to_owned()));
    let ping = ServerFrame::parse(r#"{"type":"ping","added_later":true}"#).unwrap();
    assert_eq!(ping, Parsed::Frame(ServerFrame::Ping));
}

#[test]
fn what_is_malformed_is_named_by_its_place() {
    for text in [
        "",
        "[]",
        "[\"ping\"]",
        " [\"later\"]",
        "{}",
        "\"ping\"",
        "{\"type\":1}",
        "{\"type\":\"ping\"",
    ] {
        assert!(matches!(AgentFrame::parse(text), Err(FrameError::NotAFrame(_))), "{text}");
    }
    let bad = r#"{"type":"response","id":"not-a-uuid","ok":true}"#;
    assert_eq!(place_of(AgentFrame::parse(bad)), "response.id");
    let (_, register) = &fixtures("agent").into_iter().find(is_register).unwrap();
    let bad = register.replace(r#""os": "windows""#, r#""os": 7"#);
    assert_eq!(place_of(AgentFrame::parse(&bad)), "register.meta.os");
    let bad =
        r#"{"type":"request","id":"6f1c6f5e-2d5a-4a0e-9c57-1d9b1f6f2a11","tool":"a","args":[]}"#;
    assert_eq!(place_of(ServerFrame::parse(bad)), "request.args");
    let no_reason = r#"{"type":"response","id":"6f1c6f5e-2d5a-4a0e-9c57-1d9b1f6f2a11","ok":false}"#;
    assert!(AgentFrame::parse(no_reason).is_err());
}

fn is_register((path, _): &(PathBuf, String)) -> bool {
    path.ends_with("register-0.2.json")
}

fn place_of<F: std::fmt::Debug>(parsed: Result<Parsed<F>, FrameError>) -> String {
    match parsed {
        Err(FrameError::Malformed { kind, path, .. }) => format!("{kind}.{path}"),
        other => panic!("not malformed: {other:?}"),
    }
}

#[test]
fn tokens_are_never_printed() {
    let (_, text) = fixtures("agent").into_iter().find(is_register).unwrap();
    let frame = AgentFrame::parse(&text).unwrap();
    assert!(!format!("{frame:?}").contains("secret"));
}
