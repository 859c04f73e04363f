//! Typed access to one object of `host.json`; every complaint names the key, what is allowed and what is there.

use crate::app::diagnostic::{Code, Problem, Report};
use crate::app::json::{Node, Value};

/// An object in `host.json`, or its absence; null counts as absence everywhere.
pub(super) struct Section<'a> {
    /// Its path; the top's is empty.
    pub path: String,
    pub node: Option<&'a Node>,
}

impl<'a> Section<'a> {
    /// The value of a key, which must be in the table of keys.
    pub fn value(&self, key: &str) -> Option<&'a Node> {
        debug_assert!(super::keys::find(&self.path_of(key)).is_some(), "{} is in the table of keys", self.path_of(key));
        self.node.and_then(|node| node.get(key)).filter(|node| !node.is_null())
    }

    /// The section of that key; one that is no object is reported, and counts as absent.
    pub fn section(&self, key: &str, report: &mut Report) -> Section<'a> {
        let node = self.value(key);
        let is_object = node.map(|node| node.expect_object(&self.path_of(key), Code::HostJsonValue));
        let is_object = is_object.is_some_and(|object| report.keep(object).is_some());
        Section { path: self.path_of(key), node: node.filter(|_| is_object) }
    }

    pub fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// A problem that names the key, what is wanted and what is there.
    pub fn invalid(&self, key: &str, wanted: &str, found: &Node) -> Problem {
        let path = self.path_of(key);
        let found_text = match found.scalar_text() {
            Some(text) => format!("'{text}'"),
            None => "an object or array".to_owned(),
        };
        let message = format!("host.json: {path} must be {wanted}, not {found_text}");
        Problem::new(Code::HostJsonValue, message, found.origin())
    }

    pub fn string(&self, key: &str) -> Result<Option<(&'a str, &'a Node)>, Problem> {
        let Some(node) = self.value(key) else {
            return Ok(None);
        };
        let text = node.as_str().ok_or_else(|| self.invalid(key, "a string", node))?;
        Ok(Some((text, node)))
    }

    pub fn bool(&self, key: &str, default: bool) -> Result<bool, Problem> {
        match self.value(key) {
            Some(node) => node.as_bool().ok_or_else(|| self.invalid(key, "true or false", node)),
            None => Ok(default),
        }
    }

    /// An array of strings; a string alone, as a setting gives it, is a list parted by commas.
    pub fn strings(&self, key: &str) -> Result<Option<Vec<String>>, Problem> {
        let Some(node) = self.value(key) else {
            return Ok(None);
        };
        let elements: Option<Vec<String>> = match node.value() {
            Value::Array(elements) => elements.iter().map(|element| element.as_str().map(str::to_owned)).collect(),
            Value::String(text) => {
                Some(text.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect())
            }
            // Settings that name elements (`…__functions__0`) build an object where the file has no array.
            Value::Object(properties) => {
                properties.iter().map(|property| property.node.as_str().map(str::to_owned)).collect()
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => None,
        };
        elements.map(Some).ok_or_else(|| self.invalid(key, "an array of strings", node))
    }

    pub fn number(&self, key: &str, default: u64, (min, max): (u64, u64)) -> Result<u64, Problem> {
        let Some(node) = self.value(key) else {
            return Ok(default);
        };
        node.as_integer()
            .and_then(|number| u64::try_from(number).ok())
            .filter(|number| (min..=max).contains(number))
            .ok_or_else(|| self.invalid(key, &format!("a whole number from {min} to {max}"), node))
    }

    /// A number above 0; the original's text otherwise.
    pub fn positive(&self, key: &str, default: usize) -> Result<usize, Problem> {
        let Some(node) = self.value(key) else {
            return Ok(default);
        };
        let number = node.as_integer().ok_or_else(|| self.invalid(key, "a whole number", node))?;
        usize::try_from(number).ok().filter(|number| *number > 0).ok_or_else(|| {
            let name = key[..1].to_uppercase() + &key[1..];
            Problem::new(Code::HostJsonValue, format!("{name} must be a positive integer value."), node.origin())
        })
    }

    /// A number above 0, or -1 for no limit.
    pub fn limit(&self, key: &str) -> Result<Option<usize>, Problem> {
        let Some(node) = self.value(key) else {
            return Ok(None);
        };
        match node.as_integer() {
            Some(-1) => Ok(None),
            Some(number) if number > 0 => Ok(usize::try_from(number).ok()),
            _ => Err(self.invalid(key, "a whole number above 0, or -1 for no limit", node)),
        }
    }
}
