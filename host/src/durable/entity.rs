//! Entities: addressed state with operations that run one after the other.
//!
//! An entity is its last record and its inbox, nothing else. [`Entity::plan`] decides what a batch takes of the inbox,
//! [`Entity::end`] what the batch leaves: one record, messages, starts. What is not taken stays in the inbox, in order:
//! scheduled signals until their time, and while the entity is locked everything that is not the holder's.

mod batch;
mod critical;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

use sha2::{Digest as _, Sha256};

use super::{ExecutionId, Failure, FunctionName, GenerationKey, InstanceId, Json, Sequence, Timestamp, TraceContext};

pub use batch::{Batch, BatchLimits, EndedBatch, Entity};
pub use critical::{LOCKING_RULES, Section};
pub(super) use critical::{refused_call, refused_child, refused_lock, refused_signal};

/// Names an entity: an entity function, in lower case, and a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntityId {
    name: Arc<str>,
    key: Arc<str>,
}

/// Why a name and a key make no entity id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntityIdError {
    /// The name is empty, or holds an `@`.
    #[error("Entity names must not be empty and must not contain @.")]
    Name,
    /// A character that a URL path cannot carry.
    #[error("Entity names and keys must not contain /, \\, #, ?, or control characters.")]
    IllegalCharacter,
    /// It is longer than 256 characters (UTF-16 units) in all.
    #[error("Entity ids must not exceed 256 characters.")]
    TooLong,
}

impl EntityId {
    /// Checks a caller's name and key. The name becomes lower case; the key stays as it is and may be empty.
    ///
    /// # Errors
    /// The rule that they break.
    pub fn parse(name: &str, key: &str) -> Result<Self, EntityIdError> {
        if name.is_empty() || name.contains('@') {
            return Err(EntityIdError::Name);
        }
        let illegal = |c: char| matches!(c, '/' | '\\' | '#' | '?') || c.is_control();
        if name.chars().chain(key.chars()).any(illegal) {
            return Err(EntityIdError::IllegalCharacter);
        }
        if name.encode_utf16().count() + key.encode_utf16().count() > 254 {
            return Err(EntityIdError::TooLong);
        }
        Ok(Self { name: name.to_ascii_lowercase().into(), key: key.into() })
    }

    /// The entity that an instance id names; `None` if it is an orchestration's.
    pub fn of_instance(id: &InstanceId) -> Option<Self> {
        let (name, key) = id.as_str().strip_prefix('@')?.split_once('@')?;
        Some(Self { name: name.into(), key: key.into() })
    }

    /// The entity function's name, in lower case.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The entity function.
    pub fn function(&self) -> FunctionName {
        FunctionName::new(&self.name)
    }

    /// The id under which storage and messages know it: `@name@key`.
    pub fn instance_id(&self) -> InstanceId {
        InstanceId::from_stored(&self.to_string())
    }
}

impl fmt::Display for EntityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{}@{}", self.name, self.key)
    }
}

/// Who sent an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The orchestration's instance, or the entity.
    pub instance_id: InstanceId,
    /// The orchestration's execution; none for an entity.
    pub execution_id: Option<ExecutionId>,
}

/// An operation for an entity.
#[derive(Clone, Debug, PartialEq)]
pub struct EntityOperation {
    /// Names this operation, unlike any other: seeds the entropy of the batch that it opens.
    pub id: String,
    /// The operation's name.
    pub name: String,
    /// Its input.
    pub input: Json,
    /// Who sent it; none for a client.
    pub sender: Option<Sender>,
    /// The sender's action that waits for the result; none for a signal.
    pub reply: Option<Sequence>,
    /// Not before this time.
    pub scheduled: Option<Timestamp>,
    /// The trace that it belongs to.
    pub trace_context: Option<TraceContext>,
}

/// The id of what an operation, batch or execution of this id makes as its `n`th.
pub fn derived_id(id: &str, n: usize) -> String {
    let digest = Sha256::digest(format!("{id}:{n}"));
    digest[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Who holds a lock, or waits for it: one `lock-entities` of one generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockHolder {
    /// The orchestration's instance.
    pub instance_id: InstanceId,
    /// Its execution.
    pub execution_id: ExecutionId,
    /// Its generation: the lock ends with it.
    pub generation: GenerationKey,
    /// The action.
    pub sequence: Sequence,
}

impl LockHolder {
    /// True for an operation that the holder sent.
    fn sent(&self, operation: &EntityOperation) -> bool {
        operation.sender.as_ref().is_some_and(|sender| {
            sender.instance_id == self.instance_id && sender.execution_id.as_ref() == Some(&self.execution_id)
        })
    }

    fn is(&self, generation: GenerationKey, sequence: Sequence) -> bool {
        self.generation == generation && self.sequence == sequence
    }
}

/// A request for the locks of several entities. It travels from one to the next, in the order of their ids: so no two
/// requests can wait for each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockRequest {
    /// Who asks.
    pub holder: LockHolder,
    /// All entities, ascending, each once.
    pub entities: Vec<InstanceId>,
    /// Where it is: the index of the entity that it waits for. Those before are held.
    pub position: u32,
}

/// All that is kept of an entity: its latest record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntityRecord {
    /// When it was written; never earlier than the one before.
    pub time: Timestamp,
    /// The state; none if the entity does not exist (yet, or any more).
    pub state: Option<Json>,
    /// When the last batch of operations ran.
    pub last_operation: Timestamp,
    /// Who has locked it.
    pub lock: Option<LockHolder>,
    /// When the earliest signal that waits for its time is due.
    pub next_due: Option<Timestamp>,
}

impl EntityRecord {
    /// The record of an entity that a message has just reached for the first time.
    pub fn new() -> Self {
        let never = Timestamp(0);
        Self { time: never, state: None, last_operation: never, lock: None, next_due: None }
    }

    /// True if nothing is lost when it is forgotten, once its inbox is empty.
    pub fn is_empty(&self) -> bool {
        self.state.is_none() && self.lock.is_none()
    }
}

impl Default for EntityRecord {
    fn default() -> Self {
        Self::new()
    }
}

/// What a batch's operations asked for beside their results.
#[derive(Clone, Debug, PartialEq)]
pub enum EntityAction {
    /// Signal an entity.
    Signal {
        /// The receiver.
        entity: EntityId,
        /// The operation.
        operation: String,
        /// Its input.
        input: Json,
        /// Not before this time.
        scheduled: Option<Timestamp>,
    },
    /// Start an orchestration.
    Start(EntityStart),
}

/// An orchestration that an entity starts.
#[derive(Clone, Debug, PartialEq)]
pub struct EntityStart {
    /// The orchestrator function.
    pub name: String,
    /// The instance id; none derives one.
    pub instance_id: Option<String>,
    /// The input.
    pub input: Json,
    /// The version label.
    pub version: Option<String>,
    /// Not before this time.
    pub scheduled_start: Option<Timestamp>,
}

/// What a guest returned for a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct EntityRan {
    /// One result per operation, in order.
    pub results: Vec<Result<Json, Failure>>,
    /// The state after the batch; none deletes the entity.
    pub state: Option<Json>,
    /// What the operations asked for, in order.
    pub actions: Vec<EntityAction>,
}
