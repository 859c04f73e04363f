//! What is recorded: history events, one record per turn.

use std::sync::Arc;

use super::{
    Digest, EntityId, ExecutionId, HttpAnswer, HttpScheduled, InboxMessage, Json, MessageNumber, OverridableStates,
    RuntimeStatus, Sequence, Timestamp, TurnNumber,
};

/// One cause beneath a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureCause {
    /// The kind of the error.
    pub kind: String,
    /// What went wrong.
    pub message: String,
}

/// Why something failed; the contract's `failure`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// The kind of the error.
    pub kind: String,
    /// What went wrong, for people.
    pub message: String,
    /// Stack trace or other text for the developer.
    pub details: Option<String>,
    /// What lies beneath, nearest first.
    pub causes: Vec<FailureCause>,
    /// Further data of the application: JSON text.
    pub properties: Option<String>,
    /// True if another attempt cannot help.
    pub non_retriable: bool,
}

impl RetryPolicy {
    /// How long after the failure of `attempt` (from 1) the next one begins; `None` if there is no next one.
    ///
    /// The formula and the rules are Durable Functions': `max_attempts` includes the first; a failure once
    /// `retry_timeout_ms` has passed since the first began (`elapsed_ms`) is the last; a non-retriable one is never retried.
    pub fn next_interval_ms(&self, attempt: u32, failure: &Failure, elapsed_ms: f64) -> Option<f64> {
        let named = |kinds: &[String]| kinds.contains(&failure.kind);
        let is_retriable = !failure.non_retriable
            && !named(&self.never_retry_kinds)
            && (self.retry_kinds.is_empty() || named(&self.retry_kinds));
        let in_time = self.retry_timeout_ms.is_none_or(|timeout| elapsed_ms < timeout);
        if !is_retriable || attempt >= self.max_attempts || !in_time {
            return None;
        }
        let exponent = i32::try_from(attempt - 1).unwrap_or(i32::MAX);
        let interval = self.first_interval_ms * self.backoff_coefficient.powi(exponent);
        let interval = self.max_interval_ms.map_or(interval, |max| interval.min(max));
        Some(if interval.is_finite() { interval.max(0.0) } else { f64::MAX })
    }
}

impl Failure {
    /// The failure of a call that took longer than it may (kind `Timeout`); another attempt may be faster.
    pub fn timed_out(function: &str, timeout: std::time::Duration) -> Self {
        Self::new("Timeout", format!("Timeout value of {} exceeded by function '{function}'", time_span(timeout)))
    }

    /// A failure of a kind, without further details.
    pub fn new(kind: &str, message: impl Into<String>) -> Self {
        Self { kind: kind.to_owned(), message: message.into(), ..Self::default() }
    }
}

/// A duration as Durable Functions writes it: `[d.]hh:mm:ss[.fffffff]`.
pub fn time_span(duration: std::time::Duration) -> String {
    let seconds = duration.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    let days = if days == 0 { String::new() } else { format!("{days}.") };
    let fraction = match duration.subsec_nanos() / 100 {
        0 => String::new(),
        ticks => format!(".{ticks:07}"),
    };
    format!("{days}{hours:02}:{minutes:02}:{:02}{fraction}", seconds % 60)
}

/// A label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// W3C trace context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// `traceparent`.
    pub traceparent: String,
    /// `tracestate`.
    pub tracestate: Option<String>,
}

/// The orchestration that started this one as its child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParentInstance {
    /// The parent's orchestrator function.
    pub name: String,
    /// The parent's instance id.
    pub instance_id: String,
    /// The parent's execution id.
    pub execution_id: String,
    /// The number of the parent's action.
    pub sequence: Sequence,
}

