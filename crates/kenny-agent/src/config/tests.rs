//! The config file as people and other versions write it.

use serde_json::json;

use super::*;

fn load(text: &str) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kenny-agent.config.json");
    fs_err::write(&path, text).unwrap();
    Config::load(&path).map_err(|error| error.to_string())
}

const GOOD: &str = r#"{"server":"ws://127.0.0.1:7741","agent_id":"pc","token":"secret"}"#;

#[test]
fn defaults_fill_what_is_left_out() {
    let config = load(&format!("\u{feff}{GOOD}")).unwrap();
    assert_eq!(config.server.as_str(), "ws://127.0.0.1:7741/agent/ws");
    assert_eq!(config.telemetry_interval_secs, 900);
    assert_eq!(config.update.probation_secs, 60);
    assert!(!format!("{config:?}").contains("secret"));
}

#[test]
fn errors_name_file_key_and_remedy() {
    let cases = [
        (GOOD.replace("agent_id", "agentid"), "agentid"),
        (GOOD.replace("ws://", "http://"), "`server`"),
        (GOOD.replace("ws://", "ws://u:p@"), "`server`"),
        (GOOD.replace("\"pc\"", "\"p c\""), "`agent_id`"),
        (GOOD.replace("secret", ""), "`token`"),
        (GOOD.replace('}', r#","telemetry_interval_secs":0}"#), "`telemetry_interval_secs`"),
        (GOOD.replace('}', r#","update":{"probation_sec":1}}"#), "`update.probation_sec`"),
        (GOOD.replace('}', r#","log_level":"loud"}"#), "`log_level`"),
        (GOOD.replace('}', r#","token":"other"}"#), "`token` stands there twice"),
        (GOOD.replace('}', r#","schema":0}"#), "`schema`"),
        (
            GOOD.replace('}', r#","schema":2,"colour":"red"}"#),
            "`colour`: is not known; known here: agent_id",
        ),
        (
            GOOD.replace(
                '}',
                r#","schema":2,"update":{"allowed_origins":["https://a.example/x"]}}"#,
            ),
            "give https://a.example alone;",
        ),
        (
            GOOD.replace('}', r#","update":{"max_bytes_per_second":16383}}"#),
            "`update.max_bytes_per_second`: 16383 is less than 16384",
        ),
        (
            GOOD.replace('}', r#","update":{"max_bytes_per_second":"1 MB"}}"#),
            "`update.max_bytes_per_second`",
        ),
        (r#"{"server":"ws://h"}"#.to_owned(), "agent_id"),
        ("{".to_owned(), "the whole file"),
    ];
    for (text, named) in cases {
        let error = load(&text).unwrap_err();
        assert!(error.contains(named), "{error}");
        assert!(error.contains("kenny-agent.config.json"), "{error}");
        assert!(error.contains("correct it"), "{error}");
    }
}

#[test]
fn a_file_in_another_encoding_is_told_apart_from_a_broken_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kenny-agent.config.json");
    let utf16 = GOOD.encode_utf16().flat_map(u16::to_le_bytes);
    fs_err::write(&path, [0xff, 0xfe].into_iter().chain(utf16).collect::<Vec<u8>>()).unwrap();
    let error = Config::load(&path).unwrap_err().to_string();
    assert!(error.contains("UTF-8") && error.contains("kenny-agent.config.json"), "{error}");
}

/// A folder, and a config file in it.
fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kenny-agent.config.json");
    fs_err::write(&path, text).unwrap();
    (folder, path)
}

fn json_of(path: &Path) -> Value {
    serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap()
}

#[test]
fn what_is_saved_is_loaded_and_says_its_schema() {
    let (folder, path) = file(GOOD);
    let mut config = Config::load(&path).unwrap();
    config.ca_file = Some("ca.pem".into());
    config.update.max_bytes_per_second = Some(MIN_BYTES_PER_SECOND);
    config.update.allowed_origins = vec!["https://cdn.example".parse().unwrap()];
    config.save(&path).unwrap();
    assert_eq!(Config::load(&path).unwrap(), config);
    assert_eq!(json_of(&path)["schema"], SCHEMA);
    assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn an_older_file_is_read_as_if_it_were_ours() {
    let old = GOOD.replace('}', r#","update":{"allowed_origins":["https://cdn.example/files/"]}}"#);
    for text in [
        old.clone(),
        old.replace('{', r#"{"schema":1,"#).replacen(
            r#""update":{"schema":1,"#,
            r#""update":{"#,
            1,
        ),
    ] {
        let (_folder, path) = file(&text);
        let loaded = Config::read(&path).unwrap();
        assert_eq!((loaded.schema, loaded.ignored.len()), (1, 0));
        assert_eq!(loaded.config.update.allowed_origins, ["https://cdn.example".parse().unwrap()]);
        assert_eq!(fs_err::read_to_string(&path).unwrap(), text, "reading changes nothing");
    }
}

#[test]
fn an_older_file_is_rewritten_once_and_says_no_more_than_before() {
    let old = GOOD.replace('}', r#","update":{"allowed_origins":["https://cdn.example/files/"]}}"#);
    let (folder, path) = file(&format!("\u{feff}{old}"));
    let before = Config::load(&path).unwrap();
    assert!(Config::migrate_file(&path).unwrap());
    let expected = json!({
        "schema": SCHEMA, "server": "ws://127.0.0.1:7741", "agent_id": "pc", "token": "secret",
        "update": {"allowed_origins": ["https://cdn.example"]},
    });
    assert_eq!(json_of(&path), expected);
    assert_eq!(Config::load(&path).unwrap(), before);
    assert!(!Config::migrate_file(&path).unwrap());
    assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn a_pc_that_enrolled_has_an_identity_and_no_token() {
    let key = PublicKey([7; 32]);
    let identity = format!(r#""identity":{{"key_file":"/k/a.key","server_key":"{key}"}}"#);
    let enrolled = GOOD.replace(r#""token":"secret""#, &format!(r#"{identity},"schema":3"#));
    let config = load(&enrolled).unwrap();
    assert_eq!(config.token, None);
    let (_folder, path) = file(&enrolled);
    config.save(&path).unwrap();
    let expected: Value = serde_json::from_str(&format!("{{{identity}}}")).unwrap();
    assert_eq!(json_of(&path)["identity"], expected["identity"]);
    assert_eq!(json_of(&path).get("token"), None);
    for (text, named) in [
        (enrolled.replace(r#","schema":3"#, r#","token":"x","schema":3"#), "`token`: has no place"),
        (enrolled.replace(&identity, r#""log_level":"info""#), "`identity`: is missing"),
        (enrolled.replace("/k/a.key", ""), "`identity.key_file`"),
        (enrolled.replace(&key.to_string(), "AAAA"), "`identity.server_key`"),
        (enrolled.replace("server_key", "server_keys"), "`identity.server_keys`"),
    ] {
        let error = load(&text).unwrap_err();
        assert!(error.contains(named), "{error}");
    }
}

#[test]
fn a_file_that_cannot_be_used_is_not_rewritten() {
    for text in [GOOD.replace("agent_id", "agentid"), GOOD.replace("secret", ""), "{".to_owned()] {
        let (_folder, path) = file(&text);
        Config::migrate_file(&path).unwrap_err();
        assert_eq!(fs_err::read_to_string(&path).unwrap(), text);
    }
    let missing = tempfile::tempdir().unwrap().path().join("none.json");
    assert!(matches!(Config::migrate_file(&missing), Err(ConfigError::Missing(_))));
}

const NEWER: &str = r#"{"schema":99,"server":"ws://127.0.0.1:7741/agent/ws","agent_id":"pc","token":"secret","ca_file":"ca.pem",
    "tray":{"shown":true},"update":{"probation_secs":7,"channel":"beta"}}"#;

#[test]
fn a_newer_file_is_read_for_what_is_known_and_never_migrated() {
    let (_folder, path) = file(NEWER);
    let loaded = Config::read(&path).unwrap();
    assert_eq!((loaded.schema, loaded.config.update.probation_secs), (99, 7));
    assert_eq!(loaded.ignored, ["tray", "update.channel"]);
    assert!(!Config::migrate_file(&path).unwrap());
    assert_eq!(fs_err::read_to_string(&path).unwrap(), NEWER);
}

#[test]
fn what_is_known_must_be_right_in_a_newer_file_too() {
    for (text, named) in [
        (NEWER.replace(r#""token":"secret","#, ""), "`token`"),
        (NEWER.replace(":7,", r#":"soon","#), "`update.probation_secs`"),
        (NEWER.replace("ws:", "http:"), "`server`"),
    ] {
        let error = load(&text).unwrap_err();
        assert!(error.contains(named), "{error}");
    }
}

#[test]
fn saving_over_a_newer_file_keeps_its_keys_and_its_number() {
    let (_folder, path) = file(NEWER);
    let mut config = Config::load(&path).unwrap();
    config.token = Some("new".to_owned());
    config.ca_file = None;
    config.save(&path).unwrap();
    let saved = json_of(&path);
    let expected = json!({
        "schema": 99, "server": "ws://127.0.0.1:7741/agent/ws", "agent_id": "pc", "token": "new",
        "telemetry_interval_secs": 900, "log_level": "info", "tray": {"shown": true},
        "policy": {"refused_tools": []},
        "update": {
            "allowed_origins": [], "probation_secs": 7, "start_timeout_secs": 120, "require_authenticode": false,
            "channel": "beta",
        },
    });
    assert_eq!(saved, expected);
    assert_eq!(Config::load(&path).unwrap(), config);
}

#[cfg(unix)]
#[test]
fn a_rewritten_file_is_no_more_readable_than_before() {
    use std::os::unix::fs::PermissionsExt;

    let (_folder, path) = file(GOOD);
    fs_err::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    assert!(Config::migrate_file(&path).unwrap());
    assert_eq!(fs_err::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}
