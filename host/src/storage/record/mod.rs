//! Records as bytes: compact, versioned, checked.
//!
//! A record is: a version byte; the time; the summary; the events, each led by its number; the CRC-32 of all that, four
//! bytes little-endian. Numbers are LEB128 varints (signed ones zigzag). A thing's required fields come first, in order;
//! the others follow, each led by its tag, and tag 0 ends them. What is absent is none, empty or false, so an optional
//! field can be added without a new version; its tag, like a variant's number, is never re-used.
//!
//! A text beyond [`INLINE_MAX`] is not in the record: it becomes a payload of its own, beside the record, and the record
//! holds the payload's number, length and checksum. So a list of instances need not read large inputs.
//!
//! Reading trusts nothing: whatever is not exactly what the writer makes is [`StorageError::Corrupt`]; it neither panics
//! nor allocates more than the bytes at hand can fill.

mod read;
#[cfg(test)]
mod tests;
mod write;

use std::sync::Arc;

use self::{read::Reader, write::Writer};
use super::StorageError;
use crate::durable::{EntityRecord, InboxMessage, RuntimeStatus, Summary, Timestamp, TurnRecord};

/// The version that is written. Version 1 is fixed by the tests' golden bytes; a newer one keeps reading it.
const VERSION: u8 = 1;

/// Texts up to this many bytes are held in the record.
pub(super) const INLINE_MAX: usize = 64 * 1024;

/// A record that is this long already holds only texts up to [`CROWDED_INLINE_MAX`]: a turn that takes thousands of large
/// results must not become one huge row.
const CROWDED: usize = 1024 * 1024;
const CROWDED_INLINE_MAX: usize = 1024;

/// A record as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Encoded {
    /// The record.
    pub bytes: Vec<u8>,
    /// The texts that it refers to; a payload's number is its index.
    pub payloads: Vec<Arc<str>>,
}

/// Where a reader finds the texts that are not in the record.
pub(super) trait Payloads {
    /// The payload of this number, as it was given to be stored; `None` if there is none.
    fn payload(&mut self, number: u32) -> Result<Option<Vec<u8>>, StorageError>;
}

/// What a reader does about texts that are not in the record.
pub(super) enum Texts<'a> {
    /// Fetches them.
    Fetch(&'a mut dyn Payloads),
    /// Takes `null` in the place of JSON and refuses any other: for the first record, when its input is not wanted.
    Skip,
}

/// A record's bytes.
pub(super) fn encode(record: &TurnRecord) -> Encoded {
    let mut writer = Writer::new(true);
    writer.record(record);
    writer.finish()
}

/// The record that these bytes hold.
pub(super) fn decode(bytes: &[u8], texts: Texts<'_>) -> Result<TurnRecord, StorageError> {
    let mut reader = Reader::open(bytes, texts)?;
    let (time, summary) = reader.head()?;
    let events = reader.events()?;
    reader.close()?;
    Ok(TurnRecord { time, events, summary })
}

/// A record's time and summary, without its events.
pub(super) fn head(bytes: &[u8]) -> Result<(Timestamp, Summary), StorageError> {
    Reader::open(bytes, Texts::Skip)?.head()
}

/// Whether texts of a record are stored beside it; true as well if that cannot be told.
pub(super) fn has_payloads(bytes: &[u8]) -> bool {
    struct Asked(bool);
    impl Payloads for Asked {
        fn payload(&mut self, _number: u32) -> Result<Option<Vec<u8>>, StorageError> {
            self.0 = true;
            Ok(None)
        }
    }
    let mut asked = Asked(false);
    decode(bytes, Texts::Fetch(&mut asked)).is_err() || asked.0
}

/// Whether a record is the same after it was stored: the memory backend asserts it, so that simulation tests records, too.
pub(super) fn survives(record: &TurnRecord) -> bool {
    let encoded = encode(record);
    let mut kept = Kept(encoded.payloads.clone());
    // Bytes are compared, as a number that is not a number is not equal to itself.
    decode(&encoded.bytes, Texts::Fetch(&mut kept)).is_ok_and(|decoded| encode(&decoded) == encoded)
}

