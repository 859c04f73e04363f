//! What arrives for an instance.

use super::{
    EntityOperation, ExecutionId, Failure, GenerationKey, HttpOutcome, Json, LockRequest, MessageNumber, Sequence,
};

/// Something for an instance to take in its next turn.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// The outcome of an activity. It belongs to a generation and is dropped if that is gone; it is durable only with the
    /// turn that takes it (the activity runs again if the process ends before).
    TaskEnded {
        /// Whose activity it was.
        generation: GenerationKey,
        /// The action.
        sequence: Sequence,
        /// Result or failure.
        outcome: Result<Json, Failure>,
    },
    /// The outcome of a durable HTTP request; the same holds for it.
    HttpEnded {
        /// Whose call it was.
        generation: GenerationKey,
        /// The action.
        sequence: Sequence,
        /// What the answer leads to, or why there is none.
        outcome: Result<HttpOutcome, Failure>,
    },
    /// A message from the inbox: it was durable before it came here.
    Inbox {
        /// Its number: ascending in the instance.
        number: MessageNumber,
        /// What it says.
        body: InboxMessage,
    },
}

impl Message {
    /// Whose activity's or durable HTTP request's outcome it is, if it is one's.
    pub fn ended_task(&self) -> Option<(GenerationKey, Sequence)> {
        match self {
            Self::TaskEnded { generation, sequence, .. } | Self::HttpEnded { generation, sequence, .. } => {
                Some((*generation, *sequence))
            }
            Self::Inbox { .. } => None,
        }
    }
}

/// A message that is durable before it is acknowledged, because no turn has taken it yet.
#[derive(Clone, Debug, PartialEq)]
pub enum InboxMessage {
    /// An external event.
    EventRaised {
        /// The event's name.
        name: String,
        /// The payload.
        input: Json,
    },
    /// A child has ended, or its start was decided. It belongs to an execution and is dropped if that is gone.
    ChildEnded {
        /// The parent's execution.
        execution_id: ExecutionId,
        /// The parent's action.
        sequence: Sequence,
        /// The child's output, or why it failed.
        outcome: Result<Json, Failure>,
    },
    /// To an entity: run an operation.
    EntityOperation(Box<EntityOperation>),
    /// A called entity has answered. It belongs to an execution and is dropped if that is gone.
    EntityAnswered {
        /// The caller's execution.
        execution_id: ExecutionId,
        /// The caller's action.
        sequence: Sequence,
        /// The result, or why the operation failed.
        outcome: Result<Json, Failure>,
    },
    /// To an entity: be locked. Storage delivers it only while the holder's request stands.
    LockRequest(Box<LockRequest>),
    /// All locks are held, or cannot be had. It belongs to an execution and is dropped if that is gone.
    LockAnswered {
        /// The holder's execution.
        execution_id: ExecutionId,
        /// The holder's action.
        sequence: Sequence,
        /// Why they cannot be had.
        outcome: Result<(), Failure>,
    },
    /// To an entity: the request of this generation's action is given up, or its lock released.
    Unlock {
        /// The holder's generation.
        generation: GenerationKey,
        /// The holder's action.
        sequence: Sequence,
    },
}
