//! JSON written in order, member by member, with stored payloads put in as they are.
//!
//! Why not serde: a stored payload would be scanned again for every status read, and the order of members is part of the
//! interface.

use crate::durable::Json;

/// An object under construction.
pub(super) struct JsonObject(String);

impl JsonObject {
    pub(super) fn new() -> Self {
        // Most answers fit: growing from nothing, member by member, costs more than writing them.
        let mut text = String::with_capacity(1024);
        text.push('{');
        Self(text)
    }

    /// A string.
    pub(super) fn string(mut self, key: &str, value: &str) -> Self {
        self.key(key);
        quote(&mut self.0, value);
        self
    }

    /// A string, or `null`.
    pub(super) fn string_or_null(self, key: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.string(key, value),
            None => self.raw(key, "null"),
        }
    }

    /// A payload, verbatim, or `null`.
    pub(super) fn json(self, key: &str, value: Option<&Json>) -> Self {
        self.raw(key, value.map_or("null", Json::as_str))
    }

    /// JSON text that was made here.
    pub(super) fn raw(mut self, key: &str, value: &str) -> Self {
        self.key(key);
        self.0.push_str(value);
        self
    }

    fn key(&mut self, key: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        quote(&mut self.0, key);
        self.0.push(':');
    }

    /// Applies `add` if `condition` holds.
    pub(super) fn when(self, condition: bool, add: impl FnOnce(Self) -> Self) -> Self {
        if condition { add(self) } else { self }
    }

    pub(super) fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

/// An array of JSON texts.
pub(super) fn array(items: impl IntoIterator<Item = String>) -> String {
    let mut text = "[".to_owned();
    for item in items {
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str(&item);
    }
    text.push(']');
    text
}

/// Adds a text as a JSON string. Keys, ids and links hardly ever hold what must be escaped, and then are copied as they are.
fn quote(into: &mut String, text: &str) {
    if text.bytes().any(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        into.push_str(&serde_json::to_string(text).expect("a string is always JSON"));
    } else {
        into.push('"');
        into.push_str(text);
        into.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_quoted_as_serde_does_it() {
        let every_ascii: String = (0..=0x7f_u8).map(char::from).collect();
        for text in ["", "plain", "a\"b", "a\\b", "line\nline", "ü\u{2028}", every_ascii.as_str()] {
            let mut quoted = String::new();
            quote(&mut quoted, text);
            assert_eq!(quoted, serde_json::to_string(text).unwrap());
        }
        let object = JsonObject::new().string("k\"", "v").string_or_null("n", None).finish();
        assert_eq!(object, r#"{"k\"":"v","n":null}"#);
    }
}
