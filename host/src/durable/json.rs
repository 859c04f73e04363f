//! Payloads: JSON text, checked once, then kept byte for byte.

use std::{fmt, sync::Arc};

use serde::de::IgnoredAny;

/// The deepest nesting of arrays and objects that a payload may have.
pub const DEPTH_MAX: usize = 128;

/// One JSON value as text. Cheap to clone. Never re-encoded: what came in goes out.
#[derive(Clone, PartialEq, Eq)]
pub struct Json(Arc<str>);

/// Why a text is no payload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// It is not one JSON value.
    #[error("{0}")]
    Malformed(String),
    /// It is nested more deeply than this.
    #[error("the JSON is nested deeper than {0} levels (extensions.soloist.jsonDepth in host.json)")]
    TooDeep(usize),
    /// It is not UTF-8.
    #[error("the JSON is not UTF-8")]
    NotUtf8,
}

impl Json {
    /// Checks a text.
    ///
    /// # Errors
    /// [`JsonError`] if it is not exactly one JSON value (white space around it is allowed) or too deep.
    pub fn parse(text: impl Into<Arc<str>>) -> Result<Self, JsonError> {
        Self::parse_within(DEPTH_MAX, text)
    }

    /// Checks a text that may be nested so deeply; in no case deeper than [`DEPTH_MAX`].
    ///
    /// # Errors
    /// As [`Json::parse`].
    pub fn parse_within(depth_max: usize, text: impl Into<Arc<str>>) -> Result<Self, JsonError> {
        let (text, depth_max) = (text.into(), depth_max.min(DEPTH_MAX));
        // Depth first: it is a plain scan, and a parser need not be trusted with the nesting of a stranger's text.
        if depth(&text) > depth_max {
            return Err(JsonError::TooDeep(depth_max));
        }
        serde_json::from_str::<IgnoredAny>(&text).map_err(|e| JsonError::Malformed(e.to_string()))?;
        Ok(Self(text))
    }

    /// Checks bytes. None at all are the value `null`.
    ///
    /// # Errors
    /// As [`Json::parse_within`], and [`JsonError::NotUtf8`].
    pub fn from_body(depth_max: usize, bytes: &[u8]) -> Result<Self, JsonError> {
        if bytes.is_empty() {
            return Ok(Self::null());
        }
        Self::parse_within(depth_max, std::str::from_utf8(bytes).map_err(|_| JsonError::NotUtf8)?)
    }

    /// Takes a text that was checked when it was stored.
    pub fn from_stored(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// A JSON string.
    pub fn string(text: &str) -> Self {
        Self(serde_json::Value::from(text).to_string().into())
    }

    /// `null`.
    pub fn null() -> Self {
        Self("null".into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, shared.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    /// The text's length in UTF-16 bytes, by which Durable Functions measures.
    pub fn utf16_bytes(&self) -> usize {
        self.0.encode_utf16().count() * 2
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl serde::Serialize for Json {
    /// Puts the text into the output as it stands (with serde_json's serialiser).
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &serde_json::value::RawValue = serde_json::from_str(&self.0).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

/// The deepest nesting in a text, not minding whether it is valid.
fn depth(text: &str) -> usize {
    let (mut deepest, mut now, mut in_string, mut escaped) = (0usize, 0usize, false, false);
    for byte in text.bytes() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => {
                now += 1;
                deepest = deepest.max(now);
            }
            b']' | b'}' => now = now.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_kept_byte_for_byte() {
        let text = r#"{"b":1,  "a":[1.0,1e3,"\u00e4"],"b":2}"#;
        assert_eq!(Json::parse(text).unwrap().as_str(), text);
        assert_eq!(serde_json::to_string(&Json::parse(text).unwrap()).unwrap(), text);
    }

    #[test]
    fn depth_is_limited_and_strings_do_not_count() {
        let nested = |n: usize| "[".repeat(n) + &"]".repeat(n);
        assert!(Json::parse(nested(128)).is_ok());
        assert_eq!(Json::parse(nested(129)), Err(JsonError::TooDeep(DEPTH_MAX)));
        assert_eq!(Json::parse(nested(10_000_000)), Err(JsonError::TooDeep(DEPTH_MAX)));
        assert_eq!(Json::parse_within(3, nested(4)), Err(JsonError::TooDeep(3)));
        assert!(Json::parse_within(3, nested(3)).is_ok());
        assert_eq!(Json::parse_within(1_000, nested(129)), Err(JsonError::TooDeep(DEPTH_MAX)));
        assert!(Json::parse(format!("\"{}\"", "[\\\"".repeat(1000))).is_ok());
    }

    #[test]
    fn malformed_texts_are_refused() {
        for bad in ["", "{", "1 2", "nul", "{\"a\":}", "'x'"] {
            assert!(matches!(Json::parse(bad), Err(JsonError::Malformed(_))), "{bad:?}");
        }
        assert_eq!(Json::from_body(DEPTH_MAX, b"").unwrap(), Json::null());
        assert_eq!(Json::from_body(DEPTH_MAX, b"\xff"), Err(JsonError::NotUtf8));
    }
}
