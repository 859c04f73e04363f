//! Typed access to the values of `function.json`; every complaint is the original's.

use crate::app::diagnostic::{Code, Problem};
use crate::app::json::Node;

pub(super) fn invalid(node: &Node, key: &str, kind: &str) -> Problem {
    let message =
        format!("Error parsing function.json: Invalid value specified for binding property '{key}' of {kind}.");
    Problem::new(Code::FunctionJsonValue, message, node.origin())
}

/// The property's value; null counts as absence.
pub(super) fn value<'n>(node: &'n Node, key: &str) -> Option<&'n Node> {
    node.get(key).filter(|node| !node.is_null())
}

pub(super) fn string<'n>(node: &'n Node, key: &str) -> Result<Option<&'n str>, Problem> {
    let Some(node) = value(node, key) else {
        return Ok(None);
    };
    node.as_str().map(Some).ok_or_else(|| invalid(node, key, "type String"))
}

pub(super) fn boolean(node: &Node, key: &str) -> Result<Option<bool>, Problem> {
    let Some(node) = value(node, key) else {
        return Ok(None);
    };
    node.as_bool().map(Some).ok_or_else(|| invalid(node, key, "type Boolean"))
}

/// The one of `values` (lower case) that a string property holds, without regard to case; none if absent or empty.
pub(super) fn one_of<'v>(node: &Node, key: &str, kind: &str, values: &[&'v str]) -> Result<Option<&'v str>, Problem> {
    let Some(node) = value(node, key) else {
        return Ok(None);
    };
    let wrong = || invalid(node, key, &format!("enum type {kind}")).help(format!("allowed are {}", values.join(", ")));
    let text = node.as_str().ok_or_else(wrong)?;
    if text.is_empty() {
        return Ok(None);
    }
    let found = values.iter().find(|value| value.eq_ignore_ascii_case(text));
    found.copied().map(Some).ok_or_else(|| wrong().similar(text, values.iter().copied().filter(|v| v.len() > 3)))
}
