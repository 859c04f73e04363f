//! JSON written in order, member by member, with stored payloads put in as they are.
//!
//! Why not serde: a stored payload would be scanned again for every status read, and the order of members is part of the
//! interface.

use crate::durable::Json;

/// An object under construction.
pub(super) struct JsonObject(String);

impl JsonObject {
    pub(super) fn new() -> Self {
        Self("{".to_owned())
    }

    /// A string.
    pub(super) fn string(self, key: &str, value: &str) -> Self {
        let text = quote(value);
        self.raw(key, &text)
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
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.0.push_str(&quote(key));
        self.0.push(':');
        self.0.push_str(value);
        self
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

fn quote(text: &str) -> String {
    serde_json::to_string(text).expect("a string is always JSON")
}