/// The first event of every execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutionStarted {
    /// The orchestrator function's name, as registered.
    pub name: String,
    /// What the component calls it: `entryPoint`, or the function's name.
    pub handler: String,
    /// The version label given at the start.
    pub version: Option<String>,
    /// This execution.
    pub execution_id: ExecutionId,
    /// The component that runs it, for all its life.
    pub component: Digest,
    /// The version of the contract that the component was made for, for example `1.0.0`.
    pub contract: String,
    /// The input.
    pub input: Json,
    /// The parent, for a child.
    pub parent: Option<ParentInstance>,
    /// Labels.
    pub tags: Vec<Tag>,
    /// The trace that the start belongs to.
    pub trace_context: Option<TraceContext>,
    /// Not before this time.
    pub scheduled_start: Option<Timestamp>,
}

/// How a failed activity or child is repeated; the contract's `retry-policy`. Durations in milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    /// Attempts in all, the first included.
    pub max_attempts: u32,
    /// Wait after the first failure.
    pub first_interval_ms: f64,
    /// Factor from one wait to the next.
    pub backoff_coefficient: f64,
    /// No wait is longer.
    pub max_interval_ms: Option<f64>,
    /// A failure later than this after the first attempt began is the last.
    pub retry_timeout_ms: Option<f64>,
    /// Only these kinds are retried; empty means all.
    pub retry_kinds: Vec<String>,
    /// These kinds are never retried.
    pub never_retry_kinds: Vec<String>,
}

/// An activity that the code asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskScheduled {
    /// The action's number.
    pub sequence: Sequence,
    /// The activity function.
    pub name: String,
    /// Its input.
    pub input: Json,
    /// How it is repeated.
    pub retry: Option<RetryPolicy>,
    /// Bound on one attempt, in milliseconds.
    pub timeout_ms: Option<f64>,
    /// Labels.
    pub tags: Vec<Tag>,
}

/// A child that the code asked for: a sub-orchestration whose result it waits for, or a detached orchestration.
#[derive(Clone, Debug, PartialEq)]
pub struct ChildScheduled {
    /// The action's number.
    pub sequence: Sequence,
    /// The orchestrator function.
    pub name: String,
    /// The child's id: the code's, or one derived from the execution id and the number.
    pub instance_id: String,
    /// Its input.
    pub input: Json,
    /// Its version label.
    pub version: Option<String>,
    /// Nobody waits for its result.
    pub detached: bool,
    /// How it is repeated.
    pub retry: Option<RetryPolicy>,
    /// Which existing states its start may override; none is the host's setting.
    pub policy: Option<OverridableStates>,
    /// Not before this time.
    pub scheduled_start: Option<Timestamp>,
    /// Labels.
    pub tags: Vec<Tag>,
}

/// An entity's operation whose answer the code waits for.
#[derive(Clone, Debug, PartialEq)]
pub struct EntityCalled {
    /// The action's number.
    pub sequence: Sequence,
    /// The entity.
    pub entity: EntityId,
    /// The operation.
    pub operation: String,
    /// Its input.
    pub input: Json,
}

/// An entity's operation that nobody waits for.
#[derive(Clone, Debug, PartialEq)]
pub struct EntitySignaled {
    /// The action's number.
    pub sequence: Sequence,
    /// The entity.
    pub entity: EntityId,
    /// The operation.
    pub operation: String,
    /// Its input.
    pub input: Json,
    /// Not before this time.
    pub scheduled: Option<Timestamp>,
}

/// A critical section that the code asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct LocksRequested {
    /// The action's number.
    pub sequence: Sequence,
    /// The entities, ascending, each once.
    pub entities: Vec<EntityId>,
}

/// An external event that the code raised at another instance.
#[derive(Clone, Debug, PartialEq)]
pub struct EventSent {
    /// The action's number.
    pub sequence: Sequence,
    /// The receiver's id.
    pub instance_id: String,
    /// The event's name.
    pub name: String,
    /// The payload.
    pub input: Json,
}

/// An operator let a failed execution run on. The history before it is the effective one: without the end, without the
/// failures that are named here, and without what the code asked for since.
#[derive(Clone, Debug, PartialEq)]
pub struct ExecutionRewound {
    /// The operator's words.
    pub reason: String,
    /// From this turn on nothing that the code asked for is left: the code is handed these turns once more.
    pub from: TurnNumber,
    /// Why the execution had failed.
    pub failure: Failure,
    /// The activities, children and durable HTTP calls that are attempted anew.
    pub tasks: Vec<RewoundTask>,
    /// What the failing turn had sent ([`HistoryEvent::sent`]): it is not sent again when the code asks for the same.
    pub sent: Vec<HistoryEvent>,
}

