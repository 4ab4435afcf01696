//! The config file's schema: its number, the steps from older ones to ours, and which keys we know. Works on JSON
//! values and reads no file.
//!
//! A new key is a new schema, with a step that may do nothing: agents of before refuse a key that they do not know in a
//! file of their own schema, and pass it over in a newer one.

use serde_json::{Map, Value};
use url::Url;

/// Brings a document of one schema to the next.
type Step = fn(&mut Map<String, Value>);

/// The first makes schema 2 of schema 1, and so on. A step leaves alone what it cannot read: the check that follows
/// names it.
const STEPS: &[Step] = &[bare_origins, nothing];

/// The schema that this agent writes.
pub const SCHEMA: u64 = STEPS.len() as u64 + 1;

/// The member that holds the number. A file without it is of schema 1.
pub const KEY: &str = "schema";

/// The schema of a document. The error says what is wrong with the number.
pub fn of(document: &Map<String, Value>) -> Result<u64, String> {
    match document.get(KEY) {
        None => Ok(1),
        Some(value) => value
            .as_u64()
            .filter(|schema| *schema > 0)
            .ok_or_else(|| format!("{value} is no schema; this agent writes {SCHEMA}")),
    }
}

/// Brings a document of an older schema to ours, with our number. One of ours or of a newer one stays as it is.
pub fn migrate(document: &mut Map<String, Value>, from: u64) {
    if from >= SCHEMA {
        return;
    }
    let done = usize::try_from(from.saturating_sub(1)).unwrap_or(STEPS.len());
    for step in STEPS.iter().skip(done) {
        step(document);
    }
    document.insert(KEY.to_owned(), SCHEMA.into());
}

/// Schema 2: `update.allowed_origins` holds origins and nothing more. Schema 1 took whole addresses there and compared
/// only their origins, so that a folder in it looked like a limit and was none.
fn bare_origins(document: &mut Map<String, Value>) {
    let origins = document
        .get_mut("update")
        .and_then(|update| update.get_mut("allowed_origins"))
        .and_then(Value::as_array_mut);
    for origin in origins.into_iter().flatten() {
        let parsed = origin.as_str().and_then(|text| Url::parse(text).ok());
        if let Some(url) = parsed.filter(|url| url.origin().is_tuple()) {
            *origin = url.origin().ascii_serialization().into();
        }
    }
}

/// Schema 3: `identity`, `trust`, `policy` and `update.require_authenticode` are new. Who has a token keeps it; an agent of
/// before passes a policy over, and with it what it refuses.
fn nothing(_document: &mut Map<String, Value>) {}

/// Where a document has a key that the pattern lacks, as `outer.inner`, each with the keys that the pattern has there.
pub fn unknown(document: &Map<String, Value>, known: &Map<String, Value>) -> Vec<UnknownKey> {
    let mut found = Vec::new();
    collect_unknown("", document, known, &mut found);
    found
}

/// A key that this agent does not know.
#[derive(Debug, PartialEq, Eq)]
pub struct UnknownKey {
    /// Where it stands.
    pub path: String,
    /// The keys that are known there.
    pub instead: Vec<String>,
}

fn collect_unknown(
    outer: &str,
    document: &Map<String, Value>,
    known: &Map<String, Value>,
    found: &mut Vec<UnknownKey>,
) {
    for (key, value) in document {
        let path = if outer.is_empty() { key.clone() } else { format!("{outer}.{key}") };
        match known.get(key) {
            Some(Value::Object(known)) => {
                if let Value::Object(inner) = value {
                    collect_unknown(&path, inner, known, found);
                }
            }
            Some(_) => {}
            None => found.push(UnknownKey { path, instead: known.keys().cloned().collect() }),
        }
    }
}

/// Puts our members over those of a document, which keeps what we do not know. What we know and do not set goes.
pub fn lay_over(
    document: &mut Map<String, Value>,
    ours: Map<String, Value>,
    known: &Map<String, Value>,
) {
    for (key, value) in known {
        if !ours.contains_key(key) && !value.is_object() {
            document.remove(key);
        }
    }
    for (key, value) in ours {
        match (document.get_mut(&key), value, known.get(&key)) {
            (Some(Value::Object(inner)), Value::Object(ours), Some(Value::Object(known))) => {
                lay_over(inner, ours, known);
            }
            (_, value, _) => drop(document.insert(key, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: &Value) -> Map<String, Value> {
        value.as_object().expect("the tests write objects").clone()
    }

    #[test]
    fn a_file_without_a_number_is_the_first() {
        assert_eq!(of(&object(&json!({}))), Ok(1));
        assert_eq!(of(&object(&json!({"schema": 7}))), Ok(7));
        for bad in [json!(0), json!(-1), json!(1.5), json!("2"), json!(null)] {
            assert!(of(&object(&json!({"schema": bad}))).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_first_step_cuts_addresses_down_to_origins() {
        let mut document = object(&json!({"update": {"allowed_origins": [
            "https://cdn.example/files/x?y", "http://mirror.example:8080", "no address", 7, "ftp://old.example/x",
        ]}}));
        migrate(&mut document, 1);
        let expected = json!({"schema": SCHEMA, "update": {"allowed_origins": [
            "https://cdn.example", "http://mirror.example:8080", "no address", 7, "ftp://old.example",
        ]}});
        assert_eq!(Value::Object(document), expected);
    }

    #[test]
    fn documents_of_any_shape_survive_every_step() {
        for odd in [json!({}), json!({"update": 3}), json!({"update": {"allowed_origins": {}}})] {
            let mut document = object(&odd);
            migrate(&mut document, 1);
            assert_eq!(document.remove(KEY), Some(SCHEMA.into()));
            assert_eq!(Value::Object(document), odd);
        }
    }

    #[test]
    fn what_is_ours_or_newer_is_not_migrated() {
        for schema in [SCHEMA, SCHEMA + 1, u64::MAX] {
            let before = object(
                &json!({"schema": schema, "update": {"allowed_origins": ["https://a.example/x"]}}),
            );
            let mut after = before.clone();
            migrate(&mut after, schema);
            assert_eq!(after, before);
        }
    }

    #[test]
    fn unknown_keys_are_found_at_every_level() {
        let known = object(&json!({"a": 1, "b": {"c": 1}}));
        let found =
            unknown(&object(&json!({"a": {"z": 1}, "b": {"c": 1, "d": 2}, "e": 3})), &known);
        let paths: Vec<&str> = found.iter().map(|key| key.path.as_str()).collect();
        assert_eq!(paths, ["b.d", "e"]);
        assert_eq!(found[0].instead, ["c"]);
    }

    #[test]
    fn laying_over_keeps_what_is_unknown_and_drops_what_is_unset() {
        let known = object(&json!({"a": 1, "b": {"c": 1, "d": 1}, "e": 1}));
        let mut document =
            object(&json!({"a": 1, "b": {"c": 1, "d": 1, "new": 1}, "e": 1, "newer": {"x": 1}}));
        lay_over(&mut document, object(&json!({"a": 2, "b": {"c": 2}})), &known);
        let expected = json!({"a": 2, "b": {"c": 2, "new": 1}, "newer": {"x": 1}});
        assert_eq!(Value::Object(document), expected);
    }
}
