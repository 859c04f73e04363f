//! Names of entities.

use crate::bindings::soloist::functions::types as wit;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Names an entity: the entity function, and a key of the application's choice.
///
/// Functions' names compare without regard to case and are kept in lower case; keys are compared as they are. Written as
/// `@name@key`, in JSON as `{"name":…,"key":…}`.
///
/// ```
/// use soloist_sdk::EntityId;
///
/// let id = EntityId::new("Counter", "Front door");
/// assert_eq!(id.to_string(), "@counter@Front door");
/// assert_eq!(id, EntityId::new("counter", "Front door"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "Parts")]
pub struct EntityId {
    name: String,
    key: String,
}

/// What is read from JSON: a name in any case.
#[derive(Deserialize)]
struct Parts {
    name: String,
    key: String,
}

impl From<Parts> for EntityId {
    fn from(parts: Parts) -> Self {
        Self::new(&parts.name, parts.key)
    }
}

impl EntityId {
    /// The entity of this function under this key. A key has no `/ \\ # ?` and no control characters; it may be empty.
    pub fn new(name: &str, key: impl Into<String>) -> Self {
        Self { name: name.to_lowercase(), key: key.into() }
    }

    /// The entity function's name, in lower case.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key.
    pub fn key(&self) -> &str {
        &self.key
    }

    pub(crate) fn from_wit(id: wit::EntityId) -> Self {
        Self::new(&id.name, id.key)
    }

    pub(crate) fn to_wit(&self) -> wit::EntityId {
        wit::EntityId { name: self.name.clone(), key: self.key.clone() }
    }
}

impl fmt::Display for EntityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{}@{}", self.name, self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_no_case_and_keys_do() {
        let read: EntityId = serde_json::from_str(r#"{"name":"COUNTER","key":"A"}"#).unwrap();
        assert_eq!(read, EntityId::new("Counter", "A"));
        assert_ne!(read, EntityId::new("Counter", "a"));
        assert_eq!(serde_json::to_string(&read).unwrap(), r#"{"name":"counter","key":"A"}"#);
    }
}