/// An activity, child or durable HTTP call that a rewind attempts anew; its retry policy counts from here.
#[derive(Clone, Debug, PartialEq)]
pub struct RewoundTask {
    /// The action.
    pub sequence: Sequence,
    /// The attempt that runs now: 1, but for a child the failed one, which goes on, or the next.
    pub attempt: u32,
    /// The failure that was dropped; none if it was open, but its child had gone.
    pub failure: Option<Failure>,
}

/// One thing that happened to an execution. Durable Task's names, past tense.
///
/// Records number these variants (`storage::record`); a new one gets a new number, none is ever re-used.
#[derive(Clone, Debug, PartialEq)]
pub enum HistoryEvent {
    /// The execution was accepted. Always the only event of [`TurnNumber::START`].
    ExecutionStarted(Box<ExecutionStarted>),
    /// The code scheduled an activity.
    TaskScheduled(TaskScheduled),
    /// An activity returned.
    TaskCompleted {
        /// The action.
        sequence: Sequence,
        /// Its result.
        result: Json,
    },
    /// An activity failed, after all its attempts.
    TaskFailed {
        /// The action.
        sequence: Sequence,
        /// Why.
        failure: Failure,
    },
    /// The code asked for a child.
    ChildScheduled(Box<ChildScheduled>),
    /// A sub-orchestration completed; or a detached start was admitted, whose result is the child's id.
    ChildCompleted {
        /// The action.
        sequence: Sequence,
        /// Its output.
        result: Json,
    },
    /// A sub-orchestration failed, after all its attempts, or was ended; or a start was refused.
    ChildFailed {
        /// The action.
        sequence: Sequence,
        /// Why.
        failure: Failure,
    },
    /// An attempt of an activity or sub-orchestration failed, and its retry policy allows another.
    TaskRetryScheduled {
        /// The action.
        sequence: Sequence,
        /// The attempt that failed, from 1.
        attempt: u32,
        /// Why.
        failure: Failure,
        /// When the next attempt begins.
        due: Timestamp,
    },
    /// The next attempt of an activity or sub-orchestration began.
    TaskRetryStarted {
        /// The action.
        sequence: Sequence,
        /// The attempt, from 2.
        attempt: u32,
    },
    /// The code asked for a durable HTTP call.
    HttpScheduled(Box<HttpScheduled>),
    /// A durable HTTP call was answered.
    HttpCompleted {
        /// The action.
        sequence: Sequence,
        /// The answer.
        answer: Box<HttpAnswer>,
    },
    /// A durable HTTP call got no answer, after all its attempts.
    HttpFailed {
        /// The action.
        sequence: Sequence,
        /// Why.
        failure: Failure,
    },
    /// A durable HTTP call was answered 202: its work is asked after later.
    HttpPollScheduled {
        /// The action.
        sequence: Sequence,
        /// Where, an absolute URL.
        location: String,
        /// When.
        due: Timestamp,
    },
    /// The work of a durable HTTP call began to be asked after once more.
    HttpPollStarted {
        /// The action.
        sequence: Sequence,
    },
    /// The code armed a timer.
    TimerCreated {
        /// The action.
        sequence: Sequence,
        /// When it fires.
        fire_at: Timestamp,
    },
    /// A timer fired.
    TimerFired {
        /// The action.
        sequence: Sequence,
    },
    /// The code gave an open action up.
    ActionCanceled {
        /// The action.
        sequence: Sequence,
    },
    /// An external event was handed to the execution.
    EventRaised {
        /// The inbox's number; the contract's `message` is the count of `EventRaised` before this one.
        message: MessageNumber,
        /// The event's name.
        name: String,
        /// The payload.
        input: Json,
    },
    /// The code received an external event.
    EventConsumed {
        /// The contract's `message`: the event's index within the execution.
        index: u32,
    },
    /// The code called an entity.
    EntityCalled(EntityCalled),
    /// A called entity answered.
    EntityCompleted {
        /// The action.
        sequence: Sequence,
        /// The result.
        result: Json,
    },
    /// A called entity's operation failed, or could not be asked for.
    EntityFailed {
        /// The action.
        sequence: Sequence,
        /// Why.
        failure: Failure,
    },
    /// The code signaled an entity.
    EntitySignaled(EntitySignaled),
    /// The code asked for a critical section. It has none if it asked for one before that has not ended.
    LocksRequested(LocksRequested),
    /// All locks of the action are held.
    LocksGranted {
        /// The action.
        sequence: Sequence,
    },
    /// The locks of the action cannot be had.
    LocksFailed {
        /// The action.
        sequence: Sequence,
        /// Why.
        failure: Failure,
    },
    /// The code left a critical section.
    LocksReleased {
        /// The action.
        sequence: Sequence,
        /// The action that asked for the locks.
        lock: Sequence,
    },
    /// The code raised an external event at another instance.
    EventSent(EventSent),
    /// The code set the custom status.
    CustomStatusSet {
        /// The new one.
        status: Json,
    },
    /// The code returned.
    ExecutionCompleted {
        /// Its output.
        output: Json,
    },
    /// The code failed, or a limit ended it.
    ExecutionFailed {
        /// Why.
        failure: Failure,
    },
    /// An operator held the execution: messages are kept, its code does not run.
    ExecutionSuspended {
        /// The operator's words.
        reason: String,
    },
    /// An operator let the execution go on.
    ExecutionResumed {
        /// The operator's words.
        reason: String,
    },
    /// An operator ended the execution, or a start replaced it.
    ExecutionTerminated {
        /// The operator's words.
        reason: String,
    },
    /// From here on another component runs the execution: its replay agreed with the history so far, or the execution was
    /// rewound. The host's own doing, in a turn of its own.
    ComponentReplaced(ComponentReplaced),
    /// An operator let the failed execution run on, in a turn of the host's alone; with it may come another component.
    ExecutionRewound(Box<ExecutionRewound>),
}

