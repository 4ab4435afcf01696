//! Which arguments of a tool stand in the log, and which only by their hash.
//!
//! Kept: what the catalogue knows and what names a thing (a path, a package, a version), cut to a bound. Only by hash and
//! size: a script, of which even the first line may hold a password; a link, which carries a signature; and whatever the
//! catalogue does not know. With the hash, whoever has the script can show that it is the one that ran.

use kenny_proto::tools::ToolSpec;
use serde_json::{Map, Value};

use super::{Facts, cut};
use crate::auth::sha256;

/// Arguments that may hold secrets.
const BY_HASH: [&str; 2] = ["script", "url"];
/// So many arguments are named; ours have at most six.
const NAMED: usize = 16;

/// What is kept of the arguments of a call.
pub fn kept(tool: &ToolSpec, args: &Map<String, Value>) -> Facts {
    let mut facts = Facts::new();
    for (name, value) in args.iter().take(NAMED) {
        let is_known = tool.args.iter().any(|spec| spec.name == name);
        let key = format!("arg.{}", cut(name));
        if is_known && !BY_HASH.contains(&name.as_str()) {
            facts.insert(key, cut(&plain(value)));
        } else if !value.is_null() {
            let text = plain(value);
            facts.insert(format!("{key}.sha256"), sha256(text.as_bytes()).to_string());
            facts.insert(format!("{key}.bytes"), text.len().to_string());
        }
    }
    if args.len() > NAMED {
        facts.insert("args_left_out".to_owned(), (args.len() - NAMED).to_string());
    }
    facts
}

/// A string as it is, so that its hash is the hash of the file it came from; anything else as JSON.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            value.to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(tool: &str, args: &Value) -> Facts {
        kept(ToolSpec::find(tool).unwrap(), args.as_object().unwrap())
    }

    #[test]
    fn a_script_leaves_its_hash_and_its_size_and_no_letter() {
        let script = "$password = 'hunter2'";
        let facts = of("powershell.exec", &json!({"script": script, "timeout_s": 5}));
        assert_eq!(facts["arg.script.sha256"], sha256(script.as_bytes()).to_string());
        assert_eq!(facts["arg.script.bytes"], "21");
        assert_eq!(facts["arg.timeout_s"], "5");
        assert!(!format!("{facts:?}").contains("hunter2"));
    }

    #[test]
    fn what_names_a_thing_is_kept_and_what_nobody_knows_is_not() {
        let long = "x".repeat(5000);
        let facts = of("fs.read", &json!({"path": "C:\\a.txt", "token": "secret", "x": long}));
        assert_eq!(facts["arg.path"], "C:\\a.txt");
        assert!(!format!("{facts:?}").contains("secret"));
        assert_eq!(facts["arg.x.bytes"], "5000");
        let facts = of("fs.read", &json!({"path": long}));
        assert!(facts["arg.path"].len() < 400);
        let link = json!({"version": "1.2.3", "url": "https://x/a?sig=abc", "sha256": "00"});
        let facts = of("agent.update", &link);
        assert_eq!((facts["arg.version"].as_str(), facts["arg.sha256"].as_str()), ("1.2.3", "00"));
        assert!(!format!("{facts:?}").contains("sig="));
    }

    #[test]
    fn a_crowd_of_arguments_does_not_fill_the_log() {
        let crowd: Map<String, Value> = (0..1000).map(|n| (format!("a{n}"), n.into())).collect();
        let facts = kept(ToolSpec::find("fs.list").unwrap(), &crowd);
        assert!(facts.len() <= 2 * NAMED + 1);
        assert_eq!(facts["args_left_out"], "984");
    }
}