/// As [`survives`], of an entity's record.
pub(super) fn entity_survives(record: &EntityRecord) -> bool {
    let encoded = encode_entity(record);
    let mut kept = Kept(encoded.payloads.clone());
    decode_entity(&encoded.bytes, Texts::Fetch(&mut kept)).is_ok_and(|decoded| decoded == *record)
}

/// Payloads in memory.
struct Kept(Vec<Arc<str>>);

impl Payloads for Kept {
    fn payload(&mut self, number: u32) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.0.get(number as usize).map(|text| text.as_bytes().to_vec()))
    }
}

/// An inbox message's bytes; its texts are always within.
pub(super) fn encode_message(message: &InboxMessage) -> Vec<u8> {
    let mut writer = Writer::new(false);
    writer.message(message);
    writer.finish().bytes
}

/// The inbox message that these bytes hold.
pub(super) fn decode_message(bytes: &[u8]) -> Result<InboxMessage, StorageError> {
    let mut reader = Reader::open(bytes, Texts::Skip)?;
    let message = reader.message()?;
    reader.close()?;
    Ok(message)
}

/// An entity's record's bytes.
pub(super) fn encode_entity(record: &EntityRecord) -> Encoded {
    let mut writer = Writer::new(true);
    writer.entity_record(record);
    writer.finish()
}

/// The entity's record that these bytes hold; with [`Texts::Skip`] a state that is stored beside it is `null`.
pub(super) fn decode_entity(bytes: &[u8], texts: Texts<'_>) -> Result<EntityRecord, StorageError> {
    let mut reader = Reader::open(bytes, texts)?;
    let record = reader.entity_record()?;
    reader.close()?;
    Ok(record)
}

/// What stands in the head of an entity's record.
pub(super) fn entity_summary(next_due: Option<Timestamp>) -> Summary {
    Summary { status: RuntimeStatus::Running, custom_status: None, next_due, outstanding: 0 }
}

/// A status as a number, as records and rows hold it.
pub(super) fn status_number(status: RuntimeStatus) -> u8 {
    match status {
        RuntimeStatus::Running => 0,
        RuntimeStatus::Completed => 1,
        RuntimeStatus::ContinuedAsNew => 2,
        RuntimeStatus::Failed => 3,
        RuntimeStatus::Canceled => 4,
        RuntimeStatus::Terminated => 5,
        RuntimeStatus::Pending => 6,
        RuntimeStatus::Suspended => 7,
    }
}

/// The status of a number.
pub(super) fn status_of(number: u8) -> Result<RuntimeStatus, StorageError> {
    RuntimeStatus::ALL
        .into_iter()
        .find(|&status| status_number(status) == number)
        .ok_or_else(|| StorageError::Corrupt(format!("a status has the unknown number {number}")))
}

/// Numbers of the variants and tags of the fields. None is ever re-used.
mod number {
    pub const END: u8 = 0;