/// The component that took another one's place in a live execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComponentReplaced {
    /// The component.
    pub component: Digest,
    /// What it calls the orchestrator function.
    pub handler: String,
    /// The version of the contract that it was made for.
    pub contract: String,
}

impl HistoryEvent {
    /// The number of an action that is done once it is sent, though its execution ends with the same turn: a signal, an event,
    /// and a detached start.
    pub fn sent(&self) -> Option<Sequence> {
        match self {
            Self::EntitySignaled(signal) => Some(signal.sequence),
            Self::EventSent(sent) => Some(sent.sequence),
            Self::ChildScheduled(child) if child.detached => Some(child.sequence),
            _ => None,
        }
    }

    /// True if two actions send the same. Under which number does not matter, for other branches of the code may have gone on
    /// meanwhile; nor does for which time, for that is often reckoned from the clock. (A child's id tells the number.)
    pub(super) fn sends_the_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::EntitySignaled(one), Self::EntitySignaled(other)) => {
                (&one.entity, &one.operation, &one.input) == (&other.entity, &other.operation, &other.input)
            }
            (Self::EventSent(one), Self::EventSent(other)) => {
                (&one.instance_id, &one.name, &one.input) == (&other.instance_id, &other.name, &other.input)
            }
            (Self::ChildScheduled(one), Self::ChildScheduled(other)) => {
                let of = |child: &ChildScheduled| ChildScheduled { scheduled_start: None, ..child.clone() };
                of(one) == of(other)
            }
            _ => false,
        }
    }

    /// Takes the first of these that sends the same as an action. True if there is one.
    pub(super) fn take_sent(sent: &mut Vec<Self>, action: &Self) -> bool {
        let found = sent.iter().position(|sent| sent.sends_the_same(action));
        found.map(|at| sent.remove(at)).is_some()
    }

    /// The number of the activity, child or durable HTTP call that failed for good.
    pub(super) fn final_failure(&self) -> Option<(Sequence, &Failure)> {
        match self {
            Self::TaskFailed { sequence, failure }
            | Self::ChildFailed { sequence, failure }
            | Self::HttpFailed { sequence, failure } => Some((*sequence, failure)),
            _ => None,
        }
    }

    /// True for what the code asked for (as against what happened to it): these are compared on replay, in order.
    /// Custom status and consumed events take no number and are not compared.
    pub fn is_compared_action(&self) -> bool {
        match self {
            Self::TaskScheduled(_)
            | Self::ChildScheduled(_)
            | Self::HttpScheduled(_)
            | Self::TimerCreated { .. }
            | Self::EntityCalled(_)
            | Self::EntitySignaled(_)
            | Self::LocksRequested(_)
            | Self::LocksReleased { .. }
            | Self::EventSent(_)
            | Self::ActionCanceled { .. } => true,
            Self::ExecutionStarted(_)
            | Self::TaskCompleted { .. }
            | Self::TaskFailed { .. }
            | Self::ChildCompleted { .. }
            | Self::ChildFailed { .. }
            | Self::TaskRetryScheduled { .. }
            | Self::TaskRetryStarted { .. }
            | Self::HttpCompleted { .. }
            | Self::HttpFailed { .. }
            | Self::HttpPollScheduled { .. }
            | Self::HttpPollStarted { .. }
            | Self::TimerFired { .. }
            | Self::EntityCompleted { .. }
            | Self::EntityFailed { .. }
            | Self::LocksGranted { .. }
            | Self::LocksFailed { .. }
            | Self::EventRaised { .. }
            | Self::EventConsumed { .. }
            | Self::CustomStatusSet { .. }
            | Self::ExecutionCompleted { .. }
            | Self::ExecutionFailed { .. }
            | Self::ExecutionSuspended { .. }
            | Self::ExecutionResumed { .. }
            | Self::ExecutionTerminated { .. }
            | Self::ExecutionRewound(_)
            | Self::ComponentReplaced(_) => false,
        }
    }
}

