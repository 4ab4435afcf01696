//! `application/x-www-form-urlencoded`, as forms post it and as it stands after the question mark.

use std::collections::HashMap;

/// Named values, each name at most once: two readers of a repeated one would see two requests.
#[derive(Debug, Default)]
pub struct Fields(HashMap<String, String>);

/// A name that came twice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` stands there more than once; it may only once")]
pub struct RepeatedField(pub String);

impl Fields {
    /// Reads what a form posts. Bytes that are no UTF-8 become replacement characters.
    pub fn parse(encoded: &[u8]) -> Result<Self, RepeatedField> {
        let mut fields = HashMap::new();
        for (name, value) in url::form_urlencoded::parse(encoded) {
            if fields.contains_key(&*name) {
                return Err(RepeatedField(name.chars().take(64).collect()));
            }
            fields.insert(name.into_owned(), value.into_owned());
        }
        Ok(Self(fields))
    }

    /// The value of this name; an empty one counts as absent (RFC 6749, section 3.1).
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_counts_once_and_empty_is_absent() {
        let fields = Fields::parse(b"a=1+2&b=&c=%C3%A4&d=%ff").unwrap();
        assert_eq!(fields.get("a"), Some("1 2"));
        assert_eq!((fields.get("b"), fields.get("x")), (None, None));
        assert_eq!(fields.get("c"), Some("ä"));
        assert_eq!(fields.get("d"), Some("\u{fffd}"));
        assert_eq!(Fields::parse(b"a=1&b=2&a=1").unwrap_err(), RepeatedField("a".to_owned()));
    }
}
