//! What the host answers, as far as it is shown to people. Payloads stay the text that they are.

use serde::Deserialize;
use serde_json::value::RawValue;

/// A status object.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Status {
    #[serde(default)]
    pub name: String,
    pub instance_id: String,
    pub runtime_status: String,
    #[serde(default)]
    pub created_time: String,
    #[serde(default)]
    pub last_updated_time: String,
    #[serde(default)]
    pub input: Option<Box<RawValue>>,
    #[serde(default)]
    pub output: Option<Box<RawValue>>,
    #[serde(default)]
    pub custom_status: Option<Box<RawValue>>,
    #[serde(default)]
    pub diagnostics: Option<String>,
    #[serde(default)]
    pub history_events: Option<Vec<Event>>,
}

impl Status {
    /// True once the instance has ended.
    pub(super) fn has_ended(&self) -> bool {
        ENDED.contains(&self.runtime_status.as_str())
    }
}

/// The statuses of instances that have ended.
pub(super) const ENDED: [&str; 4] = ["Completed", "Failed", "Terminated", "Canceled"];

/// An event of a history, whichever members it has.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Event {
    pub event_type: String,
    pub timestamp: String,
    pub scheduled_time: Option<String>,
    pub fire_at: Option<String>,
    pub name: Option<String>,
    pub function_name: Option<String>,
    pub instance_id: Option<String>,
    pub input: Option<Box<RawValue>>,
    pub result: Option<Box<RawValue>>,
    pub reason: Option<String>,
    pub details: Option<String>,
    pub orchestration_status: Option<String>,
    /// Only in a raw history: the number of what was asked for; -1 of all else.
    pub event_id: Option<i64>,
    /// Only in a raw history: whose end this is.
    pub task_scheduled_id: Option<i64>,
    /// Only in a raw history: which timer has fired.
    pub timer_id: Option<i64>,
    /// Only in a raw history: the number of an attempt.
    pub attempt: Option<u64>,
}

/// An entity in a list.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entity {
    pub entity_id: EntityId,
    #[serde(default)]
    pub last_operation_time: String,
    #[serde(default)]
    pub state: Option<Box<RawValue>>,
}

/// An entity's name and key.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct EntityId {
    pub name: String,
    pub key: String,
}

/// The links of an instance that was started.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Started {
    pub id: String,
}

/// What a purge answers.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Purged {
    pub instances_deleted: u64,
}