    pub mod event {
        pub const EXECUTION_STARTED: u8 = 1;
        pub const TASK_SCHEDULED: u8 = 2;
        pub const TASK_COMPLETED: u8 = 3;
        pub const TASK_FAILED: u8 = 4;
        pub const TIMER_CREATED: u8 = 5;
        pub const TIMER_FIRED: u8 = 6;
        pub const ACTION_CANCELED: u8 = 7;
        pub const EVENT_RAISED: u8 = 8;
        pub const EVENT_CONSUMED: u8 = 9;
        pub const CUSTOM_STATUS_SET: u8 = 10;
        pub const EXECUTION_COMPLETED: u8 = 11;
        pub const EXECUTION_FAILED: u8 = 12;
        pub const EXECUTION_TERMINATED: u8 = 13;
        pub const TASK_RETRY_SCHEDULED: u8 = 14;
        pub const TASK_RETRY_STARTED: u8 = 15;
        pub const EXECUTION_SUSPENDED: u8 = 16;
        pub const EXECUTION_RESUMED: u8 = 17;
        pub const CHILD_SCHEDULED: u8 = 18;
        pub const CHILD_COMPLETED: u8 = 19;
        pub const CHILD_FAILED: u8 = 20;
        pub const COMPONENT_REPLACED: u8 = 23;
        pub const EXECUTION_REWOUND: u8 = 21;
        pub const HTTP_SCHEDULED: u8 = 50;
        pub const HTTP_COMPLETED: u8 = 51;
        pub const HTTP_FAILED: u8 = 52;
        pub const HTTP_POLL_SCHEDULED: u8 = 53;
        pub const HTTP_POLL_STARTED: u8 = 54;
        pub const ENTITY_CALLED: u8 = 30;
        pub const ENTITY_COMPLETED: u8 = 31;
        pub const ENTITY_FAILED: u8 = 32;
        pub const ENTITY_SIGNALED: u8 = 33;
        pub const LOCKS_REQUESTED: u8 = 34;
        pub const LOCKS_GRANTED: u8 = 35;
        pub const LOCKS_FAILED: u8 = 36;
        pub const LOCKS_RELEASED: u8 = 37;
        pub const EVENT_SENT: u8 = 38;
        /// The one event of an entity's record.
        pub const ENTITY_STATE: u8 = 40;
    }
    pub mod message {
        pub const EVENT_RAISED: u8 = 1;
        pub const CHILD_COMPLETED: u8 = 2;
        pub const CHILD_FAILED: u8 = 3;
        pub const ENTITY_OPERATION: u8 = 10;
        pub const ENTITY_COMPLETED: u8 = 11;
        pub const ENTITY_FAILED: u8 = 12;
        pub const LOCK_REQUEST: u8 = 13;
        pub const LOCK_GRANTED: u8 = 14;
        pub const LOCK_FAILED: u8 = 15;
        pub const UNLOCK: u8 = 16;
    }
    pub mod operation {
        pub const SENDER: u8 = 1;
        pub const SENDER_EXECUTION: u8 = 2;
        pub const REPLY: u8 = 3;
        pub const SCHEDULED: u8 = 4;
        pub const TRACE_PARENT: u8 = 5;
        pub const TRACE_STATE: u8 = 6;
    }
    pub mod signaled {
        pub const SCHEDULED: u8 = 1;
    }
    pub mod entity {
        pub const STATE: u8 = 1;
        pub const LOCK: u8 = 2;
    }
    pub mod summary {
        pub const CUSTOM_STATUS: u8 = 1;
        pub const NEXT_DUE: u8 = 2;
        pub const OUTSTANDING: u8 = 3;
    }
    pub mod started {
        pub const VERSION: u8 = 1;
        pub const PARENT: u8 = 2;
        pub const TAG: u8 = 3;
        pub const TRACE_PARENT: u8 = 4;
        pub const TRACE_STATE: u8 = 5;
        pub const SCHEDULED_START: u8 = 6;
    }
    pub mod task {
        pub const RETRY: u8 = 1;
        pub const TIMEOUT: u8 = 2;
        pub const TAG: u8 = 3;
    }
    pub mod child {
        pub const VERSION: u8 = 1;
        pub const DETACHED: u8 = 2;
        pub const RETRY: u8 = 3;
        pub const POLICY: u8 = 4;
        pub const SCHEDULED_START: u8 = 5;
        pub const TAG: u8 = 6;
    }
    pub mod http {
        pub const HEADER: u8 = 1;
        pub const CONTENT: u8 = 2;
        pub const ASYNCHRONOUS_PATTERN: u8 = 3;
        pub const TIMEOUT: u8 = 4;
        pub const RETRY: u8 = 5;
        pub const RETRY_STATUS: u8 = 6;
        pub const TOKEN_SOURCE: u8 = 7;
        pub const TOKEN_OPTIONS: u8 = 8;
    }
    pub mod policy {
        pub const NON_RUNNING_STATES: u8 = 1;
        pub const ANY_STATE: u8 = 2;
        pub const NONE: u8 = 3;
    }
    pub mod retry {
        pub const MAX_INTERVAL: u8 = 1;
        pub const RETRY_TIMEOUT: u8 = 2;
        pub const RETRY_KIND: u8 = 3;
        pub const NEVER_RETRY_KIND: u8 = 4;
    }
    pub mod rewound {
        pub const TASK: u8 = 1;
        pub const SENT: u8 = 2;
    }
    pub mod rewound_task {
        pub const FAILURE: u8 = 1;
    }
    pub mod failure {
        pub const DETAILS: u8 = 1;
        pub const CAUSE: u8 = 2;
        pub const PROPERTIES: u8 = 3;
        pub const NON_RETRIABLE: u8 = 4;
    }
}