/// What follows on an execution that asked to begin anew.
#[derive(Clone, Debug, PartialEq)]
pub struct NextExecution {
    /// The execution to start: same instance, empty history.
    pub started: Arc<ExecutionStarted>,
    /// The custom status, kept until the code sets another.
    pub custom_status: Option<Json>,
    /// The external events that were handed over and not received: they go back into the inbox under their numbers.
    pub carried: Vec<(MessageNumber, InboxMessage)>,
}

/// How an instance stands after a turn: enough to list and to recover it without a fold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Its status.
    pub status: RuntimeStatus,
    /// The turn whose record holds the latest custom status.
    pub custom_status: Option<TurnNumber>,
    /// When the earliest of its open timers, next attempts and polls is due.
    pub next_due: Option<Timestamp>,
    /// How many activities and durable HTTP requests run, or must run again after a crash (one that waits for its next attempt
    /// or poll is not among them); and one more while a rewound execution's code has not run again.
    pub outstanding: u32,
}

/// Everything that one turn made durable.
#[derive(Clone, Debug, PartialEq)]
pub struct TurnRecord {
    /// The orchestrator's clock during the turn.
    pub time: Timestamp,
    /// What it took, in order, then what the code asked for, in order, then how it ended, if it did.
    pub events: Vec<HistoryEvent>,
    /// How the instance stands now.
    pub summary: Summary,
}

impl TurnRecord {
    /// True for an operator's hold or its end, and for a replaced component: these may come before the code has run.
    pub fn is_hold(&self) -> bool {
        let is_hold = |event: &HistoryEvent| {
            matches!(
                event,
                HistoryEvent::ExecutionSuspended { .. }
                    | HistoryEvent::ExecutionResumed { .. }
                    | HistoryEvent::ComponentReplaced(_)
            )
        };
        self.events.iter().any(is_hold)
    }
}
