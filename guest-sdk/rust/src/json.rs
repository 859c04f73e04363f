//! Payloads: JSON text in, JSON text out.

use crate::failure::{Failure, Result};
use serde::de::{Deserialize, DeserializeOwned, Deserializer};
use serde::ser::{Serialize, Serializer};
use serde_json::value::RawValue;
use std::fmt;

/// One JSON value as text, handed on as it was written: no number is rounded, no key moves, nothing is decoded.
///
/// Use it as an input, an output, an event's payload or a member of one, wherever the code need not look inside.
///
/// ```
/// use soloist_sdk::prelude::*;
///
/// #[activity]
/// fn pass_on(order: Json) -> Json {
///     order
/// }
/// ```
#[derive(Clone)]
pub struct Json(Box<RawValue>);

impl Json {
    /// The value `null`.
    pub fn null() -> Self {
        Self(RawValue::NULL.to_owned())
    }

    /// Takes JSON text; white space around the value goes, all else stays.
    /// # Errors
    /// If the text is not one JSON value.
    pub fn from_text(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text).map(Self)
    }

    /// Writes a value as JSON.
    /// # Errors
    /// If the value cannot be JSON, for example a map whose keys are not strings.
    pub fn encode(value: &(impl Serialize + ?Sized)) -> Result<Self, serde_json::Error> {
        serde_json::value::to_raw_value(value).map(Self)
    }

    /// Reads the value as a type.
    /// # Errors
    /// If the JSON is of another shape.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.text())
    }

    /// The JSON text.
    pub fn text(&self) -> &str {
        self.0.get()
    }

    /// The JSON text.
    pub fn into_text(self) -> String {
        String::from(Box::<str>::from(self.0))
    }
}

impl Default for Json {
    fn default() -> Self {
        Self::null()
    }
}

impl PartialEq for Json {
    /// Compares the texts.
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(Self)
    }
}

/// Reads a payload that the host has checked; `what` names it in the failure ("the input of orchestrator X").
pub(crate) fn decode<T: DeserializeOwned>(text: &str, what: impl FnOnce() -> String) -> Result<T> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    deserializer.disable_recursion_limit();
    let value = T::deserialize(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
    value.map_err(|error| {
        // The same bytes fail the same way each time, so retrying is pointless.
        Failure::new(format!("{} cannot be read: {error}", what())).with_kind("InvalidPayload").non_retriable()
    })
}

/// Writes a payload that the code hands out; `what` names it in the failure.
pub(crate) fn encode<T: Serialize + ?Sized>(value: &T, what: impl FnOnce() -> String) -> Result<String> {
    serde_json::to_string(value).map_err(|error| {
        Failure::new(format!("{} cannot be written as JSON: {error}", what()))
            .with_kind("InvalidPayload")
            .non_retriable()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_survives_inside_and_outside_of_other_values() {
        let text = "{ \"b\":1.10, \"a\":123456789012345678901234567890, \"b\":[] }";
        let json = Json::from_text(text).unwrap();
        assert_eq!(json.text(), text);
        let list = encode(&vec![json.clone(), Json::null()], String::new).unwrap();
        assert_eq!(list, format!("[{text},null]"));
        assert_eq!(decode::<Vec<Json>>(&list, String::new).unwrap(), [json, Json::null()]);
    }

    #[test]
    fn payloads_may_be_as_deep_as_the_host_allows() {
        let text = format!("{}{}", "[".repeat(128), "]".repeat(128));
        assert_eq!(decode::<serde_json::Value>(&text, String::new).unwrap().to_string(), text);
        assert_eq!(decode::<Json>(&text, String::new).unwrap().text(), text);
        assert!(decode::<serde_json::Value>("1 2", String::new).is_err());
    }

    #[test]
    fn what_is_not_one_value_is_refused() {
        for text in ["", " ", "{", "1 2", "nul", "'a'"] {
            assert!(Json::from_text(text).is_err(), "{text:?}");
        }
    }
}
