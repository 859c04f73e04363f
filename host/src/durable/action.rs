//! What an orchestrator's code sees and asks for: the contract's events and actions, in the host's types.

use super::{
    ChildScheduled, EntityCalled, EntitySignaled, EventSent, ExecutionStarted, Failure, HttpAnswer, HttpScheduled,
    Json, LocksRequested, Sequence, TaskScheduled, Timestamp,
};
use std::sync::Arc;

/// One event for the guest.
#[derive(Clone, Debug, PartialEq)]
pub enum GuestEvent {
    /// A turn begins; its time is the orchestrator's clock.
    TurnStarted(Timestamp),
    /// The execution begins.
    ExecutionStarted(Arc<ExecutionStarted>),
    /// An activity returned.
    TaskCompleted(Sequence, Json),
    /// An activity failed.
    TaskFailed(Sequence, Failure),
    /// A sub-orchestration completed.
    ChildCompleted {
        /// The action.
        sequence: Sequence,
        /// It is a detached start that was admitted.
        detached: bool,
        /// Its output; for a detached start its id.
        result: Json,
    },
    /// A sub-orchestration failed, or a start was refused.
    ChildFailed {
        /// The action.
        sequence: Sequence,
        /// It is a detached start.
        detached: bool,
        /// Why.
        failure: Failure,
    },
    /// A durable HTTP call was answered.
    HttpCompleted(Sequence, Box<HttpAnswer>),
    /// A durable HTTP call got no answer.
    HttpFailed(Sequence, Failure),
    /// A timer fired.
    TimerFired(Sequence),
    /// A called entity answered.
    EntityCompleted(Sequence, Json),
    /// A called entity's operation failed.
    EntityFailed(Sequence, Failure),
    /// All locks are held.
    LockGranted(Sequence),
    /// The locks cannot be had.
    LockFailed(Sequence, Failure),
    /// An external event.
    EventRaised {
        /// Its index within the execution, from 0.
        index: u32,
        /// Its name.
        name: String,
        /// The payload.
        input: Json,
    },
}

/// One thing that the code asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Run an activity.
    ScheduleTask(TaskScheduled),
    /// Run a sub-orchestration, or start a detached orchestration.
    StartChild {
        /// What the code asks for; without an id one is derived.
        child: Box<ChildScheduled>,
        /// The id that the code chose.
        instance_id: Option<String>,
    },
    /// Call HTTP.
    CallHttp(Box<HttpScheduled>),
    /// Arm a timer.
    CreateTimer {
        /// The action's number.
        sequence: Sequence,
        /// When it fires.
        fire_at: Timestamp,
    },
    /// Give an open action up.
    Cancel {
        /// The action that is given up.
        sequence: Sequence,
    },
    /// The code waits for an external event of this name.
    WaitForEvent {
        /// The name.
        name: String,
    },
    /// The code received an external event.
    Consumed {
        /// [`GuestEvent::EventRaised`]'s index.
        index: u32,
    },
    /// Call an entity and wait for its answer.
    CallEntity(EntityCalled),
    /// Signal an entity.
    SignalEntity(EntitySignaled),
    /// Enter a critical section.
    LockEntities(LocksRequested),
    /// Leave a critical section.
    UnlockEntities {
        /// The action's number.
        sequence: Sequence,
        /// The `lock-entities` action that is undone.
        lock: Sequence,
    },
    /// Raise an external event at another instance.
    SendEvent(EventSent),
    /// Replace the custom status.
    SetCustomStatus(Json),
    /// An action of the contract that this host does not carry out yet.
    Unsupported {
        /// The action's number.
        sequence: Sequence,
        /// The contract's name of it, for example `create-sub-orchestration`.
        what: &'static str,
    },
}

impl Action {
    /// Whether it takes a number, and so counts against [`TurnLimits::actions_max`](super::TurnLimits::actions_max).
    #[must_use]
    pub fn is_numbered(&self) -> bool {
        !matches!(
            self,
            Self::Cancel { .. } | Self::WaitForEvent { .. } | Self::Consumed { .. } | Self::SetCustomStatus(_)
        )
    }
}

/// How an execution stands after a call into its guest.
#[derive(Clone, Debug, PartialEq)]
pub enum GuestOutcome {
    /// The code waits.
    Waiting,
    /// The code returned.
    Completed(Json),
    /// The code failed.
    Failed(Failure),
    /// The code asks for a fresh execution with this input.
    ContinueAsNew {
        /// The next input.
        input: Json,
    },
    /// The guest cannot go on with this history.
    Faulted(Failure),
}

/// What a call into an orchestrator's guest returned.
#[derive(Clone, Debug, PartialEq)]
pub struct GuestTurn {
    /// What the code asked for, in order.
    pub actions: Vec<Action>,
    /// How the execution stands.
    pub outcome: GuestOutcome,
}
