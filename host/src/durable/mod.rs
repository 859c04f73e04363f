//! The durable core: the state machine of an instance, pure.
//!
//! It never does IO, never reads a clock, never draws a random number, and knows neither storage nor wasm. Time, messages
//! and what guests returned come in as values; history events come out.
//!
//! Start reading at [`Instance`]: [`Instance::begin_turn`] decides what a turn takes, [`Instance::end_turn`] turns what the
//! code asked for into a record, [`Instance::apply`] is the only way in which state ever changes.

mod action;
mod entity;
mod history;
mod http;
mod ids;
mod instance;
mod json;
mod message;
mod replay;
mod rewind;
mod size;
mod status;
#[cfg(test)]
mod tests;
mod turn;

pub use action::{Action, GuestEvent, GuestOutcome, GuestTurn};
pub use entity::{
    Batch, BatchLimits, EndedBatch, Entity, EntityAction, EntityId, EntityIdError, EntityOperation, EntityRan,
    EntityRecord, EntityStart, LOCKING_RULES, LockHolder, LockRequest, Section, Sender, derived_id,
};
pub use history::{
    ChildScheduled, ComponentReplaced, EntityCalled, EntitySignaled, EventSent, ExecutionRewound, ExecutionStarted,
    Failure, FailureCause, HistoryEvent, LocksRequested, NextExecution, ParentInstance, RetryPolicy, RewoundTask,
    Summary, Tag, TaskScheduled, TraceContext, TurnRecord, time_span,
};
pub use http::{HttpAnswer, HttpOutcome, HttpRetry, HttpScheduled, TokenSource};
pub use ids::{
    Creation, Digest, ExecutionId, FunctionName, GenerationKey, InstanceId, InstanceIdError, InstanceKey,
    MessageNumber, Sequence, Timestamp, TurnNumber,
};
pub use instance::{Instance, NotAHistory, OpenChild, OpenTask, Work};
pub use json::{DEPTH_MAX, Json, JsonError};
pub use message::{InboxMessage, Message};
pub use replay::{DiffRow, Divergence, Replay};
pub use rewind::{Rewind, RewindOrder, RewoundHistory, Unanswered};
pub use size::HistorySize;
pub use status::{OverridableStates, RuntimeStatus, UnknownStatus};
pub use turn::{EndedTurn, Hold, Stall, Successor, Turn, TurnLimits};
